"""Optimizers for which a factor on a gradient is no learning rate."""

from __future__ import annotations

import warnings

import keras

from keras_reg._warnings import NoEffectWarning
from keras_reg.optimizers._wrapper import OptimizerWrapper

# Their steps do not depend on the scale of a gradient, so that a scale is no learning rate.
_ADAPTIVE = (
    keras.optimizers.Adam,  # and AdamW
    keras.optimizers.Adamax,
    keras.optimizers.Nadam,
    keras.optimizers.RMSprop,
    keras.optimizers.Adagrad,
    keras.optimizers.Adadelta,
    keras.optimizers.Adafactor,
    keras.optimizers.Lion,
)


def warn_of_adaptive_steps(optimizer: keras.optimizers.Optimizer, ratio: float) -> None:
    """Warns that a learning rate that is applied to a gradient has no effect with this optimizer.

    Args:
        optimizer: The optimizer of the model.
        ratio: The factor on the gradient.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of loss scaling
    if isinstance(optimizer, OptimizerWrapper):
        optimizer = optimizer.optimizer
    if ratio != 1 and isinstance(optimizer, _ADAPTIVE):
        warnings.warn(
            f"`policy_learning_rate={ratio}` has next to no effect with {type(optimizer).__name__}, whose steps do not "
            "depend on the scale of a gradient: use SGD, or set it to 1.",
            NoEffectWarning,
            stacklevel=2,
        )
