"""Cross-entropy with StableMax as a loss."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reg._registry import export
from keras_reg.ops.stable_max import one_hot, stablemax_cross_entropy


@export("losses.StableMaxCrossentropy", kind="loss", arxiv="2501.04697", year=2025)
class StableMaxCrossentropy(keras.losses.Loss):
    """Cross-entropy with StableMax, x + 1 above 0 and 1 / (1 - x) below, in the place of softmax's exponentials.

    Its gradient goes on where that of softmax becomes exactly 0 by rounding, after long training of a network that fits
    its data. Probabilities of the trained model are `keras.ops.exp(keras_reg.ops.log_stablemax(logits))`, not softmax.

    Args:
        sparse: Whether labels are class numbers, as for `keras.losses.SparseCategoricalCrossentropy`, or one-hot, as
            for `keras.losses.CategoricalCrossentropy`.
        reduction: As of any Keras loss.
        name: The name of the loss.

    Call arguments:
        y_true: Class numbers from 0 to `num_classes - 1`, shape (batch, ...) or (batch, ..., 1), or one-hot labels,
            shape (batch, ..., num_classes). As with Keras on JAX, a class number outside the range has a loss of 0.
        y_pred: Logits, shape (batch, ..., num_classes).

    Returns:
        The reduced loss; with `reduction=None` the loss of each sample, shape (batch, ...).

    Raises:
        ValueError: If an argument is out of its range, or, when called, if the shapes do not fit.

    Example:

    ```python
    model.compile("adam", keras_reg.losses.StableMaxCrossentropy(), metrics=["accuracy"])
    model.fit(x, y)
    ```

    Source: Lucas Prieto, Melih Barsbey, Pedro A. M. Mediano, Tolga Birdal, Grokking at the Edge of Numerical Stability,
    arXiv 2501.04697, 2025.
    """

    def __init__(
        self,
        sparse: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str = "stablemax_crossentropy",
    ) -> None:
        if not isinstance(sparse, bool):
            raise ValueError(f"`sparse` must be True or False. Received: sparse={sparse!r}")
        super().__init__(name=name, reduction=reduction)
        self.sparse = sparse

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        classes = y_pred.shape[-1]
        if self.sparse and len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
            y_true = ops.squeeze(y_true, -1)
        rank = len(y_pred.shape) - self.sparse
        if len(y_pred.shape) < 2 or len(y_true.shape) != rank or (not self.sparse and y_true.shape[-1] != classes):
            wanted = "class numbers, shape (batch, ...)" if self.sparse else "one-hot, shape (batch, ..., num_classes)"
            raise ValueError(
                f"With `sparse={self.sparse}` labels must be {wanted}, for logits of shape (batch, ..., num_classes). "
                f"Received: labels of shape {tuple(y_true.shape)}, logits of shape {tuple(y_pred.shape)}"
            )
        if self.sparse:
            y_true = one_hot(y_true, classes, y_pred.dtype)
        return stablemax_cross_entropy(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"sparse": self.sparse, **super().get_config()}
