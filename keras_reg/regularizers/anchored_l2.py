"""Weight decay towards given weights as a regularizer."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reg._registry import export
from keras_reg.regularizers._anchored import AnchoredRegularizer


@export("regularizers.AnchoredL2", kind="regularizer", arxiv="1802.01483", year=2018)
class AnchoredL2(AnchoredRegularizer):
    """Weight decay towards the pretrained weights instead of 0 (L2-SP): strength / 2 * sum((w - anchor)**2).

    Fine-tuning begins at weights that know something; plain weight decay pulls away from them. Give it to the layers
    that were pretrained, and ordinary weight decay to new ones.

    `keras_reg.apply_regularizer` takes the present weights as anchors, and applied again it takes those of then. Files
    of models and of weights hold the anchors, so that a training which is resumed goes on with the first ones.

    Args:
        strength: The factor, alpha in the paper. Twice what `keras.regularizers.L2` would be given.
        shape: The shape of the variable, for layers that are made with the regularizer as an argument; their anchors
            come with `keras_reg.apply_regularizer`, or with a file. `None` leaves it to `keras_reg.apply_regularizer`.

    Attributes:
        anchor: The anchors of one variable, a `keras.Variable`; of the regularizer that the variable has.

    Raises:
        ValueError: If an argument is out of its range, or, when called, if there are no anchors yet.

    Example:

    ```python
    network = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8), keras.layers.Dense(3, name="head")])
    keras_reg.apply_regularizer(network, keras_reg.regularizers.AnchoredL2(0.1), exclude="head")
    keras_reg.apply_regularizer(network, keras.regularizers.L2(0.005), include="head")
    ```

    Source: Xuhong Li, Yves Grandvalet, Franck Davoine, Explicit Inductive Bias for Transfer Learning with Convolutional
    Networks, arXiv 1802.01483, 2018.
    """

    def __init__(self, strength: float = 0.1, shape: tuple[int, ...] | None = None) -> None:
        super().__init__(strength, shape, ("anchor",))

    def for_variable(self, variable: keras.Variable) -> AnchoredL2:
        """The same for a variable, with its present value as the anchor.

        Args:
            variable: The variable.

        Returns:
            A regularizer of the same strength.
        """
        bound = type(self)(self.strength, tuple(variable.shape))
        bound.set(anchor=ops.convert_to_numpy(variable))
        return bound

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"strength": self.strength, "shape": self.shape}
