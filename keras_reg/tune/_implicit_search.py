"""Searches for the strengths of a convex head by gradients with a bound on their error (arXiv 2308.10098)."""

from __future__ import annotations

import dataclasses

import numpy as np

from keras_reg.tune._convex_head import Array, Batch, Penalized, RidgeHead, SoftmaxHead, conjugate_gradients

# These are the authors' numbers. `_SHRINK` and `_GROW` change accuracies, and `_SHORTEN` and `_LENGTHEN` change steps.
# A step must reach the share `_DECREASE` of the predicted decrease.
_SHRINK, _GROW, _DECREASE, _SHORTEN, _LENGTHEN = 0.5, 1.05, 1e-4, 0.9, 10 / 9


@dataclasses.dataclass
class HeadTuningResult:
    """Holds the result of `keras_reg.tune.ImplicitHeadTuning`.

    Attributes:
        strengths: Array of shape (groups,). The L2 strength of each group, which is the factor of the sum of squares as
            in `keras.regularizers.L2`.
        kernel: Array of shape (features, outputs). The solved weights.
        bias: Array of shape (outputs,). The solved biases.
        history: List of dictionaries, one for the start and one for each step. `"tuning_loss"` is the loss,
            `"gradient"` is the norm of its gradient, and `"bound"` bounds the error of the gradient. `"accuracy"`
            bounds the distance of the weights from the exact solution.
    """

    strengths: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray
    history: list[dict[str, float]]

    @property
    def tuning_loss(self) -> float:
        """Returns the tuning loss of the solved weights."""
        return self.history[-1]["tuning_loss"]


@dataclasses.dataclass
class ImplicitSearch:
    """Minimizes the tuning loss of one problem. `theta` is an array of the logarithms of the strengths.

    Attributes:
        head: The head.
        training: The data on which the head is solved.
        tuning: The data of the tuning loss.
        groups: The number of the group of each feature.
        bias_strength: The strength for the biases.
    """

    head: SoftmaxHead | RidgeHead
    training: Batch
    tuning: Batch
    groups: np.ndarray
    bias_strength: float

    def __post_init__(self) -> None:
        self.number = int(self.groups.max()) + 1
        self.largest = self.head.largest_curvature(self.tuning)
        self.change = self.head.curvature_change(self.training)

    def penalize(self, theta: Array) -> Penalized:
        """Returns the lower-level problem, which the head solves for these strengths."""
        strengths = np.append(np.exp(theta)[self.groups], self.bias_strength)[:, None]
        return Penalized(self.head, self.training, strengths)

    def hypergradient(self, theta: Array, weights: Array, error: float, residual: float) -> tuple[Array, float]:
        """Returns the gradient of the tuning loss with respect to theta, and a bound on its error.

        Args:
            theta: The logarithms of the strengths.
            weights: A solution.
            error: A bound on the distance of the weights from the exact solution.
            residual: The norm of the residual with which the linear system is solved.
        """
        lower = self.penalize(theta)
        solved = conjugate_gradients(lower.curvature(weights), self.head.gradient(self.tuning, weights), residual)
        rows: Array = -2 * lower.strengths[:-1, 0] * np.sum(weights[:-1] * solved[:-1], axis=1)
        gradient = np.bincount(self.groups, rows, minlength=self.number).astype("float64")
        # The mixed derivative, of the weights' gradient with respect to theta, is linear in the weights.
        squares = np.bincount(self.groups, np.sum(weights[:-1] ** 2, axis=1), minlength=self.number)
        mixed, mixed_change = float(np.max(2 * np.exp(theta) * squares**0.5)), float(2 * np.exp(theta.max()))
        norm = float(np.linalg.norm(solved)) + residual / lower.convexity
        # `off` bounds the distance to the solution of the linear system at the exact weights. The result bounds the
        # error of its product with the mixed derivative.
        off = ((self.largest + self.change * norm) * error + residual) / lower.convexity
        return gradient, mixed * off + mixed_change * error * (norm + off)

    def run(self, theta: Array, max_steps: int, tolerance: float) -> HeadTuningResult:
        """Takes steps until the gradient is small, or float64 is not precise enough for another step."""
        weights = np.zeros((self.training.features.shape[1], self.training.targets.shape[1]))
        accuracy, residual, length = 0.1, 0.1, 0.0
        history: list[dict[str, float]] = []
        for step in range(max_steps + 1):
            for retry in range(40):
                weights, error = self.penalize(theta).solve(weights, accuracy)
                gradient, bound = self.hypergradient(theta, weights, error, residual)
                norm = float(np.linalg.norm(gradient))
                small, moved = norm + bound <= tolerance, None
                certain = bound <= (1 - _DECREASE) * norm
                if certain and not small and step < max_steps:
                    length = length or 1.0 / float(np.abs(gradient).max())
                    moved = self._step(theta, weights, error, gradient, length, 10 + retry, accuracy)
                if moved is not None or small or (certain and step == max_steps):
                    break
                accuracy, residual = accuracy * _SHRINK, residual * _SHRINK
            loss = self.head.value(self.tuning, weights)
            history.append({"tuning_loss": loss, "gradient": norm, "bound": bound, "accuracy": error})
            if moved is None:
                # The gradient is small, all steps were taken, or float64 is not precise enough.
                break
            theta, weights, _, length = moved
            accuracy, residual = accuracy * _GROW, residual * _GROW
        return HeadTuningResult(np.exp(theta), weights[:-1], weights[-1], history)

    def _step(
        self, theta: Array, weights: Array, error: float, gradient: Array, length: float, tries: int, accuracy: float
    ) -> tuple[Array, Array, float, float] | None:
        """Returns the longest of several steps that is certain to decrease the tuning loss, or `None`."""
        lowest = self._bound_loss(weights, error, -1)
        for index in range(tries):
            shortened = length * _SHORTEN**index
            moved = theta - shortened * gradient
            solved, distance = self.penalize(moved).solve(weights, accuracy)
            decrease = _DECREASE * shortened * float(np.sum(gradient**2))
            if self._bound_loss(solved, distance, 1) - lowest <= -decrease:
                return moved, solved, distance, shortened * _LENGTHEN
        return None

    def _bound_loss(self, weights: Array, error: float, sign: int) -> float:
        """Returns an upper bound (for a sign of 1) or a lower bound (-1) on the tuning loss of the exact weights."""
        slope = float(np.linalg.norm(self.head.gradient(self.tuning, weights)))
        return self.head.value(self.tuning, weights) + sign * (slope * error + self.largest * error**2 / 2)
