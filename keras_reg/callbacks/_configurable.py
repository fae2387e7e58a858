"""A mixin for callbacks that are built from their configuration."""

from __future__ import annotations

from typing import Any, TypeVar

import keras

from keras_reg._types import Config

_Callback = TypeVar("_Callback", bound="Configurable")


class Configurable:
    """Adds `from_config` to a callback that defines `get_config`."""

    #: The arguments that `get_config` may contain in serialized form, such as functions.
    serialized_arguments: tuple[str, ...] = ()

    @classmethod
    def from_config(cls: type[_Callback], config: Config) -> _Callback:
        """Creates a callback from the arguments that `get_config` returned.

        Args:
            config: The arguments.

        Returns:
            The callback.
        """
        restored = {name: deserialize(config[name]) for name in cls.serialized_arguments if name in config}
        return cls(**{**config, **restored})


def serialize_functions(value: Any) -> Any:
    """Converts a value for `get_config`: functions are serialized, and tuples become lists."""
    if isinstance(value, (list, tuple)):
        return [serialize_functions(item) for item in value]
    is_function = callable(value) and not isinstance(value, type)
    return keras.saving.serialize_keras_object(value) if is_function else value


def deserialize(value: Any) -> Any:
    """Restores serialized objects in a value, including those in lists and dictionaries."""
    if isinstance(value, (list, tuple)):
        return [deserialize(item) for item in value]
    if isinstance(value, dict) and "class_name" not in value:
        return {key: deserialize(item) for key, item in value.items()}
    return keras.saving.deserialize_keras_object(value) if isinstance(value, dict) else value
