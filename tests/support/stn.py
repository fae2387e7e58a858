"""The authors' Delta-STN network of three layers, and its golden numbers in the layout of Keras."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
from keras import ops

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "stn.npz", allow_pickle=False)
LAYERS = 3
TAU = 1e-3


def golden(name, dtype=None):
    array = GOLDEN[name]
    return array.astype(dtype) if dtype and array.dtype.kind == "f" else array


def parameters(prefix, dtype):
    """Returns kernels and biases, their factors and their scalings, in the layout of Keras."""
    weights, factors, scalings = [], [], []
    for layer in range(LAYERS):
        own = {
            key: golden(f"{prefix}/layers.{layer}.{key}", dtype)
            for key in ("general_weight", "general_bias", "response_weight", "response_bias", "hyper_bottleneck.weight")
        }
        units = len(own["general_bias"])
        weights += [own["general_weight"].T, own["general_bias"]]
        scalings += [own["response_weight"].T, own["response_bias"]]
        both = own["hyper_bottleneck.weight"].T
        factors += [both[:, :units], both[:, units:]]
    return weights, factors, scalings


def network(x):
    def forward(weights):
        h = ops.convert_to_tensor(x)
        for layer in range(LAYERS):
            kernel, bias = weights[2 * layer : 2 * layer + 2]
            h = ops.matmul(h, kernel) + bias
            h = ops.relu(h) if layer < LAYERS - 1 else h
        return [h]

    return forward


def loss(y, logits):
    return ops.mean(keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True))


def tensors(arrays):
    return [ops.convert_to_tensor(array) for array in arrays]
