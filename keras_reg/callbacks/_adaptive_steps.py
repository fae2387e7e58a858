"""Optimizers whose steps do not depend on the scale of the gradient."""

from __future__ import annotations

import warnings

import keras

from keras_reg._warnings import NoEffectWarning
from keras_reg.optimizers._wrapper import OptimizerWrapper

# With these optimizers, a factor on the gradient does not act as a learning rate. AdamW is a subclass of Adam.
_ADAPTIVE = (
    keras.optimizers.Adam,
    keras.optimizers.Adamax,
    keras.optimizers.Nadam,
    keras.optimizers.RMSprop,
    keras.optimizers.Adagrad,
    keras.optimizers.Adadelta,
    keras.optimizers.Adafactor,
    keras.optimizers.Lion,
)


def warn_about_adaptive_steps(optimizer: keras.optimizers.Optimizer, ratio: float) -> None:
    """Warns if a learning rate that is applied to the gradient has no effect with an optimizer.

    Args:
        optimizer: The optimizer of the model.
        ratio: The factor on the gradient.
    """
    # `LossScaleOptimizer` wraps the optimizer that computes the steps.
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if isinstance(optimizer, OptimizerWrapper):
        optimizer = optimizer.optimizer
    if ratio != 1 and isinstance(optimizer, _ADAPTIVE):
        warnings.warn(
            f"`policy_learning_rate={ratio}` has almost no effect with {type(optimizer).__name__}, because its steps "
            "do not depend on the scale of the gradient. Use SGD, or set `policy_learning_rate` to 1.",
            NoEffectWarning,
            stacklevel=2,
        )
