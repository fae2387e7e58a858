"""Models of which one part is trained and another follows it as a moving average."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.dtypes import compute_dtype
from keras_reg.ops.joint_embedding import follow


class EMATargetModel(keras.Model):
    """A model without labels whose compiled step ends with that of a moving average.

    A subclass sets `momentum`, and says with `pairs` what follows what and with `check_rows` what arrays it takes.
    """

    momentum: tuple[float, float]

    def pairs(self) -> list[tuple[keras.Variable, keras.Variable]]:
        """Each weight that follows, with the one that it follows."""
        raise NotImplementedError

    def check_rows(self, rows: np.ndarray) -> None:
        """Raises a `ValueError` for arrays that the model cannot be trained on."""
        raise NotImplementedError

    def start_following(self) -> None:
        """Makes the counters, and copies the values: the moving average begins at what it follows."""
        scalar = {"initializer": "zeros", "trainable": False, "aggregation": "only_first_replica", "dtype": "int32"}
        self.step = self.add_weight((), name="step", **scalar)
        self.total_steps = self.add_weight((), name="total_steps", **scalar)
        for target, online in self.pairs():
            # Through NumPy: on JAX two variables must not share a buffer, or the next step donates it twice.
            target.assign(ops.convert_to_numpy(online))

    def follow(self) -> None:
        """Makes one step of the moving average, and counts it."""
        first, last = self.momentum
        share = ops.cast(self.step, compute_dtype()) / ops.cast(ops.maximum(self.total_steps, 1), compute_dtype())
        share = ops.where(self.total_steps > 0, ops.minimum(share, 1.0), ops.zeros_like(share))
        momentum = first + (last - first) * share
        for target, online in self.pairs():
            target.assign(follow(target.value, online.value, ops.cast(momentum, target.dtype)))
        self.step.assign(self.step + 1)

    def train_step(self, *arguments: Any) -> Any:
        """The step of Keras, and then that of the moving average."""
        if keras.backend.backend() != "jax":
            logs = super().train_step(*arguments)
            self.follow()
            return logs
        logs, (trained, others, *rest) = super().train_step(*arguments)
        known = [*zip(self.trainable_variables, trained, strict=True)]
        known += zip(self.non_trainable_variables, others, strict=True)
        with keras.StatelessScope(state_mapping=known) as scope:
            self.follow()
        return logs, (trained, [scope.get_current_value(v) for v in self.non_trainable_variables], *rest)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Trains on rows; the arguments are those of `keras.Model.fit`, without labels.

        The momentum changes over `epochs` epochs, beginning at `initial_epoch`. Data that do not know their length need
        `steps_per_epoch`.
        """
        _check_no_labels(y, "fit")
        if self.compiled and self.get_compile_config().get("loss") is not None:
            raise ValueError(
                "The model has a loss of its own: compile it with an optimizer alone. "
                f"Received: loss={self.get_compile_config()['loss']!r}"
            )
        if isinstance(x, np.ndarray):
            self.check_rows(x)
        schedule = _MomentumSchedule(epochs, kwargs.get("initial_epoch", 0))
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks.append(schedule)
        else:  # before all others: one that restores a checkpoint restores the step too
            given = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks] if callbacks else []
            callbacks = [schedule, *given]
        return super().fit(x, None, batch_size, epochs, verbose, callbacks, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Evaluates on rows; the arguments are those of `keras.Model.evaluate`, without labels."""
        # Early: on JAX a step that raises leaves the model without its weights.
        _check_no_labels(y, "evaluate")
        return super().evaluate(x, None, *args, **kwargs)


def _check_no_labels(y: Any, method: str) -> None:
    if y is not None:
        raise ValueError(f"The model learns without labels: give `{method}` the rows alone. Received: y={type(y)}")


class _MomentumSchedule(keras.callbacks.Callback):
    """Tells the model where in its training it stands."""

    def __init__(self, epochs: int, initial_epoch: int) -> None:
        super().__init__()
        self.epochs, self.initial_epoch = epochs, initial_epoch

    def on_train_begin(self, logs: Any = None) -> None:
        """Sets the counters, unless a checkpoint does so afterwards."""
        steps = self.params.get("steps")
        if steps is None:
            raise ValueError(
                "The momentum of the moving average needs to know how long an epoch is: give `fit` `steps_per_epoch`. "
                f"Received: data of unknown length for {self.epochs} epochs"
            )
        self.model.step.assign(self.initial_epoch * steps)
        self.model.total_steps.assign(self.epochs * steps)
