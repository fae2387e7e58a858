"""The cases of layers whose weights respond to hyperparameters."""

from __future__ import annotations

import keras

from keras_reg.layers import HyperConv2D, HyperDense, HyperEmbedding, HyperLSTM
from keras_reg.tune import Float
from tests.conformance.case import HIDDEN, Case
from tests.conformance.rules import load_all
from tests.conformance.token_cases import MESSAGES, flat, sequences

GOLDEN = ("tests/layers/test_hyper_golden.py::test_hyper_layers_match_golden_loss_and_gradients",)
SHARED_WRONG = ({"hyperparameters": None}, {"hyperparameters": []}, {"centered": 1}, {"l2": 0.1}, {"l2": "decay"})


def decay() -> Float:
    return Float("decay", init=0.01, low=0.0, log=True)


def both() -> list[Float]:
    return [Float("rate", init=0.3, low=0.0, high=0.9), decay()]


def images() -> keras.layers.Layer:
    return keras.layers.Reshape((2, HIDDEN // 2, 1), name="images")


def as_hyper_dense(*rules: str) -> dict[str, str]:
    """Every rule but these."""
    return dict.fromkeys(set(load_all()) - set(rules), "the same base as HyperDense; tests/layers/test_hyper_layers.py")


SHARED = {"hyperparameters": both, "centered": False, "l2": decay}

HYPER_CASES = [
    Case(
        cls=HyperDense,
        kind="layer",
        mechanism="layer with weights",
        arguments={"units": HIDDEN, "activation": "tanh", **SHARED},
        configurations=({"units": 3, "activation": "relu", "use_bias": False, **SHARED},),
        # Factors of 60 times the weights of 60 times the hyperparameters are no weights that anyone has.
        half_precision={"centered": True, "l2": None},
        golden=GOLDEN,
        reference={"loss": 1.05272, "weights": 31.11981},
        wrong_arguments=({"units": 0}, {"units": 1.5}, *SHARED_WRONG),
    ),
    Case(
        cls=HyperConv2D,
        kind="layer",
        mechanism="layer with weights",
        before=images,
        after=flat,
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
            {"kernel_size": 0},
            {"kernel_size": (2, 2, 2)},
            {"kernel_size": 1.5},
            {"strides": (1, -1)},
            {"strides": True},
            {"padding": "causal"},
            *SHARED_WRONG,
        ),
        not_applicable=as_hyper_dense(*MESSAGES, "golden_numbers_are_tested"),
    ),
    Case(
        cls=HyperEmbedding,
        kind="layer",
        mechanism="layer with weights",
        arguments={"input_dim": 5, "output_dim": 4, **SHARED},
        configurations=({"input_dim": 5, "output_dim": 4, "mask_zero": True, **SHARED},),
        golden=GOLDEN,
        wrong_arguments=({"input_dim": 0}, {"output_dim": 2.5}, *SHARED_WRONG),
        not_applicable=as_hyper_dense(*MESSAGES, "golden_numbers_are_tested"),
    ),
    Case(
        cls=HyperLSTM,
        kind="layer",
        mechanism="layer with weights",
        before=sequences,
        arguments={"units": 3, **SHARED},
        configurations=({"units": 3, "return_sequences": True, "return_state": True, **SHARED},),
        golden=GOLDEN,
        wrong_arguments=({"units": 0}, {"units": 1.5}, *SHARED_WRONG),
        not_applicable=as_hyper_dense(*MESSAGES, "golden_numbers_are_tested"),
    ),
]
