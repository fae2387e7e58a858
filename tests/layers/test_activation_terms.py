"""Tests of layers that add a term of activations to the loss, in models."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_reg.layers import AttentionEntropy, CauchySchwarzBottleneck, Dispersive
from keras_reg.ops import attention_entropy, cauchy_schwarz_information, dispersive_loss
from keras_reg.ops.attention_entropy import entropy_deviation_penalty
from tests.support.tiers import NOT_ON_JAX, ON_TORCH

L = keras.layers
RNG = np.random.default_rng(0)
ROWS, TOKENS = RNG.normal(size=(6, 4)).astype("float32"), RNG.normal(size=(6, 5, 8)).astype("float32")
to_numpy = keras.ops.convert_to_numpy


def make_attention_model(layer, **arguments):
    """Returns a transformer block whose scores pass through the layer together with its outputs, and the scores."""
    inputs = keras.Input((5, 8))
    outputs, scores = L.MultiHeadAttention(2, 4)(inputs, inputs, return_attention_scores=True, **arguments)
    return keras.Model(inputs, layer(outputs, attention_scores=scores)), scores


@NOT_ON_JAX
def test_activation_terms_pass_outputs_and_add_loss_in_training_only():
    for layer, x, penalty in (
        (Dispersive(0.3), ROWS, float(dispersive_loss(ROWS))),
        (CauchySchwarzBottleneck(0.3), [ROWS, ROWS[:, :2]], float(cauchy_schwarz_information(ROWS, ROWS[:, :2]))),
        (AttentionEntropy(0.3, from_logits=True), ROWS, -float(to_numpy(attention_entropy(ROWS, True)).mean())),
    ):
        expected = x[-1] if isinstance(x, list) else x
        for training in (False, True):
            np.testing.assert_array_equal(to_numpy(layer(x, training=training)), expected)
            losses = [float(to_numpy(loss)) for loss in layer.losses]
            np.testing.assert_allclose(losses, [0.3 * penalty] * training, rtol=1e-5)


@NOT_ON_JAX
def test_activation_term_layers_pass_arguments_to_functions():
    """Sets each argument to a value other than its default, and compares the term with that of the function."""
    scores = TOKENS.reshape((6, 2, 5, 4))
    deviation = entropy_deviation_penalty(attention_entropy(scores, True), np.log(4), 0.7, 0.1)
    for layer, x, penalty in (
        (Dispersive(0.3, temperature=2.0), ROWS, dispersive_loss(ROWS, "l2", 2.0)),
        (Dispersive(0.3, kind="cosine", temperature=2.0), ROWS, dispersive_loss(ROWS, "cosine", 2.0)),
        (Dispersive(0.3, kind="hinge", margin=3.0), ROWS, dispersive_loss(ROWS, "hinge", margin=3.0)),
        (
            CauchySchwarzBottleneck(0.3, input_bandwidth=2.0, bandwidth=0.5),
            [ROWS, ROWS[:, :2]],
            cauchy_schwarz_information(ROWS, ROWS[:, :2], 2.0, 0.5),
        ),
        (
            AttentionEntropy(0.3, kind="threshold", from_logits=True, initial_threshold=0.7, margin=0.1),
            scores,
            to_numpy(deviation).mean(),
        ),
    ):
        layer(x, training=True)
        np.testing.assert_allclose(float(to_numpy(layer.losses[0])), 0.3 * float(penalty), rtol=1e-5)


@ON_TORCH
@pytest.mark.parametrize("kind", ["maximize", "threshold"])
def test_attention_entropy_changes_entropies_of_keras_attention(kind, compile_modes):
    """Trains with the term alone. The entropies grow, or approach their share of the largest one."""
    for mode in compile_modes:
        keras.utils.set_random_seed(0)
        layer = AttentionEntropy(2.0, kind=kind, initial_threshold=0.5, margin=0.0)
        model, scores = make_attention_model(layer)
        weights = keras.Model(model.input, scores)
        # The attention begins far from uniform, or almost uniform. The trained shares have one axis and are not scaled.
        factor = 3.0 if kind == "maximize" else 0.3
        model.set_weights([factor * value if value.ndim > 2 else value for value in model.get_weights()])
        model.compile(keras.optimizers.Adam(0.02), lambda y, p: 0.0 * keras.ops.sum(p, axis=(-2, -1)), **mode)
        before = to_numpy(attention_entropy(weights(TOKENS))).mean((0, 2))
        model.fit(TOKENS, np.zeros((6, 1)), epochs=20, verbose=0)
        after = to_numpy(attention_entropy(weights(TOKENS))).mean((0, 2))
        if kind == "maximize":
            assert (after > before + 0.1).all()
        else:
            thresholds = to_numpy(layer.thresholds)
            assert (np.abs(after - thresholds * np.log(5)) < 0.5 * np.abs(before - 0.5 * np.log(5))).all()
            assert (thresholds > 0.55).all()


def test_attention_entropy_uses_largest_entropy_of_causal_rows():
    """Uses uniform causal attention of entropy log(i + 1), which a share of 1 does not penalize in any row."""
    uniform = np.tril(np.ones((4, 4), "float32"))
    uniform = np.broadcast_to(uniform / uniform.sum(1, keepdims=True), (2, 3, 4, 4))
    losses = []
    for causal in (True, False):
        layer = AttentionEntropy(1.0, kind="threshold", initial_threshold=1.0, margin=0.0, causal=causal)
        layer(TOKENS, attention_scores=uniform, training=True)
        losses.append(float(to_numpy(layer.losses[0])))
    assert losses[0] == pytest.approx(0.0, abs=1e-6)
    assert losses[1] == pytest.approx(np.mean((np.log([1, 2, 3, 4]) - np.log(4)) ** 2), rel=1e-5)


@NOT_ON_JAX
def test_activation_terms_do_not_depend_on_batch_size():
    """Compares a batch with the same batch twice. The term of an activity regularizer, or a sum, would differ."""
    twice = np.concatenate([ROWS, ROWS])
    for make in (lambda: Dispersive(1.0), lambda: AttentionEntropy(1.0, from_logits=True)):
        once, more = make(), make()
        once(ROWS, training=True)
        more(twice, training=True)
        np.testing.assert_allclose(to_numpy(once.losses[0]), to_numpy(more.losses[0]), rtol=1e-5)


@ON_TORCH
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_activation_terms_are_float32_in_mixed_precision(policy):
    """Checks that terms are float32, and that the tensor that passes through keeps its type."""
    keras.config.set_dtype_policy(policy)
    try:
        layer = AttentionEntropy(0.1, kind="threshold")
        model, _ = make_attention_model(layer)
        model.compile("adam", "mse")
        losses = model.fit(TOKENS, TOKENS, epochs=2, verbose=0).history["loss"]
        passed = Dispersive()(keras.ops.cast(ROWS, "float32"), training=True)
        spread = Dispersive()
        spread(keras.ops.cast(60 * ROWS, policy[6:]), training=True)
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(losses).all()
    assert keras.backend.standardize_dtype(passed.dtype) == "float32"
    assert keras.backend.standardize_dtype(layer.thresholds.dtype) == "float32"
    assert keras.backend.standardize_dtype(spread.losses[0].dtype) == "float32"
    assert np.isfinite(to_numpy(spread.losses[0]))


@NOT_ON_JAX
def test_attention_entropy_shares_are_saved_and_loaded(tmp_path):
    model, _ = make_attention_model(AttentionEntropy(0.1, kind="threshold", causal=True), use_causal_mask=True)
    model.layers[-1].thresholds.assign([0.3, 0.8])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(to_numpy(loaded.layers[-1].thresholds), [0.3, 0.8], rtol=1e-6)
    np.testing.assert_allclose(
        loaded.predict(TOKENS, verbose=0), model.predict(TOKENS, verbose=0), rtol=1e-5, atol=1e-6
    )


def test_activation_term_layers_pass_masks():
    assert Dispersive().compute_mask(TOKENS, "mask") == "mask"
    pair = [ROWS, TOKENS]
    assert CauchySchwarzBottleneck().compute_mask(pair, [None, "mask"]) == "mask"
    assert CauchySchwarzBottleneck().compute_mask(pair, None) is None


def test_activation_term_layers_reject_bad_input():
    with pytest.raises(ValueError, match=r"list of two tensors.*Received"):
        CauchySchwarzBottleneck()(ROWS)
    with pytest.raises(ValueError, match=r"\(batch, heads, queries, keys\).*Received"):
        AttentionEntropy(kind="threshold")(ROWS)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="with other backends, a step knows all sizes")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_activation_term_layers_accept_unknown_sizes(jit_compile):
    """Trains on an unknown length, as with batches that are padded to their longest sequence."""
    import tensorflow as tf

    def train(length, layers):
        inputs = keras.Input((length, 8))
        outputs, scores = L.MultiHeadAttention(2, 4)(inputs, inputs, return_attention_scores=True)
        outputs = inputs + outputs
        for layer in layers:
            outputs = layer([inputs, outputs] if isinstance(layer, CauchySchwarzBottleneck) else outputs)
        for causal in (False, True):
            layer = AttentionEntropy(1.0, kind="threshold", initial_threshold=0.1, causal=causal)
            outputs = layer(outputs, attention_scores=scores)
        model = keras.Model(inputs, L.GlobalAveragePooling1D()(outputs))
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit_compile)
        model.set_weights([np.full(w.shape, 0.1) for w in model.get_weights()])
        spec = tf.TensorSpec((6, length, 8)), tf.TensorSpec((6, 8))
        data = tf.data.Dataset.from_generator(lambda: [(TOKENS, TOKENS[:, 0])], output_signature=spec)
        data = data.apply(tf.data.experimental.assert_cardinality(1))
        return model.fit(data, shuffle=False, verbose=0).history["loss"]

    def make_layers():
        return [Dispersive(1.0), Dispersive(1.0, kind="covariance"), CauchySchwarzBottleneck(1.0)]

    np.testing.assert_allclose(train(None, make_layers()), train(5, make_layers()), rtol=1e-5)
