"""The policy gradient of noise masks as a callback."""

from __future__ import annotations

import threading
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.callback_model import model_without_update
from keras_reg._registry import export
from keras_reg._validation import check_integer, check_number
from keras_reg.callbacks._adaptive_steps import warn_of_adaptive_steps
from keras_reg.callbacks._mask_plots import draw_masks
from keras_reg.layers.policy_noise_mask import PolicyNoiseMask
from keras_reg.ops.beta import beta_log_prob
from keras_reg.ops.noise_mask import official_code_term, scale_gradient, score_function_term
from keras_reg.surgery._select import iter_sublayers
from keras_reg.surgery.strip import strip
from keras_reg.training._cross_entropy import CompiledCrossEntropy
from keras_reg.training._outputs import output_names, select_output
from keras_reg.training._state import MovingMean, WeightAverage, copies
from keras_reg.training.callback import ObjectiveCallback
from keras_reg.training.terms import Batch

_BASELINE_MOMENTUM = 0.99


@export("callbacks.PolicyGradientNoiseMask", kind="callback", arxiv="2406.14568", year=2024)
class PolicyGradientNoiseMask(ObjectiveCallback):
    """Policy-gradient noise masks: pretrains a classifier behind masks whose policy learns from its cross-entropy.

    The model has one `layers.PolicyNoiseMask`. In each step the policy is trained, by the same optimizer, to make masks
    more probable under which the cross-entropy was low. Afterwards `strip()` gives the plain classifier, to be
    fine-tuned without masks.

    The logs get `mask_policy`, what the callback adds to the loss; `mask_reward`, minus the cross-entropy under masks;
    `mask_entropy`, the differential entropy of a cell as estimated from the masks (0 is uniform noise, less is more
    certain); and `mask_mean`, the mean of the cells. The compiled loss must be categorical cross-entropy, sparse or
    not.

    Args:
        estimator: `"reinforce"`, the score-function estimator: each sample's masks by its own cross-entropy, and the
            classifier has its usual gradient. `"paper"`, the loss of the authors' code: the product of
            mean[log sum_k p_k] and the mean cross-entropy; it multiplies the classifier's gradient by about log(cells).
            On several replicas, each forms its own product.
        baseline: What cross-entropies are compared with in `"reinforce"`: `"moving"`, their moving mean, or `"none"`.
        policy_learning_rate: The learning rate of the policy as a share of the classifier's. It is applied to the
            gradient, so that with adaptive optimizers such as Adam only 1 means anything.
        average_epochs: Over how many last epochs of `fit` `strip()` averages the weights; 1 for no average.
        output: The name of the output to work on, for a model with several.
        save_memory: Whether checkpoints that are written during `fit` hold the moving mean and the average.

    Raises:
        ValueError: If an argument is out of its range, or, at the start of `fit`, if the model does not fit.

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
    classifier.fit(images, labels)
    ```

    Source: Mehmet Can Yavuz, Yang Yang, Policy Gradient-Driven Noise Mask, arXiv 2406.14568, 2024, and the authors'
    code; `"reinforce"` is the textbook's estimator in place of their product.
    """

    def __init__(
        self,
        estimator: str = "reinforce",
        baseline: str = "moving",
        policy_learning_rate: float = 0.1,
        average_epochs: int = 3,
        *,
        output: str | None = None,
        save_memory: bool = True,
    ) -> None:
        super().__init__(save_memory)
        if estimator not in ("reinforce", "paper"):
            raise ValueError(f"`estimator` must be 'reinforce' or 'paper'. Received: estimator={estimator!r}")
        if baseline not in ("moving", "none"):
            raise ValueError(f"`baseline` must be 'moving' or 'none'. Received: baseline={baseline!r}")
        self.estimator, self.baseline, self.output = estimator, baseline, output
        self.policy_learning_rate = check_number("policy_learning_rate", policy_learning_rate)
        self.average_epochs = check_integer("average_epochs", average_epochs)
        self.term_names = ("mask_policy",)
        self.diagnostic_names = ("mask_reward", "mask_entropy", "mask_mean")
        self._layer: PolicyNoiseMask | None = None
        self._averaged: list[np.ndarray] | None = None
        self._at_end: list[np.ndarray] = []
        # The replicas of a strategy are traced by a thread each.
        self._drawn = threading.local()

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("estimator", "baseline", "policy_learning_rate", "average_epochs", "output", "save_memory")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PolicyGradientNoiseMask:
        """Builds a callback from the arguments that `get_config` gave."""
        return cls(**config)

    def check_model(self, model: keras.Model) -> None:
        """Finds the mask layer, and settles how the compiled loss sees predictions and labels."""
        layers = {id(layer): layer for layer, _ in iter_sublayers(model) if isinstance(layer, PolicyNoiseMask)}
        if len(layers) != 1:
            raise ValueError(
                "The model must have one keras_reg.layers.PolicyNoiseMask, which the callback trains. "
                f"Received: a model with {len(layers)} of them"
            )
        self._loss = CompiledCrossEntropy(model, self.output)
        (self._layer,) = layers.values()
        warn_of_adaptive_steps(model.optimizer, self.policy_learning_rate)

    def create_state(self, model: keras.Model) -> list[keras.metrics.Metric]:
        """The moving mean of the cross-entropy, and the average of the classifier's weights."""
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
            self._layer.on_draw = self._note

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Takes the weights that the previous epoch has left into the average, if it is one of the last."""
        super().on_epoch_begin(epoch, logs)
        already = epoch - 1 - self._first_averaged()
        if self._average is not None and already >= 0:
            self._average.add(self._classifier_weights(self.model), already)
        self._epoch = epoch

    def _first_averaged(self) -> int:
        return max(int(self.params["epochs"]) - self.average_epochs, 0)

    def on_train_end(self, logs: Any = None) -> None:
        """Closes the average, and switches the method off."""
        already = self._epoch - self._first_averaged()
        if self._average is not None and already > 0:
            weights = self._classifier_weights(self.model)
            self._averaged = self._average.with_present(weights, already)
            self._at_end = copies(weights)
        super().on_train_end(logs)

    def detach(self) -> None:
        """Takes everything off the model that the method put on it."""
        if self._layer is not None:
            self._layer.on_draw = None
        super().detach()

    def _note(self, mask: Any, log_alpha: Any, log_beta: Any) -> None:
        """Keeps what the layer has drawn until the loss of the same step is computed."""
        self._drawn.mask = mask, log_alpha, log_beta

    def terms(self, batch: Batch) -> dict[str, tuple[Any, Any]]:
        """The term that trains the policy, and what the logs show."""
        names = output_names(model_without_update(self))
        y_pred = select_output(batch.y_pred, self.output, names, "the predictions")
        labels = select_output(batch.y, self.output, names, "the labels")
        sample_weight = select_output(batch.sample_weight, self.output, names, "the sample weights")
        if len(y_pred.shape) != 2 or y_pred.shape[1] == 1:
            raise ValueError(
                "The model's predictions must have the shape (batch, num_classes) with two classes or more. "
                f"Received: predictions of shape {tuple(y_pred.shape)}"
            )
        mask, log_alpha, log_beta = self._drawn.mask
        del self._drawn.mask  # no tensor of a trace outlives it
        log_prob = beta_log_prob(mask, ops.exp(log_alpha), ops.exp(log_beta))
        _, log_probabilities = self._loss.probabilities(y_pred)
        cost = -self._loss.weight * ops.sum(self._loss.targets(labels, y_pred) * log_probabilities, axis=-1)
        term = self._term(scale_gradient(log_prob, self.policy_learning_rate), cost)
        return {
            "mask_policy": (term, sample_weight),
            "mask_reward": (-cost, sample_weight),
            "mask_entropy": (-ops.mean(log_prob, axis=-1), None),
            "mask_mean": (ops.mean(mask, axis=-1), None),
        }

    def _term(self, log_prob: Any, cost: Any) -> Any:
        log_prob = ops.cast(log_prob, cost.dtype)
        if self.estimator == "paper":
            return official_code_term(log_prob, cost)
        if self.baseline == "none":
            return score_function_term(log_prob, cost)
        return score_function_term(log_prob, cost, ops.cast(self._costs.read_and_update(cost), cost.dtype))

    def strip(self) -> keras.Model:
        """The classifier without the mask and its policy, with the averaged weights, for fine-tuning.

        If the weights are others than after the last epoch, since `EarlyStopping` has restored the best ones or others
        were loaded, they are taken as they are.

        Returns:
            A new model, compiled as the trained one, with a new optimizer.

        Raises:
            ValueError: If there was no `fit` that came to its end, or the model is subclassed.
        """
        model = model_without_update(self)
        if model is None or self._layer is None:
            raise ValueError("There is nothing to strip before `fit`. Received: a callback that has trained no model")
        weights = self._classifier_weights(model)
        trained = copies(weights)
        if self._averaged is None or not all(map(np.array_equal, trained, self._at_end)):
            return strip(model)
        try:
            for variable, value in zip(weights, self._averaged, strict=True):
                variable.assign(value)
            return strip(model)
        finally:
            for variable, value in zip(weights, trained, strict=True):
                variable.assign(value)

    def plot_masks(self, images: Any) -> Any:
        """Draws some images, the mean of the masks that the policy has for them, and a drawn mask over each.

        Args:
            images: A few images as the model gets them, shape (number, height, width, channels).

        Returns:
            A `matplotlib.figure.Figure`; save it with `figure.savefig`.

        Raises:
            ValueError: Before the first `fit`, or if these are no images.
        """
        if self._layer is None:
            raise ValueError("There is no policy to draw before `fit`. Received: a callback that has trained no model")
        return draw_masks(self._layer, images)
