"""Tests of sample ids for arrays, and of the models that accept them."""

import re
import warnings

import keras
import numpy as np
import pytest

from keras_reg.data import SAMPLE_ID, accept_sample_ids, with_sample_ids
from tests.data.models import ROWS, Subclassed, functional, gap_model, rows, sequential
from tests.support.tiers import ON_TORCH

IGNORES_EXTRA_KEYS = tuple(int(part) for part in keras.__version__.split(".")[:2]) >= (3, 16)


def check(packed, expected, ids=range(ROWS)):
    assert sorted(packed) == sorted([*expected, SAMPLE_ID])
    for name, array in expected.items():
        assert packed[name] is array
    assert packed[SAMPLE_ID].dtype == np.int32
    np.testing.assert_array_equal(packed[SAMPLE_ID], list(ids))


@pytest.mark.parametrize("make", [sequential, functional, lambda: functional(form="list")])
def test_with_sample_ids_accepts_one_input(make):
    x, _ = rows()
    model = make()
    for inputs in (x, [x], (x,), {"image": x}):
        check(with_sample_ids(model, inputs), {"image": x})


@pytest.mark.parametrize("form", ["list", "tuple"])
def test_with_sample_ids_accepts_several_inputs(form):
    x, _ = rows()
    model = functional(("left", "right"), form)
    check(with_sample_ids(model, [x, x]), {"left": x, "right": x})
    other = 2 * x
    check(with_sample_ids(model, (x, other)), {"left": x, "right": other})
    check(with_sample_ids(model, {"right": other, "left": x}), {"left": x, "right": other})


def test_with_sample_ids_accepts_unnamed_input():
    x, _ = rows()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    check(with_sample_ids(model, x), {model.inputs[0].name: x})
    deferred = keras.Sequential([keras.layers.Dense(3)])
    deferred.build((None, 4))
    check(with_sample_ids(deferred, x), {deferred.inputs[0].name: x})
    nested = keras.Sequential([sequential(), keras.layers.Dense(2)])
    nested.build((None, 4))
    check(with_sample_ids(nested, x), {nested.inputs[0].name: x})


def unnamed(inputs: int) -> keras.Model:
    tensors = [keras.Input((4,)) for _ in range(inputs)]
    model = keras.Model(tensors if inputs > 1 else tensors[0], keras.layers.Dense(3)(sum(tensors)))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def test_keras_fault_unnamed_inputs_have_two_names():
    model, x = unnamed(1), np.ones((6, 4), "float32")
    assert model.inputs[0].name != model.layers[0].name
    with pytest.raises((ValueError, RuntimeError), match="Missing data for input"):
        model.fit({model.inputs[0].name: x, "sample_id": np.arange(6)}, np.zeros(6), verbose=0)


@ON_TORCH
@pytest.mark.parametrize("inputs", [1, 2])
@pytest.mark.filterwarnings("error")
def test_with_sample_ids_accepts_functional_models_without_names(inputs):
    x, y = [np.ones((6, 4), "float32")] * inputs, np.zeros(6)
    model = unnamed(inputs)
    x = x if inputs > 1 else x[0]
    expected = model.evaluate(x, y, verbose=0)
    numbered = with_sample_ids(model, x)
    assert set(numbered) == {layer.name for layer in model.layers[:inputs]} | {"sample_id"}
    assert model.evaluate(numbered, y, verbose=0) == pytest.approx(expected)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(expected)
    model.fit(numbered, y, verbose=0)


def test_with_sample_ids_respects_start_and_num_samples():
    x, _ = rows()
    model = functional()
    check(with_sample_ids(model, x, start=5, num_samples=ROWS + 5), {"image": x}, range(5, ROWS + 5))
    check(with_sample_ids(model, x, start=np.int64(5)), {"image": x}, range(5, ROWS + 5))
    with pytest.raises(ValueError, match=rf"range from 6 to {ROWS + 5}.*num_samples={ROWS + 5}"):
        with_sample_ids(model, x, start=6, num_samples=ROWS + 5)
    with pytest.raises(ValueError, match="int32"):
        with_sample_ids(model, x, start=2**31 - ROWS + 1)
    assert with_sample_ids(model, x, start=2**31 - ROWS)[SAMPLE_ID][-1] == 2**31 - 1


def test_with_sample_ids_rejects_bad_start_and_num_samples():
    model = functional()
    for start in (-1, 1.0, True, "1", None, np.float32(1)):
        with pytest.raises(ValueError, match=rf"`start`.*start={re.escape(repr(start))}"):
            with_sample_ids(model, rows()[0], start=start)
    for num_samples in (0, -3, 30.0, True, "30"):
        with pytest.raises(ValueError, match=rf"`num_samples`.*num_samples={num_samples!r}"):
            with_sample_ids(model, rows()[0], num_samples=num_samples)
    for batched in (1, "no"):
        with pytest.raises(ValueError, match=rf"`batched` must be True, False or None.*batched={batched!r}"):
            with_sample_ids(model, rows()[0], batched=batched)


def test_with_sample_ids_accepts_backend_tensors():
    x, _ = rows()
    tensor = keras.ops.convert_to_tensor(x)
    check(with_sample_ids(functional(), tensor), {"image": tensor})


def test_with_sample_ids_rejects_bad_x():
    model = functional()
    cases = [
        (None, "NoneType"),
        ("images", "Received: str"),
        ((n for n in range(3)), "tf.data.Dataset.*PyDataset.*Received: generator"),
        (np.float32(3), r"shape \(\)"),
        (np.zeros((0, 4)), "no samples"),
        ([], r"1 input\(s\)"),
        ({}, r"Missing: \['image'\]"),
        ([[1.0, 2.0]], "Received: float"),
        ([np.zeros((3, 4)), np.zeros((3, 4))], r"1 input\(s\).*Received: 2"),
        ({"picture": np.zeros((3, 4))}, r"Missing: \['image'\], unexpected: \['picture'\]"),
        ({"image": np.zeros((3, 4)), "mask": np.zeros(3)}, r"unexpected: \['mask'\]"),
        ({"image": np.zeros((3, 4)), "sample_id": np.arange(3)}, "already has the key 'sample_id'"),
        (keras.KerasTensor((3, 4)), "Received: KerasTensor"),
    ]
    for x, message in cases:
        with pytest.raises(ValueError, match=message):
            with_sample_ids(model, x)


def test_with_sample_ids_rejects_unequal_lengths():
    with pytest.raises(ValueError, match=r"same number of samples. Received: \[3, 4\]"):
        with_sample_ids(functional(("a", "b"), "list"), [np.zeros((3, 4)), np.zeros((4, 4))])


def test_with_sample_ids_rejects_batched_for_arrays():
    with pytest.raises(ValueError, match="`batched` applies only to"):
        with_sample_ids(functional(), rows()[0], batched=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: "model", "must be the `keras.Model`"),
        (Subclassed, "its own `call`.*accept_sample_ids"),
        (lambda: functional(("a", "b"), "dict"), "dictionary of inputs.*accept_sample_ids"),
        (lambda: functional(("a", "b", "c"), "nested"), "nested structure.*accept_sample_ids"),
        (lambda: keras.Sequential([keras.layers.Dense(3)]), "does not know its inputs.*build"),
        (lambda: functional(("sample_id",)), "input called 'sample_id'"),
    ],
)
def test_with_sample_ids_rejects_unsuitable_models(make, message):
    with pytest.raises(ValueError, match=message):
        with_sample_ids(make(), rows()[0])


def test_with_sample_ids_needs_adapter_for_functional_model_with_own_call():
    class OwnCall(keras.Model):
        def __init__(self):
            inputs = keras.Input((4,), name="image")
            super().__init__(inputs, keras.layers.Dense(3)(inputs))

        def call(self, inputs, training=None):
            return super().call(2 * inputs, training=training)

    with pytest.raises(ValueError, match="accept_sample_ids"):
        with_sample_ids(OwnCall(), rows()[0])
    with_sample_ids(accept_sample_ids(OwnCall()), rows()[0])


def test_keras_fault_dict_model_receives_extra_keys():
    """Shows why models built from a dictionary are rejected: Keras before 3.16 does not ignore extra keys."""
    inputs = {name: keras.Input((1,), name=name) for name in ("y", "z")}
    model = keras.Model(inputs, keras.layers.Concatenate()(list(inputs.values())))
    data = {"y": np.full((3, 1), 10.0), "z": np.full((3, 1), 20.0)}
    np.testing.assert_array_equal(model(data), [[10.0, 20.0]] * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [[10, 20]] * 3 if IGNORES_EXTRA_KEYS else [[0, 10], [1, 10], [2, 10]]
        np.testing.assert_array_equal(model({**data, SAMPLE_ID: np.arange(3)}), expected)


def test_sample_ids_follow_rows_through_shuffling():
    x, y = rows()
    model = gap_model()
    data = with_sample_ids(model, x)
    history = model.fit(data, y, batch_size=6, epochs=2, shuffle=True, verbose=0).history
    assert history["loss"] == [0.0, 0.0]
    wrong = {**data, SAMPLE_ID: data[SAMPLE_ID][::-1]}  # The loss shows if ids and rows disagree.
    assert model.fit(wrong, y, batch_size=6, verbose=0).history["loss"][0] > 1.0


@ON_TORCH
@pytest.mark.parametrize("make", [sequential, lambda: functional(form="list")])
def test_sample_ids_keep_training_and_evaluation_unchanged(make):
    x, y = rows()
    results = []
    for numbered in (False, True):
        keras.utils.set_random_seed(1)
        model = make()
        data = with_sample_ids(model, x) if numbered else x
        history = model.fit(data, y, batch_size=5, epochs=2, verbose=0, validation_data=(x, y)).history
        loss = model.evaluate(data, y, batch_size=5, verbose=0)
        outputs = model.predict(data, batch_size=5, verbose=0)
        np.testing.assert_allclose(model.predict(x, batch_size=5, verbose=0), outputs, rtol=1e-6)
        results.append([*history["loss"], *history["val_loss"], loss, outputs, *model.get_weights()])
    for unnumbered, numbered in zip(*results, strict=True):
        np.testing.assert_allclose(unnumbered, numbered, rtol=1e-6, atol=1e-6)
    assert results[0][0] != results[0][1]  # The model has learned.


def test_model_of_two_inputs_trains_with_sample_ids():
    x, y = rows()
    model = functional(("left", "right"), "list")
    before = model.get_weights()[0]
    model.fit(with_sample_ids(model, [x, 2 * x]), y, verbose=0)
    np.testing.assert_allclose(
        model.predict({"right": 2 * x, "left": x, SAMPLE_ID: np.arange(ROWS)}, verbose=0),
        model.predict([x, 2 * x], verbose=0),
        rtol=1e-6,
    )
    assert np.abs(model.get_weights()[0] - before).max() > 0


# --- The false warning of Keras about a model with one input that receives a dictionary ---


def test_keras_fault_single_input_dict_raises_false_warning():
    """Fails once Keras has fixed it. `silence_single_input_dict_warning` can then be removed."""
    x, _ = rows()
    for model in (sequential("plain"), functional(("plain",))):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            with pytest.warns(UserWarning, match=r"Expected: plain\nReceived: inputs=\['Tensor"):
                model({"plain": x, SAMPLE_ID: np.arange(ROWS)})


@pytest.mark.parametrize("name", ["image", "a.b(c)"])
def test_with_sample_ids_filters_false_warning_once(name):
    x, _ = rows()
    model = functional((name,))
    with pytest.raises(UserWarning, match="Expected: "):  # In tests, warnings are errors.
        model({name: x, SAMPLE_ID: np.arange(ROWS)})
    data = with_sample_ids(model, x)
    filters = len(warnings.filters)
    with_sample_ids(model, x)
    assert len(warnings.filters) == filters
    model(data)


def test_with_sample_ids_keeps_other_structure_warnings():
    x, _ = rows()
    model = functional()
    with_sample_ids(model, x)
    with pytest.raises(ValueError, match=r"structure of `inputs`|Missing data"):
        model({"picture": x})
    with pytest.raises((ValueError, UserWarning), match=r"structure of `inputs`|expects 1"):
        model([x, x])
    with pytest.raises(UserWarning, match="Expected: other"):
        functional(("other",))({"other": x, SAMPLE_ID: np.arange(ROWS)})
    ignored = "Ignored fields: 'sample_id'" if IGNORES_EXTRA_KEYS else r"Expected: \{'image': 'image'\}"
    with pytest.raises(UserWarning, match=ignored):
        functional(("image",), "dict")({"image": x, SAMPLE_ID: np.arange(ROWS)})
    begin = "The structure of `inputs` doesn't match the expected structure.\nExpected: image\nReceived: inputs="
    warnings.warn(begin + "['Tensor(shape=(4, 4))']", stacklevel=1)
    for received in (
        "['Tensor(shape=(4, 4))', 'Tensor(shape=(4, 4))']",
        "{'image': 'Tensor(shape=(4, 4))'}",
        "['Tensor(shape=(4, 4))'] and more",
    ):
        with pytest.raises(UserWarning, match="Received"):
            warnings.warn(begin + received, stacklevel=1)
