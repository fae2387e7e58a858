"""A report of the effect of weight regularizers, epoch by epoch."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.callback_model import updated_model
from keras_reg._plotting import new_figure
from keras_reg._registry import export
from keras_reg._types import Config
from keras_reg._validation import check_integer, check_number
from keras_reg._warnings import NoEffectWarning
from keras_reg.callbacks._configurable import Configurable
from keras_reg.ops._numerics import as_matrix
from keras_reg.ops.collapse import rank_of_spectrum

MEASURES = ("penalty", "spectral_norm", "effective_rank", "sparsity")


@export("callbacks.RegularizationReport", kind="callback", tasks=("diagnostics",), year=2007)
class RegularizationReport(Configurable, keras.callbacks.Callback):
    """Reports the effect of the regularizers of a model's weights after each epoch.

    The report adds four numbers to `logs`. `history` holds the corresponding values per weight.

    - `regularization_share` is the sum of the penalties as a share of the training loss.
    - `spectral_norm` is the largest spectral norm of all kernels.
    - `effective_rank` is the effective rank as a share of the full rank, averaged over kernels.
    - `sparsity` is the share of all entries that are almost 0.

    A `regularization_share` near 0 means that a strength is too small to matter. A large one means that the loss is
    mostly penalty. The callback does not change training.

    Args:
        zero_threshold: Float. An entry counts as almost 0 if its magnitude is at most this share of the root mean
            square of its weight. Defaults to `0.01`.
        every_n_epochs: Integer. The number of epochs from one report to the next. The first report is after the first
            epoch. Defaults to `1`.

    Attributes:
        history: Maps the path of each regularized weight to a list for each of `"penalty"`, `"spectral_norm"`,
            `"effective_rank"` and `"sparsity"`. Biases and scales only have a penalty and a sparsity.
        epochs: The epochs, counted from 0, after which these values were measured.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    ```python
    orthogonality = keras_reg.regularizers.SoftOrthogonality(1e-2)
    keras_reg.apply_regularizer(model, orthogonality)
    report = keras_reg.callbacks.RegularizationReport()
    history = model.fit(x, y, epochs=100, callbacks=[report])
    history.history["regularization_share"]
    report.plot().savefig("report.png")
    ```

    Reference:

    - Roy and Vetterli, EUSIPCO 2007: The effective rank: A measure of effective dimensionality
    """

    def __init__(self, *, zero_threshold: float = 0.01, every_n_epochs: int = 1) -> None:
        super().__init__()
        self.zero_threshold = check_number("zero_threshold", zero_threshold)
        self.every_n_epochs = check_integer("every_n_epochs", every_n_epochs)
        self.history: dict[str, dict[str, list[float]]] = {}
        self.epochs: list[int] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Starts a new report, and warns if there is nothing to report."""
        self.history, self.epochs = {}, []
        if not _regularized_variables(self.model):
            warnings.warn(
                "No trainable weight of the model has a regularizer, so there is nothing to report. Received: "
                f"model={self.model.name!r}",
                NoEffectWarning,
                stacklevel=2,
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures the weights, and adds the four numbers to `logs`."""
        model = None if epoch % self.every_n_epochs else updated_model(self)
        variables = [] if model is None else _regularized_variables(model)
        if not variables:
            return
        self.epochs.append(epoch)
        rows = [self._measure(variable) for variable in variables]
        for variable, row in zip(variables, rows, strict=True):
            history = self.history.setdefault(variable.path, {})
            for name, value in row.items():
                history.setdefault(name, []).append(value)
        if logs is None:
            return
        kernels = [row for row in rows if "spectral_norm" in row]
        sizes = [int(np.prod(variable.shape)) for variable in variables]
        loss = float(logs.get("loss", 0.0))
        logs["regularization_share"] = sum(row["penalty"] for row in rows) / loss if loss else 0.0
        if kernels:
            logs["spectral_norm"] = max(row["spectral_norm"] for row in kernels)
            logs["effective_rank"] = float(np.mean([row["effective_rank"] for row in kernels]))
        logs["sparsity"] = float(np.average([row["sparsity"] for row in rows], weights=sizes))

    def _measure(self, variable: keras.Variable) -> dict[str, float]:
        weight = np.asarray(ops.convert_to_numpy(variable), "float32")
        small = np.abs(weight) <= self.zero_threshold * np.sqrt(np.mean(np.square(weight)))
        penalty = float(ops.convert_to_numpy(variable.regularizer(variable)))
        measures = {"penalty": penalty, "sparsity": float(np.mean(small))}
        if weight.ndim > 1:
            matrix = ops.convert_to_numpy(as_matrix(weight))
            # After training has diverged, NumPy would raise an error. The report contains NaN instead.
            finite = np.isfinite(matrix).all()
            singular = np.linalg.svd(matrix, compute_uv=False) if finite else np.full(min(matrix.shape), np.nan)
            measures["spectral_norm"] = float(singular[0])
            measures["effective_rank"] = float(rank_of_spectrum(singular)) / len(singular) if finite else float("nan")
        return measures

    def plot(self) -> Any:
        """Draws the four measures over the epochs, with a line for each weight.

        Returns:
            A `matplotlib.figure.Figure`. Save it with `figure.savefig`.

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

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"zero_threshold": self.zero_threshold, "every_n_epochs": self.every_n_epochs}


def _regularized_variables(model: keras.Model) -> list[keras.Variable]:
    return [variable for variable in model.trainable_variables if variable.regularizer is not None]
