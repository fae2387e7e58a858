"""The output of a model that a method works on, and its compiled loss."""

from __future__ import annotations

from typing import Any

import keras

from keras_reg._keras import trainer


def select_output(value: Any, output: str | None, output_names: list[str], what: str) -> Any:
    """Returns the part of predictions, labels or sample weights that belongs to one output.

    Args:
        value: A tensor, or a dict or list with one entry per output. A tensor or `None` is returned unchanged.
        output: The name of the output, or `None` if the model has only one.
        output_names: The names of the model's outputs, in the order of lists.
        what: The name of the value in error messages.

    Returns:
        The entry of that output.

    Raises:
        ValueError: If there are several outputs, and `output` is `None` or unknown.
    """
    if value is None or not isinstance(value, (dict, list, tuple)):
        return value
    names = list(value) if isinstance(value, dict) else output_names
    if len(value) == 1 and output is None:
        return next(iter(value.values())) if isinstance(value, dict) else value[0]
    if output is None or output not in names:
        raise ValueError(
            f"The model has the outputs {names}. Name the one that the method works on with the argument `output`. "
            f"Received: output={output!r} (looking for {what})"
        )
    return value[output] if isinstance(value, dict) else value[names.index(output)]


def output_names(model: keras.Model) -> list[str]:
    """Returns the names of a model's outputs. The list is empty for a subclassed model."""
    return list(getattr(model, "output_names", None) or [])


def compiled_loss(model: keras.Model, output: str | None) -> Any:
    """Returns the loss that an output was compiled with.

    Args:
        model: A compiled model.
        output: The name of the output, or `None` if the model has only one.

    Returns:
        A loss object, or a function. For a string, it is the function of that name.
    """
    loss = select_output(model.loss, output, output_names(model), "the compiled loss")
    return keras.losses.get(loss) if isinstance(loss, str) else loss


def loss_setting(loss: Any, name: str, default: Any) -> Any:
    """Returns an argument of a loss object, or `default` if the loss has no such argument."""
    if not isinstance(loss, keras.losses.Loss):
        return default
    try:
        return loss.get_config().get(name, default)
    except NotImplementedError:
        return default


def loss_takes_logits(model: keras.Model, output: str | None) -> bool:
    """Returns True if an output returns logits, according to its compiled loss.

    Args:
        model: A compiled model.
        output: The name of the output, or `None` if the model has only one.

    Raises:
        ValueError: If the loss has no argument `from_logits`.
    """
    loss = compiled_loss(model, output)
    # A loss that is named by a string is a function, and such functions expect probabilities by default.
    if loss in (keras.losses.categorical_crossentropy, keras.losses.sparse_categorical_crossentropy):
        return False
    from_logits = loss_setting(loss, "from_logits", None)
    if from_logits is None:
        raise ValueError(
            "The compiled loss does not say whether the model returns logits or probabilities: pass "
            f"`from_logits=True` or `from_logits=False`. Received: loss={loss!r}"
        )
    return bool(from_logits)


def loss_weight(model: keras.Model, output: str | None) -> float:
    """Returns the weight that the loss of an output was compiled with. Defaults to 1."""
    weights = trainer.compile_arguments(model).get("loss_weights")
    weight = select_output(weights, output, output_names(model), "the loss weights")
    return 1.0 if weight is None else float(weight)
