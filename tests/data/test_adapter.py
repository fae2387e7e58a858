"""Tests of the adapter that removes the sample ids before it calls a model."""

import keras
import numpy as np
import pytest

from keras_reg.data import SAMPLE_ID, SampleIdAdapter, accept_sample_ids, with_sample_ids
from tests.data.models import (
    NoTrainingArgument,
    Subclassed,
    TakesDict,
    TakesList,
    compiled,
    functional,
    gap,
    rows,
    sequential,
)
from tests.support.tiers import NOT_ON_JAX, ON_TORCH


def single(x):
    return x


def pair(x):
    return [x, 2 * x]


def named(*names):
    return lambda x: dict(zip(names, pair(x), strict=False))


CASES = {
    "subclassed": (Subclassed, single, ["inputs"]),
    "no_training_argument": (NoTrainingArgument, single, ["inputs"]),
    "list": (TakesList, pair, ["inputs_0", "inputs_1"]),
    "dict": (TakesDict, named("left", "right"), ["left", "right"]),
    "functional_dict": (lambda: functional(("left", "right"), "dict"), named("left", "right"), ["left", "right"]),
    "functional_dict_of_one": (lambda: functional(("inputs",), "dict"), named("inputs"), ["inputs"]),
}


@ON_TORCH
@pytest.mark.parametrize("case", CASES)
def test_sample_id_adapter_trains_as_wrapped_model(case):
    make, arrange, keys = CASES[case]
    x, y = rows()
    x = x / 10
    results = []
    for adapted in (False, True):
        keras.utils.set_random_seed(3)
        inner = make()
        model = compiled(accept_sample_ids(inner) if adapted else inner)
        data = arrange(x)
        if adapted:
            assert model.model is inner
            data = with_sample_ids(model, data)
            assert sorted(data) == sorted([*keys, SAMPLE_ID])
        history = model.fit(data, y, batch_size=5, epochs=3, verbose=0, validation_data=(arrange(x), y)).history
        outputs = [keras.ops.convert_to_numpy(model(inputs)) for inputs in (arrange(x), data)]
        outputs += [keras.ops.convert_to_numpy(inner(arrange(x)))]
        if case in ("subclassed", "functional_dict"):  # Each call below recompiles, which is slow.
            outputs += [model.predict(inputs, batch_size=5, verbose=0) for inputs in (arrange(x), data)]
            outputs += [model.evaluate(inputs, y, batch_size=5, verbose=0) for inputs in (arrange(x), data)]
        results.append([history["loss"], history["val_loss"], *outputs, *inner.get_weights()])
    for unwrapped, adapted in zip(*results, strict=True):
        np.testing.assert_allclose(unwrapped, adapted, rtol=1e-6, atol=1e-6)
    assert results[0][0][0] != results[0][0][2]


@NOT_ON_JAX
def test_sample_id_adapter_passes_ids_of_rows_to_loss():
    x, y = rows()
    model = compiled(accept_sample_ids(Subclassed()))
    standard_loss = model.compute_loss

    def compute_loss(x, *args, **kwargs):
        return gap(x, "inputs") + 0.0 * standard_loss(x, *args, **kwargs)

    model.compute_loss = compute_loss
    assert model.fit(with_sample_ids(model, x), y, batch_size=6, epochs=2, verbose=0).history["loss"] == [0.0, 0.0]


def test_accept_sample_ids_returns_suitable_models_unchanged():
    for model in (
        sequential(),
        functional(),
        functional(("a", "b"), "list"),
        functional(("a", "b"), "tuple"),
        keras.Sequential([keras.layers.Dense(3)]),
        accept_sample_ids(Subclassed()),
    ):
        assert accept_sample_ids(model) is model


def test_sample_id_adapter_accepts_nested_inputs():
    x, _ = rows()
    inner = functional(("a", "b", "c"), "nested")
    model = accept_sample_ids(inner)
    data = with_sample_ids(model, [x, [2 * x, 3 * x]])
    outputs = [keras.ops.convert_to_numpy(output) for output in (model(data), inner([x, [2 * x, 3 * x]]))]
    np.testing.assert_allclose(*outputs, rtol=1e-6)
    with pytest.raises(ValueError, match="same number of samples"):
        with_sample_ids(model, [x, [x, x[1:]]])


@ON_TORCH
@pytest.mark.parametrize("case", ["subclassed", "functional_dict"])
def test_sample_id_adapter_loads_from_keras_file(case, tmp_path):
    make, arrange, _ = CASES[case]
    x, y = rows()
    model = compiled(accept_sample_ids(make()))
    data = with_sample_ids(model, arrange(x))
    model.fit(data, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is SampleIdAdapter
    assert loaded.name == model.name
    outputs = [keras.ops.convert_to_numpy(net(inputs)) for net, inputs in ((loaded, data), (model, arrange(x)))]
    np.testing.assert_allclose(*outputs, rtol=1e-6)
    assert len(loaded.model.trainable_variables) == len(model.model.trainable_variables) > 0
    assert loaded.compiled


def test_sample_id_adapter_has_registered_name():
    assert keras.saving.get_registered_name(SampleIdAdapter) == "keras_reg>SampleIdAdapter"


@pytest.mark.parametrize("x", [{"inputs": np.zeros((3, 4))}, {"inputs_0": np.zeros(3), "inputs_1": np.zeros(3)}])
def test_sample_id_adapter_rejects_reserved_keys(x):
    with pytest.raises(ValueError, match="reserved for arrays without a name"):
        with_sample_ids(accept_sample_ids(TakesDict()), x)
    assert with_sample_ids(accept_sample_ids(TakesDict()), {**x, "mask": np.zeros(3)})[SAMPLE_ID].shape == (3,)


def test_sample_id_adapter_of_dict_model_needs_a_dict():
    x, _ = rows()
    model = accept_sample_ids(functional(("a", "b"), "dict"))
    with pytest.raises(ValueError, match="takes a dictionary"):
        with_sample_ids(model, [x, x])
    with pytest.raises(ValueError, match=r"Missing: \['b'\], unexpected: \['c'\]"):
        with_sample_ids(model, {"a": x, "c": x})


def test_accept_sample_ids_rejects_unsuitable_models():
    class OwnLoss(Subclassed):
        def compute_loss(self, *args, **kwargs):
            return super().compute_loss(*args, **kwargs)

    class OwnStep(Subclassed):
        def train_step(self, *args):
            return super().train_step(*args)

    with pytest.raises(ValueError, match=r"defines \['compute_loss'\].*OwnLoss"):
        accept_sample_ids(OwnLoss())
    with pytest.raises(ValueError, match=r"defines \['train_step'\].*OwnStep"):
        accept_sample_ids(OwnStep())
    with pytest.raises(ValueError, match=r"must be a `keras.Model`.*Dense"):
        accept_sample_ids(keras.layers.Dense(3))
    for form in ("single", "dict"):
        with pytest.raises(ValueError, match="input called 'sample_id'"):
            accept_sample_ids(functional(("sample_id",), form))


def test_sample_id_adapter_uses_precision_of_inner_model():
    class Dtypes(keras.Model):
        def call(self, inputs):
            dtypes.append(keras.backend.standardize_dtype(inputs.dtype))
            return inputs

    dtypes = []
    x, _ = rows()
    before = keras.config.dtype_policy()
    inner = Dtypes()
    try:
        keras.config.set_dtype_policy("mixed_float16")
        adapter, half = accept_sample_ids(inner), accept_sample_ids(Dtypes())
        uncast = accept_sample_ids(Dtypes(autocast=False))
    finally:
        keras.config.set_dtype_policy(before)
    for model, dtype in ((adapter, "float32"), (half, "float16"), (uncast, "float32")):
        model(with_sample_ids(model, x))
        assert dtypes[-1] == dtype
    # The compiled model scales the loss of a float16 model.
    adapter.compile("sgd", "mse")
    half.compile("sgd", "mse")
    kinds = [isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer) for model in (adapter, half)]
    assert kinds == [False, True]


@NOT_ON_JAX
def test_sample_id_adapter_passes_training_flag():
    x, _ = rows()
    outputs = {}
    for make in (Subclassed, NoTrainingArgument):
        keras.utils.set_random_seed(0)
        model = accept_sample_ids(make())
        data = with_sample_ids(model, x)
        outputs[make] = [keras.ops.convert_to_numpy(model(data, training=training)) for training in (None, False, True)]
        np.testing.assert_array_equal(outputs[make][0], outputs[make][1])
    assert np.abs(outputs[Subclassed][1] - outputs[Subclassed][2]).max() > 1e-3
    # `fit` does not pass the argument to such a model either.
    np.testing.assert_array_equal(outputs[NoTrainingArgument][1], outputs[NoTrainingArgument][2])
