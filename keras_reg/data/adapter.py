"""A thin model around any model, which takes the sample ids out of the input before the model sees it."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from keras_reg.data._input_names import (
    SAMPLE_ID,
    InputPacker,
    check_not_taken,
    is_defined_by_keras,
    needs_adapter,
    unpack_anonymous,
)

# What Keras asks of the model that is fitted, and would therefore never ask of a model inside another.
TRAINING_METHODS = ("train_step", "test_step", "predict_step", "compute_loss", "compute_metrics")


@keras.saving.register_keras_serializable(package="keras_reg")
class SampleIdAdapter(keras.Model):
    """Lets any model be trained on data that carry sample ids; `accept_sample_ids` makes it.

    The wrapped model stays the user's own object, and is what is trained: `adapter.model`. Input without sample ids
    reaches it untouched.

    Args:
        model: The model to wrap.
        name: The name of the adapter.

    Raises:
        ValueError: If `model` is no `keras.Model`, has an input called `"sample_id"`, or brings its own training
            step or loss, which would be bypassed.
    """

    def __init__(self, model: keras.Model, name: str | None = None) -> None:
        _check_wrappable(model)
        # The inner model casts its inputs itself, but the loss is scaled by the policy of the model that is compiled.
        super().__init__(name=name, dtype=model.dtype_policy, autocast=False)
        self.model = model

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Calls the wrapped model without the sample ids.

        Args:
            inputs: What `with_sample_ids` made, or the model's own inputs.
            training: Whether the model is being trained. It is handed on if the wrapped model's own `call` takes it.

        Returns:
            The output of the wrapped model.
        """
        if isinstance(inputs, dict) and SAMPLE_ID in inputs:
            inputs = {name: part for name, part in inputs.items() if name != SAMPLE_ID}
            # A Functional model built from a dictionary keeps it, even if its only key is called "inputs".
            inputs = inputs if _input_keys(self.model) else unpack_anonymous(inputs)
        # As `fit` treats a model: on JAX it must be handed on, because there the layers inside inherit nothing from the
        # outermost one; and a model that does not ask for it is not told, so that it trains as it does without this.
        takes_training = "training" in inspect.signature(self.model.call).parameters
        return self.model(inputs, training=training if takes_training else None)

    def input_packer(self) -> InputPacker:
        """Returns how data must be named so that this adapter can hand them on."""
        check_not_taken(self.model)
        keys = _input_keys(self.model)
        if keys:
            tensors = self.model.input
            shapes = {key: tuple(tensors[key].shape) for key in keys if isinstance(tensors[key], keras.KerasTensor)}
            return InputPacker(self.model.name, keys, shapes, ordered=False)
        return InputPacker(self.model.name, None, {})

    def get_config(self) -> dict[str, Any]:
        """Returns what is needed to make the adapter again, the wrapped model included."""
        return {"name": self.name, "model": keras.saving.serialize_keras_object(self.model)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> SampleIdAdapter:
        """Makes an adapter from what `get_config` returned."""
        model = keras.saving.deserialize_keras_object(config["model"], custom_objects=custom_objects)
        return cls(model, name=config["name"])


def accept_sample_ids(model: keras.Model) -> keras.Model:
    """Makes a model that can be trained on data with sample ids, whatever it does with its inputs.

    Sequential and ordinary Functional models ignore an extra key in their input, and are returned unchanged. A
    subclassed model, or a Functional model that was built from a dictionary, is put into a `SampleIdAdapter`:
    compile and fit the adapter; the model inside (`adapter.model`) is what is trained.

    Args:
        model: Any Keras model, built or not.

    Returns:
        The model itself, or an adapter around it.

    Raises:
        ValueError: If `model` is no `keras.Model`, has an input called `"sample_id"`, or needs an adapter and brings
            its own training step or loss, which the adapter would bypass.

    Example:
    ```python
    model = keras_reg.data.accept_sample_ids(MySubclassedModel())
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(keras_reg.data.with_sample_ids(model, x), y)
    ```
    """
    if isinstance(model, SampleIdAdapter):
        return model
    if isinstance(model, keras.Model) and needs_adapter(model) is None:
        check_not_taken(model)
        return model
    return SampleIdAdapter(model)


def _check_wrappable(model: keras.Model) -> None:
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a `keras.Model`. Received: {model!r} of type {type(model).__name__}")
    check_not_taken(model)
    own = [method for method in TRAINING_METHODS if not is_defined_by_keras(model, method)]
    if own:
        raise ValueError(
            f"The model {model.name!r} defines {own} itself, and a model around it would bypass that. Let its `call` "
            f"drop the key {SAMPLE_ID!r} from its inputs, and build the data as "
            f"`{{..., {SAMPLE_ID!r}: numpy.arange(len(x), dtype='int32')}}`. Received: {type(model).__name__}"
        )


def _input_keys(model: keras.Model) -> tuple[str, ...]:
    """Returns the keys of a Functional model that was built from a dictionary of inputs, else nothing."""
    structure = getattr(model, "input", None) if is_defined_by_keras(model, "call") else None
    return tuple(structure) if isinstance(structure, dict) else ()
