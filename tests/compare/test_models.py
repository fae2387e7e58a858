"""Tests of the models of a comparison."""

import keras
import numpy as np
import pytest

from keras_reg.compare import models
from keras_reg.compare.datasets import Dataset
from keras_reg.compare.errors import InputError
from tests.support.tiers import NOT_ON_JAX

IMAGES = Dataset("images", np.zeros((8, 32, 32, 3), np.uint8), np.arange(8) % 2, None, None, ("a", "b"))
TABLE = Dataset("table", np.zeros((8, 5), np.float32), np.arange(8) % 2, None, None, ("a", "b"))


def probabilities(input_shape, num_classes):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(num_classes, activation="softmax")])


def too_wide(input_shape, num_classes):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(num_classes + 1)])


def no_model(input_shape, num_classes):
    return "a model"


def failing(input_shape, num_classes):
    raise RuntimeError("first line\nsecond line")


def linear(input_shape, num_classes):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(num_classes)])


@NOT_ON_JAX
@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet"])
def test_compared_models_return_logits_of_named_input(name):
    model = models.find_model_function(name, IMAGES)((32, 32, 3), 10)
    assert model.output_shape == (None, 10)
    assert model.input.name == "image"
    assert not model.compiled
    assert not hasattr(model.layers[-1].activation, "__self__")
    assert model.layers[-1].activation is keras.activations.linear


@NOT_ON_JAX
def test_compared_resnet_has_eight_layers_and_documented_size():
    model = models.resnet((32, 32, 3), 10)
    kernels = [layer for layer in model.layers if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))]
    # The two shortcuts have kernels too.
    assert len(kernels) == 8 + 2
    assert model.count_params() == pytest.approx(78_000, rel=0.02)


def test_auto_model_depends_on_data():
    assert models.resolve_name("auto", IMAGES) == "cnn"
    assert models.resolve_name("auto", TABLE) == "mlp"
    assert models.resolve_name("resnet", IMAGES) == "resnet"


def test_find_model_function_imports_user_model():
    function = models.find_model_function(f"{__name__}:linear", TABLE)
    assert function((5,), 2).output_shape == (None, 2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cnn", "needs images"),
        ("transformer", "must be one of auto, mlp, cnn, resnet or package.module:function"),
        ("no_such_module:build", "cannot be imported: No module named"),
        (f"{__name__}:no_such_function", "cannot be imported"),
        (f"{__name__}:TABLE", "is not a function"),
        (f"{__name__}:no_model", "it returned str, not a keras.Model"),
        (f"{__name__}:failing", "first line second line"),
        (f"{__name__}:too_wide", r"returns shape \(2, 3\), not \(2, 2\)"),
        (f"{__name__}:probabilities", "returns probabilities"),
    ],
)
def test_find_model_function_rejects_bad_models(name, message):
    with pytest.raises(InputError, match=message) as caught:
        models.find_model_function(name, TABLE)
    assert "\n" not in str(caught.value)
