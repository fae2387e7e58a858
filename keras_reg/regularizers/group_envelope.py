"""The group envelope as a regularizer."""

from __future__ import annotations

import keras

from keras_reg._registry import Range, export
from keras_reg._types import Config, Tensor
from keras_reg._validation import check_axis, check_integer, check_number
from keras_reg.ops.group_envelope import group_envelope


@export(
    "regularizers.GroupEnvelope",
    kind="regularizer",
    tasks=("compression",),
    tunable={"strength": Range(1e-05, 0.01, log=True)},
    arxiv="2212.12921",
    year=2022,
)
class GroupEnvelope(keras.regularizers.Regularizer):
    """Applies weight decay that favors a given number of groups, such as 32 of the 64 filters of a layer.

    The target function is half the squared norm if at most `num_groups` groups are not zero, and infinite otherwise.
    The group envelope is its largest convex lower bound. Strong groups decay as with weight decay. Weak groups are
    pulled to 0. The pull is stronger, the more weak groups there are.

    As a penalty, the group envelope makes weak groups small, but not exactly 0. For exact zeros, use the proximal step
    `keras_reg.constraints.ProximalGroupEnvelope`.

    Args:
        strength: Float. The factor of the penalty.
        num_groups: Integer. The number of groups to keep.
        axis: Integer. The axis of the groups. -1 is the axis of the units of `Dense` and of the filters of a
            convolution. Defaults to `-1`.

    Raises:
        ValueError: If an argument is out of range, or, when called, if the kernel has no such axis.

    Example:

    ```python
    penalty = keras_reg.regularizers.GroupEnvelope(1e-3, num_groups=16)
    layer = keras.layers.Dense(64, kernel_regularizer=penalty)
    ```

    Reference:

    - [Refael et al., 2022](https://arxiv.org/abs/2212.12921): Learning k-Level Structured Sparse Neural Networks Using
      Group Envelope Regularization. Here all groups have equal factors.
    """

    def __init__(self, strength: float, *, num_groups: int, axis: int = -1) -> None:
        self.strength = check_number("strength", strength)
        self.num_groups = check_integer("num_groups", num_groups)
        self.axis = check_axis(axis)

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the penalty of a kernel, multiplied by the strength."""
        return self.strength * group_envelope(x, self.num_groups, self.axis)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"strength": self.strength, "num_groups": self.num_groups, "axis": self.axis}
