"""Variables that a model takes up after it was built."""

from __future__ import annotations

from collections.abc import Iterable

import keras


class StepInputVariable(keras.random.SeedGenerator):
    """A variable that compiled steps take as an input, and that is none of the model's weights.

    A seed generator only because Keras tracks the state of these so: in `variables`, which every trainer hands to its
    step, and not in `weights`, which users count, get and set. JAX would compile any other array into the step.
    """

    def __init__(self, variable: keras.Variable) -> None:
        self.state = variable


def track_extra_variables(model: keras.Model, attribute: str, carried: Iterable[StepInputVariable]) -> bool:
    """Lets a built model track variables, in place of those that it tracked under this name before.

    Args:
        model: The model.
        attribute: The name.
        carried: What it shall track; what it tracks anyway is left out.

    Returns:
        Whether it could: a subclassed model that is built refuses new state.
    """
    if hasattr(model, attribute):
        getattr(model, attribute).clear()
    tracked = {id(variable) for variable in model.variables}
    missing = [one for one in {id(one.state): one for one in carried}.values() if id(one.state) not in tracked]
    try:
        if missing and not hasattr(model, attribute):
            setattr(model, attribute, [])
        for one in missing:
            getattr(model, attribute).append(one)
    except ValueError:
        return False
    return True
