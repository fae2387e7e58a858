"""Cross-entropy with StableMax as a loss."""

from __future__ import annotations

import keras
from keras import ops

from keras_reg._registry import export
from keras_reg._types import Config, Tensor
from keras_reg._validation import check_boolean
from keras_reg.ops.stable_max import one_hot, stablemax_cross_entropy


@export("losses.StableMaxCrossentropy", kind="loss", tasks=("long training",), arxiv="2501.04697", year=2025)
class StableMaxCrossentropy(keras.losses.Loss):
    """Computes the cross-entropy with StableMax in place of softmax.

    StableMax replaces the exponential with x + 1 above 0 and with 1 / (1 - x) below 0. When a network trains long after
    it fits its data, rounding makes the gradient of softmax cross-entropy exactly 0. The gradient of this loss stays
    nonzero. The probabilities of the trained model are `keras.ops.exp(keras_reg.ops.log_stablemax(logits))` and not the
    softmax.

    Args:
        sparse: Boolean. With `True`, labels are class numbers, as for `keras.losses.SparseCategoricalCrossentropy`.
            With `False`, they are one-hot, as for `keras.losses.CategoricalCrossentropy`. Defaults to `True`.
        reduction: String. The reduction, as for any Keras loss. Defaults to `"sum_over_batch_size"`.
        name: String. The name of the loss. Defaults to `"stablemax_crossentropy"`.

    Call arguments:
        y_true: Class numbers from 0 to `num_classes - 1`, of shape (batch, ...) or (batch, ..., 1), or one-hot labels
            of shape (batch, ..., num_classes). A class number outside the range has a loss of 0, as with Keras on JAX.
        y_pred: Logits of shape (batch, ..., num_classes).

    Returns:
        The reduced loss. With `reduction=None`, the loss of each sample, of shape (batch, ...).

    Raises:
        ValueError: If an argument is out of range, or, when called, if the shapes do not fit.

    Example:

    ```python
    loss = keras_reg.losses.StableMaxCrossentropy()
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(x, y)
    ```

    Reference:

    - [Prieto et al., 2025](https://arxiv.org/abs/2501.04697): Grokking at the Edge of Numerical Stability
    """

    def __init__(
        self,
        *,
        sparse: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str = "stablemax_crossentropy",
    ) -> None:
        super().__init__(name=name, reduction=reduction)
        self.sparse = check_boolean("sparse", sparse)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns the loss of each sample."""
        classes = y_pred.shape[-1]
        if self.sparse and len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
            y_true = ops.squeeze(y_true, -1)
        rank = len(y_pred.shape) - self.sparse
        if len(y_pred.shape) < 2 or len(y_true.shape) != rank or (not self.sparse and y_true.shape[-1] != classes):
            labels = "class numbers, shape (batch, ...)" if self.sparse else "one-hot, shape (batch, ..., num_classes)"
            raise ValueError(
                f"With `sparse={self.sparse}` labels must be {labels}, for logits of shape (batch, ..., num_classes). "
                f"Received: labels of shape {tuple(y_true.shape)}, logits of shape {tuple(y_pred.shape)}"
            )
        if self.sparse:
            y_true = one_hot(y_true, classes, y_pred.dtype)
        return stablemax_cross_entropy(y_true, y_pred)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"sparse": self.sparse, **super().get_config()}
