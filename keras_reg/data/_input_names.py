"""The names under which a model takes its inputs from a dictionary, for data with sample ids."""

from __future__ import annotations

import dataclasses
import re
import warnings
from typing import Any

import keras

from keras_reg._types import Shape, Structure

SAMPLE_ID = "sample_id"


@dataclasses.dataclass(frozen=True)
class InputPacker:
    """Converts the argument `x` of `fit` to a dictionary that has room for sample ids.

    It holds names and shapes, but not the model, so that it can be sent to a worker process.

    Attributes:
        owner: The name of the model, for messages.
        names: The keys of the dictionary, or `None` if the model does not name its inputs.
        shapes: The shape of the model's input for each key, as far as known.
        ordered: Whether a list of arrays in the order of `names` is accepted.
    """

    owner: str
    names: tuple[str, ...] | None
    shapes: dict[str, Shape]
    ordered: bool = True

    def pack(self, x: Structure) -> dict[str, Any]:
        """Returns `x` as a new dictionary, without the sample ids.

        Args:
            x: An array (or a stand-in, such as the specification of a tensor), a list or tuple of arrays, or a
                dictionary.

        Returns:
            A dictionary with the keys that the model expects.

        Raises:
            ValueError: If `x` does not fit the inputs of the model.
        """
        if isinstance(x, dict):
            self._check_keys(x)
            return dict(x)
        if self.names is None:
            return pack_anonymous(x)
        parts = list(x) if isinstance(x, (list, tuple)) else [x]
        if len(parts) != len(self.names):
            raise ValueError(
                f"The model {self.owner!r} has {len(self.names)} input(s), {list(self.names)}. Pass one array for "
                f"each. Received: {len(parts)} ({type(x).__name__})"
            )
        if len(parts) > 1 and not self.ordered:
            raise ValueError(
                f"The model {self.owner!r} takes a dictionary. Pass `x` as a dictionary with the keys "
                f"{list(self.names)}. Received: {type(x).__name__}"
            )
        return dict(zip(self.names, parts, strict=True))

    def _check_keys(self, x: dict[str, Any]) -> None:
        if SAMPLE_ID in x:
            raise ValueError(
                f"`x` already has the key {SAMPLE_ID!r}, which `with_sample_ids` adds. Pass the data without ids to "
                f"`with_sample_ids`, or pass `x` to `fit` unchanged. Received: the keys {list(x)}"
            )
        if self.names is None:
            if unpack_anonymous(x) is not x:
                raise ValueError(
                    "These keys are reserved for arrays without a name. Rename them, or pass the arrays themselves. "
                    f"Received: the keys {list(x)}"
                )
            return
        missing = [name for name in self.names if name not in x]
        extra = [key for key in x if key not in self.names]
        if missing or extra:
            raise ValueError(
                f"The keys of `x` must be the input names of the model {self.owner!r}, {list(self.names)}. Received: "
                f"{list(x)}. Missing: {missing}, unexpected: {extra}"
            )


def pack_anonymous(x: Structure) -> dict[str, Any]:
    """Returns an array under the key `"inputs"`, or the parts of a list under `"inputs_0"`, `"inputs_1"` and so on."""
    if isinstance(x, (list, tuple)):
        return {f"inputs_{index}": part for index, part in enumerate(x)}
    return {"inputs": x}


def unpack_anonymous(x: dict[str, Any]) -> Structure:
    """Reverses `pack_anonymous`, and returns any other dictionary unchanged."""
    if set(x) == {"inputs"}:
        return x["inputs"]
    parts = [f"inputs_{index}" for index in range(len(x))]
    return [x[part] for part in parts] if x and set(x) == set(parts) else x


def make_packer(model: keras.Model) -> InputPacker:
    """Returns the packer for a model that picks its inputs by name.

    Args:
        model: A `keras.Model`. A Sequential model with a known input shape, or a Functional model.

    Returns:
        The packer.

    Raises:
        ValueError: If the model is not built, or would not ignore an extra key in its input.
    """
    reason = explain_adapter_need(model)
    if reason is not None:
        raise ValueError(
            f"The model {model.name!r} cannot take sample ids directly: {reason}. Wrap it with "
            "`model = keras_reg.data.accept_sample_ids(model)`, then compile and fit the result. "
            f"Received: {type(model).__name__}"
        )
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"The model {model.name!r} does not know its inputs yet, so the data cannot be named after them. Start it "
            f"with `keras.Input(shape)`, or call `model.build(input_shape)`. Received: {type(model).__name__}"
        )
    rename_unnamed_inputs(model)
    check_sample_id_is_free(model)
    names = tuple(tensor.name for tensor in model.inputs)
    return InputPacker(model.name, names, {tensor.name: tuple(tensor.shape) for tensor in model.inputs})


def rename_unnamed_inputs(model: keras.Model) -> None:
    """Renames inputs that were created without a name to the name of their layer.

    Keras looks up both the name of the tensor and the name of the layer in a dictionary. No dictionary without extra
    keys has both. In a model that was saved and loaded, the tensor also has the name of the layer.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer) and isinstance(layer.output, keras.KerasTensor):
            layer.output.name = layer.name


def check_sample_id_is_free(model: keras.Model) -> None:
    """Raises `ValueError` if an input of the model already has the name of the sample ids."""
    if any(tensor.name == SAMPLE_ID for tensor in getattr(model, "inputs", None) or []):
        raise ValueError(
            f"The model {model.name!r} has an input called {SAMPLE_ID!r}, which is the key of the sample ids. "
            f"Rename that input. Received: {type(model).__name__}"
        )


def explain_adapter_need(model: keras.Model) -> str | None:
    """Returns the reason why a model cannot take a dictionary with an extra key, or `None` if it can."""
    if not is_defined_by_keras(model, "call"):
        return "its own `call` would receive the dictionary with the ids"
    if isinstance(model, keras.Sequential):
        # A Sequential model of layers that take lists or dictionaries is built without an input.
        return "it has no single named input" if model.built and not getattr(model, "inputs", None) else None
    structure = getattr(model, "input", None)
    if isinstance(structure, dict):
        return "it was built from a dictionary of inputs, and would take the ids as one more input"
    if isinstance(structure, (list, tuple)) and not all(isinstance(part, keras.KerasTensor) for part in structure):
        return "it was built from a nested structure of inputs"
    return None


def is_defined_by_keras(model: keras.Model, method: str) -> bool:
    """Returns True if a method of a model is defined by Keras and not by a user class."""
    # The class of Functional models has no public name, but the package that defines a class is public.
    owner = next(cls for cls in type(model).__mro__ if method in vars(cls))
    return owner.__module__.partition(".")[0] == "keras"


def silence_single_input_dict_warning(packer: InputPacker) -> None:
    """Silences a false warning from Keras about a model with one input that receives a dictionary.

    Such a model picks its input from the dictionary by name and puts it into a list of one tensor. It then warns that a
    list is not a tensor. The results are correct. The filter matches only the name of this input and a list of exactly
    one tensor. Filtering the same message again replaces the filter, so that filters do not accumulate.

    Args:
        packer: An `InputPacker`. The names of the model's inputs.
    """
    if packer.names is None or len(packer.names) != 1:
        return
    message = (
        r"The structure of `inputs` doesn't match the expected structure\.\n"
        rf"Expected: {re.escape(packer.names[0])}\n"
        r"Received: inputs=\['Tensor\(shape=[^']*\)'\]\Z"
    )
    warnings.filterwarnings("ignore", message=message, category=UserWarning)
