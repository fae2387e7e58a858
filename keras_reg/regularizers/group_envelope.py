"""The group envelope as a regularizer."""

from __future__ import annotations

from typing import Any

import keras

from keras_reg._registry import export
from keras_reg._validation import check_axis, check_integer, check_number
from keras_reg.ops.group_envelope import group_envelope


@export("regularizers.GroupEnvelope", kind="regularizer", arxiv="2212.12921", year=2022)
class GroupEnvelope(keras.regularizers.Regularizer):
    """The group envelope: weight decay that asks for a number of groups, such as 32 of the 64 filters of a layer.

    It is the largest convex function below "half the squared norm if at most `num_groups` groups are not zero, infinite
    otherwise". Strong groups decay as with weight decay; weak ones are drawn to 0, harder the more there are.

    As a penalty it makes weak groups small, not exactly 0: for zeros use the proximal step,
    `keras_reg.constraints.ProximalGroupEnvelope`.

    Args:
        strength: The factor of the penalty.
        num_groups: How many groups to keep.
        axis: The axis of the groups; -1 are the units of `Dense`, the filters of a convolution.

    Raises:
        ValueError: If an argument is out of its range, or, when called, if the kernel has no such axis.

    Example:

    ```python
    penalty = keras_reg.regularizers.GroupEnvelope(1e-3, num_groups=16)
    layer = keras.layers.Dense(64, kernel_regularizer=penalty)
    ```

    Source: Yehonathan Refael, Iftach Arbel, Wasim Huleihel, Learning k-Level Structured Sparse Neural Networks Using
    Group Envelope Regularization, arXiv 2212.12921, 2022, with equal factors for all groups.
    """

    def __init__(self, strength: float, num_groups: int, axis: int = -1) -> None:
        self.strength = check_number("strength", strength)
        self.num_groups = check_integer("num_groups", num_groups)
        self.axis = check_axis(axis)

    def __call__(self, x: Any) -> Any:
        """The penalty of a kernel, times the strength."""
        return self.strength * group_envelope(x, self.num_groups, self.axis)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"strength": self.strength, "num_groups": self.num_groups, "axis": self.axis}
