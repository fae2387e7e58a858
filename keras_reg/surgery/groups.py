"""Cuts the weak groups of weights that a group envelope has made small."""

from __future__ import annotations

import warnings

import keras
from keras import ops

from keras_reg._warnings import NoEffectWarning
from keras_reg.constraints.group_envelope import ProximalGroupEnvelope
from keras_reg.ops.group_envelope import strongest_groups
from keras_reg.regularizers.group_envelope import GroupEnvelope


def cut_groups(model: keras.Model) -> list[keras.Variable]:
    """Sets all but the strongest groups of weights to 0, as many as their group envelope asks for.

    `keras_reg.regularizers.GroupEnvelope` makes weak groups small, and `keras_reg.constraints.ProximalGroupEnvelope`
    may leave some more than it was asked for: this ends either with exactly `num_groups`, by norm. Then
    `keras_reg.prune` removes filters and units that are 0.

    Args:
        model: A built model, with variables that have one of the two.

    Returns:
        The variables that were cut.

    Raises:
        ValueError: If the model is not built.

    Example:

    ```python
    keras_reg.apply_regularizer(model, keras_reg.regularizers.GroupEnvelope(1e-3, num_groups=4))
    model.fit(x, y, epochs=100)
    keras_reg.surgery.cut_groups(model)
    ```
    """
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(f"`model` must be a built keras.Model. Received: model={model!r}")
    cut = []
    for variable in model.trainable_variables:
        for envelope in (variable.regularizer, variable.constraint):
            if isinstance(envelope, (GroupEnvelope, ProximalGroupEnvelope)):
                variable.assign(strongest_groups(ops.convert_to_tensor(variable), envelope.num_groups, envelope.axis))
                cut.append(variable)
                break
    if not cut:
        warnings.warn(
            "cut_groups has cut nothing: no trainable variable has a `GroupEnvelope` regularizer or a "
            f"`ProximalGroupEnvelope` constraint. Received: model={model.name!r}",
            NoEffectWarning,
            stacklevel=2,
        )
    return cut
