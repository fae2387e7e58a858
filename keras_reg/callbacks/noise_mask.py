"""A callback that trains the policy of noise masks."""

from __future__ import annotations

import threading
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.callback_model import model_without_update
from keras_reg._keras.sublayers import iter_sublayers
from keras_reg._registry import Range, export
from keras_reg._types import Array, ArrayLike, Config, Tensor
from keras_reg._validation import check_choice, check_integer, check_number, check_string
from keras_reg.callbacks._adaptive_steps import warn_about_adaptive_steps
from keras_reg.callbacks._configurable import Configurable
from keras_reg.callbacks._mask_plots import draw_masks
from keras_reg.layers.policy_noise_mask import PolicyNoiseMask
from keras_reg.ops.beta import beta_log_prob
from keras_reg.ops.noise_mask import official_code_term, scale_gradient, score_function_term
from keras_reg.surgery.strip import strip
from keras_reg.training._cross_entropy import CompiledCrossEntropy
from keras_reg.training._outputs import output_names, select_output
from keras_reg.training._state import MovingMean, WeightAverage, copies
from keras_reg.training.callback import ObjectiveCallback
from keras_reg.training.terms import Batch

_BASELINE_MOMENTUM = 0.99


@export(
    "callbacks.PolicyGradientNoiseMask",
    kind="callback",
    tasks=("augmentation",),
    tunable={"policy_learning_rate": Range(0.01, 1.0, log=True)},
    arxiv="2406.14568",
    year=2024,
)
class PolicyGradientNoiseMask(Configurable, ObjectiveCallback):
    """Pretrains a classifier behind noise masks whose policy learns from the classifier's cross-entropy.

    The model contains one `layers.PolicyNoiseMask`. In each step, the same optimizer trains the policy to make masks
    more probable if the cross-entropy under them was low. After `fit`, `strip()` returns the classifier without masks.
    Fine-tune it.

    The logs get `mask_policy`, the term that the callback adds to the loss, and three measures:

    - `mask_reward` is minus the cross-entropy under masks.
    - `mask_entropy` is the estimated differential entropy of a cell: 0 for uniform noise, less for a confident policy.
    - `mask_mean` is the mean of the cells.

    The compiled loss must be categorical cross-entropy, sparse or not.

    Args:
        estimator: String, `"reinforce"` or `"paper"`. `"reinforce"` is the score-function estimator: it weighs each
            sample's masks by the sample's cross-entropy, and the classifier has its usual gradient. `"paper"` is the
            loss of the authors' code, mean[log sum_k p_k] times the mean cross-entropy. It multiplies the classifier's
            gradient by about log(cells), and each replica computes its own product. Defaults to `"reinforce"`.
        baseline: String, `"moving"` or `"none"`. With `"reinforce"`, `"moving"` subtracts the moving mean from
            cross-entropies. Defaults to `"moving"`.
        policy_learning_rate: Float. The learning rate of the policy as a share of the classifier's. It is a factor on
            the gradient, so adaptive optimizers such as Adam need 1. Defaults to `0.1`.
        average_epochs: Integer. The number of last epochs of `fit` over which `strip()` averages the weights. The
            value 1 disables averaging. Defaults to `3`.
        output: String. The name of the output to work on, for a model with several. Defaults to `None`.
        save_memory: Boolean. Whether checkpoints that are written during `fit` contain the moving mean and the average.
            Defaults to `True`.

    Raises:
        ValueError: If an argument is out of range. At the start of `fit`, if the model is unsuitable.

    Example:

    ```python
    model = keras.Sequential([
        keras.Input((28, 28, 1)),
        keras_reg.layers.PolicyNoiseMask(grid=7, blur_sigma=2.0),
        keras.layers.Flatten(),
        keras.layers.Dense(10),
    ])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss)
    callback = keras_reg.callbacks.PolicyGradientNoiseMask()
    model.fit(images, labels, epochs=100, callbacks=[callback])
    classifier = callback.strip()
    classifier.compile(keras.optimizers.SGD(0.001, momentum=0.9), loss)
    ```

    Reference:

    - [Yavuz and Yang, 2024](https://arxiv.org/abs/2406.14568): Policy Gradient-Driven Noise Mask, and the authors'
      code. `"reinforce"` is the textbook estimator in place of the authors' product.
    """

    def __init__(
        self,
        *,
        estimator: str = "reinforce",
        baseline: str = "moving",
        policy_learning_rate: float = 0.1,
        average_epochs: int = 3,
        output: str | None = None,
        save_memory: bool = True,
    ) -> None:
        super().__init__(save_memory)
        self.estimator = check_choice("estimator", estimator, ("reinforce", "paper"))
        self.baseline = check_choice("baseline", baseline, ("moving", "none"))
        self.policy_learning_rate = check_number("policy_learning_rate", policy_learning_rate)
        self.average_epochs = check_integer("average_epochs", average_epochs)
        self.output = check_string("output", output, optional=True)
        self.term_names, self.diagnostic_names = ("mask_policy",), ("mask_reward", "mask_entropy", "mask_mean")
        self._layer: PolicyNoiseMask | None = None
        self._averaged: list[Array] | None = None
        self._last_weights: list[Array] = []
        # Each replica of a strategy is traced in its own thread.
        self._draws = threading.local()

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        names = ("estimator", "baseline", "policy_learning_rate", "average_epochs", "output", "save_memory")
        return {name: getattr(self, name) for name in names}

    def check_model(self, model: keras.Model) -> None:
        """Finds the mask layer, and determines how the compiled loss reads predictions and labels."""
        layers = {id(layer): layer for layer, _ in iter_sublayers(model) if isinstance(layer, PolicyNoiseMask)}
        if len(layers) != 1:
            raise ValueError(
                f"The model must have one keras_reg.layers.PolicyNoiseMask. Received: {len(layers)} of them"
            )
        self._loss = CompiledCrossEntropy(model, self.output)
        (self._layer,) = layers.values()
        warn_about_adaptive_steps(model.optimizer, self.policy_learning_rate)

    def create_state(self, model: keras.Model) -> list[keras.metrics.Metric]:
        """Creates the state: the moving mean of the cross-entropy, and the average of the classifier's weights."""
        self._costs = MovingMean(_BASELINE_MOMENTUM, "costs")
        self._average = WeightAverage(self._classifier_weights(model)) if self.average_epochs > 1 else None
        return [self._costs, *([] if self._average is None else [self._average])]

    def _classifier_weights(self, model: keras.Model) -> list[keras.Variable]:
        policy = set() if self._layer is None else {id(variable) for variable in self._layer.weights}
        return [variable for variable in model.weights if id(variable) not in policy]

    def on_train_begin(self, logs: Any = None) -> None:
        """Switches the method on."""
        self._averaged, self._epoch = None, 0
        super().on_train_begin(logs)
        if self._layer is not None:
            self._layer.on_draw = self._record_draw

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Adds the weights after the previous epoch to the average, if it is one of the last epochs."""
        super().on_epoch_begin(epoch, logs)
        position = epoch - 1 - self._first_averaged_epoch()
        if self._average is not None and position >= 0:
            self._average.add(self._classifier_weights(self.model), position)
        self._epoch = epoch

    def _first_averaged_epoch(self) -> int:
        return max(int(self.params["epochs"]) - self.average_epochs, 0)

    def on_train_end(self, logs: Any = None) -> None:
        """Completes the average, and switches the method off."""
        position = self._epoch - self._first_averaged_epoch()
        if self._average is not None and position > 0:
            weights = self._classifier_weights(self.model)
            self._averaged = self._average.mean_with(weights, position)
            self._last_weights = copies(weights)
        super().on_train_end(logs)

    def detach(self) -> None:
        """Removes everything that the method added to the model."""
        if self._layer is not None:
            self._layer.on_draw = None
        super().detach()

    def _record_draw(self, mask: Tensor, log_alpha: Tensor, log_beta: Tensor) -> None:
        """Keeps the drawn mask until the loss of the same step is computed."""
        self._draws.mask = mask, log_alpha, log_beta

    def terms(self, batch: Batch) -> dict[str, tuple[Tensor, ...]]:
        """Computes the term that trains the policy, and the three measures."""
        names = output_names(model_without_update(self))
        y_pred = select_output(batch.y_pred, self.output, names, "the predictions")
        labels = select_output(batch.y, self.output, names, "the labels")
        sample_weight = select_output(batch.sample_weight, self.output, names, "the sample weights")
        if len(y_pred.shape) != 2 or y_pred.shape[1] == 1:
            raise ValueError(
                "The model's predictions must have the shape (batch, num_classes) with two classes or more. "
                f"Received: predictions of shape {tuple(y_pred.shape)}"
            )
        mask, log_alpha, log_beta = self._draws.mask
        del self._draws.mask  # A tensor must not be kept after its trace.
        log_prob = beta_log_prob(mask, ops.exp(log_alpha), ops.exp(log_beta))
        _, log_probabilities = self._loss.probabilities(y_pred)
        cost = -self._loss.weight * ops.sum(self._loss.targets(labels, y_pred) * log_probabilities, axis=-1)
        term = self._policy_term(scale_gradient(log_prob, self.policy_learning_rate), cost)
        return {
            "mask_policy": (term, sample_weight),
            "mask_reward": (-cost, sample_weight),
            "mask_entropy": (-ops.mean(log_prob, axis=-1), None),
            "mask_mean": (ops.mean(mask, axis=-1), None),
        }

    def _policy_term(self, log_prob: Tensor, cost: Tensor) -> Tensor:
        log_prob = ops.cast(log_prob, cost.dtype)
        if self.estimator == "paper":
            return official_code_term(log_prob, cost)
        if self.baseline == "none":
            return score_function_term(log_prob, cost)
        return score_function_term(log_prob, cost, ops.cast(self._costs.read_and_update(cost), cost.dtype))

    def strip(self) -> keras.Model:
        """Returns the classifier without the mask and its policy, with the averaged weights, for fine-tuning.

        The result is a new model, compiled as the trained one, with a new optimizer. If the weights have changed since
        the last epoch, for example because `EarlyStopping` has restored the best ones, they are not averaged.

        Raises:
            ValueError: If no `fit` has finished, or the model is subclassed.
        """
        model = model_without_update(self)
        if model is None or self._layer is None:
            raise ValueError("There is nothing to strip before `fit`. Received: a callback that has trained no model")
        weights = self._classifier_weights(model)
        trained = copies(weights)
        if self._averaged is None or not all(map(np.array_equal, trained, self._last_weights)):
            return strip(model)
        try:
            for variable, value in zip(weights, self._averaged, strict=True):
                variable.assign(value)
            return strip(model)
        finally:
            for variable, value in zip(weights, trained, strict=True):
                variable.assign(value)

    def plot_masks(self, images: ArrayLike) -> Any:
        """Plots images, the mean masks of the policy, and the images times random masks.

        Args:
            images: A few images in the form of the model's inputs, shape (number, height, width, channels).

        Raises:
            ValueError: Before the first `fit`, or if the images do not have this shape.
        """
        if self._layer is None:
            raise ValueError("There is no policy to draw before `fit`. Received: a callback that has trained no model")
        return draw_masks(self._layer, images)
