"""Tests of the authors' hyperparameter step, from the loss to the new values, and of the safeguard against noise."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from keras_reg.ops.hyperparameter_step import gradient_noise_gate, hyperparameter_step
from keras_reg.ops.hyperparameters import perturbation_entropy
from keras_reg.ops.weight_response import hyperparameter_gradient, weight_response
from keras_reg.training._derivatives import value_and_gradient
from tests.support import stn
from tests.support.tolerance import tolerance


def gradients(prefix, noise, scales, dtype, x, y):
    """Returns the mean loss and its gradients for unconstrained numbers and scales. The noise differs by sample."""
    weights, factors, scalings = (stn.tensors(arrays) for arrays in stn.parameters(prefix, dtype))
    sigma = np.log1p(np.exp(scales))
    losses, of_free, of_scales = [], [], []
    for row, noise_of_row in enumerate(noise):
        direction = ops.convert_to_tensor((sigma * noise_of_row).astype(dtype))
        moved = [w + weight_response(f, direction, s) for w, f, s in zip(weights, factors, scalings, strict=True)]
        value, pulled = value_and_gradient(
            lambda values, row=row: stn.loss(y[row : row + 1], stn.network(x[row : row + 1])(values)[0]), moved
        )
        losses.append(float(value))
        of_free.append(ops.convert_to_numpy(hyperparameter_gradient(pulled, factors, scalings)))
        of_scales.append(of_free[-1] * noise_of_row / (1 + np.exp(-scales)))
    return np.mean(losses), np.mean(of_free, 0), np.mean(of_scales, 0)


@pytest.mark.parametrize("name", ["tau0", "tau1e-3", "fixed_scale"])
def test_hyperparameter_step_matches_golden_gradients(floatx, name):
    scales, noise = stn.golden("delta_net/h_scale", floatx), stn.golden("delta_net/noise", floatx)
    noise = 0 * noise if name == "fixed_scale" else noise
    loss, of_free, of_scales = gradients(
        "delta_net/param", noise, scales, floatx, stn.golden("delta_net/xv", floatx), stn.golden("delta_net/yv")
    )
    if name == "tau1e-3":
        entropy, (of_entropy,) = value_and_gradient(
            lambda free: perturbation_entropy(ops.softplus(free[0])), stn.tensors([scales])
        )
        loss, of_scales = loss - stn.TAU * float(entropy), of_scales - stn.TAU * ops.convert_to_numpy(of_entropy)
    near = tolerance(floatx)
    np.testing.assert_allclose(loss, stn.golden(f"delta_net/{name}/valid_loss"), **near)
    np.testing.assert_allclose(of_free, stn.GOLDEN[f"delta_net/{name}/grad_h_tensor"], **near)
    if name != "fixed_scale":
        np.testing.assert_allclose(of_scales, stn.golden(f"delta_net/{name}/grad_h_scale"), **near)


def test_hyperparameter_step_matches_golden_values(floatx):
    """Compares the hyperparameters after their first step, from the weights after two training steps."""
    free, scales = (stn.golden(f"steps_delta/after1/{name}", floatx) for name in ("h_tensor", "h_scale"))
    noise = stn.golden("steps_delta/noise2", floatx)
    _, of_free, of_scales = gradients(
        "steps_delta/after1", noise, scales, floatx, stn.golden("delta_net/xv", floatx), stn.golden("delta_net/yv")
    )
    of_scales = of_scales - stn.TAU * (1 / (1 + np.exp(-scales))) / np.log1p(np.exp(scales))
    for before, gradient, name in ((free, of_free, "h_tensor"), (scales, of_scales, "h_scale")):
        after, _ = hyperparameter_step(before, np.zeros_like(before), gradient.astype(floatx), 0.01, epsilon=1e-8)
        np.testing.assert_allclose(
            ops.convert_to_numpy(after), stn.GOLDEN[f"steps_delta/after2/{name}"], rtol=2e-6, atol=2e-6
        )


def test_hyperparameter_step_updates_moving_mean_and_limits_step():
    free, square = hyperparameter_step(
        np.float32([1.0, 1.0]), np.float32([4.0, 0.0]), np.float32([2.0, -2.0]), 0.1, rho=0.5, max_step=0.12
    )
    np.testing.assert_allclose(ops.convert_to_numpy(square), [4.0, 2.0])
    np.testing.assert_allclose(ops.convert_to_numpy(free), [1 - 0.1, 1 + 0.12], rtol=1e-6)


def test_noise_gate_separates_gradients_from_noise():
    """Computes exponential mean and variance, and the equivalent number of equal weights, with NumPy."""
    random = np.random.default_rng(0)
    values = np.stack([random.normal(1.0, 0.1, 30), random.normal(0.0, 1.0, 30), np.zeros(30)], 1).astype("float32")
    weights = 0.9 ** np.arange(29, -1, -1)
    share = weights / weights.sum()
    mean = share @ values
    error = np.sqrt(np.maximum(share @ values**2 - mean**2, 0) / (1 / (share**2).sum() - 1))
    assert passes_gate(values, 3.0) == [True, False, True]
    borderline = abs(mean[1]) / error[1]
    assert passes_gate(values, 0.99 * borderline)[1]
    assert not passes_gate(values, 1.01 * borderline)[1]


def passes_gate(values, standard_errors):
    moments = np.zeros((3, values.shape[1]), "float32")
    for gradient in values:
        passes, moments = gradient_noise_gate(moments, gradient, standard_errors)
    return ops.convert_to_numpy(passes).tolist()
