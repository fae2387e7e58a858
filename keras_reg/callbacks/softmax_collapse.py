"""A callback that detects softmax collapse."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reg._keras.callback_model import model_without_update, updated_model
from keras_reg._keras.dtypes import compute_dtype
from keras_reg._registry import export
from keras_reg._types import Config, Structure
from keras_reg._validation import check_string
from keras_reg.callbacks._configurable import Configurable
from keras_reg.ops.stable_max import softmax_collapse
from keras_reg.training import ObjectiveCallback
from keras_reg.training._cross_entropy import CompiledCrossEntropy
from keras_reg.training._outputs import output_names, select_output
from keras_reg.training.terms import Batch


@export(
    "callbacks.SoftmaxCollapseMonitor",
    kind="callback",
    tasks=("diagnostics", "long training"),
    arxiv="2501.04697",
    year=2025,
)
class SoftmaxCollapseMonitor(Configurable, ObjectiveCallback):
    """Logs the share of training samples for which softmax has collapsed, as `softmax_collapse`, once per epoch.

    Softmax has collapsed if the cross-entropy rounds to exactly 0: the label's logit no longer gets a gradient. If the
    share grows while the validation accuracy does not, the rest of training only scales the logits. Then
    `losses.StableMaxCrossentropy` or `optimizers.OrthogonalGradient` may help. The callback does not change training.

    Args:
        output: String. The name of the output to measure, for a model with several. Defaults to `None`.

    Raises:
        ValueError: If `output` is not a string. At the start of `fit`, if the compiled loss is not categorical
            cross-entropy.

    Example:

    ```python
    monitor = keras_reg.callbacks.SoftmaxCollapseMonitor()
    history = model.fit(x, y, epochs=100, callbacks=[monitor])
    history.history["softmax_collapse"]
    ```

    Reference:

    - [Prieto et al., 2025](https://arxiv.org/abs/2501.04697): Grokking at the Edge of Numerical Stability
    """

    def __init__(self, output: str | None = None) -> None:
        super().__init__(save_memory=False)
        self.output = check_string("output", output, optional=True)
        self.name = "softmax_collapse" if output is None else f"{output}_softmax_collapse"
        self._share: keras.metrics.Mean

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"output": self.output}

    def check_model(self, model: keras.Model) -> None:
        """Determines how the compiled loss reads predictions and labels."""
        self._loss = CompiledCrossEntropy(model, self.output)

    def create_state(self, model: keras.Model) -> list[keras.metrics.Metric]:
        """Creates the mean over an epoch."""
        self._share = keras.metrics.Mean(name=self.name)
        return [self._share]

    def rewrite_targets(self, batch: Batch) -> Structure:
        """Counts the samples with collapsed softmax, and returns the targets unchanged."""
        names = output_names(model_without_update(self))
        y_pred = select_output(batch.y_pred, self.output, names, "the predictions")
        labels = select_output(batch.labels, self.output, names, "the labels")
        y_pred = ops.cast(y_pred, compute_dtype())
        classes = ops.argmax(self._loss.targets(labels, y_pred), axis=-1)
        # The logarithm of a probability is a logit. A probability of exactly 0 has a logit of minus infinity.
        collapsed = softmax_collapse(classes, y_pred if self._loss.logits else ops.log(y_pred))
        self._share.update_state(ops.cast(collapsed, "float32"))
        return batch.y

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Resets the mean."""
        super().on_epoch_begin(epoch, logs)
        self._share.reset_state()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds the share to the logs."""
        super().on_epoch_end(epoch, logs)
        if updated_model(self) is not None and logs is not None:
            logs[self.name] = float(ops.convert_to_numpy(self._share.result()))
