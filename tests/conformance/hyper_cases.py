"""Cases of layers whose weights respond to hyperparameters."""

from __future__ import annotations

import keras

from keras_reg.layers import HyperConv2D, HyperDense, HyperEmbedding, HyperLSTM
from keras_reg.tune import Float
from tests.conformance.case import HIDDEN, Case
from tests.conformance.rules import load_all
from tests.conformance.token_cases import MESSAGES, flatten, make_sequences

GOLDEN = ("tests/layers/test_hyper_golden.py::test_hyper_layers_match_golden_loss_and_gradients",)
SHARED_WRONG = (
    {"hyperparameters": None},
    {"hyperparameters": []},
    {"hyperparameters": "rate"},
    {"hyperparameters": [0.3]},
    {"hyperparameters": True},
    {"centered": 1},
    {"centered": "no"},
    {"l2": 0.1},
    {"l2": True},
    {"l2": "decay"},
)
WRONG_UNITS = ({"units": 0}, {"units": 1.5}, {"units": True}, {"units": "3"})
WRONG_BIAS = ({"use_bias": 1}, {"use_bias": "no"})


def make_decay() -> Float:
    return Float("decay", init=0.01, low=0.0, log=True)


def make_hyperparameters() -> list[Float]:
    return [Float("rate", init=0.3, low=0.0, high=0.9), make_decay()]


def make_images() -> keras.layers.Layer:
    return keras.layers.Reshape((2, HIDDEN // 2, 1), name="images")


def exclude_all_but(*rules: str) -> dict[str, str]:
    """Returns all rules except the given ones, with the reason: the case of `HyperDense` covers them."""
    reason = "it has the same base class as HyperDense; tests/layers/test_hyper_layers.py"
    return dict.fromkeys(set(load_all()) - set(rules), reason)


SHARED = {"hyperparameters": make_hyperparameters, "centered": False, "l2": make_decay}

HYPER_CASES = [
    Case(
        cls=HyperDense,
        kind="layer",
        mechanism="layer with weights",
        arguments={"units": HIDDEN, "activation": "tanh", **SHARED},
        configurations=({"units": 3, "activation": "relu", "use_bias": False, **SHARED},),
        # With the form of STN, weights that are 60 times as large give factors that no trained model has.
        half_precision={"centered": True, "l2": None},
        golden=GOLDEN,
        reference={"loss": 1.05272, "weights": 31.11981},
        wrong_arguments=(*WRONG_UNITS, *WRONG_BIAS, *SHARED_WRONG),
    ),
    Case(
        cls=HyperConv2D,
        kind="layer",
        mechanism="layer with weights",
        before=make_images,
        after=flatten,
        arguments={"filters": 2, "kernel_size": 2, **SHARED},
        configurations=(
            {
                "filters": 2,
                "kernel_size": (3, 2),
                "strides": (2, 1),
                "padding": "same",
                "activation": "relu",
                "use_bias": False,
                **SHARED,
            },
        ),
        golden=GOLDEN,
        wrong_arguments=(
            {"filters": 0},
            {"filters": True},
            {"filters": "2"},
            {"kernel_size": 0},
            {"kernel_size": (2, 2, 2)},
            {"kernel_size": 1.5},
            {"kernel_size": True},
            {"kernel_size": "22"},
            {"strides": (1, -1)},
            {"strides": True},
            {"strides": ("1", "1")},
            {"padding": "causal"},
            {"padding": True},
            *WRONG_BIAS,
            *SHARED_WRONG,
        ),
        not_applicable=exclude_all_but(*MESSAGES, "golden_numbers_are_tested"),
    ),
    Case(
        cls=HyperEmbedding,
        kind="layer",
        mechanism="layer with weights",
        arguments={"input_dim": 5, "output_dim": 4, **SHARED},
        configurations=({"input_dim": 5, "output_dim": 4, "mask_zero": True, **SHARED},),
        golden=GOLDEN,
        wrong_arguments=(
            {"input_dim": 0},
            {"input_dim": True},
            {"input_dim": "5"},
            {"output_dim": 2.5},
            {"output_dim": True},
            {"output_dim": "4"},
            {"mask_zero": 1},
            {"mask_zero": "no"},
            *SHARED_WRONG,
        ),
        not_applicable=exclude_all_but(*MESSAGES, "golden_numbers_are_tested"),
    ),
    Case(
        cls=HyperLSTM,
        kind="layer",
        mechanism="layer with weights",
        before=make_sequences,
        arguments={"units": 3, **SHARED},
        configurations=({"units": 3, "return_sequences": True, "return_state": True, **SHARED},),
        golden=GOLDEN,
        wrong_arguments=(
            *WRONG_UNITS,
            {"return_sequences": 1},
            {"return_sequences": "no"},
            {"return_state": 0},
            {"return_state": "yes"},
            *SHARED_WRONG,
        ),
        not_applicable=exclude_all_but(*MESSAGES, "golden_numbers_are_tested"),
    ),
]
