"""A report of what regularizers of weights do, epoch by epoch."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.callback_model import updated_model
from keras_reg._plotting import new_figure
from keras_reg._registry import export
from keras_reg._validation import check_integer, check_number
from keras_reg._warnings import NoEffectWarning
from keras_reg.ops._numerics import as_matrix
from keras_reg.ops.collapse import rank_of_spectrum

MEASURES = ("penalty", "spectral_norm", "effective_rank", "sparsity")


@export("callbacks.RegularizationReport", kind="callback", year=2007)
class RegularizationReport(keras.callbacks.Callback):
    """Regularization report: shows after each epoch what the regularizers of a model's weights do.

    In `logs`: `regularization_share`, the penalties as a share of the training loss; `spectral_norm`, the largest of
    all kernels; `effective_rank`, as a share of the full rank, the mean over kernels; `sparsity`, the share of all
    entries that are next to 0. Of each weight for itself, the same is in `history`. Training itself is not changed.

    A share near 0 says that a strength is too small to matter, a large one that the loss is mostly penalty.

    Args:
        zero: What counts as next to 0: entries of at most this share of the root mean square of their weight.
        every_n_epochs: The number of epochs from one report to the next; the first is after the first epoch.

    Attributes:
        history: For the path of each regularized weight, a list for each of `"penalty"`, `"spectral_norm"`,
            `"effective_rank"` and `"sparsity"`. Biases and scales have a penalty and a sparsity alone.
        epochs: After which epochs, from 0, these were taken.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    ```python
    keras_reg.apply_regularizer(model, keras_reg.regularizers.SoftOrthogonality(1e-2))
    report = keras_reg.callbacks.RegularizationReport()
    history = model.fit(x, y, epochs=100, callbacks=[report])
    history.history["regularization_share"]
    report.plot().savefig("report.png")
    ```

    Source: effective rank by Olivier Roy, Martin Vetterli, The effective rank: A measure of effective dimensionality,
    EUSIPCO 2007.
    """

    def __init__(self, zero: float = 0.01, every_n_epochs: int = 1) -> None:
        super().__init__()
        self.zero = check_number("zero", zero)
        self.every_n_epochs = check_integer("every_n_epochs", every_n_epochs)
        self.history: dict[str, dict[str, list[float]]] = {}
        self.epochs: list[int] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Starts a new report, and says if there is nothing to report."""
        self.history, self.epochs = {}, []
        if not _regularized(self.model):
            warnings.warn(
                "No trainable weight of the model has a regularizer, so that there is nothing to report. Received: "
                f"model={self.model.name!r}",
                NoEffectWarning,
                stacklevel=2,
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures, and puts the numbers into `logs`."""
        model = None if epoch % self.every_n_epochs else updated_model(self)
        variables = [] if model is None else _regularized(model)
        if not variables:
            return
        self.epochs.append(epoch)
        found = [self._measure(variable) for variable in variables]
        for variable, measures in zip(variables, found, strict=True):
            mine = self.history.setdefault(variable.path, {})
            for name, value in measures.items():
                mine.setdefault(name, []).append(value)
        if logs is None:
            return
        kernels = [one for one in found if "spectral_norm" in one]
        sizes = [int(np.prod(variable.shape)) for variable in variables]
        loss = float(logs.get("loss", 0.0))
        logs["regularization_share"] = sum(one["penalty"] for one in found) / loss if loss else 0.0
        if kernels:
            logs["spectral_norm"] = max(one["spectral_norm"] for one in kernels)
            logs["effective_rank"] = float(np.mean([one["effective_rank"] for one in kernels]))
        logs["sparsity"] = float(np.average([one["sparsity"] for one in found], weights=sizes))

    def _measure(self, variable: keras.Variable) -> dict[str, float]:
        weight = np.asarray(ops.convert_to_numpy(variable), "float32")
        small = np.abs(weight) <= self.zero * np.sqrt(np.mean(np.square(weight)))
        penalty = float(ops.convert_to_numpy(variable.regularizer(variable)))
        measures = {"penalty": penalty, "sparsity": float(np.mean(small))}
        if weight.ndim > 1:
            matrix = ops.convert_to_numpy(as_matrix(weight))
            # Of a training that has diverged, the report says so: NumPy would raise an error.
            finite = np.isfinite(matrix).all()
            singular = np.linalg.svd(matrix, compute_uv=False) if finite else np.full(min(matrix.shape), np.nan)
            measures["spectral_norm"] = float(singular[0])
            measures["effective_rank"] = float(rank_of_spectrum(singular)) / len(singular) if finite else float("nan")
        return measures

    def plot(self) -> Any:
        """Draws the four measures over the epochs, a line for each weight.

        Returns:
            A `matplotlib.figure.Figure`; save it with `figure.savefig`.

        Raises:
            ValueError: If there is no report.
        """
        if not self.history:
            raise ValueError("There is nothing to draw before `fit`. Received: a callback without a report")
        figure = new_figure(figsize=(10, 6), layout="constrained")
        for axis, measure in zip(figure.subplots(2, 2).flat, MEASURES, strict=True):
            for path, measures in self.history.items():
                if measure in measures:
                    axis.plot([epoch + 1 for epoch in self.epochs], measures[measure], label=path)
            axis.set(title=measure.replace("_", " "), xlabel="epoch")
            if measure == "penalty":
                axis.legend(fontsize="x-small")
        return figure

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"zero": self.zero, "every_n_epochs": self.every_n_epochs}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RegularizationReport:
        """Builds a callback from the arguments that `get_config` gave."""
        return cls(**config)


def _regularized(model: keras.Model) -> list[keras.Variable]:
    return [variable for variable in model.trainable_variables if variable.regularizer is not None]
