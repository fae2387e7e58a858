"""Makes a smaller model of one whose channels have become useless."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._validation import check_number
from keras_reg._warnings import NoEffectWarning
from keras_reg.regularizers._anchored import AnchoredRegularizer
from keras_reg.regularizers.mask_sparsity import MaskSparsity
from keras_reg.surgery._anchors import split
from keras_reg.surgery._channels import CHANGING, MIXING, ChannelGraph, trace_channels
from keras_reg.surgery._cloning import check_clonable, clone, copy_layer_values, plain_copy
from keras_reg.surgery._select import LayerPatterns, check_patterns, select


def prune(
    model: keras.Model, threshold: float = 0.01, include: LayerPatterns = None, exclude: LayerPatterns = None
) -> keras.Model:
    """Returns a smaller model, without the filters and units that say nothing.

    A filter of a convolution or a unit of a dense layer goes if its kernel is 0, as
    `keras_reg.constraints.ProximalGroupEnvelope` makes it, or if the scale of the batch normalization behind it is at
    most `threshold`, as `keras_reg.callbacks.Polarization` and `keras_reg.callbacks.SparsityMask` make it. What it
    still gave, the same number everywhere, moves into the bias of the layers behind it, or into the moving mean of
    their batch normalization. So with kernels and scales of exactly 0 the new model predicts the same, except at the
    border of zero-padded convolutions. Otherwise train it a little more.

    Pruned are `Dense`, `Conv1D`, `Conv2D` and `Conv3D`, where batch normalization, activations of single numbers,
    pooling, dropout, depthwise convolutions and `Flatten` stand between them and the layers that take their channels.
    Left as they are: the outputs of the model, and what goes into a sum, a concatenation or a nested model, so that of
    a residual block the inner convolutions are pruned. At least one channel of each layer stays. Layers that get
    smaller lose regularizers that are for single weights: masks and anchors.

    Args:
        model: A Sequential or Functional model.
        threshold: The largest magnitude of a batch-normalization scale that is cut.
        include: Which layers may lose channels, as in `keras_reg.apply_regularizer`; `None` means all.
        exclude: Layers to leave as they are.

    Returns:
        The model, compiled as the given one, with a new optimizer. The given model stays as it is.

    Raises:
        ValueError: If the model is subclassed or not built, or an argument is of the wrong kind.

    Example:

    ```python
    smaller = keras_reg.prune(model, threshold=0.01, exclude="head*")
    print(model.count_params(), smaller.count_params())
    ```
    """
    check_clonable(model, "Make a smaller one in its code.")
    threshold = check_number("threshold", threshold)
    check_patterns("include", include)
    check_patterns("exclude", exclude)
    graph = trace_channels(model)
    layers = {layer.name: layer for layer in model.layers}
    pruned = _Pruned(graph, layers, threshold)
    for name in graph.consumers:
        if select(layers[name], include, exclude):
            pruned.remove(name)
    pairs: list[tuple[keras.Layer, keras.Layer]] = []

    def make(layer: keras.Layer) -> keras.Layer:
        own = layers.get(layer.name) is layer  # and not in a nested model
        new = type(layer).from_config({**layer.get_config(), **pruned.changes(layer)}) if own else plain_copy(layer)
        pairs.append((layer, new))
        return new

    smaller = clone(model, make)
    for old, new in pairs:
        if layers.get(old.name) is old and pruned.changes_values(old):
            for variable, value in zip(split(new)[0], pruned.values(old), strict=True):
                variable.assign(value)
        else:
            copy_layer_values(old, new)
    if not pruned.kept:
        warnings.warn(
            f"prune has removed nothing: of the layers whose channels can go, {sorted(graph.consumers)}, no kernel is "
            f"0 and no scale is at most threshold={threshold}. The model that is returned is a copy.",
            NoEffectWarning,
            stacklevel=2,
        )
    return smaller


class _Pruned:
    """Which channels stay, and what becomes of the weights.

    Args:
        graph: Where channels go.
        layers: The layers of the model by name.
        threshold: The largest scale that is cut.
    """

    def __init__(self, graph: ChannelGraph, layers: dict[str, keras.Layer], threshold: float) -> None:
        self.graph, self.layers, self.threshold = graph, layers, threshold
        self.kept: dict[str, np.ndarray] = {}
        #: Whose channels stand on the inputs of a layer, and how often; on all its weights, if it keeps them apart.
        self._inputs: dict[str, tuple[str, int]] = {}
        self._of: dict[str, str] = {}
        self._shifts: dict[int, np.ndarray] = {}  # by the identity of the variable

    def remove(self, name: str) -> None:
        """Decides which channels of a layer go, and where their constants go."""
        layer = self.layers[name]
        kernel = _numpy(layer.kernel)
        sizes = np.abs(kernel).reshape(-1, kernel.shape[-1]).max(axis=0)
        gone = sizes == 0
        scales = self._scales(name)
        if scales is not None:
            sizes, gone = np.abs(scales), gone | (np.abs(scales) <= self.threshold)
        if gone.all():
            gone[np.argmax(sizes)] = False
        if not gone.any():
            return
        self.kept[name] = np.flatnonzero(~gone)
        for taker, channels in self.graph.consumers[name]:
            self._inputs[taker] = name, channels.repeats
            self._of.update(dict.fromkeys(channels.path, name))
            constant = np.where(gone, self._constant(layer, channels.path), 0.0)
            self._give(taker, constant, channels.repeats)

    def _normalization(self, name: str) -> Any:
        """The batch normalization that directly follows a layer on every path."""
        first = {channels.path[:1] for _, channels in self.graph.consumers.get(name, ())}
        found = self.layers[next(iter(first))[0]] if len(first) == 1 and () not in first else None
        return found if isinstance(found, keras.layers.BatchNormalization) else None

    def _scales(self, name: str) -> np.ndarray | None:
        normalization = self._normalization(name)
        return _numpy(normalization.gamma) if normalization is not None and normalization.scale else None

    def _constant(self, source: Any, path: tuple[str, ...]) -> np.ndarray:
        """What a channel gives behind the path, if its kernel or its scale is 0."""
        bias = _numpy(source.bias) if source.use_bias else np.zeros(source.kernel.shape[-1], "float32")
        value = _numpy(source.activation(ops.convert_to_tensor(bias)))
        for layer in (self.layers[name] for name in path):
            if isinstance(layer, keras.layers.BatchNormalization):
                deviation = np.sqrt(_numpy(layer.moving_variance) + layer.epsilon)
                scale = _numpy(layer.gamma) if layer.scale else np.ones_like(value)
                scale = np.where(np.abs(scale) <= self.threshold, 0.0, scale)
                shift = _numpy(layer.beta) if layer.center else np.zeros_like(value)
                value = (value - _numpy(layer.moving_mean)) / deviation * scale + shift
            elif isinstance(layer, CHANGING):
                value = _numpy(layer(ops.convert_to_tensor(value.astype("float32")[None])))[0]
            elif hasattr(layer, "depth_multiplier"):
                kernel = _numpy(layer.kernel)
                value = value * kernel.reshape(-1, len(value)).sum(axis=0)
                value = value + _numpy(layer.bias) if layer.use_bias else value
                value = _numpy(layer.activation(ops.convert_to_tensor(value.astype("float32"))))
        return value

    def _give(self, taker: str, constant: np.ndarray, repeats: int) -> None:
        """Adds what the constants made to the bias of the layer that took them in, or to what comes behind it."""
        layer = self.layers[taker]
        kernel = _numpy(layer.kernel)
        by_channel = kernel.reshape(-1, repeats, len(constant), kernel.shape[-1]).sum(axis=(0, 1))
        shift, normalization = constant @ by_channel, self._normalization(taker)
        if layer.use_bias:
            self._shift(layer.bias, shift)
        elif normalization is not None and layer.activation is keras.activations.linear:
            self._shift(normalization.moving_mean, -shift)

    def _shift(self, variable: keras.Variable, by: np.ndarray) -> None:
        self._shifts[id(variable)] = self._shifts.get(id(variable), 0.0) + by

    def shrinks(self, layer: keras.Layer) -> bool:
        """Whether a layer gets smaller."""
        return any(layer.name in changed for changed in (self.kept, self._inputs, self._of))

    def changes_values(self, layer: keras.Layer) -> bool:
        """Whether a layer gets other values; without getting smaller too, if a constant has moved into it."""
        return self.shrinks(layer) or any(id(variable) in self._shifts for variable in layer.variables)

    def changes(self, layer: Any) -> dict[str, Any]:
        """What is different in the configuration of a layer."""
        config: dict[str, Any] = {}
        if layer.name in self.kept:
            config["units" if isinstance(layer, keras.layers.Dense) else "filters"] = len(self.kept[layer.name])
        if self.shrinks(layer):
            for name in layer.get_config():
                if isinstance(getattr(layer, name, None), (AnchoredRegularizer, MaskSparsity)):
                    config[name] = None  # it is for single weights, some of which are gone
        return config

    def values(self, layer: Any) -> list[np.ndarray]:
        """The values of the variables of the smaller layer."""
        variables, _ = split(layer)
        values = [_numpy(variable) + self._shifts.get(id(variable), 0.0) for variable in variables]
        values = [value.astype(variable.dtype) for value, variable in zip(values, variables, strict=True)]
        if type(layer) in MIXING:
            values = [self._cut(layer.name, value, bool(index)) for index, value in enumerate(values)]
        elif layer.name in self._of and layer.weights and self._of[layer.name] in self.kept:
            kept = self.kept[self._of[layer.name]]
            values = [np.take(value, kept, axis=-2 if value.ndim > 1 else 0) for value in values]
        return values

    def _cut(self, name: str, value: np.ndarray, bias: bool) -> np.ndarray:
        if name in self._inputs and not bias:
            source, repeats = self._inputs[name]
            channels = value.shape[-2] // repeats
            rows = np.arange(repeats)[:, None] * channels + self.kept[source]
            value = np.take(value, rows.reshape(-1), axis=-2)
        return np.take(value, self.kept[name], axis=-1) if name in self.kept else value


def _numpy(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor))
