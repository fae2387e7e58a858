"""The slots in a model of stock layers to which a hyperparameter can be bound."""

from __future__ import annotations

import dataclasses
import fnmatch
from typing import Any

import keras

from keras_reg._keras.sublayers import iter_sublayers, own_weights

#: The attribute of each class of stock layers that sets the strength of its noise.
NOISE = {keras.layers.Dropout: "rate", keras.layers.GaussianDropout: "rate", keras.layers.GaussianNoise: "stddev"}
_PENALTIES = {
    keras.regularizers.L1: ("l1",),
    keras.regularizers.L2: ("l2",),
    keras.regularizers.L1L2: ("l1", "l2"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class HyperparameterSlot:
    """Describes a number of a stock layer that can be replaced by a hyperparameter.

    Attributes:
        layer: The layer.
        path: The names of the layers around the layer and the name of the layer, joined by `/`.
        attribute: The attribute of the layer: `rate`, `stddev`, or the attribute of a regularizer.
        field: The attribute of the regularizer, `l1` or `l2`. It is empty for an attribute of the layer.
        variables: The variables that have the regularizer.
    """

    layer: keras.Layer
    path: str
    attribute: str
    field: str = ""
    variables: tuple[keras.Variable, ...] = ()

    @property
    def name(self) -> str:
        """Returns the name of the slot, such as `dense.kernel_regularizer.l2`."""
        return ".".join(filter(None, (self.path, self.attribute, self.field)))

    @property
    def key(self) -> tuple[int, str, str]:
        """Returns a key that identifies the slot, independently of the path to it."""
        return id(self.layer), self.attribute, self.field

    def matches(self, pattern: str) -> bool:
        """Returns True if a pattern matches the name with the whole path, or with the layer's name alone."""
        short = self.name.removeprefix(self.path.rpartition("/")[0]).removeprefix("/")
        return any(fnmatch.fnmatchcase(name, pattern) for name in (self.name, short))


def find_slots(model: keras.Model) -> list[HyperparameterSlot]:
    """Returns the slots of a model, each once."""
    slots: dict[tuple[int, str, str], HyperparameterSlot] = {}
    for layer, parents in iter_sublayers(model):
        path = "/".join(part.name for part in (*parents, layer))
        for slot in [*_find_noise(layer, path), *_find_penalties(layer, path)]:
            slots.setdefault(slot.key, slot)
    return list(slots.values())


def _find_noise(layer: keras.Layer, path: str) -> list[HyperparameterSlot]:
    return [HyperparameterSlot(layer, path, attribute) for cls, attribute in NOISE.items() if isinstance(layer, cls)]


def _find_penalties(layer: keras.Layer, path: str) -> list[HyperparameterSlot]:
    # Activity regularizers are left out below, since no variable has them.
    regularizers: dict[str, Any] = {
        n: r for n, r in vars(layer).items() if n.endswith("_regularizer") and type(r) in _PENALTIES
    }
    slots = []
    for attribute, regularizer in regularizers.items():
        variables = [variable for variable in own_weights(layer) if variable.regularizer is regularizer]
        if sum(other is regularizer for other in regularizers.values()) > 1:
            name = attribute.removesuffix("_regularizer")
            variables = [variable for variable in variables if variable.name == name]
        fields = _PENALTIES[type(regularizer)] if variables else ()
        slots += [HyperparameterSlot(layer, path, attribute, field, tuple(variables)) for field in fields]
    return slots
