"""Outputs and gradients of layers whose weights respond to hyperparameters, compared with the authors' layers."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg.layers import HyperConv2D, HyperDense, HyperEmbedding, HyperLSTM
from keras_reg.ops.hyperparameters import bounded, perturbation_entropy
from keras_reg.tune import Float
from keras_reg.tune._override import override_values
from tests.support.gradients import value_and_gradient, value_and_gradients
from tests.support.tolerance import tolerance

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "stn.npz", allow_pickle=False)

#: The backends that multiply float64 matrices exactly. On PyTorch, Keras multiplies them in float32.
EXACT = ("tensorflow", "jax")


def make_hyperparameters() -> list[Float]:
    """Returns two hyperparameters without bounds and with value 0.

    Their unconstrained numbers are their values, and so are the deviations from the current values.
    """
    return [Float("first", init=0.0), Float("second", init=0.0)]


def override(h):
    """Makes the layers read the hyperparameters of each sample, shape (batch, 2)."""
    return override_values({"first": h[:, 0], "second": h[:, 1]})


def reorder_gates(array, axis=0):
    """Converts the authors' order of the gates of an LSTM to the order of Keras."""
    forget, input_gate, output_gate, candidate = np.split(array, 4, axis)
    return np.concatenate([input_gate, forget, candidate, output_gate], axis)


def reorder_factors(matrix):
    """Reorders the gates of a matrix whose rows are factors of the kernel, then of the bias."""
    return np.concatenate([reorder_gates(half) for half in np.split(matrix, 2)])


def transpose(array):
    return array.T


def transpose_convolution(array):
    return array.transpose(2, 3, 1, 0)


def keep(array):
    return array


def get_scalar(array):
    return array[0]


def name_weights(general, response, matrix, kernel):
    """Returns the authors' name of each weight and the function that converts their array."""
    names = {
        "kernel": (f"{general}_weight", kernel),
        "bias": (f"{general}_bias", keep),
        "response_kernel": (f"{response}_weight", kernel),
        "response_bias": (f"{response}_bias", keep),
        "hyper_kernel": (f"{matrix}.weight", transpose),
    }
    return names | ({"scalar": ("elem_scalar", get_scalar)} if general == "elem" else {})


def name_cell_weights(prefix, part):
    return {
        f"{prefix}kernel": (f"{part}.elem_weight_raw", lambda array: reorder_gates(array).T),
        f"{prefix}bias": (f"{part}.elem_bias", reorder_gates),
        f"{prefix}response_kernel": (f"{part}.hnet_weight_raw", lambda array: reorder_gates(array).T),
        f"{prefix}response_bias": (f"{part}.hnet_bias", reorder_gates),
        f"{prefix}hyper_kernel": (f"{part}.hnet_tensor_to_scalars.weight", lambda array: reorder_factors(array).T),
    }


def transpose_images(array):
    return array.transpose(0, 2, 3, 1)


def swap_time_and_batch(array):
    """Converts (steps, batch, ...) to (batch, steps, ...)."""
    return np.swapaxes(array, 0, 1)


STN = name_weights("elem", "hnet", "htensor_to_scalars", transpose)
#: For each case: the function that makes the layer, the padding of images in PyTorch, the names of the weights, and the
#: function that converts the authors' inputs and outputs.
LAYERS = {
    "stn_linear": (lambda **k: HyperDense(3, centered=False, **k), 0, STN, keep),
    "delta_linear": (
        lambda **k: HyperDense(3, **k),
        0,
        name_weights("general", "response", "hyper_bottleneck", transpose),
        keep,
    ),
    "stn_conv_s1": (
        lambda **k: HyperConv2D(4, 3, centered=False, **k),
        1,
        name_weights("elem", "hnet", "htensor_to_scalars", transpose_convolution),
        transpose_images,
    ),
    "stn_conv_s2": (
        lambda **k: HyperConv2D(4, 3, 2, centered=False, **k),
        1,
        name_weights("elem", "hnet", "htensor_to_scalars", transpose_convolution),
        transpose_images,
    ),
    "delta_conv": (
        lambda **k: HyperConv2D(4, 3, **k),
        1,
        name_weights("general", "response", "hyper_bottleneck", transpose_convolution),
        transpose_images,
    ),
    "stn_embedding": (
        lambda **k: HyperEmbedding(6, 4, centered=False, **k),
        0,
        {
            "kernel": ("elem_embedding.weight", keep),
            "response_kernel": ("hnet_embedding.weight", keep),
            "hyper_kernel": ("hnet_tensor_to_scalars.weight", transpose),
        },
        swap_time_and_batch,
    ),
    "stn_lstm_cell": (
        lambda **k: HyperLSTM(4, True, True, centered=False, **k),
        0,
        name_cell_weights("", "i2h") | name_cell_weights("recurrent_", "h2h"),
        swap_time_and_batch,
    ),
}


class Golden:
    """Holds a layer with golden weights, and computes the sum of its outputs times golden numbers."""

    def __init__(self, case: str, floatx: str) -> None:
        self.case, self.floatx = case, floatx
        make, self.padding, self.names, self.convert = LAYERS[case]
        self.layer = make(hyperparameters=make_hyperparameters())
        x = self.convert(GOLDEN[f"{case}/x"])
        self.x = ops.convert_to_tensor(x if x.dtype == "int64" else x.astype(floatx))
        self.h = ops.convert_to_tensor(GOLDEN[f"{case}/h"].astype(floatx))
        self.outputs(self.x, self.h)  # This builds the layer.
        self.weights = {variable.name: variable for variable in self.layer.trainable_variables}
        assert set(self.weights) == set(self.names)
        for name, variable in self.weights.items():
            variable.assign(self.golden("param", name))

    def golden(self, what: str, name: str) -> np.ndarray:
        authors_name, convert = self.names[name]
        return convert(GOLDEN[f"{self.case}/{what}/{authors_name}"])

    def outputs(self, x, h):
        if self.padding:  # PyTorch pads both sides, with strides too.
            x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        initial = {}
        if self.case == "stn_lstm_cell":
            states = [GOLDEN[f"{self.case}/{name}"][0].astype(self.floatx) for name in ("h0", "c0")]
            initial = {"initial_state": [ops.convert_to_tensor(state) for state in states]}
        with override(h):
            outputs = self.layer(x, **initial)
        if initial:  # The authors' array contains all steps, followed by the two states.
            steps, *states = outputs
            outputs = ops.concatenate([steps, *(ops.expand_dims(state, 1) for state in states)], 1)
        return outputs

    def loss(self, x, h):
        upstream = self.convert(GOLDEN[f"{self.case}/ct"]).astype(self.floatx)
        return ops.sum(self.outputs(x, h) * ops.convert_to_tensor(upstream))


@pytest.mark.parametrize("case", LAYERS)
def test_hyper_layers_match_golden_loss_and_gradients(case, floatx):
    """Compares the gradients of the loss with respect to every weight, the inputs, and the hyperparameters."""
    golden = Golden(case, floatx)
    # On JAX, Keras computes the sigmoid and tanh of the LSTM in float32.
    close = tolerance(floatx, ("tensorflow",) if case == "stn_lstm_cell" else EXACT)
    expected = golden.convert(GOLDEN[f"{case}/out"])
    np.testing.assert_allclose(ops.convert_to_numpy(golden.outputs(golden.x, golden.h)), expected, **close)
    arrays = {name: ops.convert_to_numpy(variable) for name, variable in golden.weights.items()}
    arrays["h"] = ops.convert_to_numpy(golden.h)
    if case != "stn_embedding":  # Its inputs are integers.
        arrays["x"] = ops.convert_to_numpy(golden.x)

    def loss(values):
        with keras.StatelessScope([(variable, values[name]) for name, variable in golden.weights.items()]):
            return golden.loss(values.get("x", golden.x), values["h"])

    _, gradients = value_and_gradients(loss, arrays)
    for name, gradient in gradients.items():
        expected = golden.golden("grad", name) if name in golden.weights else GOLDEN[f"{case}/grad/{name}"]
        if name == "x":
            expected = golden.convert(expected)
        if case == "stn_embedding" and name.endswith("kernel") and name != "hyper_kernel":
            # In the authors' tables the last token is padding and has no gradient.
            assert not expected[5].any()
            expected[5] = gradient[5]
        np.testing.assert_allclose(gradient, expected, err_msg=name, **close)


def test_hyper_layers_match_golden_outputs_without_hyperparameters(floatx):
    """Compares both forms with factors of 0, so that the weights do not respond."""
    for case, out in (("stn_linear", "out_h_none"), ("delta_linear", "out_h_zero")):
        golden = Golden(case, floatx)
        expected = GOLDEN[f"{case}/{out}"]
        for outputs in (golden.layer(golden.x), golden.outputs(golden.x, ops.zeros_like(golden.h))):
            np.testing.assert_allclose(ops.convert_to_numpy(outputs), expected, **tolerance(floatx, EXACT))


def test_hyper_dense_fold_matches_golden_layer(floatx):
    golden = Golden("stn_linear", floatx)
    for hyperparameter, value in zip(golden.layer.hyperparameters, GOLDEN["stn_linear/folded_h"], strict=True):
        hyperparameter.set(float(value))
    folded = golden.layer.fold()
    assert type(folded) is keras.layers.Dense
    for variable, name in ((folded.kernel, "weight"), (folded.bias, "bias")):
        expected = GOLDEN[f"stn_linear/folded_{name}"].T
        np.testing.assert_allclose(ops.convert_to_numpy(variable), expected, **tolerance(floatx, EXACT))
    for layer in (folded, golden.layer):
        got = ops.convert_to_numpy(layer(golden.x))
        np.testing.assert_allclose(got, GOLDEN["stn_linear/folded_out"], **tolerance(floatx, EXACT))


def make_delta_net():
    """Returns the authors' network of three layers and its two hyperparameters, a dropout rate and an L2 strength."""
    bounds = ({"low": 0.0, "high": 0.95}, {"low": 0.0})
    values = [float(bounded(u, **bound)) for u, bound in zip(GOLDEN["delta_net/h_tensor"], bounds, strict=True)]
    pairs = zip(("rate", "decay"), values, bounds, strict=True)
    hyperparameters = [Float(name, init=value, **bound) for name, value, bound in pairs]
    sizes = (6, "relu"), (5, "relu"), (3, None)
    weights = name_weights("general", "response", "hyper_bottleneck", transpose)
    model = keras.Sequential([keras.Input((4,))])
    for index, (units, activation) in enumerate(sizes):
        layer = HyperDense(units, activation, hyperparameters=hyperparameters)
        model.add(layer)
        for variable in layer.trainable_variables:
            authors_name, convert = weights[variable.name]
            variable.assign(convert(GOLDEN[f"delta_net/param/layers.{index}.{authors_name}"]))
    return model, hyperparameters


@pytest.mark.parametrize("step", ["tau0", "tau1e-3", "fixed_scale"])
def test_hyper_layers_match_golden_hyper_step_loss_and_gradients(step, floatx):
    """Compares the gradients of the validation loss for unconstrained numbers and their scales, as tuners use them."""
    model, hyperparameters = make_delta_net()
    noise = 0.0 if step == "fixed_scale" else GOLDEN["delta_net/noise"].astype(floatx)
    noise = ops.convert_to_tensor(np.broadcast_to(noise, (5, 2)).astype(floatx))
    inputs = {name: GOLDEN[f"delta_net/{name}"].astype(floatx) for name in ("h_tensor", "h_scale")}
    x, y = ops.convert_to_tensor(GOLDEN["delta_net/xv"].astype(floatx)), ops.convert_to_tensor(GOLDEN["delta_net/yv"])

    def loss(h_tensor, h_scale):
        free = h_tensor + ops.softplus(h_scale) * noise
        values = {h.name: h.from_unconstrained(free[:, index]) for index, h in enumerate(hyperparameters)}
        with override_values(values):
            logits = model(x)
        losses = ops.sparse_categorical_crossentropy(y, logits, from_logits=True)
        return ops.mean(losses) - (1e-3 if step == "tau1e-3" else 0.0) * perturbation_entropy(ops.softplus(h_scale))

    # The values of the hyperparameters were converted by a sigmoid and back, which costs precision.
    close = {"rtol": 1e-7, "atol": 1e-8} if tolerance(floatx)["rtol"] < 1e-6 else {"rtol": 1e-4, "atol": 1e-5}
    value, gradients = value_and_gradients(lambda values: loss(**values), inputs)
    np.testing.assert_allclose(value, GOLDEN[f"delta_net/{step}/valid_loss"], **close)
    for name in ("h_tensor",) if step == "fixed_scale" else ("h_tensor", "h_scale"):
        np.testing.assert_allclose(gradients[name], GOLDEN[f"delta_net/{step}/grad_{name}"], **close)


def test_hyper_layers_match_golden_initial_weights():
    """Checks that weights are uniform up to 1 / sqrt(64).

    The matrix is normal with standard deviation 0.01, or 0 in Delta-STN.
    """
    bound, deviation = float(GOLDEN["stn_init/bound_elem_hnet"]), float(GOLDEN["stn_init/htensor_to_scalars_std"])
    for centered in (False, True):
        layer = HyperDense(500, hyperparameters=make_hyperparameters(), centered=centered)
        layer.build((None, 64))
        weights = {variable.name: ops.convert_to_numpy(variable) for variable in layer.trainable_variables}
        for name in ("kernel", "response_kernel", "bias", "response_bias"):
            largest = np.abs(weights[name]).max()
            assert 0.97 * bound < largest <= bound, name
            assert weights[name].std() == pytest.approx(bound / 3**0.5, rel=0.1), name
        if centered:
            assert not weights["hyper_kernel"].any()
            assert "scalar" not in weights
        else:
            assert weights["hyper_kernel"].std() == pytest.approx(deviation, rel=0.1)
            assert weights["scalar"] == 1
    embedding = HyperEmbedding(50, 40, hyperparameters=make_hyperparameters())
    embedding.build()
    assert np.abs(ops.convert_to_numpy(embedding.trainable_variables[0])).max() == pytest.approx(0.1, rel=0.03)


def test_hyper_dense_matches_golden_ridge_hypergradient():
    """Trains a layer with perturbed strengths and compares the learned response with the analytic one.

    For noise with two values, the solution is known. For small noise, the response is the derivative of the best
    weights with respect to the logarithm of the strength. The gradient of the validation loss for these weights is also
    known.
    """
    x, y, xv, yv = (GOLDEN[f"oracle_ridge/{name}"] for name in ("X", "y", "Xv", "yv"))
    strength, noise = np.exp(float(GOLDEN["oracle_ridge/lam"])), 0.25
    decay = Float("decay", init=strength, low=0.0, log=True)
    layer = HyperDense(1, use_bias=False, hyperparameters=[decay], l2=decay)
    model = keras.Sequential([keras.Input((6,)), layer])
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.05, 400)), "mse")
    with override_values({"decay": (strength * np.exp(np.repeat([noise, -noise], 40))).astype("float32")}):
        steps = np.tile(x, (2 * 400, 1)), np.tile(y, 2 * 400)[:, None]  # Each step has all samples with both strengths.
        model.fit(*steps, batch_size=80, shuffle=False, verbose=0)
    covariance, identity = x.T @ x / 40, strength * np.cosh(noise) * np.eye(6)
    mixed = strength * noise * np.sinh(noise) * np.eye(6)
    system = np.block([[covariance + identity, mixed], [mixed, noise**2 * (covariance + identity)]])
    weights, response = np.split(np.linalg.solve(system, np.concatenate([x.T @ y / 40, np.zeros(6)])), 2)
    kernel, response_kernel, matrix = (ops.convert_to_numpy(variable) for variable in layer.trainable_variables)
    np.testing.assert_allclose(kernel[:, 0], weights, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose((response_kernel * matrix)[:, 0], response, rtol=2e-2, atol=2e-3)
    np.testing.assert_allclose(response, GOLDEN["oracle_ridge/dw_dlam"], rtol=0.1, atol=0.01)

    def loss(free):
        with override_values({"decay": decay.from_unconstrained(free)}):
            errors = ops.convert_to_tensor(yv.astype("float32")) - layer(xv.astype("float32"))[:, 0]
        return ops.mean(ops.square(errors)) / 2

    value, gradient = value_and_gradient(loss, np.log(np.float32(strength)))
    np.testing.assert_allclose(value, GOLDEN["oracle_ridge/Lv"], rtol=0.02)
    np.testing.assert_allclose(gradient, GOLDEN["oracle_ridge/dLv_dlam"], rtol=0.05)
