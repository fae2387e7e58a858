"""Removes channels that have no effect from a model."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._types import Array, Config, Tensor
from keras_reg._validation import check_number
from keras_reg._warnings import NoEffectWarning
from keras_reg.regularizers._anchored import AnchoredRegularizer
from keras_reg.regularizers.mask_sparsity import MaskSparsity
from keras_reg.regularizers.sum import Sum, list_parts
from keras_reg.surgery._anchors import split
from keras_reg.surgery._channels import CHANGING, MIXING, ChannelGraph, trace_channels
from keras_reg.surgery._cloning import check_clonable, clone, copy_layer_values, plain_copy
from keras_reg.surgery._select import LayerPatterns, check_patterns, select


def prune(
    model: keras.Model, threshold: float = 0.01, *, include: LayerPatterns = None, exclude: LayerPatterns = None
) -> keras.Model:
    """Returns a smaller model without the filters and units that have no effect.

    A filter of a convolution or a unit of a dense layer is removed in two cases:

    - Its kernel is 0, as after `keras_reg.constraints.ProximalGroupEnvelope`.
    - The scale of the batch normalization after it is at most `threshold`, as after `keras_reg.callbacks.Polarization`
      and `keras_reg.callbacks.SparsityMask`.

    The output of a removed channel is a constant. This constant is added to the bias of the next layers, or to the
    moving mean of their batch normalization. With kernels and scales of exactly 0, the predictions of the new model are
    therefore the same, except at the border of zero-padded convolutions. Otherwise, train the new model for a few more
    epochs.

    `Dense`, `Conv1D`, `Conv2D` and `Conv3D` layers are pruned. Between such a layer and the layers that consume its
    channels, there may be batch normalization, elementwise activations, pooling, dropout, depthwise convolutions and
    `Flatten`. Outputs of the model keep all channels, as do inputs of a sum, a concatenation or a nested model. In a
    residual block, the inner convolutions are therefore pruned. Each layer keeps at least one channel. Layers that
    become smaller lose regularizers that hold values for single weights: masks and anchors.

    Args:
        model: A Sequential or Functional `keras.Model`. It is not changed.
        threshold: Float. The largest magnitude of a batch-normalization scale to remove. Defaults to `0.01`.
        include: String, class, Callable or a list of these. The layers that may lose channels, as in
            `keras_reg.apply_regularizer`. Defaults to `None`, which means all.
        exclude: Layers that keep all channels, in the same form. Defaults to `None`, which means none.

    Returns:
        The model. If the original model is compiled, the new model is compiled with a new optimizer.

    Raises:
        ValueError: If the model is subclassed or not built, or an argument is invalid.

    Example:

    ```python
    smaller = keras_reg.prune(model, threshold=0.01, exclude="head*")
    print(model.count_params(), smaller.count_params())
    ```
    """
    check_clonable(model, "Create smaller layers in its code.")
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
        # A layer of a nested model may have the name of a layer of the model.
        own = layers.get(layer.name) is layer
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
            f"prune has removed nothing: in the layers whose channels can be removed, {sorted(graph.consumers)}, no "
            f"kernel is 0 and no scale is at most threshold={threshold}. The returned model is a copy.",
            NoEffectWarning,
            stacklevel=2,
        )
    return smaller


class _Pruned:
    """Computes which channels remain, and the configurations and weights of the smaller layers.

    Args:
        graph: The paths of the channels.
        layers: The layers of the model by name.
        threshold: The largest scale to remove.
    """

    def __init__(self, graph: ChannelGraph, layers: dict[str, keras.Layer], threshold: float) -> None:
        self.graph, self.layers, self.threshold = graph, layers, threshold
        self.kept: dict[str, Array] = {}
        #: The layer that computes the input channels of a consumer, and the number of copies of each channel.
        self._inputs: dict[str, tuple[str, int]] = {}
        #: The layer that computes the channels of a layer that passes them on.
        self._sources: dict[str, str] = {}
        #: The constants to add to variables, by the id of the variable.
        self._shifts: dict[int, Array] = {}

    def remove(self, name: str) -> None:
        """Chooses the channels of a layer to remove, and adds their constants to the next layers."""
        layer = self.layers[name]
        kernel = _numpy(layer.kernel)
        sizes = np.abs(kernel).reshape(-1, kernel.shape[-1]).max(axis=0)
        removed = sizes == 0
        scales = self._read_scales(name)
        if scales is not None:
            sizes, removed = np.abs(scales), removed | (np.abs(scales) <= self.threshold)
        if removed.all():
            removed[np.argmax(sizes)] = False
        if not removed.any():
            return
        self.kept[name] = np.flatnonzero(~removed)
        for consumer, channels in self.graph.consumers[name]:
            self._inputs[consumer] = name, channels.repeats
            self._sources.update(dict.fromkeys(channels.path, name))
            constant = np.where(removed, self._compute_constant(layer, channels.path), 0.0)
            self._add_constant(consumer, constant, channels.repeats)

    def _find_normalization(self, name: str) -> Any:
        """Returns the batch normalization that directly follows a layer on every path, or `None`."""
        first = {channels.path[:1] for _, channels in self.graph.consumers.get(name, ())}
        layer = self.layers[next(iter(first))[0]] if len(first) == 1 and () not in first else None
        return layer if isinstance(layer, keras.layers.BatchNormalization) else None

    def _read_scales(self, name: str) -> Array | None:
        normalization = self._find_normalization(name)
        return _numpy(normalization.gamma) if normalization is not None and normalization.scale else None

    def _compute_constant(self, source: Any, path: tuple[str, ...]) -> Array:
        """Returns the outputs of the channels after the path for kernels or scales of 0."""
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

    def _add_constant(self, consumer: str, constant: Array, repeats: int) -> None:
        """Adds the effect of the constants to the bias of their consumer, or to the batch normalization after it."""
        layer = self.layers[consumer]
        kernel = _numpy(layer.kernel)
        by_channel = kernel.reshape(-1, repeats, len(constant), kernel.shape[-1]).sum(axis=(0, 1))
        shift, normalization = constant @ by_channel, self._find_normalization(consumer)
        if layer.use_bias:
            self._shift(layer.bias, shift)
        elif normalization is not None and layer.activation is keras.activations.linear:
            self._shift(normalization.moving_mean, -shift)

    def _shift(self, variable: keras.Variable, amount: Array) -> None:
        self._shifts[id(variable)] = self._shifts.get(id(variable), 0.0) + amount

    def shrinks(self, layer: keras.Layer) -> bool:
        """Returns True if a layer becomes smaller."""
        return any(layer.name in changed for changed in (self.kept, self._inputs, self._sources))

    def changes_values(self, layer: keras.Layer) -> bool:
        """Returns True if a layer becomes smaller, or if a constant was added to one of its variables."""
        return self.shrinks(layer) or any(id(variable) in self._shifts for variable in layer.variables)

    def changes(self, layer: Any) -> Config:
        """Returns the changed arguments in the configuration of a layer."""
        config: Config = {}
        if layer.name in self.kept:
            config["units" if isinstance(layer, keras.layers.Dense) else "filters"] = len(self.kept[layer.name])
        if self.shrinks(layer):
            for name in layer.get_config():
                parts = list_parts(getattr(layer, name, None))
                # Anchors and masks hold values for single weights, some of which are removed.
                kept = [part for part in parts if not isinstance(part, (AnchoredRegularizer, MaskSparsity))]
                if len(kept) < len(parts):
                    config[name] = keras.saving.serialize_keras_object(Sum(*kept)) if kept else None
        return config

    def values(self, layer: Any) -> list[Array]:
        """Returns the values of the variables of the new layer."""
        variables, _ = split(layer)
        values = [_numpy(variable) + self._shifts.get(id(variable), 0.0) for variable in variables]
        values = [value.astype(variable.dtype) for value, variable in zip(values, variables, strict=True)]
        if type(layer) in MIXING:
            values = [self._cut(layer.name, value, bool(index)) for index, value in enumerate(values)]
        elif layer.name in self._sources and layer.weights and self._sources[layer.name] in self.kept:
            kept = self.kept[self._sources[layer.name]]
            values = [np.take(value, kept, axis=-2 if value.ndim > 1 else 0) for value in values]
        return values

    def _cut(self, name: str, value: Array, bias: bool) -> Array:
        if name in self._inputs and not bias:
            source, repeats = self._inputs[name]
            channels = value.shape[-2] // repeats
            rows = np.arange(repeats)[:, None] * channels + self.kept[source]
            value = np.take(value, rows.reshape(-1), axis=-2)
        return np.take(value, self.kept[name], axis=-1) if name in self.kept else value


def _numpy(tensor: Tensor) -> Array:
    return np.asarray(ops.convert_to_numpy(tensor))
