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
from keras_reg._registry import Range, export
from keras_reg._types import Config, Tensor
from keras_reg._validation import check_choice, check_integer, check_number, reject
from keras_reg._warnings import NoEffectWarning
from keras_reg.callbacks._configurable import Configurable
from keras_reg.ops.self_distillation import linear_schedule, self_distillation_term
from keras_reg.training._cross_entropy import CompiledCrossEntropy
from keras_reg.training._outputs import output_names, select_output
from keras_reg.training._sample_ids import sample_ids
from keras_reg.training._state import FrozenModel, Scalar
from keras_reg.training.per_sample import PerSampleCallback, check_num_classes
from keras_reg.training.terms import Batch


@export(
    "callbacks.ProgressiveSelfDistillation",
    kind="callback",
    tasks=("calibration", "noisy labels"),
    tunable={"final_weight": Range(0.1, 0.9)},
    arxiv="2006.12000",
    year=2020,
)
class ProgressiveSelfDistillation(Configurable, PerSampleCallback):
    """Softens labels with the model's own predictions of the previous epoch (PS-KD).

    The target of a sample in epoch e of T is (1 - w) y + w p. Here y is its label, and p is the model's prediction for
    it one epoch ago. The weight w grows linearly to `final_weight` in the last epoch. In the first epoch targets are
    hard. The trained models are better calibrated, and often more accurate.

    The compiled loss must be categorical cross-entropy, sparse or not, with logits or probabilities, on two or more
    classes. It is still computed with your labels. The callback adds the difference to the cross-entropy with the
    softened labels, which is `self_distillation` in the logs. If the compiled loss smooths labels, y is the smoothed
    label; past predictions are never smoothed.

    Args:
        num_samples: Integer. The number of training samples, for `source="memory"`. Their ids are part of `x`: see
            `keras_reg.data.with_sample_ids`. A sample with a negative id, or without a past prediction, keeps its
            label. Defaults to `None`.
        num_classes: Integer. The number of classes, at least 2, for `source="memory"`. Defaults to `None`.
        final_weight: Float. The weight of the past prediction (not of the label) in the last epoch, from 0 to 1.
            Defaults to `0.8`.
        schedule: String or Callable. `"linear"`, `"constant"`, or a function (epoch, epochs) -> weight that counts
            epochs from 0. Defaults to `"linear"`.
        epochs: Integer. The number of epochs of the whole training run. `None` takes it from `fit`. Set it if you train
            in several `fit` calls. Defaults to `None`.
        source: String. The origin of past predictions, `"memory"` or `"model"`. `"memory"` is the paper's way: it
            stores those of the previous epoch's training steps, num_samples x num_classes numbers, and needs no second
            forward pass. With `"model"`, a frozen copy of the weights at the end of the previous epoch predicts for the
            same augmented batch, in inference mode. It needs no sample ids and no table, but one more forward pass and
            a second copy of the weights. Defaults to `"memory"`.
        output: String. The name of the output to work on, for a model with several. Defaults to `None`.
        check_ids: Boolean. Whether to raise an error if a sample id occurs with a different label. Use it for a first
            run. Defaults to `False`.
        save_memory: Boolean. Whether checkpoints that are written during `fit` contain the memory. Defaults to `True`.
        storage: String, `Storage` or `None`. How past predictions are stored: `"float16"`, `"bfloat16"`, or a
            `keras_reg.callbacks.Storage`. Rows in half precision are normalized again when they are read. `None` keeps
            all values in float32. Defaults to `None`.

    Raises:
        ValueError: If an argument is out of range. At the start of `fit`, if the model is unsuitable.

    Example:

    ```python
    callback = keras_reg.callbacks.ProgressiveSelfDistillation(
        num_samples=len(x), num_classes=10
    )
    inputs = keras_reg.data.with_sample_ids(model, x)
    model.fit(inputs, y, epochs=100, callbacks=[callback])

    callback = keras_reg.callbacks.ProgressiveSelfDistillation(source="model")
    model.fit(x, y, epochs=100, callbacks=[callback])
    ```

    Reference:

    - [Kim et al., 2020](https://arxiv.org/abs/2006.12000): Self-Knowledge Distillation with Progressive Refinement
      of Targets. The weight of epoch e, counted from 0, is final_weight (e + 1) / T as in the authors' code.
    """

    one_model = False  # The first epoch of every training run uses hard targets, so no state is carried over.
    serialized_arguments = ("schedule",)

    def __init__(
        self,
        num_samples: int | None = None,
        num_classes: int | None = None,
        final_weight: float = 0.8,
        *,
        schedule: str | Callable[[int, int], float] = "linear",
        epochs: int | None = None,
        source: str = "memory",
        output: str | None = None,
        check_ids: bool = False,
        save_memory: bool = True,
        storage: str | Storage | dict[str, Any] | None = None,
    ) -> None:
        self.source = check_choice("source", source, ("memory", "model"))
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
        self._config_num_samples = check_integer("num_samples", num_samples, optional=True)
        num_samples = num_samples if source == "memory" else None
        super().__init__(num_samples, output=output, check_ids=check_ids, save_memory=save_memory, storage=storage)
        self.num_classes = None if num_classes is None else check_num_classes(num_classes)
        self.final_weight = check_number("final_weight", final_weight, at_least=0.0, at_most=1.0)
        if schedule not in ("linear", "constant") and not callable(schedule):
            reject("schedule", schedule, "must be 'linear', 'constant' or a function of the epoch and of `epochs`")
        self.schedule = schedule
        self.epochs = check_integer("epochs", epochs, optional=True)
        self.term_names = ("self_distillation" if output is None else f"{output}_self_distillation",)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        names = ("num_classes", "final_weight", "schedule", "epochs", "source", "output", "check_ids", "save_memory")
        config = {name: getattr(self, name) for name in names}
        return {"num_samples": self._config_num_samples, "storage": self.stored_as(), **config}

    def weight(self, epoch: int) -> float:
        """Returns the weight of the past prediction in an epoch, from 0 to 1. It is 0 in the first epoch.

        Args:
            epoch: The epoch, counted from 0.

        Raises:
            ValueError: If your own schedule returns a number outside this range.
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
            raise ValueError(f"`schedule` must be from 0 to 1. Received: {weight} for epoch {epoch} of {epochs}")
        return weight

    def create_state(self, model: keras.Model) -> list[keras.metrics.Metric]:
        """Creates the state: the weight of the epoch, and the memory or the frozen model."""
        self._weight = Scalar("weight")
        if self.source == "model":
            self._frozen = FrozenModel(model)
            return [self._weight, self._frozen]
        return [self._weight, *super().create_state(model)]

    def saved_state(self) -> list[keras.metrics.Metric]:
        """Returns the memory. The weight and the frozen model are set again at the start of each epoch."""
        return [metric for metric in self.state if isinstance(metric, PerSampleMemory)]

    def create_memory(self, model: keras.Model, num_samples: int) -> PerSampleMemory:
        """Creates the table of past predictions, with one row per sample, also if a sample is a sequence."""
        names = output_names(model)
        outputs = list(getattr(model, "outputs", None) or [])
        shape = tuple(select_output(outputs, self.output, names, "the outputs").shape[1:]) if outputs else ()
        length = int(np.prod(shape[:-1])) if len(shape) > 1 and None not in shape else 1
        return self.row_storage.create(num_samples, int(self.num_classes or 0), "past_predictions", length)

    def check_model(self, model: keras.Model) -> None:
        """Determines how the compiled loss reads predictions and labels."""
        super().check_model(model)
        self._loss = CompiledCrossEntropy(model, self.output)
        epochs = self.params["epochs"]
        if self.epochs is not None and epochs > self.epochs:
            raise ValueError(f"`fit` ends at epoch {epochs}, after the last epoch. Received: epochs={self.epochs}")
        if self.final_weight == 0.0 or (self.epochs or epochs) == 1:
            warnings.warn(
                "Self-distillation has no effect with a final weight of 0 or in a single epoch: its targets are hard.",
                NoEffectWarning,
                stacklevel=2,
            )

    def on_train_begin(self, logs: Any = None) -> None:
        """Switches the method on. With `source="model"`, drops the copy of a model that was trained before."""
        if self.source == "model":
            self.state, self.term_metrics = [], {}
        super().on_train_begin(logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the weight of the epoch, and copies the weights that the previous epoch has left."""
        super().on_epoch_begin(epoch, logs)
        updated_model(self)
        self._weight.set(self.weight(epoch))
        if self.source == "model":
            self._frozen.freeze()

    def terms(self, batch: Batch) -> dict[str, tuple[Tensor, ...]]:
        """Computes the cross-entropy with softened targets minus the compiled one."""
        names = output_names(model_without_update(self))
        y_pred = select_output(batch.y_pred, self.output, names, "the predictions")
        labels = select_output(batch.y, self.output, names, "the labels")
        sample_weight = select_output(batch.sample_weight, self.output, names, "the sample weights")
        self._check_predictions(y_pred)
        targets = self._loss.targets(labels, y_pred)
        probabilities, log_probabilities = self._loss.probabilities(y_pred)
        if self.source == "memory":
            past = self._exchange_past(sample_ids(batch.x), probabilities, targets)
        else:
            past = select_output(self._frozen.predict(batch.x), self.output, names, "the predictions")
            past, _ = self._loss.probabilities(past)
        term = self_distillation_term(targets, past, log_probabilities, ops.cast(self._weight.value, past.dtype))
        return {self.term_names[0]: (self._loss.weight * term, sample_weight, y_pred)}

    def _check_predictions(self, y_pred: Tensor) -> None:
        shape = tuple(y_pred.shape)
        if len(shape) < 2 or shape[-1] == 1 or (self.num_classes is not None and shape[-1] != self.num_classes):
            raise ValueError(
                "The model's predictions must have the shape (batch, ..., num_classes) with two classes or more. "
                f"Received: predictions of shape {shape} with num_classes={self.num_classes}"
            )
        if self.source == "memory" and int(np.prod(shape[1:])) != self.memory.width:
            raise ValueError(
                "For sequence outputs the memory needs their length: use a Functional model whose output has a static "
                f"shape, or `source='model'`. Received: predictions of shape {shape}"
            )

    def _exchange_past(self, ids: Tensor, probabilities: Tensor, targets: Tensor) -> Tensor:
        """Returns the past predictions and stores the current ones. Without a past one, returns the target."""
        shape = ops.shape(probabilities)
        past, visited = self.memory.exchange(ids, ops.reshape(probabilities, (shape[0], -1)))
        past = ops.reshape(past, shape)
        if self.row_storage.rounds:
            past = past / ops.maximum(ops.sum(past, axis=-1, keepdims=True), keras.config.epsilon())
        visited = ops.reshape(visited, (-1, *([1] * (len(shape) - 1))))
        return ops.where(visited, past, targets)
