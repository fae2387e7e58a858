"""Tests of steps that use the gradient with respect to the weight and are scaled by the slope."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

import keras_reg
from keras_reg.layers import WeightCompander
from keras_reg.ops.weight_compander import compand_weight, weight_compander_slope
from keras_reg.optimizers import CompanderScaled
from tests.support.gradients import value_and_gradient
from tests.support.tiers import NOT_ON_JAX, ON_TORCH

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "weight_compander.npz", allow_pickle=False)
A, B = 0.9, 0.6
OPTIMIZERS = keras.optimizers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 4)).astype("float32")
Y = RNG.normal(size=(8, 3)).astype("float32")
KERNEL = RNG.uniform(-0.7, 0.7, (4, 3)).astype("float32")


def test_compander_scaled_matches_golden_trajectory_of_loss_gradients(floatx):
    """Performs four steps of Adam (the paper's section on adaptive optimizers) on the loss <gradient for w, w(v)>."""
    beta_1, beta_2, _, rate, a, b = GOLDEN["adam_hp"]
    # Keras has epsilon in a different place in the formula. Both values are too small to matter.
    adam = OPTIMIZERS.Adam(float(rate), beta_1=float(beta_1), beta_2=float(beta_2), epsilon=1e-10)
    optimizer = CompanderScaled(adam)
    parameter = keras.Variable(GOLDEN["adam_v_traj"][0], dtype=floatx)
    parameter.slope = lambda value: weight_compander_slope(value, float(a), float(b))
    for by_weight, expected in zip(GOLDEN["adam_grads_w"], GOLDEN["adam_v_traj"][1:], strict=True):
        upstream = ops.convert_to_tensor(by_weight.astype(floatx))

        def loss(v, upstream=upstream):
            return ops.sum(upstream * compand_weight(v, float(a), float(b)))

        _, gradient = value_and_gradient(loss, ops.convert_to_numpy(parameter).copy())
        optimizer.apply([ops.convert_to_tensor(gradient)], [parameter])
        # TensorFlow computes powers of beta in float32.
        tolerance = 2e-7 if floatx == "float64" else 2e-6
        np.testing.assert_allclose(ops.convert_to_numpy(parameter), expected, rtol=0, atol=tolerance)


def make_linear(optimizer, companded=True, **compile_arguments):
    dense = keras.layers.Dense(3, name="dense", kernel_initializer=keras.initializers.Constant(KERNEL))
    layer = WeightCompander(dense, a=A, b=B) if companded else dense
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile(optimizer, "mse", **compile_arguments)
    return model


def fit(model, epochs=5, **arguments):
    return model.fit(X, Y, epochs=epochs, batch_size=8, shuffle=False, verbose=0, **arguments).history


def list_weights(model):
    return [*model.get_weights(), *(ops.convert_to_numpy(v) for v in model.optimizer.variables)]


def assert_same(model, other, tolerance=0.0):
    for got, expected in zip(list_weights(model), list_weights(other), strict=True):
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def simulate(steps, clipnorm=None, decay=0.0, rate=0.05):
    """Runs Adam in NumPy, in float64, on the squared error of the linear model, with ordinary Adam for the bias."""
    parameter, bias = B * np.tan(KERNEL.astype("float64") / A), np.zeros(3)
    moments = [np.zeros_like(parameter), np.zeros_like(parameter), np.zeros(3), np.zeros(3)]
    for step in range(1, steps + 1):
        error = 2 * (X @ (A * np.arctan(parameter / B)) + bias - Y) / Y.size
        gradients = [X.T @ error, error.sum(0)]
        slope = A * B / (B**2 + parameter**2)
        changes = []
        for i, gradient in enumerate(gradients):
            if clipnorm:
                gradient = gradient * min(1, clipnorm / np.linalg.norm(gradient))
            moments[2 * i] = 0.9 * moments[2 * i] + 0.1 * gradient
            moments[2 * i + 1] = 0.999 * moments[2 * i + 1] + 0.001 * gradient**2
            corrected = rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            direction = moments[2 * i] / (np.sqrt(moments[2 * i + 1]) + 1e-7)
            changes.append(-rate * decay * (parameter, bias)[i] - corrected * direction)
        parameter, bias = parameter + slope * changes[0], bias + changes[1]
    return parameter, bias


@NOT_ON_JAX
@pytest.mark.parametrize("arguments", [{}, {"clipnorm": 0.1}, {"weight_decay": 0.3}])
def test_compander_scaled_fit_equals_simulation(arguments, compile_modes):
    """Checks that gradients with respect to the weight are clipped, and that the decay is scaled as the step."""
    expected = simulate(5, arguments.get("clipnorm"), arguments.get("weight_decay", 0.0))
    for mode in compile_modes:
        model = make_linear(CompanderScaled(OPTIMIZERS.Adam(0.05, **arguments)), **mode)
        history = fit(model)
        assert history["loss"][-1] < history["loss"][0]
        for got, value in zip(model.get_weights(), expected, strict=True):
            np.testing.assert_allclose(got, value, rtol=1e-4, atol=1e-5, err_msg=str(mode))


@ON_TORCH
def test_compander_scaled_differs_from_plain_optimizer():
    scaled, plain = make_linear(CompanderScaled(OPTIMIZERS.Adam(0.05))), make_linear(OPTIMIZERS.Adam(0.05))
    fit(scaled)
    fit(plain)
    assert np.abs(scaled.get_weights()[0] - plain.get_weights()[0]).max() > 0.01


@ON_TORCH
@pytest.mark.parametrize("arguments", [{}, {"weight_decay": 0.1, "global_clipnorm": 0.2}])
def test_compander_scaled_without_companders_equals_plain_optimizer(arguments, compile_modes):
    for mode in compile_modes:
        models = [
            make_linear(wrap(OPTIMIZERS.Adam(0.05, **arguments)), companded=False, **mode)
            for wrap in (CompanderScaled, lambda optimizer: optimizer)
        ]
        for model in models:
            fit(model)
        assert_same(*models)


@ON_TORCH
@pytest.mark.parametrize("arguments", [{"weight_decay": 0.1}, {"clipnorm": 0.1}])
def test_compander_scaled_trains_folded_model_as_plain_optimizer(arguments):
    """Checks that the optimizer, which `fold` keeps, finds no slopes."""
    companded = make_linear(CompanderScaled(OPTIMIZERS.Adam(0.05, **arguments)))
    fit(companded)
    folded, plain = keras_reg.fold(companded), make_linear(OPTIMIZERS.Adam(0.05, **arguments), companded=False)
    assert isinstance(folded.optimizer, CompanderScaled)
    assert folded.optimizer is not companded.optimizer
    plain.set_weights(folded.get_weights())
    fit(folded)
    fit(plain)
    assert_same(folded, plain)


def make_schedule():
    return OPTIMIZERS.schedules.ExponentialDecay(0.3, 2, 0.5)


@ON_TORCH
@pytest.mark.parametrize(
    "make",
    [
        lambda: OPTIMIZERS.SGD(0.3),
        lambda: OPTIMIZERS.SGD(make_schedule()),
        lambda: OPTIMIZERS.SGD(0.3, gradient_accumulation_steps=2),
        lambda: OPTIMIZERS.SGD(0.3, loss_scale_factor=16.0),
    ],
    ids=["rate", "schedule", "accumulation", "loss scale"],
)
def test_compander_scaled_gradient_descent_equals_plain_optimizer(make, compile_modes):
    """Checks that division and multiplication by the slope cancel, and that nothing else changes."""
    for mode in compile_modes:
        scaled, plain = make_linear(CompanderScaled(make()), **mode), make_linear(make(), **mode)
        got, expected = fit(scaled, 6), fit(plain, 6)
        np.testing.assert_allclose(got["loss"], expected["loss"], rtol=1e-5)
        assert got["loss"][-1] < got["loss"][0]
        assert_same(scaled, plain, 1e-5)


def test_callbacks_change_learning_rate_of_compander_scaled():
    model = make_linear(CompanderScaled(OPTIMIZERS.Adam(0.05)))
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2 if epoch else rate)
    history = fit(model, 3, callbacks=[halve])
    np.testing.assert_allclose(history["learning_rate"], [0.05, 0.025, 0.0125], rtol=1e-6)
    assert float(model.optimizer.optimizer.learning_rate) == pytest.approx(0.0125)
    plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=0.1, patience=0, min_delta=1e3)
    history = fit(model, 3, callbacks=[plateau])
    np.testing.assert_allclose(history["learning_rate"], [0.0125, 0.0125, 0.00125], rtol=1e-5)
    model.optimizer.learning_rate = 0.0
    before = model.get_weights()
    fit(model, 1)
    for got, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(got, expected)


@ON_TORCH
def test_compander_scaled_resumes_exactly_from_saved_model(tmp_path):
    straight, stopped = (make_linear(CompanderScaled(OPTIMIZERS.Adam(make_schedule()))) for _ in range(2))
    fit(straight, 4)
    fit(stopped, 2)
    stopped.save(tmp_path / "model.keras")
    resumed = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(resumed.optimizer, CompanderScaled)
    assert_same(resumed, stopped)
    fit(resumed, 2)
    assert_same(resumed, straight)
    assert int(resumed.optimizer.iterations) == 4
    stopped.optimizer.set_weights([ops.convert_to_numpy(v) for v in resumed.optimizer.variables])
    stopped.set_weights(resumed.get_weights())
    fit(stopped, 1)
    fit(resumed, 1)
    assert_same(stopped, resumed)


@ON_TORCH
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_compander_scaled_trains_in_mixed_precision(policy, compile_modes):
    """Checks mixed precision. Under float16, Keras puts the loss scaling around the optimizer."""
    full = make_linear(CompanderScaled(OPTIMIZERS.Adam(0.05)))
    expected = fit(full, 8)["loss"]
    for mode in compile_modes:
        keras.config.set_dtype_policy(policy)
        try:
            model = make_linear(CompanderScaled(OPTIMIZERS.Adam(0.05)), **mode)
            losses = fit(model, 8)["loss"]
        finally:
            keras.config.set_dtype_policy("float32")
        assert isinstance(model.optimizer, OPTIMIZERS.LossScaleOptimizer) == (policy == "mixed_float16")
        np.testing.assert_allclose(losses, expected, rtol=0.05)
        assert all(value.dtype == "float32" for value in model.get_weights())


def test_compander_scaled_skips_overflowing_step():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = make_linear(CompanderScaled(OPTIMIZERS.Adam(0.05)))
    finally:
        keras.config.set_dtype_policy("float32")
    before = model.get_weights()
    model.train_on_batch(np.full_like(X, 1e30), Y)
    for got, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(got, expected)
    fit(model, 1)
    assert np.abs(model.get_weights()[0] - before[0]).max() > 1e-3


def test_compander_scaled_is_finite_where_slope_vanishes(compile_modes):
    """Trains with erf, whose slope is 0 in float32 beyond 10 b."""
    for mode in compile_modes:
        dense = keras.layers.Dense(3, kernel_initializer="zeros")
        model = keras.Sequential([keras.Input((4,)), WeightCompander(dense, function="erf")])
        model.compile(CompanderScaled(OPTIMIZERS.Adam(0.05)), "mse", **mode)
        far = np.full((4, 3), 100.0, "float32")
        model.set_weights([far, np.zeros(3, "float32")])
        fit(model)
        np.testing.assert_array_equal(model.get_weights()[0], far)
        assert np.abs(model.get_weights()[1]).max() > 0.01


def test_compander_scaled_trains_learned_scales_without_scaling():
    """Checks the first step of Adam, which has the size of its rate, with the slope from before the step."""
    dense = keras.layers.Dense(3, name="dense", kernel_initializer=keras.initializers.Constant(KERNEL))
    layer = WeightCompander(dense, a=A, b=B, learnable=True)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile(CompanderScaled(OPTIMIZERS.Adam(0.05, epsilon=1e-12)), "mse")
    before = ops.convert_to_numpy(dense.kernel)
    fit(model, 1)
    a, b = (ops.convert_to_numpy(scale) for scale in layer.scales(layer.kernels[0]))
    np.testing.assert_allclose(np.abs([a - A, b - B]), 0.05, rtol=1e-3)
    slope = A * B / (B**2 + before**2)
    np.testing.assert_allclose(np.abs(ops.convert_to_numpy(dense.kernel) - before), 0.05 * slope, rtol=1e-3)


def test_compander_scaled_accepts_names_and_configs():
    assert isinstance(CompanderScaled("adam").optimizer, OPTIMIZERS.Adam)
    config = OPTIMIZERS.serialize(OPTIMIZERS.SGD(0.25))
    assert float(CompanderScaled(config).learning_rate) == 0.25


@pytest.mark.parametrize(
    "optimizer",
    [
        None,
        3,
        "adamm",
        # From Keras 3.16 on, a class is valid too, because `keras.optimizers.get` creates an instance of it.
        keras.regularizers.L2,
        lambda: CompanderScaled("adam"),
        lambda: OPTIMIZERS.LossScaleOptimizer(OPTIMIZERS.Adam()),
        lambda: OPTIMIZERS.Adam(use_ema=True),
    ],
)
def test_compander_scaled_rejects_wrong_arguments(optimizer):
    if callable(optimizer) and not isinstance(optimizer, type):
        optimizer = optimizer()
    with pytest.raises(ValueError, match=r"Received: optimizer="):
        CompanderScaled(optimizer)


def test_compander_scaled_rejects_arguments_of_wrapped_optimizer():
    with pytest.raises(TypeError, match="weight_decay"):
        CompanderScaled(OPTIMIZERS.Adam(), weight_decay=0.1)


def test_constraints_hold_after_compander_scaled_step():
    dense = keras.layers.Dense(3, kernel_constraint=keras.constraints.NonNeg())
    # The slopes are above 1, so the scaled step is longer than the constrained one.
    layer = WeightCompander(dense, a=A, b=0.3)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.layers[0].kernels[0].variable.assign(np.full((4, 3), 0.01))
    model.compile(CompanderScaled(OPTIMIZERS.Adam(0.1)), lambda y, p: ops.sum(p, axis=-1))
    model.fit(X**2, Y, verbose=0)
    assert ops.convert_to_numpy(layer.fold().kernel).min() >= 0


@ON_TORCH
def test_compander_scaled_accepts_tunable_scales_except_on_jax():
    """Checks the error on JAX, where a step has no access to hyperparameters."""

    def model_of(a):
        dense = keras.layers.Dense(3, kernel_initializer=keras.initializers.Constant(KERNEL))
        model = keras.Sequential([keras.Input((4,)), WeightCompander(dense, a=a, b=B)])
        model.compile(CompanderScaled(OPTIMIZERS.Adam(0.1)), "mse")
        return model

    tunable = model_of(keras_reg.tune.Float("a", 0.5, low=0.1))
    if keras.backend.backend() == "jax":
        before = tunable.get_weights()
        with pytest.raises(ValueError, match=r"With JAX.*Received: a hyperparameter for \['.*kernel'\]"):
            tunable.fit(X, Y, verbose=0)
        for now, then in zip(tunable.get_weights(), before, strict=True):
            np.testing.assert_array_equal(now, then)
        return
    keras_reg.tune.set_hyperparameters(tunable, {"a": A})
    numbered = model_of(A)
    numbered.layers[0].layer.kernel.assign(tunable.layers[0].layer.kernel)
    assert fit(tunable)["loss"] == pytest.approx(fit(numbered)["loss"], rel=1e-5)
