"""A monitor of the collapse of softmax as a callback."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reg._keras.callback_model import model_without_update, updated_model
from keras_reg._keras.dtypes import compute_dtype
from keras_reg._registry import export
from keras_reg.ops.stable_max import softmax_collapse
from keras_reg.training import ObjectiveCallback
from keras_reg.training._cross_entropy import CompiledCrossEntropy
from keras_reg.training._outputs import output_names, select_output
from keras_reg.training.terms import Batch


@export("callbacks.SoftmaxCollapseMonitor", kind="callback", arxiv="2501.04697", year=2025)
class SoftmaxCollapseMonitor(ObjectiveCallback):
    """Logs the share of training samples for which softmax has collapsed, as `softmax_collapse`, once an epoch.

    It has where the cross-entropy is exactly 0 by rounding: the label's logit gets no gradient any more. A share that
    grows, while the validation accuracy stands still, says that what is left of training only scales the logits; then
    `losses.StableMaxCrossentropy` or `optimizers.OrthogonalGradient` may help. Training itself is not changed.

    Args:
        output: The name of the output to look at, for a model with several.

    Raises:
        ValueError: At the start of `fit`, if the compiled loss is no categorical cross-entropy.

    Example:

    ```python
    history = model.fit(x, y, epochs=100, callbacks=[keras_reg.callbacks.SoftmaxCollapseMonitor()])
    history.history["softmax_collapse"]
    ```

    Source: Lucas Prieto, Melih Barsbey, Pedro A. M. Mediano, Tolga Birdal, Grokking at the Edge of Numerical Stability,
    arXiv 2501.04697, 2025.
    """

    def __init__(self, output: str | None = None) -> None:
        super().__init__(save_memory=False)
        self.output = output
        self.name = "softmax_collapse" if output is None else f"{output}_softmax_collapse"
        self._share: keras.metrics.Mean

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"output": self.output}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SoftmaxCollapseMonitor:
        """Builds a callback from the arguments that `get_config` gave."""
        return cls(**config)

    def check_model(self, model: keras.Model) -> None:
        """Reads off the compiled loss how labels and predictions are to be read."""
        self._loss = CompiledCrossEntropy(model, self.output)

    def create_state(self, model: keras.Model) -> list[keras.metrics.Metric]:
        """The mean over an epoch."""
        self._share = keras.metrics.Mean(name=self.name)
        return [self._share]

    def rewrite_targets(self, batch: Batch) -> Any:
        """Counts, and leaves the targets alone."""
        names = output_names(model_without_update(self))
        y_pred = select_output(batch.y_pred, self.output, names, "the predictions")
        labels = select_output(batch.labels, self.output, names, "the labels")
        y_pred = ops.cast(y_pred, compute_dtype())
        classes = ops.argmax(self._loss.targets(labels, y_pred), axis=-1)
        # Of probabilities the logarithm is a logit, and an exact 0 stays one.
        collapsed = softmax_collapse(classes, y_pred if self._loss.logits else ops.log(y_pred))
        self._share.update_state(ops.cast(collapsed, "float32"))
        return batch.y

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the epoch's mean."""
        super().on_epoch_begin(epoch, logs)
        self._share.reset_state()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Puts the share into the logs."""
        super().on_epoch_end(epoch, logs)
        if updated_model(self) is not None and logs is not None:
            logs[self.name] = float(ops.convert_to_numpy(self._share.result()))
