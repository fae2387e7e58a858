"""Which of a model's outputs a method works on, and what its compiled loss says about it."""

from __future__ import annotations

from typing import Any

import keras

from keras_reg._keras import trainer


def select_output(value: Any, output: str | None, output_names: list[str], what: str) -> Any:
    """Picks one output's part out of predictions, labels or sample weights.

    Args:
        value: A tensor, or a dict or list with one entry per output. A tensor, or `None`, is returned as it is.
        output: The name of the output, or `None` where the model has only one.
        output_names: The model's output names, in the order of lists.
        what: What the value is called in error messages.

    Returns:
        The entry of that output.

    Raises:
        ValueError: If there are several outputs and none, or an unknown one, is named.
    """
    if value is None or not isinstance(value, (dict, list, tuple)):
        return value
    names = list(value) if isinstance(value, dict) else output_names
    if len(value) == 1 and output is None:
        return next(iter(value.values())) if isinstance(value, dict) else value[0]
    if output is None or output not in names:
        raise ValueError(
            f"The model has the outputs {names}: say which one the method works on with the argument `output`. "
            f"Received: output={output!r} (looking for {what})"
        )
    return value[output] if isinstance(value, dict) else value[names.index(output)]


def output_names(model: keras.Model) -> list[str]:
    """The names of a model's outputs; empty for a subclassed model, whose outputs have names only as dict keys."""
    return list(getattr(model, "output_names", None) or [])


def compiled_loss(model: keras.Model, output: str | None) -> Any:
    """The loss that an output was compiled with: an object, or the function that a string stands for.

    Args:
        model: A compiled model.
        output: The name of the output, or `None` where the model has only one.

    Returns:
        The loss.
    """
    loss = select_output(model.loss, output, output_names(model), "the compiled loss")
    return keras.losses.get(loss) if isinstance(loss, str) else loss


def loss_setting(loss: Any, name: str, default: Any) -> Any:
    """An argument that a loss object was made with; `default` where it has none of that name."""
    if not isinstance(loss, keras.losses.Loss):
        return default
    try:
        return loss.get_config().get(name, default)
    except NotImplementedError:
        return default


def loss_takes_logits(model: keras.Model, output: str | None) -> bool:
    """Reads off the compiled loss whether an output gives logits.

    Args:
        model: A compiled model.
        output: The name of the output, or `None` where the model has only one.

    Returns:
        Whether the loss was built with `from_logits=True`.

    Raises:
        ValueError: If the loss does not say.
    """
    loss = compiled_loss(model, output)
    # Losses named by a string become plain functions, whose default is probabilities.
    if loss in (keras.losses.categorical_crossentropy, keras.losses.sparse_categorical_crossentropy):
        return False
    from_logits = loss_setting(loss, "from_logits", None)
    if from_logits is None:
        raise ValueError(
            "Cannot read off the compiled loss whether the model gives logits or probabilities: pass "
            f"`from_logits=True` or `from_logits=False`. Received: loss={loss!r}"
        )
    return bool(from_logits)


def loss_weight(model: keras.Model, output: str | None) -> float:
    """The weight that an output's loss was compiled with, 1 where none was given."""
    weights = trainer.compile_arguments(model).get("loss_weights")
    weight = select_output(weights, output, output_names(model), "the loss weights")
    return 1.0 if weight is None else float(weight)
