"""The proximal step of the group envelope as a constraint."""

from __future__ import annotations

from typing import Any

import keras

from keras_reg._registry import export
from keras_reg._validation import check_axis, check_integer, check_number
from keras_reg.ops.group_envelope import proximal_group_envelope


@export("constraints.ProximalGroupEnvelope", kind="constraint", arxiv="2212.12921", year=2022)
class ProximalGroupEnvelope(keras.constraints.Constraint):
    """The proximal step of the group envelope: after each update, weak groups of a kernel become exactly 0.

    With plain gradient descent this is proximal gradient descent for the loss plus
    `strength / learning_rate * keras_reg.ops.group_envelope`. A constraint does not know the learning rate: `strength`
    is what is wanted of the penalty times the learning rate, also where a schedule changes that. With Adam and other
    optimizers that scale each weight by its own, it is a heuristic.

    `num_groups` is a target: a few shares can be fractions, so that some more groups may remain. A group that is 0 gets
    its gradient still, and may come back.

    Args:
        strength: The factor of the penalty times the learning rate.
        num_groups: How many groups to keep.
        axis: The axis of the groups; -1 are the units of `Dense`, the filters of a convolution.

    Raises:
        ValueError: If an argument is out of its range, or, when called, if the kernel has no such axis.

    Example:

    ```python
    step = keras_reg.constraints.ProximalGroupEnvelope(strength=1e-3, num_groups=16)
    layer = keras.layers.Dense(64, kernel_constraint=step)
    ```

    Source: Yehonathan Refael, Iftach Arbel, Wasim Huleihel, Learning k-Level Structured Sparse Neural Networks Using
    Group Envelope Regularization, arXiv 2212.12921, 2022, with equal factors for all groups.
    """

    def __init__(self, strength: float, num_groups: int, axis: int = -1) -> None:
        self.strength = check_number("strength", strength)
        self.num_groups = check_integer("num_groups", num_groups)
        self.axis = check_axis(axis)

    def __call__(self, w: Any) -> Any:
        """The weights after the step."""
        return proximal_group_envelope(w, self.num_groups, self.strength, self.axis)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"strength": self.strength, "num_groups": self.num_groups, "axis": self.axis}
