"""Gradients at right angles to the weights, for any optimizer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_reg._keras import replicas
from keras_reg._registry import export
from keras_reg.ops.orthogonal_gradient import orthogonal_gradient
from keras_reg.optimizers._wrapper import OptimizerWrapper


@export("optimizers.OrthogonalGradient", kind="optimizer", arxiv="2501.04697", year=2025)
class OrthogonalGradient(OptimizerWrapper):
    """Takes out of each gradient the part that only scales the weights, before another optimizer makes its step of it.

    A network that fits its data can lower cross-entropy for ever by making its logits larger, until softmax collapses:
    see `callbacks.SoftmaxCollapseMonitor`. Each variable is one vector w; its gradient g becomes its part at right
    angles to w, scaled to the length of g. Variables of one number, which have no such part, are trained as ever.

    The wrapped optimizer's weight decay acts on the weights and is not projected. A regularizer is part of the loss,
    and so of the gradient: that of `keras.regularizers.L2` points along w and has no effect here.

    Args:
        optimizer: The optimizer to wrap: an instance, a name or a configuration. Its learning rate, weight decay,
            clipping and averages are used as they are; clipping is of the projected gradients.
        name: The name of the optimizer.

    Raises:
        ValueError: If `optimizer` is none.

    Example:

    ```python
    adam = keras.optimizers.AdamW(1e-3, weight_decay=0.01)
    model.compile(keras_reg.optimizers.OrthogonalGradient(adam), model.loss)
    model.fit(x, y)
    ```

    Source: Lucas Prieto, Melih Barsbey, Pedro A. M. Mediano, Tolga Birdal, Grokking at the Edge of Numerical Stability,
    arXiv 2501.04697, 2025; a replication did not find that it is better than a tuned AdamW, see the card.
    """

    def __init__(self, optimizer: Any, name: str = "orthogonal_gradient") -> None:
        super().__init__(optimizer, name)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> Any:
        """Makes one step.

        Args:
            grads: The gradients by the variables, in their order.
            trainable_variables: The variables; `None` for those that the optimizer was built with.

        Returns:
            What the wrapped optimizer returns.
        """
        variables = self.trained(trainable_variables)
        projected = [
            gradient if gradient is None or math.prod(variable.shape) == 1 else _projected(gradient, variable)
            for gradient, variable in zip(grads, variables, strict=True)
        ]
        return self.optimizer.apply(projected, variables)


def _projected(gradient: Any, variable: Any) -> Any:
    """A replica's share of the projected gradient of the whole batch, which the wrapped optimizer adds up."""
    gradient = ops.convert_to_tensor(gradient)  # of an embedding, TensorFlow gives rows
    # Projection and scaling do not see the number of replicas, by which the mean is too small.
    return orthogonal_gradient(replicas.mean_over_replicas(gradient), variable.value)
