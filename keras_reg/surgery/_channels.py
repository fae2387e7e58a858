"""Where the channels of layers go in a model: which layers make them, pass them on one by one, and take them in."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras

#: What computes each output channel from all input channels, with a kernel (..., inputs, outputs).
MIXING = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)

_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)

_ELEMENTWISE = {
    keras.activations.get(name)
    for name in (
        *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "tanh", "sigmoid"),
        *("log_sigmoid", "softplus", "softsign", "exponential", "squareplus", "tanh_shrink", "soft_shrink"),
        *("hard_sigmoid", "hard_silu", "hard_tanh", "hard_shrink"),
    )
}

_SPATIAL = (
    *("SpatialDropout", "MaxPooling", "AveragePooling", "GlobalMaxPooling", "GlobalAveragePooling"),
    *("UpSampling", "ZeroPadding", "Cropping"),
)

#: Layers without weights that treat channels alike, each on its own.
_PASSING = tuple(
    getattr(keras.layers, name)
    for name in (
        *("ReLU", "LeakyReLU", "ELU", "Identity", "Dropout", "GaussianNoise", "GaussianDropout"),
        *(f"{name}{rank}D" for name in _SPATIAL for rank in (1, 2, 3)),
    )
)

#: Which of them change values, so that a constant has to go through them.
CHANGING = (keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU, keras.layers.Activation)


@dataclasses.dataclass(frozen=True)
class Channels:
    """What stands on the last axis of a tensor.

    Attributes:
        source: The name of the layer that has made these channels.
        path: The names of the layers that they passed since, each channel on its own.
        repeats: How often they stand one after another, once flattened.
    """

    source: str
    path: tuple[str, ...] = ()
    repeats: int = 1


@dataclasses.dataclass
class ChannelGraph:
    """The channels of a model that can be removed without changing the shape of anything else.

    Attributes:
        consumers: For the name of each layer whose channels can go: the layers that take them in, and what they take.
    """

    consumers: dict[str, list[tuple[str, Channels]]]


def trace_channels(model: keras.Model) -> ChannelGraph:
    """Follows the channels through a Sequential or Functional model.

    Channels that reach an output, a sum, a concatenation, or a layer that is not known to keep them apart cannot be
    removed; nor can those of a layer that is called several times or is part of a nested model.

    Args:
        model: A built model.

    Returns:
        The graph.
    """
    at: dict[int, Channels] = {}
    alive: list[Any] = []  # or an id could come again
    found: dict[str, list[tuple[str, Channels]]] = {}
    blocked: set[str] = set()
    called: set[str] = set()

    def call(layer: Any, *arguments: Any, **keywords: Any) -> Any:
        outputs = layer(*arguments, **keywords)
        alive.append((arguments, keywords, outputs))
        tensors = [t for t in keras.tree.flatten((arguments, keywords)) if keras.utils.is_keras_tensor(t)]
        inputs = [at[id(tensor)] for tensor in tensors if id(tensor) in at]
        if layer.name in called or len(tensors) != 1 or keras.tree.is_nested(outputs):
            blocked.update([layer.name, *(channels.source for channels in inputs)])
        elif _mixes(layer):
            for channels in inputs:
                found[channels.source].append((layer.name, channels))
            found[layer.name] = []
            if _keeps_apart(layer.activation):
                at[id(outputs)] = Channels(layer.name)
        else:
            for channels in inputs:
                passed = _pass(layer, channels, arguments)
                if passed is None:
                    blocked.add(channels.source)
                else:
                    at[id(outputs)] = passed
        called.add(layer.name)
        return outputs

    functional = keras.Model(model.inputs, model.outputs)
    copy = keras.models.clone_model(functional, call_function=call)
    blocked.update(at[id(tensor)].source for tensor in keras.tree.flatten(copy.outputs) if id(tensor) in at)
    return ChannelGraph({name: takers for name, takers in found.items() if takers and name not in blocked})


def _mixes(layer: Any) -> bool:
    return (
        type(layer) in MIXING
        and getattr(layer, "groups", 1) == 1
        and getattr(layer, "data_format", "channels_last") == "channels_last"
    )


def _keeps_apart(activation: Any) -> bool:
    return activation in _ELEMENTWISE


def _pass(layer: Any, channels: Channels, arguments: tuple[Any, ...]) -> Channels | None:
    """The channels behind a layer; `None` if it mixes them, or is not known."""
    after = dataclasses.replace(channels, path=(*channels.path, layer.name))
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return None
    if type(layer) is keras.layers.Flatten:
        shape = arguments[0].shape[1:-1]
        return None if None in shape else dataclasses.replace(after, repeats=channels.repeats * math.prod(shape))
    if type(layer) in _PASSING:
        return after
    if type(layer) is keras.layers.Activation:
        return after if _keeps_apart(layer.activation) else None
    if channels.repeats > 1:  # each place has weights of its own
        return None
    if type(layer) is keras.layers.BatchNormalization:
        return after if layer.axis in (-1, len(arguments[0].shape) - 1) else None
    if type(layer) in _DEPTHWISE and layer.depth_multiplier == 1 and _keeps_apart(layer.activation):
        return after
    return None
