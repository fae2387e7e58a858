"""Removes the weak groups of weights that a group envelope has made small."""

from __future__ import annotations

import warnings

import keras
from keras import ops

from keras_reg._validation import reject
from keras_reg._warnings import NoEffectWarning
from keras_reg.constraints.group_envelope import ProximalGroupEnvelope
from keras_reg.ops.group_envelope import strongest_groups
from keras_reg.regularizers.group_envelope import GroupEnvelope
from keras_reg.regularizers.sum import list_parts


def cut_groups(model: keras.Model) -> list[keras.Variable]:
    """Sets all but the strongest groups of weights to 0 in variables with a group envelope.

    `keras_reg.regularizers.GroupEnvelope` makes weak groups small, and `keras_reg.constraints.ProximalGroupEnvelope`
    may keep more groups than requested. This function keeps exactly `num_groups` groups per variable, those with the
    largest norms. Afterwards, `keras_reg.prune` removes filters and units that are 0.

    Args:
        model: A `keras.Model`. It must be built and have variables with such a regularizer or constraint.

    Returns:
        The variables that were changed.

    Raises:
        ValueError: If the model is not built.

    Example:

    ```python
    envelope = keras_reg.regularizers.GroupEnvelope(1e-3, num_groups=4)
    keras_reg.apply_regularizer(model, envelope)
    model.fit(x, y, epochs=100)
    keras_reg.surgery.cut_groups(model)
    ```
    """
    if not isinstance(model, keras.Model) or not model.built:
        reject("model", model, "must be a built `keras.Model`")
    changed = []
    for variable in model.trainable_variables:
        for envelope in (*list_parts(variable.regularizer), variable.constraint):
            if isinstance(envelope, (GroupEnvelope, ProximalGroupEnvelope)):
                variable.assign(strongest_groups(ops.convert_to_tensor(variable), envelope.num_groups, envelope.axis))
                changed.append(variable)
                break
    if not changed:
        warnings.warn(
            "cut_groups has cut nothing: no trainable variable has a `GroupEnvelope` regularizer or a "
            f"`ProximalGroupEnvelope` constraint. Received: model={model.name!r}",
            NoEffectWarning,
            stacklevel=2,
        )
    return changed
