"""Tests that wrapping supported layers keeps their forward pass, and that other layers are rejected."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.support.tiers import NOT_ON_JAX, ON_TORCH
from tests.support.wrapped import CLASSES, IMAGE, ROWS, SUPPORTED, L, array, effective, normal, wrap

# The number of kernels of each layer, and for some layers the number of weight vectors.
KERNELS = {"SeparableConv1D": 2, "SeparableConv2D": 2, "MultiHeadAttention": 4, "GroupQueryAttention": 4}
KERNELS.update({"SimpleRNN": 2, "GRU": 2, "LSTM": 2, "RNN": 2, "RNN stacked": 4, "Bidirectional": 4})
VECTORS = {
    "Dense": 4,
    "EinsumDense": 6,
    "Conv2D": 4,
    "Conv2DTranspose": 4,
    "DepthwiseConv2D": 6,
    "Embedding": 6,
    "MultiHeadAttention": 6,
    "GRU": 15,
}


# Every layer is tested with one class. Layers whose kernels have different axes are tested with all classes.
EACH = [(name, cls) for name in SUPPORTED for cls in (CLASSES if name in VECTORS else CLASSES[:1])]


@ON_TORCH
@pytest.mark.parametrize(("name", "cls"), EACH)
def test_wrapped_layers_begin_with_plain_forward_pass(name, cls):
    """Compares new layers with the same seeds, and layers that were built before."""
    make, inputs = SUPPORTED[name]
    keras.utils.set_random_seed(1)
    plain = make()
    expected = array(plain(*inputs))
    keras.utils.set_random_seed(1)
    fresh = wrap(cls, make())
    for layer, training in ((fresh, True), (fresh, False), (wrap(cls, plain), True)):
        np.testing.assert_allclose(array(layer(*inputs, training=training)), expected, rtol=1e-4, atol=2e-5)
    assert len(fresh.kernels) == KERNELS.get(name, 1)
    assert len({kernel.name for kernel in fresh.kernels}) == len(fresh.kernels)
    if hasattr(fresh, "lengths") and name in VECTORS:
        assert array(fresh.lengths[0]).size == VECTORS[name]
    shapes = [x.shape for x in inputs]
    assert fresh.compute_output_shape(*shapes) == plain.compute_output_shape(*shapes)
    weights = effective(fresh)
    folded = fresh.fold()
    assert type(folded) is type(plain)
    np.testing.assert_allclose(array(folded(*inputs)), expected, rtol=1e-4, atol=2e-5)
    assert [w.shape for w in weights] == [tuple(kernel.variable.shape) for kernel in fresh.kernels]


class Custom(L.Layer):
    pass


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize(
    "layer",
    [
        lambda: L.LayerNormalization(),
        lambda: keras.Sequential([L.Dense(2)]),
        lambda: Custom(),
        lambda: L.TimeDistributed(L.LayerNormalization()),
        lambda: "dense",
        lambda: wrap(CLASSES[0], L.Dense(2)),
        lambda: L.TimeDistributed(wrap(CLASSES[1], L.Dense(2))),
    ],
)
def test_wrappers_reject_unsupported_layers_and_list_supported_layers(cls, layer):
    with pytest.raises(ValueError, match=r"wraps Dense, EinsumDense, .*TimeDistributed around any of those. Received"):
        cls(layer())


@pytest.mark.parametrize("cls", CLASSES)
def test_wrappers_reject_quantized_layers(cls):
    layer = L.Dense(4)
    layer(ROWS)
    layer.quantize("int8")
    with pytest.raises(ValueError, match="quantized"):
        cls(layer)


@pytest.mark.parametrize("cls", CLASSES)
def test_wrappers_reject_quantization_of_inner_layer(cls):
    layer = wrap(cls, L.Dense(4))
    layer(ROWS)
    layer.layer.quantize("int8")
    with pytest.raises(ValueError, match="quantized its parameters"):
        layer(ROWS)


@NOT_ON_JAX
@pytest.mark.parametrize("cls", CLASSES)
def test_wrappers_accept_grouped_convolutions(cls):
    layer = L.Conv2D(6, 3, groups=3)
    expected = array(layer(IMAGE))
    np.testing.assert_allclose(array(wrap(cls, layer)(IMAGE)), expected, rtol=1e-4, atol=2e-5)


def test_wrappers_accept_einsum_dense_with_leading_inputs():
    """Finds the output axes of the kernel, which the inputs do not have, in any position."""
    layer = wrap(CLASSES[1], L.EinsumDense("...c,dc->...d", 7))
    layer(normal(2, 3, 4))
    assert array(layer.lengths[0]).shape == (7, 1)


@pytest.mark.parametrize("cls", CLASSES)
def test_wrappers_reject_fold_of_unbuilt_layer(cls):
    with pytest.raises(ValueError, match="not built"):
        wrap(cls, L.Dense(2)).fold()
