"""A thin model around any model, which removes the sample ids from the input before it calls the model."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from keras_reg._types import Config, Structure
from keras_reg.data._input_names import (
    SAMPLE_ID,
    InputPacker,
    check_sample_id_is_free,
    explain_adapter_need,
    is_defined_by_keras,
    unpack_anonymous,
)

# Keras calls these methods on the model that is fitted, but never on a model inside another model.
TRAINING_METHODS = ("train_step", "test_step", "predict_step", "compute_loss", "compute_metrics")


@keras.saving.register_keras_serializable(package="keras_reg")
class SampleIdAdapter(keras.Model):
    """Wraps a model so that it can be trained on data with sample ids.

    `accept_sample_ids` creates the adapter. The wrapped model is the user's own object, and training changes it.
    Inputs without sample ids reach it unchanged.

    Args:
        model: A `keras.Model`. The model to wrap.
        name: String. The name of the adapter. Defaults to `None`, for which Keras chooses a name.

    Attributes:
        model: The wrapped model.

    Raises:
        ValueError: If `model` is not a `keras.Model`, has an input called `"sample_id"`, or defines its own training
            step or loss, which would be bypassed.
    """

    def __init__(self, model: keras.Model, name: str | None = None) -> None:
        _check_wrappable(model)
        # The inner model casts its inputs itself, but the loss is scaled by the policy of the compiled model.
        super().__init__(name=name, dtype=model.dtype_policy, autocast=False)
        self.model = model

    def call(self, inputs: Structure, training: bool | None = None) -> Structure:
        """Calls the wrapped model without the sample ids.

        Args:
            inputs: Tensors. The result of `with_sample_ids`, or the model's own inputs.
            training: Boolean. Whether the model is being trained. It is passed on if the `call` of the wrapped model
                takes it. Defaults to `None`.

        Returns:
            The output of the wrapped model.
        """
        if isinstance(inputs, dict) and SAMPLE_ID in inputs:
            inputs = {name: part for name, part in inputs.items() if name != SAMPLE_ID}
            # A Functional model that was built from a dictionary takes a dictionary, even if its only key is "inputs".
            inputs = inputs if _get_input_keys(self.model) else unpack_anonymous(inputs)
        # `fit` does the same. On JAX the argument must be passed on, because inner layers do not inherit it from the
        # outermost layer. A model without the argument must not receive it, so that it trains as without the adapter.
        takes_training = "training" in inspect.signature(self.model.call).parameters
        return self.model(inputs, training=training if takes_training else None)

    def input_packer(self) -> InputPacker:
        """Returns the names that data must have so that this adapter can pass them on."""
        check_sample_id_is_free(self.model)
        keys = _get_input_keys(self.model)
        if keys:
            tensors = self.model.input
            shapes = {key: tuple(tensors[key].shape) for key in keys if isinstance(tensors[key], keras.KerasTensor)}
            return InputPacker(self.model.name, keys, shapes, ordered=False)
        return InputPacker(self.model.name, None, {})

    def get_config(self) -> Config:
        """Returns the arguments of the adapter, including the wrapped model."""
        return {"name": self.name, "model": keras.saving.serialize_keras_object(self.model)}

    @classmethod
    def from_config(cls, config: Config, custom_objects: dict[str, Any] | None = None) -> SampleIdAdapter:
        """Creates an adapter from the result of `get_config`."""
        model = keras.saving.deserialize_keras_object(config["model"], custom_objects=custom_objects)
        return cls(model, name=config["name"])


def accept_sample_ids(model: keras.Model) -> keras.Model:
    """Returns a model that can be trained on data with sample ids, however it handles its inputs.

    Sequential and ordinary Functional models ignore an extra key in their input, and are returned unchanged. A
    subclassed model, or a Functional model that was built from a dictionary, is wrapped in a `SampleIdAdapter`. Compile
    and fit the adapter. Training changes the model inside (`adapter.model`).

    Args:
        model: A `keras.Model`, built or not.

    Returns:
        The model itself, or an adapter around it.

    Raises:
        ValueError: If `model` is not a `keras.Model`, or has an input called `"sample_id"`. Also if it needs an adapter
            and defines its own training step or loss, which the adapter would bypass.

    Example:

    ```python
    model = keras_reg.data.accept_sample_ids(MySubclassedModel())
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(keras_reg.data.with_sample_ids(model, x), y)
    ```
    """
    if isinstance(model, SampleIdAdapter):
        return model
    if isinstance(model, keras.Model) and explain_adapter_need(model) is None:
        check_sample_id_is_free(model)
        return model
    return SampleIdAdapter(model)


def _check_wrappable(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a `keras.Model`. Received: {model!r} of type {type(model).__name__}")
    check_sample_id_is_free(model)
    methods = [method for method in TRAINING_METHODS if not is_defined_by_keras(model, method)]
    if methods:
        raise ValueError(
            f"The model {model.name!r} defines {methods} itself, which a model around it would bypass. Let its `call` "
            f"drop the key {SAMPLE_ID!r} from its inputs, and build the data as "
            f"`{{..., {SAMPLE_ID!r}: numpy.arange(len(x), dtype='int32')}}`. Received: {type(model).__name__}"
        )


def _get_input_keys(model: keras.Model) -> tuple[str, ...]:
    """Returns the keys of a Functional model that was built from a dictionary of inputs, or an empty tuple."""
    structure = getattr(model, "input", None) if is_defined_by_keras(model, "call") else None
    return tuple(structure) if isinstance(structure, dict) else ()
