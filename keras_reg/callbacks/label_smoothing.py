"""Label smoothing whose rate may change in training."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reg._keras.callback_model import model_without_update
from keras_reg._registry import export
from keras_reg.callbacks._hyperparameter_callback import HyperparameterCallback
from keras_reg.ops.noise import along_batch
from keras_reg.ops.self_distillation import self_distillation_term
from keras_reg.training._outputs import output_names, select_output
from keras_reg.training.terms import Batch
from keras_reg.tune._checks import check_hyperparameter


@export("callbacks.TunableLabelSmoothing", kind="callback", arxiv="1512.00567", year=2015)
class TunableLabelSmoothing(HyperparameterCallback):
    """Label smoothing whose rate may change in training: a label y of C classes becomes (1 - rate) y + rate / C.

    The compiled loss must be categorical cross-entropy, sparse or not, with logits or probabilities. Cross-entropy is
    linear in its labels: the loss goes on to be computed with yours, integers or not, and what smoothing changes is
    added to it, as `label_smoothing` in the logs. Evaluations are without. Where the compiled loss smooths labels
    itself, y is the smoothed one.

    While it trains, a model has the rate among its hyperparameters: `callbacks.HyperparameterSchedule` and
    `callbacks.SelfTuning` in the same `fit` find it, wherever they stand in the list.

    Args:
        rate: A `tune.Float` with `low` of at least 0 and `high` of at most 1.
        output: The name of the output to work on, for a model with several.

    Raises:
        ValueError: If the rate is no hyperparameter with such bounds, or, at the start of `fit`, if the compiled loss
            is no categorical cross-entropy.

    Example:

    ```python
    rate = keras_reg.tune.Float("smoothing", init=0.1, low=0.0, high=0.5)
    smoothing = keras_reg.callbacks.TunableLabelSmoothing(rate)
    warm = keras_reg.callbacks.HyperparameterSchedule({"smoothing": [0.2, 0.1, 0.0]})
    model.fit(x, y, epochs=3, callbacks=[smoothing, warm])
    ```

    Source: Christian Szegedy, Vincent Vanhoucke, Sergey Ioffe, Jonathon Shlens, Zbigniew Wojna, Rethinking the
    Inception Architecture for Computer Vision, arXiv 1512.00567, 2015, section 7; as a hyperparameter of this package.
    """

    def __init__(self, rate: Any, output: str | None = None) -> None:
        super().__init__(check_hyperparameter("rate", rate, 0.0, most=1.0), output)
        self.term_names = ("label_smoothing" if output is None else f"{output}_label_smoothing",)

    def terms(self, batch: Batch) -> dict[str, tuple[Any, ...]]:
        """The difference between the cross-entropy with smoothed labels and the compiled one."""
        names = output_names(model_without_update(self))
        y_pred, labels, weight = (
            select_output(part, self.output, names, what)
            for part, what in (
                (batch.y_pred, "the predictions"),
                (batch.y, "the labels"),
                (batch.sample_weight, "the sample weights"),
            )
        )
        targets = self._loss.targets(labels, y_pred)
        _, log_probabilities = self._loss.probabilities(y_pred)
        uniform = ops.ones_like(targets) / targets.shape[-1]
        # Where a tuner perturbs it, each sample has a rate of its own.
        rate = ops.cast(along_batch(self.hyperparameter.read(), targets), targets.dtype)
        term = self_distillation_term(targets, uniform, log_probabilities, rate)
        return {self.term_names[0]: (self._loss.weight * term, weight, y_pred)}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with the present rate."""
        return {"rate": keras.saving.serialize_keras_object(self.hyperparameter), "output": self.output}
