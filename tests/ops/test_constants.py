"""Tests that documented constants, and results documented without a gradient, have a gradient of exactly 0."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest
from keras import ops as keras_ops

from tests.support.benchmarks import import_benchmark
from tests.support.gradients import value_and_gradient
from tests.support.tiers import NOT_ON_JAX

OPS = import_benchmark("op_functions").op_functions()
RNG = np.random.default_rng(0)


def shares(*shape: int) -> np.ndarray:
    """Returns distributions over the last axis."""
    return RNG.dirichlet(np.ones(shape[-1]), shape[:-1]).astype("float32")


def numbers(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype("float32")


#: The arguments of each function, and the names of the arguments that get no gradient.
CONSTANTS = {
    "early_learning_penalty": ({"targets": shares(4, 3), "probabilities": shares(4, 3)}, ["targets"]),
    "follow": ({"target": numbers(3), "online": numbers(3), "momentum": 0.9}, ["target", "online"]),
    # The weights have a shape inside the table. Outside, the result would be constant anyway.
    "generalized_gaussian_shape": ({"weights": numbers(40) ** 3}, ["weights"]),
    "latent_prediction_loss": (
        {"predictions": numbers(2, 1, 3, 4), "targets": numbers(2, 1, 3, 4), "valid": np.ones((2, 1, 3), bool)},
        ["targets"],
    ),
    "score_function_term": ({"log_prob": numbers(4, 3), "cost": numbers(4), "baseline": 0.5}, ["cost"]),
    "soften_targets": (
        {"targets": shares(4, 3), "past_probabilities": shares(4, 3), "weight": np.float32(0.5)},
        ["targets", "past_probabilities", "weight"],
    ),
    "spectral_norm_step": ({"matrix": numbers(4, 3), "vector": numbers(4)}, ["vector"]),
    "update_early_targets": ({"targets": shares(4, 3), "probabilities": shares(4, 3)}, ["targets", "probabilities"]),
    "update_mask_base": ({"base": numbers(3), "outputs": numbers(4, 3)}, ["base", "outputs"]),
}
CASES = [(function, name) for function, (_, names) in CONSTANTS.items() for name in names]
#: These docstrings mention constants or missing gradients, but not for an argument that is an array.
OTHERS = {"dispersive_loss", "scaled_arctan", "soft_orthogonality"}


def gradient(function, arguments: dict, name: str) -> np.ndarray:
    """Returns the gradient of the sum of the squared results with respect to one argument."""

    arrays = {key: value for key, value in arguments.items() if isinstance(value, np.ndarray)}

    def squares(x):
        tensors = {key: keras_ops.convert_to_tensor(array) for key, array in arrays.items()}
        results = function(**{**arguments, **tensors, name: x})
        results = results if isinstance(results, tuple) else (results,)
        # The argument is added with a factor of 0, so that it is connected with the sum on every backend.
        return sum(keras_ops.sum(keras_ops.square(result)) for result in results) + 0 * keras_ops.sum(x)

    return value_and_gradient(squares, arguments[name])[1]


@NOT_ON_JAX
@pytest.mark.parametrize(("name", "argument"), CASES)
def test_documented_constants_have_zero_gradient(name, argument):
    arguments, _ = CONSTANTS[name]
    result = gradient(OPS[name], arguments, argument)
    np.testing.assert_array_equal(result, np.zeros_like(arguments[argument]))


@NOT_ON_JAX
@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("early_learning_penalty", "probabilities"),
        ("latent_prediction_loss", "predictions"),
        ("score_function_term", "log_prob"),
        ("spectral_norm_step", "matrix"),
    ],
)
def test_other_arguments_have_nonzero_gradient(name, argument):
    assert np.abs(gradient(OPS[name], CONSTANTS[name][0], argument)).max() > 1e-3


def test_next_singular_vector_has_zero_gradient():
    arguments = CONSTANTS["spectral_norm_step"][0]
    result = gradient(lambda **inputs: OPS["spectral_norm_step"](**inputs)[1], arguments, "matrix")
    np.testing.assert_array_equal(result, np.zeros((4, 3)))


@pytest.mark.any_backend
def test_every_documented_constant_is_tested():
    words = re.compile(r"constant|(no|without|without a) gradient|gradient flows through the \w+ alone", re.IGNORECASE)
    docstrings = {name: inspect.getdoc(function) or "" for name, function in OPS.items()}
    matching = {name for name, text in docstrings.items() if words.search(" ".join(text.split()))}
    assert matching == CONSTANTS.keys() | OTHERS, "add the function to `CONSTANTS`, or to `OTHERS`"
