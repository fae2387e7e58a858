"""The paths of channels through a model: the layers that compute them, pass them on, and consume them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras

#: Layers that compute each output channel from all input channels, with a kernel of shape (..., inputs, outputs).
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

#: Layers without weights that map each channel independently.
_PASSING = tuple(
    getattr(keras.layers, name)
    for name in (
        *("ReLU", "LeakyReLU", "ELU", "Identity", "Dropout", "GaussianNoise", "GaussianDropout"),
        *(f"{name}{rank}D" for name in _SPATIAL for rank in (1, 2, 3)),
    )
)

#: Layers without weights that change the value of a constant channel.
CHANGING = (keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU, keras.layers.Activation)


@dataclasses.dataclass(frozen=True)
class Channels:
    """Describes the channels on the last axis of a tensor.

    Attributes:
        source: The name of the layer that computed these channels.
        path: The names of the layers that have since passed them on, each channel independently.
        repeats: The number of copies of the channels on the axis, which is above 1 after a `Flatten`.
    """

    source: str
    path: tuple[str, ...] = ()
    repeats: int = 1


@dataclasses.dataclass
class ChannelGraph:
    """Holds the channels of a model that can be removed without changing the shape of anything else.

    Attributes:
        consumers: For the name of each layer with removable channels, the layers that consume them as pairs of a name
            and the consumed channels.
    """

    consumers: dict[str, list[tuple[str, Channels]]]


def trace_channels(model: keras.Model) -> ChannelGraph:
    """Follows the channels through a Sequential or Functional model.

    Channels cannot be removed if they reach one of these:

    - an output
    - a sum or a concatenation
    - a layer that is not known to keep channels apart

    The channels of a layer that is called several times or is part of a nested model cannot be removed either.

    Args:
        model: A built model.

    Returns:
        The graph.
    """
    channels_of: dict[int, Channels] = {}
    # Tensors are looked up by id, and the id of a collected tensor could be used again.
    alive: list[Any] = []
    consumers: dict[str, list[tuple[str, Channels]]] = {}
    blocked: set[str] = set()
    called: set[str] = set()

    def call(layer: Any, *arguments: Any, **keywords: Any) -> Any:
        outputs = layer(*arguments, **keywords)
        alive.append((arguments, keywords, outputs))
        tensors = [t for t in keras.tree.flatten((arguments, keywords)) if keras.utils.is_keras_tensor(t)]
        inputs = [channels_of[id(tensor)] for tensor in tensors if id(tensor) in channels_of]
        if layer.name in called or len(tensors) != 1 or keras.tree.is_nested(outputs):
            blocked.update([layer.name, *(channels.source for channels in inputs)])
        elif _is_mixing(layer):
            for channels in inputs:
                consumers[channels.source].append((layer.name, channels))
            consumers[layer.name] = []
            if _is_elementwise(layer.activation):
                channels_of[id(outputs)] = Channels(layer.name)
        else:
            for channels in inputs:
                passed = _pass(layer, channels, arguments)
                if passed is None:
                    blocked.add(channels.source)
                else:
                    channels_of[id(outputs)] = passed
        called.add(layer.name)
        return outputs

    functional = keras.Model(model.inputs, model.outputs)
    copy = keras.models.clone_model(functional, call_function=call)
    outputs = [id(tensor) for tensor in keras.tree.flatten(copy.outputs)]
    blocked.update(channels_of[tensor].source for tensor in outputs if tensor in channels_of)
    return ChannelGraph({name: layers for name, layers in consumers.items() if layers and name not in blocked})


def _is_mixing(layer: Any) -> bool:
    return (
        type(layer) in MIXING
        and getattr(layer, "groups", 1) == 1
        and getattr(layer, "data_format", "channels_last") == "channels_last"
    )


def _is_elementwise(activation: Any) -> bool:
    return activation in _ELEMENTWISE


def _pass(layer: Any, channels: Channels, arguments: tuple[Any, ...]) -> Channels | None:
    """Returns the channels after a layer, or `None` if the layer mixes them or is unknown."""
    after = dataclasses.replace(channels, path=(*channels.path, layer.name))
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return None
    if type(layer) is keras.layers.Flatten:
        shape = arguments[0].shape[1:-1]
        return None if None in shape else dataclasses.replace(after, repeats=channels.repeats * math.prod(shape))
    if type(layer) in _PASSING:
        return after
    if type(layer) is keras.layers.Activation:
        return after if _is_elementwise(layer.activation) else None
    if channels.repeats > 1:
        # The copies of a flattened channel have separate weights in the layers below.
        return None
    if type(layer) is keras.layers.BatchNormalization:
        return after if layer.axis in (-1, len(arguments[0].shape) - 1) else None
    if type(layer) in _DEPTHWISE and layer.depth_multiplier == 1 and _is_elementwise(layer.activation):
        return after
    return None
