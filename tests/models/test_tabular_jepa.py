"""Tests of training T-JEPA: updates of the target encoder, tracing, saving, resuming, and half precision."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_reg.models import FeatureTokenizer, TabularJEPA, TransformerEncoder
from tests.conformance.case import At
from tests.models.support import numpy, small_model
from tests.support.lowered import only_what_accelerators_run
from tests.support.tiers import NOT_ON_JAX, ON_TORCH

BACKEND = keras.backend.backend()
X = np.random.default_rng(0).normal(size=(24, 5)).astype("float32")


def compiled(model=None, **arguments):
    model = small_model() if model is None else model
    model.compile(keras.optimizers.Adam(0.02), **arguments)
    return model


def weights(model) -> list[np.ndarray]:
    return [numpy(variable) for variable in [*model.weights, *model.optimizer.variables]]


def same(first, second, tolerance=0.0):
    for got, expected in zip(first, second, strict=True):
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@ON_TORCH
def test_tabular_jepa_target_follows_with_growing_momentum():
    """Computes the moving average by hand, from the weights of the context encoder after each step of two fits."""
    model = compiled(small_model(momentum=(0.5, 0.9)))
    online, target = [], []

    def record(self, *arguments):
        assert self.model is not None  # On JAX, reading the attribute updates the variables.
        target.append([numpy(variable) for variable, _ in model.get_target_pairs()])
        online.append([numpy(variable) for _, variable in model.get_target_pairs()])

    hooks = dict.fromkeys(("on_train_begin", "on_train_batch_end"), record)
    model.fit(X, batch_size=8, epochs=2, verbose=0, callbacks=At(**hooks))
    same(target[0], online[0])  # Training starts with a copy.
    for step in range(6):
        momentum = 0.5 + 0.4 * step / 6
        expected = [momentum * t + (1 - momentum) * o for t, o in zip(target[step], online[step + 1], strict=True)]
        same(target[step + 1], expected, 1e-6)
    assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(target[-1], online[-1], strict=True))
    assert int(model.step) == int(model.total_steps) == 6
    model.fit(X, batch_size=8, verbose=0)
    assert int(model.step) == int(model.total_steps) == 3


class Counting(TabularJEPA):
    """Counts how often Python draws columns."""

    calls = 0

    def draw_masks(self, batch, training=True):
        self.calls += 1
        return super().draw_masks(batch, training)


def test_tabular_jepa_traces_step_once_for_all_mask_sizes(compile_modes):
    if BACKEND == "torch":
        pytest.skip("nothing is traced")
    for mode in compile_modes[1:]:
        model = compiled(small_model(8, Counting, context_share=(0.2, 0.6), target_share=(0.2, 0.6)), **mode)
        model.fit(np.tile(X, (2, 2))[:, :8], batch_size=8, epochs=2, verbose=0)
        assert model.calls <= 2  # Keras may call the model symbolically before it traces the step.
        assert len({int(numpy(model.draw_masks(4)[1])[0].sum()) for _ in range(8)}) > 1, "the sizes never change"


@ON_TORCH
def test_tabular_jepa_lowers_loss_and_repeats_validation_loss():
    model = compiled()
    logs = model.fit(X, batch_size=8, epochs=12, verbose=0, validation_data=(X,)).history
    assert logs["loss"][-1] < logs["loss"][0]
    assert logs["val_loss"][-1] < logs["val_loss"][0]
    before = weights(model)
    values = [model.evaluate(X, verbose=0) for _ in range(2)]
    features = model.encode(X, 7)
    assert values[0] == values[1]
    same(weights(model), before)
    assert features.shape == (24, 5, 4)
    np.testing.assert_allclose(features, numpy(model.target_encoder(X)), rtol=1e-5, atol=1e-6)


def test_tabular_jepa_trains_eagerly_as_compiled(compile_modes):
    """Compares runs with equal masks, because XLA and graphs on TensorFlow draw different random numbers."""
    if len(compile_modes) == 1:
        pytest.skip("nothing is compiled on this backend")
    results = []
    for mode in compile_modes:
        model = small_model()
        masks = model.draw_masks(8)
        model.draw_masks = lambda *arguments, masks=masks: masks
        keras.utils.set_random_seed(1)
        for variable in model.weights:
            if "int" not in variable.dtype:
                variable.assign(np.random.default_rng(int(np.prod(variable.shape))).normal(size=variable.shape))
        with only_what_accelerators_run(mode.get("jit_compile", False)):
            compiled(model, **mode).fit(X[:8], batch_size=8, verbose=0)
        results.append(weights(model))
    for result in results[1:]:
        same(result, results[0], 1e-4)


@NOT_ON_JAX
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_transformer_encoder_dropout_keeps_mean(dtype):
    dropout = TransformerEncoder(4, num_layers=1, num_heads=1, hidden=8, dropout=0.25, dtype=dtype).dropouts[0]
    tokens = keras.ops.ones((50, 20, 4), dtype)
    kept = dropout(tokens, training=True)
    assert keras.backend.standardize_dtype(kept.dtype) == dtype
    kept = numpy(keras.ops.cast(kept, "float32"))
    assert set(np.unique(kept)) == {np.float32(0), np.unique(kept)[-1]}
    np.testing.assert_allclose(kept.max(), 4 / 3, rtol=4e-3)
    np.testing.assert_allclose(kept.mean(), 1.0, atol=0.04)  # The standard deviation of the mean is 0.01.
    np.testing.assert_array_equal(numpy(keras.ops.cast(dropout(tokens), "float32")), 1)


@NOT_ON_JAX
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_transformer_encoder_drops_attention_weights(dtype):
    """Reads attention weights from the values, for four tokens of which three are attended to equally."""
    encoder = TransformerEncoder(4, num_layers=1, num_heads=1, hidden=8, dropout=0.25, dtype=dtype)
    attention = encoder.blocks[0].attention
    attention.build((50, 4, 4), (50, 4, 4))
    for projection in (attention.query_dense, attention.key_dense):
        projection.kernel.assign(np.zeros((4, 1, 4)))
    attention.value_dense.kernel.assign(np.eye(4)[:, None])
    attention.output_dense.kernel.assign(np.eye(4)[None])
    tokens = np.broadcast_to(np.eye(4), (50, 4, 4)).astype(dtype)
    mask = np.array([[[True, True, False, True]]] * 50)

    def compute_shares(training):
        outputs = attention(tokens, tokens, attention_mask=mask, training=training)
        assert keras.backend.standardize_dtype(outputs.dtype) == dtype
        return numpy(keras.ops.cast(outputs, "float32"))

    np.testing.assert_allclose(compute_shares(False), np.broadcast_to([1 / 3, 1 / 3, 0, 1 / 3], (50, 4, 4)), rtol=1e-3)
    dropped = compute_shares(True)
    assert not dropped[..., 2].any(), "a masked token is attended to"
    rest = dropped[..., [0, 1, 3]]
    np.testing.assert_allclose(rest[rest > 0], 4 / 9, rtol=1e-3)
    np.testing.assert_allclose((rest == 0).mean(), 0.25, atol=0.07)  # The standard deviation of the mean is 0.018.
    assert (compute_shares(True) != dropped).any(), "two steps drop the same"


@ON_TORCH
def test_tabular_jepa_seed_repeats_training():
    results = []
    for seed in (3, 3, 4):
        keras.utils.set_random_seed(1)
        results.append(weights_after_fit(small_model(seed=seed, dropout=0.0)))
    same(results[1], results[0])
    assert any(np.abs(a - b).max() > 1e-6 for a, b in zip(results[2], results[0], strict=True))


def weights_after_fit(model) -> list[np.ndarray]:
    compiled(model).fit(X, batch_size=8, shuffle=False, verbose=0)
    return weights(model)


@ON_TORCH
def test_tabular_jepa_saves_loads_and_resumes(tmp_path):
    keras.utils.set_random_seed(1)
    straight = compiled(small_model())
    start = straight.get_weights()
    masks = straight.draw_masks(8)
    straight.draw_masks = lambda *arguments: masks  # Keras does not save the state of seeds.
    straight.fit(X, batch_size=8, epochs=4, shuffle=False, verbose=0)

    stopped = compiled(small_model())
    stopped.set_weights(start)
    stopped.draw_masks = lambda *arguments: masks
    stopped.total_steps.assign(12)
    stopped.fit(X, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=[set_total_steps(12)])
    stopped.save(tmp_path / "model.keras")
    resumed = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(resumed.encode(X), stopped.encode(X), rtol=1e-6, atol=1e-6)
    assert len(resumed.trainable_variables) == len(stopped.trainable_variables)
    resumed.draw_masks = lambda *arguments: masks
    resumed.fit(X, batch_size=8, epochs=4, initial_epoch=2, shuffle=False, verbose=0)
    same(weights(resumed), weights(straight), 1e-6)


def set_total_steps(steps: int) -> keras.callbacks.Callback:
    """Returns a callback that sets the planned length of a training run that is stopped early."""
    return At(on_train_begin=lambda self, logs: self.model.total_steps.assign(steps))


@ON_TORCH
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_tabular_jepa_trains_in_half_precision(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        tokenizer = FeatureTokenizer(4, [0, 0, 0, 3000])
        encoder = TransformerEncoder(4, num_layers=1, num_heads=2, hidden=8)
        predictor = TransformerEncoder(4, num_layers=1, num_heads=1, hidden=4)
        model = TabularJEPA(tokenizer, encoder, predictor, seed=1)
        x = np.concatenate([X[:, :3], np.full((24, 1), 2999.0)], axis=1).astype("float32")
        losses = compiled(model).fit(x, batch_size=8, epochs=3, verbose=0).history["loss"]
    finally:
        keras.config.set_dtype_policy(before)
    assert np.isfinite(losses).all()  # float16 would round 2999 up to 3000, which is an unknown category.
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    assert all(np.isfinite(numpy(v)).all() for v in model.weights)


@NOT_ON_JAX
def test_feature_tokenizer_accepts_columns_in_any_order():
    x = np.float32([[0.5, 2, -1.0, 0], [1.5, 0, 2.0, 1]])
    tokenizer = FeatureTokenizer(4, [0, 3, 0, 2], type_embedding=True, index_embedding=True)
    got, w, table = numpy(tokenizer(x)), numpy(tokenizer.weight), numpy(tokenizer.embeddings)
    content = np.stack([x[:, :1] * w[0], table[[2, 0]], x[:, 2:3] * w[1], table[3 + np.array([0, 1])]], axis=1)
    expected = content + numpy(tokenizer.bias) + numpy(tokenizer.types)[[0, 1, 0, 1]] + numpy(tokenizer.indices)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@NOT_ON_JAX
@pytest.mark.parametrize("category", [3, -1, -0.5, np.nan, np.inf, -np.inf])
def test_feature_tokenizer_returns_nan_for_unknown_category(category):
    tokens = numpy(FeatureTokenizer(4, [0, 3, 2])(np.float32([[0.5, category, 1], [0.5, 2, 1]])))
    np.testing.assert_array_equal(np.isnan(tokens).all(axis=-1), [[False, True, False], [False] * 3])
    assert np.isfinite(tokens[1]).all()


@ON_TORCH
def test_tabular_jepa_needs_known_dataset_length():
    import itertools

    model = compiled()
    model.fit(((X[:8],) for _ in itertools.count()), steps_per_epoch=2, shuffle=False, verbose=0)
    assert int(model.total_steps) == 2
    with pytest.raises(ValueError, match=r"steps_per_epoch.*Received: data of unknown length"):
        model.fit(((X[:8],) for _ in range(2)), shuffle=False, verbose=0)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        model.fit(tf.data.Dataset.from_tensor_slices(X).batch(8), epochs=2, shuffle=False, verbose=0)
        assert int(model.total_steps) == 6


@ON_TORCH
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m.fit(X, np.zeros(24)), "without labels"),
        (lambda m: m.fit(X[:, :4], verbose=0), r"shape \(rows, 5\)"),
        (lambda m: m.fit(np.where(X > 2, np.nan, X), verbose=0), "Fill in missing values first"),
        (lambda m: m.fit(X.astype(str), verbose=0), "array of numbers"),
        (lambda m: m.encode(X[:, :4]), r"shape \(rows, 5\)"),
        (lambda m: m.evaluate(X, np.zeros(24), verbose=0), "without labels"),
        (lambda m: m.compile("sgd", "mse") or m.fit(X), "without a loss"),
    ],
)
def test_tabular_jepa_rejects_bad_use_and_stays_unchanged(change, says):
    model = compiled()
    before = model.get_weights()
    with pytest.raises(ValueError, match=rf"(?s){says}.*Received"):
        change(model)
    same(model.get_weights(), before)


def test_feature_tokenizer_check_rejects_unknown_categories():
    tokenizer = FeatureTokenizer(4, [0, 3])
    for wrong in (3.0, -1.0, 0.5):
        with pytest.raises(ValueError, match=r"Column 1 must hold the numbers of 3 categories.*Received"):
            tokenizer.check(np.float32([[0, wrong]]))
    tokenizer.check(np.float32([[0, 2]]))


@pytest.mark.parametrize("wrong", [{"width": 3}, {"cardinalities": None}, {"cardinalities": [0]}])
def test_tabular_jepa_rejects_unsuitable_tokenizer_and_parts(wrong):
    with pytest.raises(ValueError, match="Received: tokenizer="):
        TabularJEPA(FeatureTokenizer(**{"width": 4, "cardinalities": [0, 0], **wrong}))
    tokenizer = FeatureTokenizer(4, [0, 0])
    for parts in ({"encoder": TransformerEncoder(6, num_heads=2)}, {"predictor": TransformerEncoder(3, num_heads=1)}):
        with pytest.raises(ValueError, match=f"Received: {next(iter(parts))}="):
            TabularJEPA(tokenizer, **parts)


@ON_TORCH
def test_transformer_encoder_attention_without_valid_key_is_finite_in_float16():
    """Computes scores in float32, because the score of a masked token is not finite in float16."""
    encoder = TransformerEncoder(4, num_layers=1, num_heads=1, hidden=8, dropout=0.25, dtype="mixed_float16")
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float16")
    mask = np.array([[True, True, False], [False, False, False]])
    outputs = numpy(encoder(x, mask=keras.ops.convert_to_tensor(mask), training=True))
    assert np.isfinite(outputs).all()
