"""Weight decay towards pretrained weights as a regularizer."""

from __future__ import annotations

import keras
from keras import ops

from keras_reg._registry import Range, export
from keras_reg._types import Config
from keras_reg.regularizers._anchored import AnchoredRegularizer


@export(
    "regularizers.AnchoredL2",
    kind="regularizer",
    tasks=("fine-tuning", "continual learning"),
    tunable={"strength": Range(0.001, 10.0, log=True)},
    arxiv="1802.01483",
    year=2018,
)
class AnchoredL2(AnchoredRegularizer):
    """Applies weight decay towards the pretrained weights instead of 0 (L2-SP).

    The penalty is `strength / 2 * sum((w - anchor)**2)`. Fine-tuning starts from pretrained weights, and ordinary
    weight decay pulls away from them. Apply this regularizer to the pretrained layers, and ordinary weight decay to new
    layers.

    `keras_reg.apply_regularizer` takes the current weights as anchors. A second call takes the weights at that time.
    Model files and weights files contain the anchors, so resumed training keeps the original ones.

    Args:
        strength: Float. The factor of the penalty, alpha in the paper. It is twice the factor of
            `keras.regularizers.L2`. Defaults to `0.1`.
        shape: Tuple. The shape of the variable, for layers that are created with the regularizer as an argument.
            `keras_reg.apply_regularizer` or a file then provides the anchors. `None` lets
            `keras_reg.apply_regularizer` set the shape. Defaults to `None`.

    Attributes:
        anchor: A `keras.Variable` with the anchors of one variable. It belongs to the regularizer of that variable.

    Raises:
        ValueError: If an argument is out of range, or, when called, if there are no anchors yet.

    Example:

    ```python
    network = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8),
            keras.layers.Dense(3, name="head"),
        ]
    )
    anchored = keras_reg.regularizers.AnchoredL2(0.1)
    keras_reg.apply_regularizer(network, anchored, exclude="head")
    decay = keras.regularizers.L2(0.005)
    keras_reg.apply_regularizer(network, decay, include="head")
    ```

    Reference:

    - [Li et al., 2018](https://arxiv.org/abs/1802.01483): Explicit Inductive Bias for Transfer Learning with
      Convolutional Networks
    """

    def __init__(self, strength: float = 0.1, *, shape: tuple[int, ...] | None = None) -> None:
        super().__init__(strength, shape, ("anchor",))

    def for_variable(self, variable: keras.Variable) -> AnchoredL2:
        """Returns a regularizer for a variable, with its current value as the anchor.

        Args:
            variable: The variable.

        Returns:
            A regularizer of the same strength.
        """
        bound = type(self)(self.strength, shape=tuple(variable.shape))
        bound.assign(anchor=ops.convert_to_numpy(variable))
        return bound

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"strength": self.strength, "shape": self.shape}
