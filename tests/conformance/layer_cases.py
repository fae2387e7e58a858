"""Cases of layers that wrap other layers, and of the optimizer for them."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

import keras_reg
from keras_reg.tune import Float
from tests.conformance.case import HIDDEN, Case


def make_dense() -> keras.layers.Layer:
    return keras.layers.Dense(HIDDEN, activation="tanh", name="hidden")


def to_numpy(tensor) -> np.ndarray:
    return ops.convert_to_numpy(tensor)


def simulate_weight_compander(arguments, parameter, bias, batches, learning_rate):
    """Trains a kernel that is a function of a parameter (the paper's equations 1 and 3), in NumPy."""
    a, b = arguments["a"], arguments["b"]
    for _, x, y, _, sample_weight in batches:
        logits = x @ (a * np.arctan(parameter / b)) + bias
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        gradient = (p - np.eye(len(bias))[y]) * sample_weight[:, None] / len(y)
        slope = a * b / (b**2 + parameter**2)
        parameter = parameter - learning_rate * slope * (x.T @ gradient)
        bias = bias - learning_rate * gradient.sum(0)
    return parameter, bias, {}


LAYER_CASES = [
    Case(
        cls=keras_reg.layers.WeightCompander,
        kind="layer",
        mechanism="reparameterized kernel",
        arguments={"layer": make_dense, "a": 1.3, "b": 0.9},
        configurations=(
            {
                "layer": make_dense,
                "a": 0.9,
                "b": 0.6,
                "learnable": True,
                "function": "erf",
                "decay_on": "weight",
                "overflow": "clip",
            },
            {
                "layer": make_dense,
                "a": lambda: Float("a", 0.7, low=0.1),
                "b": lambda: Float("b", 0.8, low=0.1, log=True),
            },
        ),
        golden=("tests/ops/test_weight_compander.py::test_compand_weight_matches_golden_weights_and_gradients",),
        simulate=simulate_weight_compander,
        reference={"loss": 1.235242, "weights": 7.96435},
        wrong_arguments=(
            {"layer": "dense"},
            {"layer": None},
            {"a": 0.0},
            {"a": -1.0},
            {"a": True},
            {"a": float("nan")},
            {"a": float("inf")},
            {"a": "1"},
            {"b": 0.0},
            {"b": True},
            {"b": "1"},
            {"b": float("nan")},
            {"a": 0.01, "learnable": True},
            {"b": 0.01, "learnable": True},
            {"a": True, "learnable": True},
            {"b": "1", "learnable": True},
            {"learnable": 1},
            {"learnable": "no"},
            {"a": Float("a", 0.5)},
            {"b": Float("b", 0.5, low=0.01)},
            {"a": Float("a", 0.5, low=0.1), "learnable": True},
            {"function": "tanh"},
            {"function": True},
            {"decay_on": "kernel"},
            {"decay_on": None},
            {"overflow": "ignore"},
            {"overflow": 1},
        ),
    ),
    Case(
        cls=keras_reg.layers.WeightCompander,
        variant="learnable",
        kind="layer",
        mechanism="reparameterized kernel",
        arguments={"layer": make_dense, "a": 1.3, "b": 0.9, "learnable": True},
        configurations=({"layer": make_dense, "learnable": True},),
        state=lambda layer: {v.name: to_numpy(v) for v in layer.trainable_variables if len(v.shape) == 0},
        golden=("tests/ops/test_weight_compander.py::test_compand_weight_matches_golden_weights_and_gradients",),
        reference={"loss": 1.222487, "weights": 10.52263, "kernel_a": 1.856082, "kernel_b": 0.701006},
        not_applicable={"config_round_trip": "all arguments are in the other case"},
    ),
    Case(
        cls=keras_reg.layers.WeightNormalization,
        kind="layer",
        mechanism="reparameterized kernel",
        arguments={"layer": make_dense},
        configurations=({"layer": make_dense, "data_init": False},),
        state=lambda layer: {"lengths": to_numpy(layer.lengths[0])},
        golden=("tests/ops/test_weight_normalization.py::test_normalize_weight_matches_golden_loss_and_gradients",),
        reference={"loss": 1.396269, "weights": 42.77876, "lengths": 10.47833},
        wrong_arguments=({"layer": "dense"}, {"layer": None}, {"data_init": 1}, {"data_init": "yes"}),
    ),
    Case(
        cls=keras_reg.layers.SigmaReparam,
        kind="layer",
        mechanism="reparameterized kernel with state",
        arguments={"layer": make_dense},
        configurations=({"layer": make_dense},),
        state=lambda layer: {v.name: to_numpy(v) for v in layer.non_trainable_variables},
        golden=("tests/ops/test_sigma_reparam.py::test_sigma_reparam_ops_match_golden_loss_and_gradients",),
        reference={"loss": 1.23853, "weights": 11.42569, "kernel_singular_vector": 1.0},
        wrong_arguments=({"layer": "dense"}, {"layer": None}, {"layer": 3}),
    ),
    Case(
        cls=keras_reg.optimizers.CompanderScaled,
        kind="optimizer",
        mechanism="optimizer wrapper",
        arguments={"optimizer": lambda: keras.optimizers.Adam(0.01)},
        configurations=({"optimizer": lambda: keras.optimizers.Adam(0.5, weight_decay=0.1), "name": "companded"},),
        golden=(
            "tests/optimizers/test_compander_scaled.py::test_compander_scaled_matches_golden_trajectory_of_loss_gradients",
        ),
        reference={"loss": 1.191306, "weights": 7.82102},
        wrong_arguments=({"optimizer": None}, {"optimizer": 3}, {"optimizer": "adamm"}, {"name": 3}, {"name": True}),
    ),
]
