"""A callback that detects the collapse of representations."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.callback_model import updated_model
from keras_reg._registry import export
from keras_reg._types import Array, Config, Structure, TensorFunction
from keras_reg._validation import check_number, reject
from keras_reg.callbacks._configurable import Configurable
from keras_reg.ops.collapse import effective_rank, feature_deviation, uniformity


@export(
    "callbacks.CollapseMonitor",
    kind="callback",
    tasks=("diagnostics", "self-supervised learning"),
    arxiv="2005.10242",
    year=2020,
)
class CollapseMonitor(Configurable, keras.callbacks.Callback):
    """Measures after each epoch whether representations of different samples still differ.

    Self-supervised losses have a useless perfect solution: the same representation for every input. The loss does not
    reveal it, but three numbers in `logs` do:

    - `collapse_deviation` is the standard deviation over samples, averaged over the dimensions.
    - `collapse_rank` is the effective number of directions.
    - `collapse_uniformity` is 0 if all directions are equal. It is lower the more evenly they fill the sphere.

    The callback does not change training.

    Args:
        layer_or_function: String, Callable or `None`. The source of the representations: the name of a layer of a
            Sequential or Functional model, or a function from `data` to an array, such as `model.encode`. `None` uses
            the outputs of the model.
        data: Array or structure of arrays. A fixed sample of at least two inputs. A few hundred are enough.
        min_deviation: Float. The callback warns if the deviation, as a share of the root mean square of the features,
            falls to this value or below. Defaults to `0.01`.
        min_rank: Float. The callback warns if the effective rank falls below this value. The value 0 disables the
            warning. Defaults to `1.5`.

    Attributes:
        deviations: The standard deviation of each dimension after the last epoch.

    Raises:
        ValueError: If an argument is out of range. At the start of `fit`, if the model has no such layer.

    Example:

    ```python
    monitor = keras_reg.callbacks.CollapseMonitor(None, x[:32])
    history = model.fit(x, y, epochs=100, callbacks=[monitor])
    history.history["collapse_rank"]  # one number for each epoch
    ```

    References:

    - [Wang and Isola, 2020](https://arxiv.org/abs/2005.10242): Understanding Contrastive Representation Learning
      through Alignment and Uniformity on the Hypersphere (uniformity)
    - Roy and Vetterli, EUSIPCO 2007: The effective rank: A measure of effective dimensionality
    """

    serialized_arguments = ("layer_or_function", "data")

    def __init__(
        self,
        layer_or_function: str | TensorFunction | None,
        data: Structure,
        *,
        min_deviation: float = 0.01,
        min_rank: float = 1.5,
    ) -> None:
        super().__init__()
        if layer_or_function is not None and not isinstance(layer_or_function, str) and not callable(layer_or_function):
            reject("layer_or_function", layer_or_function, "must be the name of a layer, a function or None")
        if not hasattr(data, "__len__") or len(data) < 2:
            reject("data", data, "must be an array of at least two samples")
        self.layer_or_function = layer_or_function
        self.data = data
        self.min_deviation = check_number("min_deviation", min_deviation)
        self.min_rank = check_number("min_rank", min_rank)
        self.deviations: Array | None = None
        self._compute_features: Callable[[Structure], Array] | None = None
        self._collapsed = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the layer."""
        self._collapsed = False
        if isinstance(self.layer_or_function, str):
            names = [layer.name for layer in self.model.layers]
            if self.layer_or_function not in names or not hasattr(self.model, "inputs"):
                raise ValueError(
                    "`layer_or_function` must be the name of a layer of a Sequential or Functional model. For other "
                    f"models give a function. Received: layer_or_function={self.layer_or_function!r}, layers {names}"
                )
            output = self.model.get_layer(self.layer_or_function).output
            part = keras.Model(self.model.inputs, output)
            self._compute_features = lambda data: part.predict(data, verbose=0)
        else:
            self._compute_features = self.layer_or_function or (lambda data: self.model.predict(data, verbose=0))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the measures to `logs`, and warns if the representations have collapsed."""
        if self._compute_features is None or updated_model(self) is None:
            return
        features = np.asarray(ops.convert_to_numpy(self._compute_features(self.data)), "float32")
        features = features.reshape(len(features), -1)
        self.deviations = np.asarray(ops.convert_to_numpy(feature_deviation(features)))
        # After training has diverged, some backends cannot compute the singular values of the features.
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
                "They contain little information about the samples.",
                UserWarning,
                stacklevel=2,
            )
        self._collapsed = collapsed

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            "layer_or_function": keras.saving.serialize_keras_object(self.layer_or_function),
            "data": keras.saving.serialize_keras_object(self.data),
            "min_deviation": self.min_deviation,
            "min_rank": self.min_rank,
        }
