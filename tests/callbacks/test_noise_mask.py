"""Tests of policy-gradient noise masks in `fit`: the authors' step, the stripped classifier, logs, bad input."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_reg
from keras_reg.callbacks import PolicyGradientNoiseMask
from keras_reg.layers import PolicyNoiseMask
from tests.support.gradients import value_and_gradient
from tests.support.tiers import NOT_ON_JAX, ON_TORCH
from tests.support.two_devices import call_on_two_devices

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = np.load(ROOT / "tests" / "golden" / "noise_mask.npz", allow_pickle=False)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def numpy(tensor) -> np.ndarray:
    return np.array(ops.convert_to_numpy(tensor))


def head(features, name: str):
    """Applies the authors' head: two dense layers with batch normalization, and one without."""
    x = features
    for index, units in ((0, 12), (3, 12)):
        x = layers.Dense(units, name=f"{name}_{index}")(x)
        x = layers.ReLU()(layers.BatchNormalization(epsilon=1e-5, name=f"{name}_{index + 1}")(x))
    return layers.Dense(16, name=f"{name}_6")(x)


def golden_policy() -> keras.Model:
    """Returns the policy of the golden file. Its backbone is a mean over quarters of the image."""
    image = keras.Input((14, 14, 3))
    features = layers.Flatten()(layers.Permute((3, 1, 2))(layers.AveragePooling2D(7)(image)))
    policy = keras.Model(image, layers.Concatenate()([head(features, "alpha"), head(features, "beta")]))
    for layer in policy.layers:
        if layer.weights:
            for variable, part in zip(layer.trainable_variables, ("weight", "bias"), strict=True):
                value = GOLDEN[f"pol0/{layer.name.replace('_', '.')}.{part}"]
                variable.assign(value.T if value.ndim == 2 else value)
    return policy


class GoldenMask(PolicyNoiseMask):
    """Draws the golden mask."""

    def draw(self, log_alpha, log_beta):
        return ops.convert_to_tensor(GOLDEN["mask"]) + 0 * log_alpha


def golden_model(**compile_arguments) -> keras.Model:
    mask = GoldenMask(golden_policy(), grid=4, blur_sigma=2.0, log_concentration_range=None, name="mask")
    dense = layers.Dense(5, name="classifier")
    model = keras.Sequential([keras.Input((14, 14, 3)), mask, layers.Permute((3, 1, 2)), layers.Flatten(), dense])
    dense.set_weights([GOLDEN["clf0/1.weight"].T, GOLDEN["clf0/1.bias"]])
    mask.base.assign(np.concatenate([GOLDEN["base_alpha0"][0], GOLDEN["base_beta0"][0]]))
    model.compile(keras.optimizers.SGD(1.0), LOSS, **compile_arguments)
    return model


def golden_step(model: keras.Model, callback: PolicyGradientNoiseMask) -> tuple[float, dict[str, np.ndarray]]:
    """Returns the loss, and what a step of SGD(1) subtracts from each weight."""
    before = [numpy(variable) for variable in model.trainable_variables]
    image = GOLDEN["image"].transpose(0, 2, 3, 1)
    history = model.fit(image, GOLDEN["target"], batch_size=6, shuffle=False, verbose=0, callbacks=[callback]).history
    names = [variable.path for variable in model.trainable_variables]
    gradients = [value - numpy(variable) for value, variable in zip(before, model.trainable_variables, strict=True)]
    return history["loss"][0], dict(zip(names, gradients, strict=True))


def expected_gradient(path: str) -> np.ndarray:
    *_, layer, name = path.split("/")
    part = "weight" if name in ("kernel", "gamma") else "bias"
    if layer == "classifier":
        value = GOLDEN[f"clfgrad/1.{part}"]
    else:
        value = GOLDEN[f"polgrad/{layer.replace('_', '.')}.{part}"]
    return value.T if value.ndim == 2 else value


@pytest.mark.parametrize("ratio", [1.0, 0.25])
def test_noise_mask_step_matches_golden_loss_and_gradients(ratio, compile_modes):
    for mode in compile_modes:
        keras.utils.set_random_seed(0)
        model = golden_model(**mode)
        callback = PolicyGradientNoiseMask(estimator="paper", policy_learning_rate=ratio, average_epochs=1)
        loss, gradients = golden_step(model, callback)
        np.testing.assert_allclose(loss, GOLDEN["loss"], rtol=1e-5)
        for path, gradient in gradients.items():
            share = 1.0 if "classifier" in path else ratio
            expected = share * expected_gradient(path)
            # Biases in front of batch normalization have zero gradients except for rounding errors.
            np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=5e-6, err_msg=f"{mode} {path}")
        base = np.concatenate([GOLDEN["base_alpha1"][0], GOLDEN["base_beta1"][0]])
        np.testing.assert_allclose(numpy(model.get_layer("mask").base), base, rtol=1e-5)


@ON_TORCH
def test_reinforce_term_keeps_classifier_gradient_unchanged():
    model = golden_model()
    _, gradients = golden_step(model, PolicyGradientNoiseMask(policy_learning_rate=1.0, average_epochs=1))
    factor = GOLDEN["log_sum_density"].mean()
    for path, gradient in gradients.items():
        if "classifier" in path:
            np.testing.assert_allclose(gradient, expected_gradient(path) / factor, rtol=1e-4, atol=1e-6)
    assert any(np.abs(gradient).max() > 1e-4 for path, gradient in gradients.items() if "alpha_6" in path)


@ON_TORCH
def test_noise_mask_policy_trains_no_layer_before_it():
    mask, x = PolicyNoiseMask(grid=2, seed=3), np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    mask.build((None, 6))

    def policy(inputs):
        return ops.sum(ops.square(ops.stack(mask.log_concentrations(inputs)))) + 0 * ops.sum(inputs)

    value, gradient = value_and_gradient(policy, x)
    assert value > 0
    np.testing.assert_array_equal(gradient, np.zeros_like(x))


def small_model(optimizer=None, classes: int = 2, **arguments) -> keras.Model:
    mask = PolicyNoiseMask(**{"grid": 2, "blur_sigma": 0.0, "seed": 3, **arguments})
    model = keras.Sequential([keras.Input((4, 4, 1)), mask, layers.Flatten(), layers.Dense(classes)])
    model.compile(optimizer or keras.optimizers.SGD(0.1), LOSS, metrics=["accuracy"])
    return model


def small_problem(samples: int = 64) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, samples)
    x = rng.normal(size=(samples, 4, 4, 1)).astype("float32")
    x[:, :2, :2] += 3 * (2 * y - 1)[:, None, None, None]  # One of four cells contains all information.
    return x, y


@ON_TORCH
def test_noise_mask_policy_learns_to_keep_informative_cell():
    x, y = small_problem(256)
    model = small_model(keras.optimizers.SGD(0.3), decay=0.0)
    callback = PolicyGradientNoiseMask(policy_learning_rate=1.0)
    logs = model.fit(x, y, epochs=25, verbose=0, callbacks=[callback]).history
    cells = numpy(model.layers[0].mean_mask(ops.convert_to_tensor(x))).mean(0)[::2, ::2].ravel()
    assert cells[0] > cells[1:].max() + 0.05, cells
    assert logs["mask_reward"][-1] > logs["mask_reward"][0]
    assert {"mask_policy", "mask_reward", "mask_entropy", "mask_mean"} <= set(logs)
    assert 0 < logs["mask_mean"][-1] < 1
    np.testing.assert_allclose(logs["loss"][-1], logs["mask_policy"][-1] - logs["mask_reward"][-1], rtol=1e-4)


@ON_TORCH
def test_strip_returns_classifier_with_mean_weights_of_last_epochs():
    x, y = small_problem()
    model, kernels = small_model(), []
    recorder = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: kernels.append(numpy(model.layers[-1].kernel))
    )
    callback = PolicyGradientNoiseMask(average_epochs=3)
    model.fit(x, y, epochs=5, verbose=0, callbacks=[recorder, callback])
    final = [numpy(variable) for variable in model.weights]
    classifier = callback.strip()
    np.testing.assert_allclose(numpy(classifier.layers[-1].kernel), np.mean(kernels[2:], axis=0), rtol=1e-5, atol=1e-6)
    for variable, value in zip(model.weights, final, strict=True):
        np.testing.assert_array_equal(numpy(variable), value)
    assert not any(isinstance(layer, PolicyNoiseMask) for layer in classifier.layers)
    assert classifier.count_params() == 34
    classifier.fit(x, y, verbose=0)
    last = PolicyGradientNoiseMask(average_epochs=1)
    model.fit(x, y, verbose=0, callbacks=[last])
    stripped = last.strip()
    np.testing.assert_array_equal(numpy(stripped.layers[-1].kernel), numpy(model.layers[-1].kernel))
    expected = model.predict(x, verbose=0)
    np.testing.assert_allclose(stripped.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)


@ON_TORCH
@pytest.mark.parametrize("patience", [1, 3])
def test_strip_uses_weights_restored_by_early_stopping(patience):
    """Checks training that stops before the averaged epochs, or during them."""
    x, y = small_problem()
    model = small_model()
    best = keras.callbacks.EarlyStopping("worse", mode="min", patience=patience, restore_best_weights=True)
    worse = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(worse=epoch))
    callback = PolicyGradientNoiseMask(average_epochs=3, policy_learning_rate=1.0)
    model.fit(x, y, epochs=5, verbose=0, callbacks=[worse, callback, best])
    assert best.stopped_epoch == patience
    kernel = numpy(model.layers[-1].kernel)
    np.testing.assert_array_equal(numpy(callback.strip().layers[-1].kernel), kernel)
    model.fit(x, y, epochs=3, verbose=0, callbacks=[callback])
    average = numpy(callback.strip().layers[-1].kernel)
    assert not np.array_equal(average, numpy(model.layers[-1].kernel))
    model.layers[-1].kernel.assign(kernel)
    np.testing.assert_array_equal(numpy(callback.strip().layers[-1].kernel), kernel)


@ON_TORCH
def test_strip_averages_no_weights_of_an_earlier_fit():
    """Checks a second `fit` that starts in the averaged epochs, with weights far from those of the first `fit`."""
    x, y = small_problem()
    model, callback = small_model(), PolicyGradientNoiseMask(average_epochs=3)
    model.fit(x, y, epochs=5, verbose=0, callbacks=[callback])
    kernel = model.layers[-1].kernel
    kernel.assign(kernel + 100.0)  # Shifting both classes equally does not change the predictions.
    before = np.array(numpy(kernel))
    model.fit(x, y, initial_epoch=9, epochs=10, verbose=0, callbacks=[callback])
    after = numpy(kernel)
    assert after.min() > 95
    # The average contains the weights before and after the only averaged epoch.
    np.testing.assert_allclose(numpy(callback.strip().layers[-1].kernel), (before + after) / 2, rtol=1e-6)


@NOT_ON_JAX
def test_noise_mask_callback_accepts_fit_without_epochs():
    x, y = small_problem()
    model, callback = small_model(), PolicyGradientNoiseMask()
    model.fit(x, y, initial_epoch=2, epochs=2, verbose=0, callbacks=[callback])
    np.testing.assert_array_equal(numpy(callback.strip().layers[-1].kernel), numpy(model.layers[-1].kernel))


@NOT_ON_JAX
def test_noise_mask_is_identity_in_inference():
    x, _ = small_problem()
    model = small_model()
    plain = keras_reg.surgery.strip(model)
    np.testing.assert_allclose(model.predict(x, verbose=0), plain.predict(x, verbose=0), rtol=1e-6)
    np.testing.assert_array_equal(numpy(model.layers[0](x, training=False)), x)


@ON_TORCH
@pytest.mark.parametrize("shape", [(5, 7, 3), (9, 2), (6,), (4, 4, 4, 1)])
def test_noise_mask_accepts_images_signals_rows_and_volumes(shape):
    x = np.random.default_rng(0).normal(size=(16, *shape)).astype("float32")
    y = np.arange(16) % 2
    mask = PolicyNoiseMask(grid=3, blur_sigma=1.0)
    model = keras.Sequential([keras.Input(shape), mask, layers.Flatten(), layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1), LOSS)
    logs = model.fit(x, y, epochs=1, verbose=0, callbacks=[PolicyGradientNoiseMask()]).history
    assert np.isfinite(logs["loss"]).all()
    ratio = numpy(mask(x, training=True)) / x
    assert ratio.min() >= 0
    assert ratio.max() <= 1
    assert ratio.std() > 0.05
    if len(shape) > 1:  # All channels share one mask.
        np.testing.assert_allclose(ratio[..., :1] * np.ones(shape[-1]), ratio, rtol=1e-4)


@ON_TORCH
def test_noise_mask_policy_uses_pathwise_gradient_without_callback():
    x, y = small_problem()
    model = small_model()
    before = numpy(model.layers[0].policy.layers[-1].bias)
    model.fit(x, y, epochs=1, verbose=0)
    assert np.abs(numpy(model.layers[0].policy.layers[-1].bias) - before).max() > 1e-6


@ON_TORCH
@pytest.mark.parametrize("wrapper", [lambda optimizer: optimizer, keras_reg.optimizers.OrthogonalGradient])
def test_noise_mask_callback_warns_of_policy_rate_with_adaptive_optimizer(wrapper):
    x, y = small_problem()
    model = small_model(wrapper(keras.optimizers.Adam(0.01)))
    with pytest.warns(keras_reg.NoEffectWarning, match=r"policy_learning_rate=0.1.*Adam"):
        model.fit(x[:4], y[:4], verbose=0, callbacks=[PolicyGradientNoiseMask()])


@ON_TORCH
def test_noise_mask_callback_plots_masks():
    pytest.importorskip("matplotlib")
    x, y = small_problem()
    callback = PolicyGradientNoiseMask()
    with pytest.raises(ValueError, match="before `fit`"):
        callback.plot_masks(x[:3])
    with pytest.raises(ValueError, match="before `fit`"):
        callback.strip()
    small_model().fit(x, y, verbose=0, callbacks=[callback])
    assert len(callback.plot_masks(x[:3]).axes) == 9
    with pytest.raises(ValueError, match=r"Received: images of shape \(3, 4, 4\)"):
        callback.plot_masks(x[:3, ..., 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grid": 5}, r"smaller `grid`.*Received: grid=\(5, 5\) for images of \(4, 4\)"),
        ({"blur_sigma": 6.0}, r"smaller `blur_sigma`.*Received: blur_sigma=6.0"),
        ({"policy": lambda: keras.Sequential([layers.Flatten(), layers.Dense(7)])}, r"must return 8 .*\(None, 7\)"),
    ],
)
def test_policy_noise_mask_rejects_grid_that_does_not_fit_image(arguments, message):
    arguments = {name: value() if callable(value) else value for name, value in arguments.items()}
    with pytest.raises(ValueError, match=message):
        small_model(**arguments)


@NOT_ON_JAX
def test_policy_noise_mask_rejects_bad_inputs():
    with pytest.raises(ValueError, match=r"works on floats.*Received: inputs of type.*int"):
        PolicyNoiseMask(grid=2, blur_sigma=0.0)(np.ones((1, 4, 4, 1), "int32"), training=True)
    with pytest.raises(ValueError, match=r"works on floats.*Received: inputs of type.*uint8"):
        keras_reg.layers.BetaNoise()(ops.ones((1, 4), "uint8"), training=True)
    with pytest.raises(ValueError, match="known size"):
        PolicyNoiseMask()(keras.Input((None, None, 3)))
    with pytest.raises(ValueError, match=r"one keras_reg.layers.PolicyNoiseMask.*Received: 0 of them"):
        keras_reg.surgery.strip(small_model()).fit(*small_problem(), callbacks=[PolicyGradientNoiseMask()], verbose=0)
    model = small_model()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"cross-entropy.*Received: loss="):
        model.fit(small_problem()[0], np.eye(2)[small_problem()[1]], callbacks=[PolicyGradientNoiseMask()], verbose=0)


@pytest.mark.slow
@pytest.mark.xdist_group("two devices")
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="on JAX a program sees the global batch")
def test_noise_mask_draws_different_noise_on_replicas_with_equal_weights():
    assert call_on_two_devices("tests.callbacks.noise_replicas", "draw") == [False, False]
    for estimator in ("reinforce", "paper"):
        call_on_two_devices("tests.callbacks.noise_replicas", "train", estimator)


@pytest.mark.xdist_group("two devices")
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="on JAX a program sees the global batch")
def test_noise_mask_baseline_averages_costs_of_both_replicas():
    """Checks costs of 1 and 3, then 5 and 7. Both replicas read the mean so far, with a momentum of 0.5."""
    means = call_on_two_devices("tests.callbacks.noise_replicas", "baselines")
    np.testing.assert_allclose(means, [[2, 2], [2, 2], [14 / 3, 14 / 3]], rtol=1e-6)
