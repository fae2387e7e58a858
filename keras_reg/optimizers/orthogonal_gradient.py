"""An optimizer that makes gradients orthogonal to the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_reg._keras import replicas
from keras_reg._registry import export
from keras_reg._types import Tensor
from keras_reg.ops.orthogonal_gradient import orthogonal_gradient
from keras_reg.optimizers._wrapper import OptimizerWrapper


@export("optimizers.OrthogonalGradient", kind="optimizer", tasks=("long training",), arxiv="2501.04697", year=2025)
class OrthogonalGradient(OptimizerWrapper):
    """Removes the part of each gradient that only scales the weights, before the step of another optimizer.

    A network that fits its data can lower cross-entropy forever by scaling up its logits, until softmax collapses: see
    `keras_reg.callbacks.SoftmaxCollapseMonitor`. Each variable is treated as one vector w. Its gradient g is replaced
    by the part of g that is orthogonal to w, scaled to the length of g. Variables of one number have no such part and
    are trained without projection.

    The weight decay of the wrapped optimizer acts on the weights and is not projected. A regularizer is part of the
    loss, and thus of the gradient. The gradient of `keras.regularizers.L2` points along w and has no effect here.

    Args:
        optimizer: A `keras.optimizers.Optimizer`, its name or its configuration. The optimizer to wrap. Its learning
            rate, weight decay, clipping and averages apply. Clipping applies to the projected gradients.
        name: String. The name of the optimizer. Defaults to `"orthogonal_gradient"`.

    Raises:
        ValueError: If `optimizer` is not an optimizer.

    Example:

    ```python
    adam = keras.optimizers.AdamW(1e-3, weight_decay=0.01)
    projected = keras_reg.optimizers.OrthogonalGradient(adam)
    model.compile(projected, model.loss)
    model.fit(x, y)
    ```

    Reference:

    - [Prieto et al., 2025](https://arxiv.org/abs/2501.04697): Grokking at the Edge of Numerical Stability. A
      replication did not find the method better than a tuned AdamW: see the card.
    """

    def __init__(self, optimizer: Any, *, name: str = "orthogonal_gradient") -> None:
        super().__init__(optimizer, name=name)

    def apply(self, grads: Sequence[Tensor], trainable_variables: Sequence[keras.Variable] | None = None) -> Any:
        """Performs one step.

        Args:
            grads: The gradients, in the order of the variables.
            trainable_variables: The variables, or `None` for those of `build`.

        Returns:
            The result of the wrapped optimizer.
        """
        variables = self.match_variables(trainable_variables)
        projected = [
            gradient if gradient is None or math.prod(variable.shape) == 1 else _project(gradient, variable)
            for gradient, variable in zip(grads, variables, strict=True)
        ]
        return self.optimizer.apply(projected, variables)


def _project(gradient: Tensor, variable: keras.Variable) -> Tensor:
    """Returns the contribution of one replica to the projected gradient of the whole batch."""
    # TensorFlow represents the gradient of an embedding as a list of rows.
    gradient = ops.convert_to_tensor(gradient)
    # The mean is the gradient of the batch divided by the number of replicas. The projection commutes with this factor,
    # so the sum over the replicas, which the wrapped optimizer computes, is the projected gradient of the batch.
    return orthogonal_gradient(replicas.mean_over_replicas(gradient), variable.value)
