"""Tokens that are put into sequences and taken out: positions, masks, unknown shapes, precision, export."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg.layers import DropTokens, RegularizationTokens
from tests.support.wrapped import SumOfProducts, array, step_differences

X = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
BACKEND = keras.backend.backend()


@pytest.mark.parametrize("position", ["start", "end"])
def test_tokens_stand_where_they_are_asked_for(position):
    layer = RegularizationTokens(2, position, initializer="random_normal")
    got, tokens = array(layer(X)), array(layer.tokens)
    rows = np.broadcast_to(tokens, (3, 2, 4))
    expected = np.concatenate([rows, X] if position == "start" else [X, rows], axis=1)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(array(DropTokens(2, position)(got)), X)


def test_each_row_adds_to_the_gradient_of_the_tokens(compile_modes):
    """By hand: d(sum of outputs times g)/d(token i) is the sum of g over the batch at the token's place."""
    g = np.random.default_rng(1).normal(size=(3, 7, 4)).astype("float32")
    for mode in compile_modes:
        _, gradients = step_differences(RegularizationTokens(2), SumOfProducts(), X, g, **mode)
        np.testing.assert_allclose(gradients["tokens"], g[:, :2].sum(0), rtol=1e-5, atol=1e-6)
        _, gradients = step_differences(RegularizationTokens(2, "end"), SumOfProducts(), X, g, **mode)
        np.testing.assert_allclose(gradients["tokens"], g[:, 5:].sum(0), rtol=1e-5, atol=1e-6)


def attending(position: str, length: int | None = None) -> keras.Model:
    """Word numbers, 0 for padding -> embeddings, tokens, attention, and out again."""
    keras.utils.set_random_seed(3)
    words = keras.Input((length,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True, embeddings_initializer="random_normal")(words)
    x = RegularizationTokens(2, position, initializer="random_normal")(x)
    x = keras.layers.Add()([x, keras.layers.MultiHeadAttention(1, 4)(x, x)])
    x = DropTokens(2, position)(x)
    return keras.Model(words, keras.layers.GlobalAveragePooling1D()(x))


@pytest.mark.parametrize("position", ["start", "end"])
def test_padding_changes_nothing_and_lengths_may_be_unknown(position):
    model = attending(position)
    words = np.array([[1, 4, 2], [3, 3, 5]], "int32")
    short = model.predict(words, verbose=0)
    padded = model.predict(np.pad(words, ((0, 0), (0, 3))), verbose=0)
    np.testing.assert_allclose(padded, short, rtol=1e-5, atol=1e-6)
    assert model.layers[2].output.shape == (None, None, 4)


@pytest.mark.parametrize("position", ["start", "end"])
def test_masks_are_true_for_tokens_and_are_cut_again(position):
    mask = np.array([[True, False, True, True, False]] * 3)
    layer = RegularizationTokens(2, position)
    got = array(layer.compute_mask(X, ops.convert_to_tensor(mask)))
    padding = ((0, 0), (2, 0) if position == "start" else (0, 2))
    np.testing.assert_array_equal(got, np.pad(mask, padding, constant_values=True))
    np.testing.assert_array_equal(array(DropTokens(2, position).compute_mask(None, ops.convert_to_tensor(got))), mask)
    assert layer.compute_mask(X, None) is None
    assert DropTokens().compute_mask(X, None) is None


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_keeps_the_tokens_in_float32(policy):
    layer = RegularizationTokens(1, dtype=policy)
    outputs = layer(X)
    assert keras.backend.standardize_dtype(outputs.dtype) == policy.removeprefix("mixed_")
    assert layer.tokens.dtype == "float32"


def test_exported_models_give_the_same(tmp_path):
    if BACKEND != "tensorflow":
        pytest.skip("the format of TensorFlow")
    import tensorflow as tf

    model = attending("start", 3)
    words = np.array([[1, 4, 2], [3, 0, 0]], "int32")
    model.export(tmp_path / "exported", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    served = loaded.serve(words)
    np.testing.assert_allclose(served, model.predict(words, verbose=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cls", [RegularizationTokens, DropTokens])
@pytest.mark.parametrize("shape", [(3, 4), (3, 5, 5, 4)])
def test_other_than_sequences_are_refused(cls, shape):
    with pytest.raises(ValueError, match=r"\(batch, length, width\).*Received: inputs of shape"):
        cls()(np.zeros(shape, "float32"))


def test_dropping_everything_is_refused():
    with pytest.raises(ValueError, match=r"Received: inputs of shape .* with num_tokens=5"):
        DropTokens(5)(X)
