"""Variables that a model tracks only after it was built."""

from __future__ import annotations

from collections.abc import Iterable

import keras


class StepInputVariable(keras.random.SeedGenerator):
    """Holds a variable that compiled steps take as an input and that is not one of the model's weights.

    Subclasses `SeedGenerator` only because Keras tracks its state in `variables` but not in `weights`. Every trainer
    passes `variables` to its step, and users count, get and set `weights`. JAX would compile any other array into the
    step.

    Args:
        variable: A `keras.Variable`. The variable to hold.
    """

    def __init__(self, variable: keras.Variable) -> None:
        self.state = variable


def track_extra_variables(model: keras.Model, attribute: str, variables: Iterable[StepInputVariable]) -> bool:
    """Makes a built model track variables, in place of those that it tracked under this name before.

    Args:
        model: A `keras.Model`.
        attribute: String. The name.
        variables: The variables to track. Variables that the model tracks anyway are left out.

    Returns:
        True if the model tracks them. A subclassed model that is built refuses new state.
    """
    if hasattr(model, attribute):
        getattr(model, attribute).clear()
    tracked = {id(variable) for variable in model.variables}
    distinct = {id(variable.state): variable for variable in variables}
    missing = [variable for variable in distinct.values() if id(variable.state) not in tracked]
    try:
        if missing and not hasattr(model, attribute):
            setattr(model, attribute, [])
        for variable in missing:
            getattr(model, attribute).append(variable)
    except ValueError:
        return False
    return True
