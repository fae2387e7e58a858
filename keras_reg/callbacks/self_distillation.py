"""Progressive self-distillation as a callback."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.callback_model import model_without_update, updated_model
from keras_reg._memory.memory import PerSampleMemory
from keras_reg._memory.storage import Storage
from keras_reg._registry import export
from keras_reg._warnings import NoEffectWarning
from keras_reg.ops.self_distillation import linear_schedule, self_distillation_term
from keras_reg.training._cross_entropy import CompiledCrossEntropy
from keras_reg.training._outputs import output_names, select_output
from keras_reg.training._state import FrozenModel, Scalar
from keras_reg.training.per_sample import PerSampleCallback, check_num_classes, sample_ids
from keras_reg.training.terms import Batch


@export("callbacks.ProgressiveSelfDistillation", kind="callback", arxiv="2006.12000", year=2020)
class ProgressiveSelfDistillation(PerSampleCallback):
    """Progressive self-distillation (PS-KD): softens labels with the model's own predictions of the epoch before.

    The target of a sample in epoch e of T is (1 - w) y + w p, with y its label, p what the model itself predicted for
    it one epoch ago, and w growing linearly to `final_weight` in the last epoch. In the first epoch targets are hard.
    Models trained so are better calibrated, and often more accurate.

    The compiled loss must be categorical cross-entropy, sparse or not, with logits or probabilities, on two or more
    classes. Its value goes on to be computed with your labels; the callback adds what is missing to the cross-entropy
    with the softened ones, which is `self_distillation` in the logs. Where the compiled loss smooths labels, y is the
    smoothed label: smoothing is for the label, never for the past prediction.

    Args:
        num_samples: The number of training samples, for `source="memory"`: their ids travel in `x`, see
            `keras_reg.data.with_sample_ids`. With a negative id, or no past prediction, a sample keeps its label.
        num_classes: The number of classes, for `source="memory"`.
        final_weight: The weight of the past prediction (not of the label) in the last epoch, 0 to 1.
        schedule: `"linear"`, `"constant"`, or a function (epoch, epochs) -> weight with epochs counted from 0.
        epochs: The number of epochs of the whole training. `None` takes it from `fit`. Give it if you train in pieces.
        source: Where past predictions come from. `"memory"`, the paper's way: stored from the training step of the
            previous epoch, num_samples x num_classes numbers, no second forward pass. `"model"`: a frozen copy of the
            weights at the end of the previous epoch predicts for the very same augmented batch, in inference mode: no
            sample ids and no table, for one more forward pass and the weights a second time.
        output: The name of the output to work on, for a model with several.
        check_ids: Whether to raise as soon as a sample id comes with another label. For a first run.
        save_memory: Whether checkpoints that are written during `fit` hold the memory.
        storage: How past predictions are stored: `None` for all of them in float32, `"float16"`, `"bfloat16"`, or a
            `keras_reg.callbacks.Storage`. Rows of half types are normalized again when they are read.

    Raises:
        ValueError: If an argument is out of its range, or, at the start of `fit`, if the model does not fit.

    Example:

    ```python
    callback = keras_reg.callbacks.ProgressiveSelfDistillation(num_samples=len(x), num_classes=10)
    model.fit(keras_reg.data.with_sample_ids(model, x), y, epochs=100, callbacks=[callback])

    callback = keras_reg.callbacks.ProgressiveSelfDistillation(source="model")
    model.fit(x, y, epochs=100, callbacks=[callback])
    ```

    Source: Kyungyul Kim, ByeongMoon Ji, Doyoung Yoon, Sangheum Hwang, Self-Knowledge Distillation with Progressive
    Refinement of Targets, arXiv 2006.12000, 2020. The weight of epoch e, counted from 0, is final_weight (e + 1) / T as
    in the authors' code.
    """

    one_model = False  # each training begins with hard targets

    def __init__(
        self,
        num_samples: int | None = None,
        num_classes: int | None = None,
        final_weight: float = 0.8,
        schedule: str | Callable[[int, int], float] = "linear",
        epochs: int | None = None,
        source: str = "memory",
        *,
        output: str | None = None,
        check_ids: bool = False,
        save_memory: bool = True,
        storage: str | Storage | dict[str, Any] | None = None,
    ) -> None:
        if source not in ("memory", "model"):
            raise ValueError(f"`source` must be 'memory' or 'model'. Received: source={source!r}")
        if source == "memory" and (num_samples is None or num_classes is None):
            raise ValueError(
                "`source='memory'` needs `num_samples` and `num_classes`; `source='model'` needs neither. "
                f"Received: num_samples={num_samples!r}, num_classes={num_classes!r}"
            )
        if source == "model" and (check_ids or storage is not None):
            raise ValueError(
                "`source='model'` has no sample ids to check, and no rows to store. "
                f"Received: check_ids={check_ids!r}, storage={storage!r}"
            )
        self._config_num_samples = num_samples
        num_samples = num_samples if source == "memory" else None
        super().__init__(num_samples, output=output, check_ids=check_ids, save_memory=save_memory, storage=storage)
        if num_classes is not None:
            check_num_classes(num_classes)
        if not 0.0 <= final_weight <= 1.0:
            raise ValueError(f"`final_weight` must be from 0 to 1. Received: final_weight={final_weight!r}")
        if schedule not in ("linear", "constant") and not callable(schedule):
            raise ValueError(f"`schedule` must be 'linear', 'constant' or a function. Received: schedule={schedule!r}")
        if epochs is not None and (isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1):
            raise ValueError(f"`epochs` must be a positive integer or None. Received: epochs={epochs!r}")
        self.num_classes = num_classes
        self.final_weight, self.schedule = final_weight, schedule
        self.epochs, self.source = epochs, source
        self.term_names = ("self_distillation" if output is None else f"{output}_self_distillation",)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "num_samples": self._config_num_samples,
            "num_classes": self.num_classes,
            "final_weight": self.final_weight,
            "schedule": self.schedule,
            "epochs": self.epochs,
            "source": self.source,
            "output": self.output,
            "check_ids": self.check_ids,
            "save_memory": self.save_memory,
            "storage": self.stored_as(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ProgressiveSelfDistillation:
        """Builds a callback from the arguments that `get_config` gave."""
        return cls(**config)

    def weight(self, epoch: int) -> float:
        """The weight of the past prediction in an epoch, counted from 0; 0 in the first.

        Args:
            epoch: The epoch.

        Returns:
            The weight, 0 to 1.

        Raises:
            ValueError: If a schedule of your own gives something else.
        """
        if epoch == 0:
            return 0.0
        epochs = self.epochs or self.params["epochs"]
        if callable(self.schedule):
            weight = float(self.schedule(epoch, epochs))
        elif self.schedule == "constant":
            weight = self.final_weight
        else:
            weight = linear_schedule(epoch, epochs, self.final_weight)
        if not 0.0 <= weight <= 1.0:
            received = f"{weight} for epoch {epoch} of {epochs}"
            raise ValueError(f"The weight of the past prediction must be from 0 to 1. Received: {received}")
        return weight

    def create_state(self, model: keras.Model) -> list[keras.metrics.Metric]:
        """The weight of the epoch, and the memory or the frozen model."""
        self._weight = Scalar("weight")
        if self.source == "model":
            self._frozen = FrozenModel(model)
            return [self._weight, self._frozen]
        return [self._weight, *super().create_state(model)]

    def saved_state(self) -> list[keras.metrics.Metric]:
        """The memory. The weight and the frozen model are made anew when an epoch begins."""
        return [metric for metric in self.state if isinstance(metric, PerSampleMemory)]

    def create_memory(self, model: keras.Model, num_samples: int) -> PerSampleMemory:
        """The predictions of the previous epoch, a row per sample, also where a sample is a sequence."""
        names = output_names(model)
        outputs = list(getattr(model, "outputs", None) or [])
        shape = tuple(select_output(outputs, self.output, names, "the outputs").shape[1:]) if outputs else ()
        length = int(np.prod(shape[:-1])) if len(shape) > 1 and None not in shape else 1
        return self.row_storage.create(num_samples, int(self.num_classes or 0), "past_predictions", length)

    def check_model(self, model: keras.Model) -> None:
        """Settles how the compiled loss sees predictions and labels."""
        super().check_model(model)
        self._loss = CompiledCrossEntropy(model, self.output)
        epochs = self.params["epochs"]
        if self.epochs is not None and epochs > self.epochs:
            raise ValueError(f"`fit` goes to epoch {epochs}, beyond the whole training. Received: epochs={self.epochs}")
        if self.final_weight == 0.0 or (self.epochs or epochs) == 1:
            warnings.warn(
                "Self-distillation does nothing with a final weight of 0, or in a single epoch: its targets are hard.",
                NoEffectWarning,
                stacklevel=2,
            )

    def on_train_begin(self, logs: Any = None) -> None:
        """Switches the method on; with a frozen copy of this model, whatever was trained before."""
        if self.source == "model":
            self.state, self.term_metrics = [], {}
        super().on_train_begin(logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the weight of the epoch, and freezes the model as the previous epoch has left it."""
        super().on_epoch_begin(epoch, logs)
        updated_model(self)
        self._weight.set(self.weight(epoch))
        if self.source == "model":
            self._frozen.freeze()

    def terms(self, batch: Batch) -> dict[str, tuple[Any, ...]]:
        """The difference between the cross-entropy with softened targets and the compiled one."""
        names = output_names(model_without_update(self))
        y_pred = select_output(batch.y_pred, self.output, names, "the predictions")
        labels = select_output(batch.y, self.output, names, "the labels")
        sample_weight = select_output(batch.sample_weight, self.output, names, "the sample weights")
        self._check_predictions(y_pred)
        targets = self._loss.targets(labels, y_pred)
        probabilities, log_probabilities = self._loss.probabilities(y_pred)
        if self.source == "memory":
            past = self._past_from_memory(sample_ids(batch.x), probabilities, targets)
        else:
            past = select_output(self._frozen.predict(batch.x), self.output, names, "the predictions")
            past, _ = self._loss.probabilities(past)
        term = self_distillation_term(targets, past, log_probabilities, ops.cast(self._weight.value, past.dtype))
        return {self.term_names[0]: (self._loss.weight * term, sample_weight, y_pred)}

    def _check_predictions(self, y_pred: Any) -> None:
        shape = tuple(y_pred.shape)
        if len(shape) < 2 or shape[-1] == 1 or (self.num_classes is not None and shape[-1] != self.num_classes):
            raise ValueError(
                "The model's predictions must have the shape (batch, ..., num_classes) with two classes or more. "
                f"Received: predictions of shape {shape} with num_classes={self.num_classes}"
            )
        if self.source == "memory" and int(np.prod(shape[1:])) != self.table.width:
            raise ValueError(
                "For sequence outputs the memory must know their length: use a Functional model whose output has a "
                f"static shape, or `source='model'`. Received: predictions of shape {shape}"
            )

    def _past_from_memory(self, ids: Any, probabilities: Any, targets: Any) -> Any:
        """The stored rows, which are then overwritten; the target itself where there is none."""
        shape = ops.shape(probabilities)
        past, visited = self.table.exchange(ids, ops.reshape(probabilities, (shape[0], -1)))
        past = ops.reshape(past, shape)
        if self.row_storage.rounds:
            past = past / ops.maximum(ops.sum(past, axis=-1, keepdims=True), keras.config.epsilon())
        visited = ops.reshape(visited, (-1, *([1] * (len(shape) - 1))))
        return ops.where(visited, past, targets)
