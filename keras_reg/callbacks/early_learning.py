"""Early-learning regularization as a callback."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras import trainer
from keras_reg._keras.dtypes import compute_dtype
from keras_reg._memory.memory import PerSampleMemory
from keras_reg._memory.storage import Storage
from keras_reg._registry import Range, export
from keras_reg._types import Array, ArrayLike, Config, Tensor
from keras_reg._validation import check_boolean, check_integer, check_number
from keras_reg._warnings import NoEffectWarning
from keras_reg.callbacks._configurable import Configurable
from keras_reg.ops.early_learning import clip_probabilities, early_learning_penalty, update_early_targets
from keras_reg.training._outputs import loss_takes_logits
from keras_reg.training.per_sample import PerSampleCallback, check_num_classes
from keras_reg.training.terms import Batch


@export(
    "callbacks.EarlyLearningRegularization",
    kind="callback",
    tasks=("noisy labels",),
    tunable={"strength": Range(1.0, 10.0, log=True), "momentum": Range(0.5, 0.99)},
    arxiv="2007.00151",
    year=2020,
)
class EarlyLearningRegularization(Configurable, PerSampleCallback):
    """Keeps a classifier near its own early predictions, which are mostly right even if some labels are wrong.

    Networks learn the right labels of a noisy dataset before they memorize the wrong ones. The method keeps a running
    average t of the model's predictions for every training sample. It adds `strength * mean(log(1 - <t, p>))` to the
    loss, where p is the current prediction. The term strengthens the gradient of samples whose label agrees with t, and
    cancels it for the others. The term does not use the labels.

    The training `loss` in the logs includes the term, so a negative value is expected. `early_learning` in the logs is
    the term. The validation loss is the compiled loss without the term.

    Args:
        num_samples: Integer. The number of training samples. Their ids, 0 to `num_samples - 1`, are part of `x`: see
            `keras_reg.data.with_sample_ids`. The method ignores samples with a negative id.
        num_classes: Integer. The number of classes, at least 2: the width of the model's softmax or logits. Give a
            binary classifier two outputs.
        strength: Float. The weight of the term. The paper uses 1 to 7, and 1 for asymmetric noise. Tune it first.
            Defaults to `3.0`.
        momentum: Float. The share of the running average that is kept at each visit, at least 0 and below 1. The paper
            uses 0.7 or 0.9. Defaults to `0.7`.
        epsilon: Float. The smallest distance of probabilities from 0 and 1, above 0 and below 0.5. With more than
            10,000 classes the default exceeds the uniform probability: use `0.01 / num_classes`. Defaults to `1e-4`.
        from_logits: Boolean. Whether the model returns logits. `None` infers it from the compiled loss. Defaults to
            `None`.
        output: String. The name of the output to work on, for a model with several. Defaults to `None`.
        check_ids: Boolean. Whether to remember the label of every sample and to raise an error if an id occurs with a
            different label. This happens if samples are numbered after shuffling. Use it for a first run, because it
            reads from the accelerator after every step. Defaults to `False`.
        save_memory: Boolean. Whether checkpoints that are written during `fit` contain the memory, by default
            `num_samples * num_classes * 4` bytes. Without it, a resumed `fit` starts with an empty memory. Defaults to
            `True`.
        storage: String, `Storage` or `None`. How the running averages are stored: `"float16"`, `"bfloat16"`, or a
            `keras_reg.callbacks.Storage`, which can keep the largest values of a row, share rows between replicas, or
            use a file. `None` keeps all values in float32. Defaults to `None`.

    Raises:
        ValueError: If an argument is out of range. At the start of `fit`, if the model is unsuitable.

    Example:

    ```python
    callback = keras_reg.callbacks.EarlyLearningRegularization(
        num_samples=len(x), num_classes=10
    )
    inputs = keras_reg.data.with_sample_ids(model, x)
    model.fit(inputs, y, epochs=100, callbacks=[callback])
    wrong = callback.suspected_noise(y)  # True where the label looks wrong
    ```

    Reference:

    - [Liu et al., 2020](https://arxiv.org/abs/2007.00151): Early-Learning Regularization Prevents Memorization of
      Noisy Labels, equations 6 and 7. As in the authors' code, and unlike the paper, probabilities are clipped,
      and normalized before they are averaged.
    """

    def __init__(
        self,
        num_samples: int,
        num_classes: int,
        strength: float = 3.0,
        *,
        momentum: float = 0.7,
        epsilon: float = 1e-4,
        from_logits: bool | None = None,
        output: str | None = None,
        check_ids: bool = False,
        save_memory: bool = True,
        storage: str | Storage | dict[str, Any] | None = None,
    ) -> None:
        check_integer("num_samples", num_samples)
        super().__init__(num_samples, output=output, check_ids=check_ids, save_memory=save_memory, storage=storage)
        self.num_classes = check_num_classes(num_classes)
        self.strength = check_number("strength", strength)
        self.momentum = check_number("momentum", momentum, at_least=0.0, below=1.0)
        self.epsilon = check_number("epsilon", epsilon, above=0.0, below=0.5)
        self.from_logits = check_boolean("from_logits", from_logits, optional=True)
        self.term_names = ("early_learning" if output is None else f"{output}_early_learning",)

    @property
    def targets(self) -> Array:
        """Returns the running averages, shape (num_samples, num_classes). Rows of unvisited samples are zeros."""
        return self.memory.numpy()

    def suspected_noise(self, labels: ArrayLike) -> Array:
        """Returns a mask of the samples whose running average prefers a class other than their label.

        Args:
            labels: The training labels in the order of the sample ids: integers of shape (num_samples,) or
                (num_samples, 1), or one-hot, shape (num_samples, num_classes).

        Returns:
            A boolean array of shape (num_samples,). It is False for samples that were never visited.

        Raises:
            ValueError: If the labels have a different shape, or before the first `fit`.
        """
        classes = np.asarray(labels)
        if classes.shape == (self.num_samples, self.num_classes):
            classes = classes.argmax(axis=1)
        elif classes.shape == (self.num_samples, 1):
            classes = classes[:, 0]
        if classes.shape != (self.num_samples,):
            raise ValueError(
                f"`labels` must have the shape ({self.num_samples},) or ({self.num_samples}, {self.num_classes}), in "
                f"the order of the sample ids. Received: labels of shape {classes.shape}"
            )
        suspected = (self.memory.largest() != classes) & self.memory.numpy_visited()
        return np.asarray(suspected)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            "num_samples": self.num_samples,
            "num_classes": self.num_classes,
            "strength": self.strength,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "from_logits": self.from_logits,
            "output": self.output,
            "check_ids": self.check_ids,
            "save_memory": self.save_memory,
            "storage": self.stored_as(),
        }

    def create_memory(self, model: keras.Model, num_samples: int) -> PerSampleMemory:
        """Creates the table of running averages."""
        return self.row_storage.create(num_samples, self.num_classes, "targets")

    def check_model(self, model: keras.Model) -> None:
        """Determines whether the model returns logits, and warns about callbacks that monitor the loss."""
        super().check_model(model)
        self._logits = loss_takes_logits(model, self.output) if self.from_logits is None else self.from_logits
        if self.strength == 0.0:
            warnings.warn(
                "The strength of early-learning regularization is 0, so it has no effect on training.",
                NoEffectWarning,
                stacklevel=2,
            )
        for callback in trainer.find_fit_callbacks(self):
            if getattr(callback, "monitor", None) == "loss":
                warnings.warn(
                    f"{type(callback).__name__} monitors `loss`, which falls below zero with early-learning "
                    "regularization and says little about the model. Monitor a validation metric, for example "
                    "`monitor='val_accuracy'`.",
                    UserWarning,
                    stacklevel=2,
                )

    def terms(self, batch: Batch) -> dict[str, tuple[Tensor, ...]]:
        """Computes the penalty of each sample, times the strength."""
        ids, y_pred, sample_weight = self.select(batch)
        if len(y_pred.shape) != 2 or y_pred.shape[1] != self.num_classes:
            raise ValueError(
                "The model's predictions must have the shape (batch, num_classes). "
                f"Received: predictions of shape {tuple(y_pred.shape)} with num_classes={self.num_classes}"
            )
        dtype = compute_dtype()
        y_pred = ops.cast(y_pred, dtype)
        probabilities = clip_probabilities(ops.softmax(y_pred) if self._logits else y_pred, self.epsilon)
        before, _ = self.memory.read(ids, dtype)
        targets = self.memory.write(ids, update_early_targets(before, probabilities, self.momentum))
        penalty = self.strength * early_learning_penalty(targets, probabilities)
        return {self.term_names[0]: (penalty, sample_weight)}
