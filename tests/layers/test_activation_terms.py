"""Layers that add a term of activations to the loss, in models."""

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
numpy = keras.ops.convert_to_numpy


def attention_model(layer, **arguments):
    """A transformer block whose scores go through the layer beside its outputs."""
    inputs = keras.Input((5, 8))
    outputs, scores = L.MultiHeadAttention(2, 4)(inputs, inputs, return_attention_scores=True, **arguments)
    return keras.Model(inputs, layer(outputs, attention_scores=scores)), scores


@NOT_ON_JAX
def test_activation_terms_pass_outputs_and_add_loss_in_training_only():
    for layer, x, penalty in (
        (Dispersive(0.3), ROWS, float(dispersive_loss(ROWS))),
        (CauchySchwarzBottleneck(0.3), [ROWS, ROWS[:, :2]], float(cauchy_schwarz_information(ROWS, ROWS[:, :2]))),
        (AttentionEntropy(0.3, from_logits=True), ROWS, -float(numpy(attention_entropy(ROWS, True)).mean())),
    ):
        expected = x[-1] if isinstance(x, list) else x
        for training in (False, True):
            np.testing.assert_array_equal(numpy(layer(x, training=training)), expected)
            losses = [float(numpy(loss)) for loss in layer.losses]
            np.testing.assert_allclose(losses, [0.3 * penalty] * training, rtol=1e-5)


@NOT_ON_JAX
def test_activation_term_layers_pass_arguments_to_functions():
    """None of them is left at its default: the term is what the functions give for the arguments."""
    scores = TOKENS.reshape((6, 2, 5, 4))
    deviation = entropy_deviation_penalty(attention_entropy(scores, True), np.log(4), 0.7, 0.1)
    for layer, x, penalty in (
        (Dispersive(0.3, temperature=2.0), ROWS, dispersive_loss(ROWS, "l2", 2.0)),
        (Dispersive(0.3, "cosine", temperature=2.0), ROWS, dispersive_loss(ROWS, "cosine", 2.0)),
        (Dispersive(0.3, "hinge", margin=3.0), ROWS, dispersive_loss(ROWS, "hinge", margin=3.0)),
        (
            CauchySchwarzBottleneck(0.3, input_bandwidth=2.0, bandwidth=0.5),
            [ROWS, ROWS[:, :2]],
            cauchy_schwarz_information(ROWS, ROWS[:, :2], 2.0, 0.5),
        ),
        (AttentionEntropy(0.3, "threshold", True, initial_threshold=0.7, margin=0.1), scores, numpy(deviation).mean()),
    ):
        layer(x, training=True)
        np.testing.assert_allclose(float(numpy(layer.losses[0])), 0.3 * float(penalty), rtol=1e-5)


@ON_TORCH
@pytest.mark.parametrize("kind", ["maximize", "threshold"])
def test_attention_entropy_changes_entropies_of_keras_attention(kind, compile_modes):
    """The model's own loss is 0: what moves is the term. Entropies grow, or come near to the share of the largest."""
    for mode in compile_modes:
        keras.utils.set_random_seed(0)
        layer = AttentionEntropy(2.0, kind, initial_threshold=0.5, margin=0.0)
        model, scores = attention_model(layer)
        weights = keras.Model(model.input, scores)
        # Far from uniform, or nearly so; kernels only, for the trained shares are weights too.
        factor = 3.0 if kind == "maximize" else 0.3
        model.set_weights([factor * value if value.ndim > 2 else value for value in model.get_weights()])
        model.compile(keras.optimizers.Adam(0.02), lambda y, p: 0.0 * keras.ops.sum(p, axis=(-2, -1)), **mode)
        before = numpy(attention_entropy(weights(TOKENS))).mean((0, 2))
        model.fit(TOKENS, np.zeros((6, 1)), epochs=20, verbose=0)
        after = numpy(attention_entropy(weights(TOKENS))).mean((0, 2))
        if kind == "maximize":
            assert (after > before + 0.1).all()
        else:
            thresholds = numpy(layer.thresholds)
            assert (np.abs(after - thresholds * np.log(5)) < 0.5 * np.abs(before - 0.5 * np.log(5))).all()
            assert (thresholds > 0.55).all()


def test_attention_entropy_uses_largest_entropy_of_causal_rows():
    """Uniform causal attention has the entropy log(i + 1): with a share of 1 that is what is wanted, in every row."""
    uniform = np.tril(np.ones((4, 4), "float32"))
    uniform = np.broadcast_to(uniform / uniform.sum(1, keepdims=True), (2, 3, 4, 4))
    losses = []
    for causal in (True, False):
        layer = AttentionEntropy(1.0, "threshold", initial_threshold=1.0, margin=0.0, causal=causal)
        layer(TOKENS, attention_scores=uniform, training=True)
        losses.append(float(numpy(layer.losses[0])))
    assert losses[0] == pytest.approx(0.0, abs=1e-6)
    assert losses[1] == pytest.approx(np.mean((np.log([1, 2, 3, 4]) - np.log(4)) ** 2), rel=1e-5)


@NOT_ON_JAX
def test_activation_terms_do_not_depend_on_batch_size():
    """An activity regularizer's would be divided by the batch size, and a sum would grow with it."""
    twice = np.concatenate([ROWS, ROWS])
    for make in (lambda: Dispersive(1.0), lambda: AttentionEntropy(1.0, from_logits=True)):
        once, more = make(), make()
        once(ROWS, training=True)
        more(twice, training=True)
        np.testing.assert_allclose(numpy(once.losses[0]), numpy(more.losses[0]), rtol=1e-5)


@ON_TORCH
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_activation_terms_are_float32_in_mixed_precision(policy):
    """Terms are float32, and what passes keeps its type."""
    keras.config.set_dtype_policy(policy)
    try:
        layer = AttentionEntropy(0.1, "threshold")
        model, _ = attention_model(layer)
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
    assert np.isfinite(numpy(spread.losses[0]))


@NOT_ON_JAX
def test_attention_entropy_shares_are_saved_and_loaded(tmp_path):
    model, _ = attention_model(AttentionEntropy(0.1, "threshold", causal=True), use_causal_mask=True)
    model.layers[-1].thresholds.assign([0.3, 0.8])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(numpy(again.layers[-1].thresholds), [0.3, 0.8], rtol=1e-6)
    np.testing.assert_allclose(again.predict(TOKENS, verbose=0), model.predict(TOKENS, verbose=0), rtol=1e-5, atol=1e-6)


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


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="elsewhere a step knows all sizes")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_activation_term_layers_accept_unknown_sizes(jit_compile):
    """As of batches that are padded to their longest sequence."""
    import tensorflow as tf

    def train(length, layers):
        inputs = keras.Input((length, 8))
        outputs, scores = L.MultiHeadAttention(2, 4)(inputs, inputs, return_attention_scores=True)
        outputs = inputs + outputs
        for layer in layers:
            outputs = layer([inputs, outputs] if isinstance(layer, CauchySchwarzBottleneck) else outputs)
        for causal in (False, True):
            held = AttentionEntropy(1.0, "threshold", initial_threshold=0.1, causal=causal)
            outputs = held(outputs, attention_scores=scores)
        model = keras.Model(inputs, L.GlobalAveragePooling1D()(outputs))
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit_compile)
        model.set_weights([np.full(w.shape, 0.1) for w in model.get_weights()])
        spec = tf.TensorSpec((6, length, 8)), tf.TensorSpec((6, 8))
        data = tf.data.Dataset.from_generator(lambda: [(TOKENS, TOKENS[:, 0])], output_signature=spec)
        data = data.apply(tf.data.experimental.assert_cardinality(1))
        return model.fit(data, shuffle=False, verbose=0).history["loss"]

    def layers():
        return [Dispersive(1.0), Dispersive(1.0, "covariance"), CauchySchwarzBottleneck(1.0)]

    np.testing.assert_allclose(train(None, layers()), train(5, layers()), rtol=1e-5)
