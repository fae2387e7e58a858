"""The proximal step of the group envelope as a constraint."""

from __future__ import annotations

import keras

from keras_reg._registry import Range, export
from keras_reg._types import Config, Tensor
from keras_reg._validation import check_axis, check_integer, check_number
from keras_reg.ops.group_envelope import proximal_group_envelope


@export(
    "constraints.ProximalGroupEnvelope",
    kind="constraint",
    tasks=("compression",),
    tunable={"strength": Range(1e-05, 0.01, log=True)},
    arxiv="2212.12921",
    year=2022,
)
class ProximalGroupEnvelope(keras.constraints.Constraint):
    """Sets weak groups of a kernel to exactly 0 after each update, by the proximal step of the group envelope.

    With plain gradient descent, this is proximal gradient descent for the loss plus
    `strength / learning_rate * keras_reg.ops.group_envelope`. A constraint does not know the learning rate. `strength`
    is therefore the strength of the penalty times the learning rate, even if a schedule changes the learning rate. With
    Adam and other optimizers that scale each weight separately, the step is a heuristic.

    `num_groups` is a target. A few groups can have fractional shares, so that more groups can remain. The gradient of a
    group that is 0 is still computed, so the group can become nonzero again.

    Args:
        strength: Float. The factor of the penalty times the learning rate.
        num_groups: Integer. The number of groups to keep.
        axis: Integer. The axis of the groups. -1 is the axis of the units of `Dense` and of the filters of a
            convolution. Defaults to `-1`.

    Raises:
        ValueError: If an argument is out of range, or, when called, if the kernel has no such axis.

    Example:

    ```python
    step = keras_reg.constraints.ProximalGroupEnvelope(
        strength=1e-3, num_groups=16
    )
    layer = keras.layers.Dense(64, kernel_constraint=step)
    ```

    Reference:

    - [Refael et al., 2022](https://arxiv.org/abs/2212.12921): Learning k-Level Structured Sparse Neural Networks Using
      Group Envelope Regularization. Here all groups have equal factors.
    """

    def __init__(self, strength: float, *, num_groups: int, axis: int = -1) -> None:
        self.strength = check_number("strength", strength)
        self.num_groups = check_integer("num_groups", num_groups)
        self.axis = check_axis(axis)

    def __call__(self, w: Tensor) -> Tensor:
        """Returns the weights after the step."""
        return proximal_group_envelope(w, self.num_groups, self.strength, self.axis)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"strength": self.strength, "num_groups": self.num_groups, "axis": self.axis}
