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
from keras_reg._registry import export
from keras_reg._warnings import NoEffectWarning
from keras_reg.ops.early_learning import clip_probabilities, early_learning_penalty, update_early_targets
from keras_reg.training._outputs import loss_takes_logits
from keras_reg.training.per_sample import PerSampleCallback, check_num_classes
from keras_reg.training.terms import Batch


@export("callbacks.EarlyLearningRegularization", kind="callback", arxiv="2007.00151", year=2020)
class EarlyLearningRegularization(PerSampleCallback):
    """Early-learning regularization: keeps a classifier near its own early, mostly right predictions.

    Networks learn the right labels of a noisy data set before they memorize the wrong ones. The method keeps a running
    average t of the model's predictions for every training sample and adds `strength * mean(log(1 - <t, p>))` to the
    loss: it strengthens the gradient of samples whose label agrees with t, and cancels it for the others. The labels
    themselves are not used.

    The training `loss` in the logs includes the term and is legitimately negative; `early_learning` is the term. The
    validation loss is the compiled loss alone.

    Args:
        num_samples: The number of training samples. Their ids, 0 to `num_samples - 1`, travel in `x`:
            see `keras_reg.data.with_sample_ids`. Samples with a negative id are left alone.
        num_classes: The number of classes, at least 2: the width of the model's softmax or logits.
        strength: The weight of the term. The paper takes 1 to 7; tune it first. With asymmetric noise 1.
        momentum: How much of the running average is kept at each visit, 0 to below 1. The paper takes 0.7 or 0.9.
        epsilon: Probabilities are kept this far from 0 and 1. Where `num_classes` is above 10,000 the default is above
            the uniform probability: take `0.01 / num_classes`.
        from_logits: Whether the model gives logits. `None` reads it off the compiled loss.
        output: The name of the output to work on, for a model with several.
        check_ids: Whether to remember every sample's label and to raise as soon as an id comes with another one, which
            happens if samples are numbered after they are shuffled. For a first run: it reads from the accelerator
            after every step.
        save_memory: Whether checkpoints that are written during `fit` hold the memory, of
            `num_samples * num_classes * 4` bytes by default. Without it, a resumed `fit` begins with an empty memory.
        storage: How the running averages are stored: `None` for all of them in float32, `"float16"`, `"bfloat16"`, or a
            `keras_reg.callbacks.Storage`, which can keep the largest few of a row, share rows between replicas, or
            keep them in a file.

    Raises:
        ValueError: If an argument is out of its range, or, at the start of `fit`, if the model does not fit.

    Example:

    ```python
    callback = keras_reg.callbacks.EarlyLearningRegularization(num_samples=len(x), num_classes=10)
    model.fit(keras_reg.data.with_sample_ids(model, x), y, epochs=100, callbacks=[callback])
    wrong = callback.suspected_noise(y)  # True where the label is probably wrong
    ```

    Source: Sheng Liu, Jonathan Niles-Weed, Narges Razavian, Carlos Fernandez-Granda, Early-Learning Regularization
    Prevents Memorization of Noisy Labels, arXiv 2007.00151, 2020, eq. 6 and 7. As in the authors' code, and not in the
    paper, probabilities are clipped, and normalized before they are averaged.
    """

    def __init__(
        self,
        num_samples: int,
        num_classes: int,
        strength: float = 3.0,
        momentum: float = 0.7,
        epsilon: float = 1e-4,
        from_logits: bool | None = None,
        *,
        output: str | None = None,
        check_ids: bool = False,
        save_memory: bool = True,
        storage: str | Storage | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(num_samples, output=output, check_ids=check_ids, save_memory=save_memory, storage=storage)
        check_num_classes(num_classes)
        if not 0.0 <= strength < float("inf"):
            raise ValueError(f"`strength` must be a finite number of at least 0. Received: strength={strength!r}")
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"`momentum` must be at least 0 and below 1. Received: momentum={momentum!r}")
        if not 0.0 < epsilon < 0.5:
            raise ValueError(f"`epsilon` must be above 0 and below 0.5. Received: epsilon={epsilon!r}")
        self.num_classes = int(num_classes)
        self.strength = strength
        self.momentum = momentum
        self.epsilon = epsilon
        self.from_logits = from_logits
        self.term_names = ("early_learning" if output is None else f"{output}_early_learning",)

    @property
    def targets(self) -> np.ndarray:
        """The running averages of the predictions, (num_samples, num_classes); zeros for samples never visited."""
        return self.memory.numpy()

    def suspected_noise(self, labels: Any) -> np.ndarray:
        """Which samples probably have a wrong label: those whose running average prefers another class.

        Args:
            labels: The training labels in the order of the sample ids, as integers, shape (num_samples,) or
                (num_samples, 1), or one-hot, shape (num_samples, num_classes).

        Returns:
            A boolean mask, shape (num_samples,). False for samples that were never visited.

        Raises:
            ValueError: If the labels do not fit, or before the first `fit`.
        """
        labels = np.asarray(labels)
        if labels.shape == (self.num_samples, self.num_classes):
            labels = labels.argmax(axis=1)
        elif labels.shape == (self.num_samples, 1):
            labels = labels[:, 0]
        if labels.shape != (self.num_samples,):
            raise ValueError(
                f"`labels` must have the shape ({self.num_samples},) or ({self.num_samples}, {self.num_classes}), in "
                f"the order of the sample ids. Received: labels of shape {labels.shape}"
            )
        suspected = (self.memory.largest() != labels) & self.memory.numpy_visited()
        return np.asarray(suspected)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
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

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> EarlyLearningRegularization:
        """Builds a callback from the arguments that `get_config` gave."""
        return cls(**config)

    def create_memory(self, model: keras.Model, num_samples: int) -> PerSampleMemory:
        """The running averages."""
        return self.row_storage.create(num_samples, self.num_classes, "targets")

    def check_model(self, model: keras.Model) -> None:
        """Settles whether the model gives logits, and warns of what does not go with a negative loss."""
        super().check_model(model)
        self._logits = loss_takes_logits(model, self.output) if self.from_logits is None else self.from_logits
        if self.strength == 0.0:
            warnings.warn(
                "The strength of the early-learning regularization is 0: training is plain training.",
                NoEffectWarning,
                stacklevel=2,
            )
        for other in trainer.find_fit_callbacks(self):
            if getattr(other, "monitor", None) == "loss":
                warnings.warn(
                    f"{type(other).__name__} monitors `loss`, which falls below zero with early-learning "
                    "regularization and says little about the model: monitor a validation metric, for example "
                    "`monitor='val_accuracy'`.",
                    UserWarning,
                    stacklevel=2,
                )

    def terms(self, batch: Batch) -> dict[str, tuple[Any, Any]]:
        """The penalty of each sample, times the strength."""
        ids, y_pred, sample_weight = self.select(batch)
        if len(y_pred.shape) != 2 or y_pred.shape[1] != self.num_classes:
            raise ValueError(
                "The model's predictions must have the shape (batch, num_classes). "
                f"Received: predictions of shape {tuple(y_pred.shape)} with num_classes={self.num_classes}"
            )
        dtype = compute_dtype()
        y_pred = ops.cast(y_pred, dtype)
        probabilities = clip_probabilities(ops.softmax(y_pred) if self._logits else y_pred, self.epsilon)
        before, _ = self.table.read(ids, dtype)
        targets = self.table.write(ids, update_early_targets(before, probabilities, self.momentum))
        penalty = self.strength * early_learning_penalty(targets, probabilities)
        return {self.term_names[0]: (penalty, sample_weight)}
