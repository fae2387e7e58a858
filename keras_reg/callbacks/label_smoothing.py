"""Label smoothing with a rate that can change during training."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reg._keras.callback_model import model_without_update
from keras_reg._registry import export
from keras_reg._types import Config, Tensor
from keras_reg.callbacks._hyperparameter_callback import HyperparameterCallback
from keras_reg.ops.noise import along_batch
from keras_reg.ops.self_distillation import self_distillation_term
from keras_reg.training._outputs import output_names, select_output
from keras_reg.training.terms import Batch
from keras_reg.tune._checks import check_hyperparameter


@export(
    "callbacks.TunableLabelSmoothing",
    kind="callback",
    tasks=("calibration", "hyperparameter tuning"),
    arxiv="1512.00567",
    year=2015,
)
class TunableLabelSmoothing(HyperparameterCallback):
    """Smooths labels with a rate that can change during training: (1 - rate) y + rate / C for C classes.

    The compiled loss must be categorical cross-entropy, sparse or not, with logits or probabilities. It is still
    computed with your labels, integers or not. Cross-entropy is linear in its labels, so the callback adds the
    difference that smoothing makes. The logs show this term as `label_smoothing`. Evaluations do not smooth. If the
    compiled loss smooths labels, y is the label that it has smoothed.

    The rate belongs to the model's hyperparameters while the model trains. `callbacks.HyperparameterSchedule` and
    `callbacks.SelfTuning` find it in the same `fit`, at any position in the list.

    Args:
        rate: A `keras_reg.tune.Float` with `low` of at least 0 and `high` of at most 1.
        output: String. The name of the output to work on, for a model with several. Defaults to `None`.

    Raises:
        ValueError: If `rate` is not a hyperparameter with such bounds or `output` is not a string. At the start of
            `fit`, if the compiled loss is not categorical cross-entropy.

    Example:

    ```python
    rate = keras_reg.tune.Float("smoothing", init=0.1, low=0.0, high=0.5)
    smoothing = keras_reg.callbacks.TunableLabelSmoothing(rate)
    warm = keras_reg.callbacks.HyperparameterSchedule(
        {"smoothing": [0.2, 0.1, 0.0]}
    )
    model.fit(x, y, epochs=3, callbacks=[smoothing, warm])
    ```

    Reference:

    - [Szegedy et al., 2015](https://arxiv.org/abs/1512.00567): Rethinking the Inception Architecture for Computer
      Vision, section 7. The rate as a hyperparameter is an addition of this package.
    """

    def __init__(self, rate: Any, *, output: str | None = None) -> None:
        super().__init__(check_hyperparameter("rate", rate, 0.0, at_most=1.0), output)
        self.term_names = ("label_smoothing" if output is None else f"{output}_label_smoothing",)

    def terms(self, batch: Batch) -> dict[str, tuple[Tensor, ...]]:
        """Computes the cross-entropy with smoothed labels minus the compiled one."""
        names = output_names(model_without_update(self))
        y_pred, labels, weight = (
            select_output(part, self.output, names, name)
            for part, name in (
                (batch.y_pred, "the predictions"),
                (batch.y, "the labels"),
                (batch.sample_weight, "the sample weights"),
            )
        )
        targets = self._loss.targets(labels, y_pred)
        _, log_probabilities = self._loss.probabilities(y_pred)
        uniform = ops.ones_like(targets) / targets.shape[-1]
        # While a tuner perturbs the rate, each sample has its own rate.
        rate = ops.cast(along_batch(self.hyperparameter.read(), targets), targets.dtype)
        term = self_distillation_term(targets, uniform, log_probabilities, rate)
        return {self.term_names[0]: (self._loss.weight * term, weight, y_pred)}

    def get_config(self) -> Config:
        """Returns the constructor's arguments, with the current rate."""
        return {"rate": keras.saving.serialize_keras_object(self.hyperparameter), "output": self.output}
