"""A callback that watches representations for collapse."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.callback_model import updated_model
from keras_reg._registry import export
from keras_reg._validation import check_number
from keras_reg.ops.collapse import effective_rank, feature_deviation, uniformity


@export("callbacks.CollapseMonitor", kind="callback", arxiv="2005.10242", year=2020)
class CollapseMonitor(keras.callbacks.Callback):
    """Collapse monitor: measures after each epoch whether representations of different samples still differ.

    Self-supervised training has a perfect solution that is worth nothing: the same representation for everything. The
    loss does not show it, these numbers in `logs` do: `collapse_deviation`, the mean over dimensions of the standard
    deviation over samples; `collapse_rank`, the effective number of directions; `collapse_uniformity`, 0 if all
    directions are the same, lower the more evenly they fill the sphere. Training itself is not changed.

    Args:
        layer_or_fn: Whose outputs to measure: the name of a layer of a Sequential or Functional model, or a function
            from `data` to an array, such as `model.encode`; `None` for the outputs of the model.
        data: A fixed sample of inputs, at least two; some hundreds are enough.
        min_deviation: A warning is given when the deviation, as a share of the root mean square of the features, falls
            to this or below.
        min_rank: The same for the effective rank. 0 switches it off.

    Attributes:
        deviations: The standard deviation of each dimension after the last epoch.

    Raises:
        ValueError: If an argument is out of its range, or, at the start of `fit`, if there is no such layer.

    Example:

    ```python
    monitor = keras_reg.callbacks.CollapseMonitor(None, x[:32])
    history = model.fit(x, y, epochs=100, callbacks=[monitor])
    history.history["collapse_rank"]  # one number for each epoch
    ```

    Source: uniformity by Tongzhou Wang, Phillip Isola, Understanding Contrastive Representation Learning through
    Alignment and Uniformity on the Hypersphere, arXiv 2005.10242, 2020; effective rank by Olivier Roy, Martin Vetterli,
    The effective rank: A measure of effective dimensionality, EUSIPCO 2007.
    """

    def __init__(
        self,
        layer_or_fn: str | Callable[[Any], Any] | None,
        data: Any,
        min_deviation: float = 0.01,
        min_rank: float = 1.5,
    ) -> None:
        super().__init__()
        if layer_or_fn is not None and not isinstance(layer_or_fn, str) and not callable(layer_or_fn):
            raise ValueError(
                f"`layer_or_fn` must be the name of a layer, a function or None. Received: layer_or_fn={layer_or_fn!r}"
            )
        if not hasattr(data, "__len__") or len(data) < 2:
            raise ValueError(f"`data` must be an array of at least two samples. Received: data={data!r}")
        self.layer_or_fn = layer_or_fn
        self.data = data
        self.min_deviation = check_number("min_deviation", min_deviation)
        self.min_rank = check_number("min_rank", min_rank)
        self.deviations: np.ndarray | None = None
        self._features: Callable[[Any], Any] | None = None
        self._collapsed = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the layer."""
        self._collapsed = False
        if isinstance(self.layer_or_fn, str):
            names = [layer.name for layer in self.model.layers]
            if self.layer_or_fn not in names or not hasattr(self.model, "inputs"):
                raise ValueError(
                    "`layer_or_fn` must be the name of a layer of a Sequential or Functional model; for others give a "
                    f"function. Received: layer_or_fn={self.layer_or_fn!r}, layers {names}"
                )
            output = self.model.get_layer(self.layer_or_fn).output
            part = keras.Model(self.model.inputs, output)
            self._features = lambda data: part.predict(data, verbose=0)
        else:
            self._features = self.layer_or_fn or (lambda data: self.model.predict(data, verbose=0))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures, puts the numbers into `logs`, and warns when the features have collapsed."""
        if self._features is None or updated_model(self) is None:
            return
        features = np.asarray(ops.convert_to_numpy(self._features(self.data)), "float32")
        features = features.reshape(len(features), -1)
        self.deviations = np.asarray(ops.convert_to_numpy(feature_deviation(features)))
        # Of a training that has diverged: not every backend has singular values of what is no number.
        finite = np.isfinite(features).all()
        measures = {
            "collapse_deviation": float(self.deviations.mean()),
            "collapse_rank": float(effective_rank(features)) if finite else float("nan"),
            "collapse_uniformity": float(uniformity(features)),
        }
        if logs is not None:
            logs.update(measures)
        size = float(np.sqrt(np.mean(np.square(features))))
        collapsed = measures["collapse_deviation"] <= self.min_deviation * size
        collapsed = collapsed or measures["collapse_rank"] < self.min_rank
        if collapsed and not self._collapsed:
            warnings.warn(
                f"The representations have collapsed in epoch {epoch + 1}: {measures}, root mean square {size:.3g}. "
                "They say little about the samples.",
                UserWarning,
                stacklevel=2,
            )
        self._collapsed = collapsed

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        serialize = keras.saving.serialize_keras_object
        return {
            "layer_or_fn": serialize(self.layer_or_fn),
            "data": serialize(self.data),
            "min_deviation": self.min_deviation,
            "min_rank": self.min_rank,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CollapseMonitor:
        """Builds a callback from the arguments that `get_config` gave."""
        data = keras.saving.deserialize_keras_object(config["data"])
        function = config["layer_or_fn"]
        if isinstance(function, dict):
            function = keras.saving.deserialize_keras_object(function)
        return cls(**{**config, "data": data, "layer_or_fn": function})
