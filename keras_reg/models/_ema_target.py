"""Base class of models in which one part is trained and another part is its moving average."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.dtypes import compute_dtype
from keras_reg._types import Array, Structure
from keras_reg.ops.joint_embedding import follow


class EMATargetModel(keras.Model):
    """Trains without labels and updates a moving average at the end of each compiled step.

    A subclass sets `momentum` and defines `get_target_pairs` and `check_rows`.

    Attributes:
        momentum: Tuple of two floats. The momentum at the first and at the last step of `fit`.
    """

    momentum: tuple[float, float]

    def get_target_pairs(self) -> list[tuple[keras.Variable, keras.Variable]]:
        """Returns pairs (average, trained) of a weight of the moving average and the trained weight that it tracks."""
        raise NotImplementedError

    def check_rows(self, rows: Array) -> None:
        """Raises a `ValueError` for arrays that the model cannot be trained on."""
        raise NotImplementedError

    def initialize_target(self) -> None:
        """Creates the counters, and sets the moving average to the current values of the trained weights."""
        scalar = {"initializer": "zeros", "trainable": False, "aggregation": "only_first_replica", "dtype": "int32"}
        self.step = self.add_weight((), name="step", **scalar)
        self.total_steps = self.add_weight((), name="total_steps", **scalar)
        for target, online in self.get_target_pairs():
            # The values are copied through NumPy, because a JAX step donates a buffer twice if two variables share it.
            target.assign(ops.convert_to_numpy(online))

    def update_target(self) -> None:
        """Updates the moving average and counts the step."""
        first, last = self.momentum
        share = ops.cast(self.step, compute_dtype()) / ops.cast(ops.maximum(self.total_steps, 1), compute_dtype())
        share = ops.where(self.total_steps > 0, ops.minimum(share, 1.0), ops.zeros_like(share))
        momentum = first + (last - first) * share
        for target, online in self.get_target_pairs():
            target.assign(follow(target.value, online.value, ops.cast(momentum, target.dtype)))
        self.step.assign(self.step + 1)

    def train_step(self, *arguments: Any) -> Any:
        """Runs the training step of Keras, then updates the moving average."""
        if keras.backend.backend() != "jax":
            logs = super().train_step(*arguments)
            self.update_target()
            return logs
        logs, (trained, others, *rest) = super().train_step(*arguments)
        state = [*zip(self.trainable_variables, trained, strict=True)]
        state += zip(self.non_trainable_variables, others, strict=True)
        with keras.StatelessScope(state_mapping=state) as scope:
            self.update_target()
        return logs, (trained, [scope.get_current_value(v) for v in self.non_trainable_variables], *rest)

    def fit(
        self,
        x: Structure = None,
        y: None = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Trains on rows.

        The momentum changes linearly over `epochs` epochs.

        Args:
            x: Array of rows, or a dataset of rows. A dataset of unknown length needs `steps_per_epoch`.
            y: Must be `None`, because the model is trained without labels.
            batch_size: Integer or `None`, as in `keras.Model.fit`.
            epochs: Integer. The epoch at which training ends and the momentum reaches its last value.
            verbose: As in `keras.Model.fit`.
            callbacks: As in `keras.Model.fit`.
            **kwargs: Other arguments of `keras.Model.fit`. With `initial_epoch`, the momentum starts at that epoch.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            ValueError: If there are labels or a compiled loss, if the rows do not fit the model, or if the number of
                steps is unknown.
        """
        _check_no_labels(y, "fit")
        if self.compiled and self.get_compile_config().get("loss") is not None:
            raise ValueError(
                "The model defines its loss, so compile it with an optimizer and without a loss. "
                f"Received: loss={self.get_compile_config()['loss']!r}"
            )
        if isinstance(x, np.ndarray):
            self.check_rows(x)
        schedule = _MomentumSchedule(epochs, kwargs.get("initial_epoch", 0))
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks.append(schedule)
        else:
            # The schedule comes first, so that a callback that restores a checkpoint also restores the step.
            others = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks] if callbacks else []
            callbacks = [schedule, *others]
        return super().fit(x, None, batch_size, epochs, verbose, callbacks, **kwargs)

    def evaluate(self, x: Structure = None, y: None = None, *args: Any, **kwargs: Any) -> Any:
        """Evaluates on rows. The arguments are those of `keras.Model.evaluate`, without labels."""
        # Labels are rejected before the first step, because on JAX a step that raises loses the weights of the model.
        _check_no_labels(y, "evaluate")
        return super().evaluate(x, None, *args, **kwargs)


def _check_no_labels(y: Any, method: str) -> None:
    """Raises a `ValueError` if there are labels."""
    if y is not None:
        raise ValueError(
            f"The model is trained without labels: pass only the rows to `{method}`. Received: y={type(y)}"
        )


class _MomentumSchedule(keras.callbacks.Callback):
    """Sets the step counters of the model, from which the momentum is computed."""

    def __init__(self, epochs: int, initial_epoch: int) -> None:
        super().__init__()
        self.epochs, self.initial_epoch = epochs, initial_epoch

    def on_train_begin(self, logs: Any = None) -> None:
        """Sets the counters. A callback that restores a checkpoint may set them again."""
        steps = self.params.get("steps")
        if steps is None:
            raise ValueError(
                "The momentum of the moving average depends on the length of an epoch: `fit` needs `steps_per_epoch`. "
                f"Received: data of unknown length for {self.epochs} epochs"
            )
        self.model.step.assign(self.initial_epoch * steps)
        self.model.total_steps.assign(self.epochs * steps)
