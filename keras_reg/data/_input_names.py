"""How a model takes its inputs out of a dictionary: the names under which data travel beside the sample ids."""

from __future__ import annotations

import dataclasses
import re
import warnings
from typing import Any

import keras

SAMPLE_ID = "sample_id"


@dataclasses.dataclass(frozen=True)
class InputPacker:
    """Turns what a user would hand to `fit` as `x` into a dictionary that has room for sample ids.

    It holds names and shapes only, never the model, so that it can be sent to a worker process.

    Attributes:
        owner: The name of the model, for messages.
        names: The keys of the dictionary, or `None` where the model does not say what its inputs are called.
        shapes: The shape of the model's input for each key, as far as known.
        ordered: Whether a list of arrays may be given in the order of `names`.
    """

    owner: str
    names: tuple[str, ...] | None
    shapes: dict[str, tuple[int | None, ...]]
    ordered: bool = True

    def pack(self, x: Any) -> dict[str, Any]:
        """Returns `x` as a new dictionary, without the sample ids.

        Args:
            x: An array (or whatever stands for one, such as the specification of a tensor), a list or tuple of
                them, or a dictionary.

        Returns:
            A dictionary with the keys that the model asks for.

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
                f"The model {self.owner!r} has {len(self.names)} input(s), {list(self.names)}: give one array for "
                f"each. Received: {len(parts)} ({type(x).__name__})"
            )
        if len(parts) > 1 and not self.ordered:
            raise ValueError(
                f"The model {self.owner!r} takes a dictionary. Give `x` as a dictionary with the keys "
                f"{list(self.names)}. Received: {type(x).__name__}"
            )
        return dict(zip(self.names, parts, strict=True))

    def _check_keys(self, x: dict[str, Any]) -> None:
        if SAMPLE_ID in x:
            raise ValueError(
                f"`x` already has the key {SAMPLE_ID!r}, which `with_sample_ids` adds. Give it the data without ids, "
                f"or hand `x` to `fit` as it is. Received the keys: {list(x)}"
            )
        if self.names is None:
            if unpack_anonymous(x) is not x:
                raise ValueError(
                    f"The keys {list(x)} are kept for arrays that come without a name. Rename them, or give the "
                    "arrays themselves."
                )
            return
        missing = [name for name in self.names if name not in x]
        extra = [key for key in x if key not in self.names]
        if missing or extra:
            raise ValueError(
                f"The keys of `x` must be the input names of the model {self.owner!r}, {list(self.names)}. Received: "
                f"{list(x)}. Missing: {missing}, unexpected: {extra}"
            )


def pack_anonymous(x: Any) -> dict[str, Any]:
    """Returns an array under the key `"inputs"`, the parts of a list under `"inputs_0"`, `"inputs_1"` and so on."""
    if isinstance(x, (list, tuple)):
        return {f"inputs_{index}": part for index, part in enumerate(x)}
    return {"inputs": x}


def unpack_anonymous(x: dict[str, Any]) -> Any:
    """Undoes `pack_anonymous`; any other dictionary is returned as it is."""
    if set(x) == {"inputs"}:
        return x["inputs"]
    parts = [f"inputs_{index}" for index in range(len(x))]
    return [x[part] for part in parts] if x and set(x) == set(parts) else x


def packer_of(model: keras.Model) -> InputPacker:
    """Returns how data must be named for a model that picks its inputs by name.

    Args:
        model: A Sequential model with a known input shape, or a Functional model.

    Returns:
        The packer.

    Raises:
        ValueError: If the model is not built, or would not ignore an extra key in its input.
    """
    reason = needs_adapter(model)
    if reason is not None:
        raise ValueError(
            f"The model {model.name!r} cannot be given sample ids directly: {reason}. Wrap it first: "
            "`model = keras_reg.data.accept_sample_ids(model)`, then compile and fit the result. "
            f"Received: {type(model).__name__}"
        )
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"The model {model.name!r} does not know its inputs yet, so the data cannot be named after them. Begin it "
            "with `keras.Input(shape)`, or call `model.build(input_shape)` first."
        )
    unnamed_inputs_have_two_names(model)
    check_not_taken(model)
    names = tuple(tensor.name for tensor in model.inputs)
    return InputPacker(model.name, names, {tensor.name: tuple(tensor.shape) for tensor in model.inputs})


def unnamed_inputs_have_two_names(model: keras.Model) -> None:
    """Gives inputs that were made without a name the one that their layer has.

    Keras looks into a dictionary under the one of the tensor and under that of the layer, and no dictionary without
    other keys has both. In a model that is saved and loaded the tensor has the name of the layer too.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer) and isinstance(layer.output, keras.KerasTensor):
            layer.output.name = layer.name


def check_not_taken(model: keras.Model) -> None:
    """Raises `ValueError` if an input of the model already has the name that the sample ids need."""
    if any(tensor.name == SAMPLE_ID for tensor in getattr(model, "inputs", None) or []):
        raise ValueError(
            f"The model {model.name!r} has an input called {SAMPLE_ID!r}, the key under which the ids travel. "
            "Give that input another name."
        )


def needs_adapter(model: keras.Model) -> str | None:
    """Says why a model cannot be handed a dictionary with an extra key, or returns `None` if it can."""
    if not is_defined_by_keras(model, "call"):
        return "its own `call` would receive the dictionary with the ids"
    if isinstance(model, keras.Sequential):
        # Built without an input of its own: layers that take lists or dictionaries do this.
        return "it has no single named input" if model.built and not getattr(model, "inputs", None) else None
    structure = getattr(model, "input", None)
    if isinstance(structure, dict):
        return "it was built from a dictionary of inputs, and would be fed the ids as one more input"
    if isinstance(structure, (list, tuple)) and not all(isinstance(part, keras.KerasTensor) for part in structure):
        return "it was built from a nested structure of inputs"
    return None


def is_defined_by_keras(model: keras.Model, method: str) -> bool:
    """Says whether a method of a model comes from Keras itself and not from a class of the user's."""
    # The class behind Functional models has no public name, but the package that defines a class is public.
    owner = next(cls for cls in type(model).__mro__ if method in vars(cls))
    return owner.__module__.partition(".")[0] == "keras"


def silence_single_input_dict_warning(packer: InputPacker) -> None:
    """Silences the false alarm of Keras about a model with one input that is handed a dictionary.

    Such a model picks its input out of the dictionary by name, puts it into a list of one, and then warns that a
    list is not a tensor. The numbers are right. The filter matches nothing but that: this input's own name, and a
    list of exactly one tensor. Filtering the same message again replaces the filter, it does not pile up.

    Args:
        packer: How the data of the model are named.
    """
    if packer.names is None or len(packer.names) != 1:
        return
    message = (
        r"The structure of `inputs` doesn't match the expected structure\.\n"
        rf"Expected: {re.escape(packer.names[0])}\n"
        r"Received: inputs=\['Tensor\(shape=[^']*\)'\]\Z"
    )
    warnings.filterwarnings("ignore", message=message, category=UserWarning)
