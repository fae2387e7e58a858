"""Tunes L2 strengths of a convex head by implicit gradients with a bounded error (arXiv 2308.10098)."""

from __future__ import annotations

import keras
import numpy as np

from keras_reg._types import Array, ArrayLike, Structure
from keras_reg._validation import check_choice, check_integer, check_number, reject
from keras_reg.tune._convex_head import Batch, RidgeHead, SoftmaxHead
from keras_reg.tune._implicit_search import HeadTuningResult, ImplicitSearch

#: The inputs or features, and the labels.
_Data = tuple[Structure, ArrayLike]

_HEADS: dict[str, SoftmaxHead | RidgeHead] = {"softmax": SoftmaxHead(), "ridge": RidgeHead()}


class ImplicitHeadTuning:
    """Tunes an L2 strength for each group of features of a linear head.

    The method minimizes the loss on tuning data by gradient descent. It solves the head on the training features only
    as accurately as a step requires:

    - The bound on the error of the gradient is below the norm of the gradient, so the direction is certain to descend.
    - A step is taken only if it is certain to decrease the tuning loss.

    The accuracies and the length of the steps are adapted automatically.

    The method requires a convex head, fixed features, all of the data at once, and no dropout. For other layers, and
    for hyperparameters other than L2 strengths, use `keras_reg.callbacks.SelfTuning`.

    Args:
        head: String. `"softmax"` for classification, or `"ridge"` for regression with half the squared distance as
            loss. Defaults to `"softmax"`.
        groups: String, or integers of shape (features,). `"all"` for one strength, `"features"` for one strength per
            feature, or the group number of each feature, counted from 0. Defaults to `"all"`.
        init: Float. The initial strength of all groups, above 0. Defaults to `1e-3`.
        bias_strength: Float. The strength for the biases, which is not tuned. It must be above 0, so that the head has
            one solution. Defaults to `1e-3`.
        max_steps: Integer. The largest number of steps. Defaults to `50`.
        tolerance: Float. The norm of the gradient at which the method stops, above 0. Defaults to `1e-4`.

    Raises:
        ValueError: If an argument is invalid.

    Example:

    ```python
    features = np.random.default_rng(0).normal(size=(40, 5))
    labels = np.arange(40) % 3
    tuning = keras_reg.tune.ImplicitHeadTuning(
        groups="features", max_steps=3
    )
    result = tuning.tune(
        (features[:20], labels[:20]), (features[20:], labels[20:])
    )
    result.strengths, result.tuning_loss
    ```

    Reference:

    - [Salehi et al., 2023](https://arxiv.org/abs/2308.10098): An adaptively inexact first-order method for bilevel
      optimization with application to hyperparameter learning
    """

    def __init__(
        self,
        head: str = "softmax",
        *,
        groups: str | ArrayLike = "all",
        init: float = 1e-3,
        bias_strength: float = 1e-3,
        max_steps: int = 50,
        tolerance: float = 1e-4,
    ) -> None:
        self.head = check_choice("head", head, tuple(_HEADS))
        if isinstance(groups, str):
            check_choice("groups", groups, ("all", "features"))
        elif np.ndim(groups) != 1 or np.asarray(groups).dtype.kind not in "iu":
            reject("groups", groups, "must be 'all', 'features' or the group number of each feature")
        self.groups = groups
        self.init = check_number("init", init, above=0.0)
        self.bias_strength = check_number("bias_strength", bias_strength, above=0.0)
        self.max_steps = check_integer("max_steps", max_steps)
        self.tolerance = check_number("tolerance", tolerance, above=0.0)

    def tune_head(self, model: keras.Model, training_data: _Data, tuning_data: _Data) -> HeadTuningResult:
        """Tunes the head of a model, which is its last layer, and assigns the solved weights to it.

        Args:
            model: A `keras.Model` that is built. Its last layer is a `Dense` layer that returns logits, or numbers for
                `"ridge"`.
            training_data: Tuple (inputs, labels) of arrays. The data on which the head is solved.
            tuning_data: Tuple (inputs, labels) of arrays. Other samples, on which the strengths are tuned.

        Returns:
            A `keras_reg.tune.HeadTuningResult`.

        Raises:
            ValueError: If the last layer is not linear, or the data do not match the model.
        """
        last = model.layers[-1] if isinstance(model, keras.Model) and model.built and model.layers else None
        if not isinstance(last, keras.layers.Dense) or last.activation is not keras.activations.linear:
            raise ValueError(
                "The last layer of the model must be a `Dense` layer without activation, so that the loss is convex in "
                f"its weights. Let it return logits. Received: {last!r} as the last layer of {model!r}"
            )
        if not last.use_bias:
            raise ValueError(f"The last layer must have a bias, which is also solved. Received: {last!r}")
        _check_other_samples(training_data, tuning_data)
        trunk = keras.Model(model.inputs, last.input)
        pairs = [(trunk.predict(x, verbose=0), y) for x, y in (training_data, tuning_data)]
        result = self._tune(pairs[0], pairs[1], last.units)
        last.kernel.assign(result.kernel)
        last.bias.assign(result.bias)
        return result

    def tune(self, training_data: _Data, tuning_data: _Data) -> HeadTuningResult:
        """Tunes a head on features.

        Args:
            training_data: Tuple (features, labels) of arrays, with features of shape (samples, features).
            tuning_data: Tuple (features, labels) of arrays. Other samples, on which the strengths are tuned.

        Returns:
            A `keras_reg.tune.HeadTuningResult`.

        Raises:
            ValueError: If the data are invalid.
        """
        _check_other_samples(training_data, tuning_data)
        return self._tune(training_data, tuning_data)

    def _tune(self, training_data: _Data, tuning_data: _Data, outputs: int | None = None) -> HeadTuningResult:
        training, tuning = self._make_batches(training_data, tuning_data, outputs=outputs)
        groups = self._number_groups(training)
        search = ImplicitSearch(_HEADS[self.head], training, tuning, groups, self.bias_strength)
        theta = np.full(search.number, np.log(self.init))
        return search.run(theta, self.max_steps, self.tolerance)

    def _make_batches(self, *data: _Data, outputs: int | None = None) -> list[Batch]:
        # An output whose class has no sample is also solved, so that it is never predicted.
        classes = outputs or (max(int(np.max(y)) for _, y in data) + 1 if self.head == "softmax" else 0)
        batches = []
        for x, y in data:
            features, labels = np.asarray(x, "float64"), np.asarray(y)
            if features.ndim != 2 or len(features) != len(labels) or not len(features):
                raise ValueError(
                    "Data must be features of shape (samples, features) and a label for each sample. "
                    f"Received: features of shape {features.shape} and labels of shape {labels.shape}"
                )
            if not np.isfinite(features).all():
                raise ValueError("Features must be finite. Received: features with NaN or infinity")
            targets = labels.reshape(len(labels), -1)
            if self.head == "softmax":
                if targets.shape[1] != 1 or labels.dtype.kind not in "iu" or targets.min() < 0:
                    raise ValueError(
                        "With `head='softmax'`, labels must be class numbers, which are integers from 0. "
                        f"Received: labels of shape {labels.shape} and type {labels.dtype}"
                    )
                if targets.max() >= classes:
                    raise ValueError(
                        f"The last layer has {classes} outputs, so labels must be from 0 to {classes - 1}. "
                        f"Received: labels up to {targets.max()}"
                    )
                targets = np.eye(classes)[targets[:, 0]]
            elif outputs not in (None, targets.shape[1]):
                raise ValueError(
                    f"The last layer has {outputs} outputs, so each sample must have {outputs} numbers as its label. "
                    f"Received: labels of shape {labels.shape}"
                )
            ones = np.ones((len(features), 1))
            batches.append(Batch(np.concatenate([features, ones], 1), targets.astype("float64")))
        if batches[0].features.shape[1] != batches[1].features.shape[1]:
            raise ValueError(
                "Training and tuning data must have the same number of features. "
                f"Received: {[batch.features.shape[1] - 1 for batch in batches]} features"
            )
        return batches

    def _number_groups(self, training: Batch) -> Array:
        number = training.features.shape[1] - 1
        if isinstance(self.groups, str):
            return np.zeros(number, int) if self.groups == "all" else np.arange(number)
        groups = np.asarray(self.groups)
        if groups.shape != (number,) or groups.dtype.kind not in "iu" or set(groups) != set(range(groups.max() + 1)):
            requirement = f"must be the group number of each of the {number} features, from 0 without gaps"
            reject("groups", self.groups, requirement)
        return groups


def _check_other_samples(training_data: _Data, tuning_data: _Data) -> None:
    """Raises a `ValueError` if training and tuning data are the same."""
    if training_data[0] is tuning_data[0]:
        raise ValueError(
            "`tuning_data` must not be `training_data`, on which no L2 would be best. Received: the same features twice"
        )
