"""Thousands of L2 strengths of a convex head, tuned by implicit gradients whose error is known (arXiv 2308.10098)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_reg._validation import check_choice, check_integer, check_number
from keras_reg.tune._convex_head import Batch, RidgeHead, SoftmaxHead
from keras_reg.tune._implicit_search import HeadTuningResult, ImplicitSearch

_HEADS: dict[str, SoftmaxHead | RidgeHead] = {"softmax": SoftmaxHead(), "ridge": RidgeHead()}


class ImplicitHeadTuning:
    """Tunes an L2 strength for each group of features of a linear head, by gradients whose error is bounded.

    The head is solved on the training features as accurately as needed, not more: the bound of the error of the
    gradient of the tuning loss must be below its norm, so that it certainly leads down, and a step is taken only if it
    certainly brings less loss. Both accuracies and the length of steps set themselves.

    It works for what it assumes: a convex head on features that do not change, all of the data at once, no dropout. For
    layers below, and for anything else than L2, there is `callbacks.SelfTuning`.

    Args:
        head: `"softmax"` for classes, `"ridge"` for numbers with half the squared distance as loss.
        groups: `"all"` for one strength, `"features"` for one for each feature, or the number of the group, from 0, of
            each feature.
        init: The first strength of all groups.
        bias_strength: The strength for the biases, which is not tuned. It must be above 0, for the head to have one
            solution.
        max_steps: How many steps are taken at most.
        tolerance: At which norm of the gradient the strengths count as found.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    ```python
    features, labels = np.random.default_rng(0).normal(size=(40, 5)), np.arange(40) % 3
    tuning = keras_reg.tune.ImplicitHeadTuning(groups="features", max_steps=3)
    result = tuning.tune((features[:20], labels[:20]), (features[20:], labels[20:]))
    result.strengths, result.tuning_loss
    ```

    Source: Mohammad Sadegh Salehi, Subhadip Mukherjee, Lindon Roberts, Matthias J. Ehrhardt, An adaptively inexact
    first-order method for bilevel optimization with application to hyperparameter learning, arXiv 2308.10098, 2023.
    """

    def __init__(
        self,
        head: str = "softmax",
        groups: Any = "all",
        init: float = 1e-3,
        bias_strength: float = 1e-3,
        max_steps: int = 50,
        tolerance: float = 1e-4,
    ) -> None:
        self.head = check_choice("head", head, tuple(_HEADS))
        if isinstance(groups, str):
            check_choice("groups", groups, ("all", "features"))
        self.groups = groups
        self.init = check_number("init", init, above=0.0)
        self.bias_strength = check_number("bias_strength", bias_strength, above=0.0)
        self.max_steps = check_integer("max_steps", max_steps)
        self.tolerance = check_number("tolerance", tolerance, above=0.0)

    def tune_head(self, model: keras.Model, training_data: Any, tuning_data: Any) -> HeadTuningResult:
        """Tunes the head of a model, its last layer, and gives it the solved weights.

        Args:
            model: A built model whose last layer is dense and makes logits, or numbers for `"ridge"`.
            training_data: A tuple (inputs, labels) of arrays: what the head is solved on.
            tuning_data: A tuple (inputs, labels) of other samples.

        Returns:
            What was found.

        Raises:
            ValueError: If the last layer is none that is linear, or the data do not fit.
        """
        last = model.layers[-1] if isinstance(model, keras.Model) and model.built and model.layers else None
        if not isinstance(last, keras.layers.Dense) or last.activation is not keras.activations.linear:
            raise ValueError(
                "The last layer of the model must be a `Dense` without activation, whose loss is convex in its "
                f"weights: let it make logits. Received: {last!r} as the last layer of {model!r}"
            )
        if not last.use_bias:
            raise ValueError(f"The last layer must have a bias, which is solved too. Received: {last!r}")
        _check_other_samples(training_data, tuning_data)
        trunk = keras.Model(model.inputs, last.input)
        pairs = [(trunk.predict(x, verbose=0), y) for x, y in (training_data, tuning_data)]
        result = self._tune(pairs[0], pairs[1], last.units)
        last.kernel.assign(result.kernel)
        last.bias.assign(result.bias)
        return result

    def tune(self, training_data: Any, tuning_data: Any) -> HeadTuningResult:
        """Tunes a head on features.

        Args:
            training_data: A tuple (features, labels) of arrays, features of shape (samples, features).
            tuning_data: A tuple (features, labels) of other samples.

        Returns:
            What was found.

        Raises:
            ValueError: If the data do not fit.
        """
        _check_other_samples(training_data, tuning_data)
        return self._tune(training_data, tuning_data)

    def _tune(self, training_data: Any, tuning_data: Any, outputs: int | None = None) -> HeadTuningResult:
        training, tuning = self._batches(training_data, tuning_data, outputs=outputs)
        search = ImplicitSearch(_HEADS[self.head], training, tuning, self._groups(training), self.bias_strength)
        theta = np.full(search.number, np.log(self.init))
        return search.run(theta, self.max_steps, self.tolerance)

    def _batches(self, *data: Any, outputs: int | None = None) -> list[Batch]:
        # An output whose class has no sample is solved too: to be never chosen.
        classes = outputs or (max(int(np.max(y)) for _, y in data) + 1 if self.head == "softmax" else 0)
        batches = []
        for x, y in data:
            features, labels = np.asarray(x, "float64"), np.asarray(y)
            if features.ndim != 2 or len(features) != len(labels) or not len(features):
                raise ValueError(
                    "Data must be features of shape (samples, features) and as many labels. "
                    f"Received: features of shape {features.shape} and labels of shape {labels.shape}"
                )
            if not np.isfinite(features).all():
                raise ValueError("Features must be finite. Received: features with NaN or infinity")
            targets = labels.reshape(len(labels), -1)
            if self.head == "softmax":
                if targets.shape[1] != 1 or labels.dtype.kind not in "iu" or targets.min() < 0:
                    raise ValueError(
                        "For `head='softmax'` labels must be the numbers of classes, integers from 0. "
                        f"Received: labels of shape {labels.shape} and type {labels.dtype}"
                    )
                if targets.max() >= classes:
                    raise ValueError(
                        f"The last layer has {classes} outputs, for labels from 0 to {classes - 1}. "
                        f"Received: labels up to {targets.max()}"
                    )
                targets = np.eye(classes)[targets[:, 0]]
            elif outputs not in (None, targets.shape[1]):
                raise ValueError(
                    f"The last layer has {outputs} outputs, for as many numbers of each sample. "
                    f"Received: labels of shape {labels.shape}"
                )
            ones = np.ones((len(features), 1))
            batches.append(Batch(np.concatenate([features, ones], 1), targets.astype("float64")))
        if batches[0].features.shape[1] != batches[1].features.shape[1]:
            raise ValueError(
                "Training and tuning data must have the same features. "
                f"Received: {[batch.features.shape[1] - 1 for batch in batches]} of them"
            )
        return batches

    def _groups(self, training: Batch) -> np.ndarray:
        number = training.features.shape[1] - 1
        if isinstance(self.groups, str):
            return np.zeros(number, int) if self.groups == "all" else np.arange(number)
        groups = np.asarray(self.groups)
        if groups.shape != (number,) or groups.dtype.kind not in "iu" or set(groups) != set(range(groups.max() + 1)):
            raise ValueError(
                f"`groups` must be the number of the group of each of the {number} features, from 0 without gaps. "
                f"Received: groups={self.groups!r}"
            )
        return groups


def _check_other_samples(training_data: Any, tuning_data: Any) -> None:
    if training_data[0] is tuning_data[0]:
        raise ValueError(
            "On the training data itself no L2 at all is best: give `tuning_data` other samples. "
            "Received: the same features twice"
        )
