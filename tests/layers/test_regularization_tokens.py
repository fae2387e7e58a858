"""Tests of tokens in sequences: positions, masks, unknown shapes, precision, export."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg.layers import DropTokens, RegularizationTokens
from tests.support.tiers import NOT_ON_JAX
from tests.support.wrapped import SumOfProducts, array, step_differences

X = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
BACKEND = keras.backend.backend()


@pytest.mark.parametrize("position", ["start", "end"])
def test_regularization_tokens_are_inserted_at_given_position(position):
    layer = RegularizationTokens(2, position=position, initializer="random_normal")
    got, tokens = array(layer(X)), array(layer.tokens)
    rows = np.broadcast_to(tokens, (3, 2, 4))
    expected = np.concatenate([rows, X] if position == "start" else [X, rows], axis=1)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(array(DropTokens(2, position=position)(got)), X)


def test_gradient_of_regularization_tokens_sums_over_batch(compile_modes):
    """Compares with the derivative of sum(outputs * g) by token i: the sum of g over the batch at its position."""
    g = np.random.default_rng(1).normal(size=(3, 7, 4)).astype("float32")
    for mode in compile_modes:
        _, gradients = step_differences(RegularizationTokens(2), SumOfProducts(), X, g, **mode)
        np.testing.assert_allclose(gradients["tokens"], g[:, :2].sum(0), rtol=1e-5, atol=1e-6)
        _, gradients = step_differences(RegularizationTokens(2, position="end"), SumOfProducts(), X, g, **mode)
        np.testing.assert_allclose(gradients["tokens"], g[:, 5:].sum(0), rtol=1e-5, atol=1e-6)


def make_attention(position: str, length: int | None = None) -> keras.Model:
    """Returns a model of words, 0 for padding, with tokens around the attention."""
    keras.utils.set_random_seed(3)
    words = keras.Input((length,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True, embeddings_initializer="random_normal")(words)
    x = RegularizationTokens(2, position=position, initializer="random_normal")(x)
    # Attention removes the mask of its inputs, and `x` has to keep its mask.
    normalized = keras.layers.LayerNormalization()(x)
    x = keras.layers.Add()([x, keras.layers.MultiHeadAttention(1, 4)(normalized, normalized)])
    x = DropTokens(2, position=position)(x)
    return keras.Model(words, keras.layers.GlobalAveragePooling1D()(x))


@NOT_ON_JAX
@pytest.mark.parametrize("position", ["start", "end"])
def test_regularization_tokens_accept_padding_and_unknown_lengths(position):
    model = make_attention(position)
    words = np.array([[1, 4, 2], [3, 3, 5]], "int32")
    short = model.predict(words, verbose=0)
    padded = model.predict(np.pad(words, ((0, 0), (0, 3))), verbose=0)
    np.testing.assert_allclose(padded, short, rtol=1e-5, atol=1e-6)
    assert model.layers[2].output.shape == (None, None, 4)


def test_keras_fault_attention_removes_mask_of_its_inputs():
    """Shows with Keras alone that later layers count the padding, from Keras 3.16 on in Functional models too."""
    embedding = keras.layers.Embedding(9, 4, mask_zero=True)
    mean, words = keras.layers.GlobalAveragePooling1D(), np.array([[1, 4, 0]], "int32")
    x = embedding(words)
    np.testing.assert_allclose(array(mean(x)), array(x)[:, :2].mean(1), rtol=1e-5, atol=1e-6)
    keras.layers.MultiHeadAttention(1, 4)(x, x)
    np.testing.assert_allclose(array(mean(x)), array(x).mean(1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("position", ["start", "end"])
def test_regularization_tokens_extend_masks_and_drop_tokens_cuts_masks(position):
    mask = np.array([[True, False, True, True, False]] * 3)
    layer = RegularizationTokens(2, position=position)
    got = array(layer.compute_mask(X, ops.convert_to_tensor(mask)))
    padding = ((0, 0), (2, 0) if position == "start" else (0, 2))
    np.testing.assert_array_equal(got, np.pad(mask, padding, constant_values=True))
    np.testing.assert_array_equal(
        array(DropTokens(2, position=position).compute_mask(None, ops.convert_to_tensor(got))), mask
    )
    assert layer.compute_mask(X, None) is None
    assert DropTokens().compute_mask(X, None) is None


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_regularization_tokens_stay_float32_in_half_precision(policy):
    layer = RegularizationTokens(1, dtype=policy)
    outputs = layer(X)
    assert keras.backend.standardize_dtype(outputs.dtype) == policy.removeprefix("mixed_")
    assert layer.tokens.dtype == "float32"


def test_exported_model_with_regularization_tokens_predicts_the_same(tmp_path):
    if BACKEND != "tensorflow":
        pytest.skip("SavedModel is a format of TensorFlow")
    import tensorflow as tf

    model = make_attention("start", 3)
    words = np.array([[1, 4, 2], [3, 0, 0]], "int32")
    model.export(tmp_path / "exported", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    served = loaded.serve(words)
    np.testing.assert_allclose(served, model.predict(words, verbose=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cls", [RegularizationTokens, DropTokens])
@pytest.mark.parametrize("shape", [(3, 4), (3, 5, 5, 4)])
def test_token_layers_reject_inputs_other_than_sequences(cls, shape):
    with pytest.raises(ValueError, match=r"\(batch, length, width\).*Received: inputs of shape"):
        cls()(np.zeros(shape, "float32"))


def test_drop_tokens_rejects_dropping_all_tokens():
    with pytest.raises(ValueError, match=r"Received: inputs of shape .* with num_tokens=5"):
        DropTokens(5)(X)
