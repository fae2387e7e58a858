"""The places in a model of stock layers where a hyperparameter can be."""

from __future__ import annotations

import dataclasses
import fnmatch
from typing import Any

import keras

from keras_reg._keras.sublayers import iter_sublayers, own_weights

#: The attribute of each class of stock layers that says how strong its noise is.
NOISE = {keras.layers.Dropout: "rate", keras.layers.GaussianDropout: "rate", keras.layers.GaussianNoise: "stddev"}
_PENALTIES = {
    keras.regularizers.L1: ("l1",),
    keras.regularizers.L2: ("l2",),
    keras.regularizers.L1L2: ("l1", "l2"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class HyperparameterSlot:
    """A number of a stock layer.

    Attributes:
        layer: The layer.
        path: The name of the layer below the model, with those of the layers around it.
        attribute: The attribute of the layer: `rate`, `stddev` or that of a regularizer.
        field: The attribute of the regularizer, `l1` or `l2`; empty for one of the layer.
        variables: The variables that have the regularizer.
    """

    layer: keras.Layer
    path: str
    attribute: str
    field: str = ""
    variables: tuple[keras.Variable, ...] = ()

    @property
    def name(self) -> str:
        """The name of the place, such as `dense.kernel_regularizer.l2`."""
        return ".".join(filter(None, (self.path, self.attribute, self.field)))

    @property
    def key(self) -> tuple[int, str, str]:
        """The same for each path that leads to the place."""
        return id(self.layer), self.attribute, self.field

    def matches(self, pattern: str) -> bool:
        """Whether a pattern is that of the whole path, or of the layer's name alone."""
        short = self.name.removeprefix(self.path.rpartition("/")[0]).removeprefix("/")
        return any(fnmatch.fnmatchcase(name, pattern) for name in (self.name, short))


def find_slots(model: keras.Model) -> list[HyperparameterSlot]:
    """The places in a model, each once."""
    found: dict[tuple[int, str, str], HyperparameterSlot] = {}
    for layer, inside in iter_sublayers(model):
        path = "/".join(part.name for part in (*inside, layer))
        for place in [*_noise(layer, path), *_penalties(layer, path)]:
            found.setdefault(place.key, place)
    return list(found.values())


def _noise(layer: keras.Layer, path: str) -> list[HyperparameterSlot]:
    return [HyperparameterSlot(layer, path, attribute) for cls, attribute in NOISE.items() if isinstance(layer, cls)]


def _penalties(layer: keras.Layer, path: str) -> list[HyperparameterSlot]:
    # An activity regularizer has no variable.
    given: dict[str, Any] = {
        n: r for n, r in vars(layer).items() if n.endswith("_regularizer") and type(r) in _PENALTIES
    }
    found = []
    for attribute, regularizer in given.items():
        own = [variable for variable in own_weights(layer) if variable.regularizer is regularizer]
        if sum(other is regularizer for other in given.values()) > 1:
            own = [variable for variable in own if variable.name == attribute.removesuffix("_regularizer")]
        if own:
            found += [
                HyperparameterSlot(layer, path, attribute, field, tuple(own)) for field in _PENALTIES[type(regularizer)]
            ]
    return found
