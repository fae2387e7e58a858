"""The search for the strengths of a convex head, by gradients with a bound of their error (arXiv 2308.10098)."""

from __future__ import annotations

import dataclasses

import numpy as np

from keras_reg.tune._convex_head import Array, Batch, Penalized, RidgeHead, SoftmaxHead, conjugate_gradients

# How accuracies shrink and grow, the decrease that a step must bring, how steps shrink and grow: the authors' numbers.
_SHRINK, _GROW, _SHARE, _BACK, _LONGER = 0.5, 1.05, 1e-4, 0.9, 10 / 9


@dataclasses.dataclass
class HeadTuningResult:
    """What `ImplicitHeadTuning` found.

    Attributes:
        strengths: The L2 strength of each group: it stands before the sum of squares, as in `keras.regularizers.L2`.
        kernel: The solved weights, shape (features, outputs).
        bias: The solved biases, shape (outputs,).
        history: For the start and after each step, the tuning loss, the norm of its gradient, the bound of the error
            of that gradient, and a bound of the distance of the weights from the exact solution.
    """

    strengths: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray
    history: list[dict[str, float]]

    @property
    def tuning_loss(self) -> float:
        """Of the solved weights."""
        return self.history[-1]["tuning_loss"]


@dataclasses.dataclass
class ImplicitSearch:
    """The method, for one problem. `theta` are the logarithms of the strengths."""

    head: SoftmaxHead | RidgeHead
    training: Batch
    tuning: Batch
    groups: np.ndarray
    bias_strength: float

    def __post_init__(self) -> None:
        self.number = int(self.groups.max()) + 1
        self.largest = self.head.largest_curvature(self.tuning)
        self.change = self.head.curvature_change(self.training)

    def lower(self, theta: Array) -> Penalized:
        """The problem that the head solves."""
        strengths = np.append(np.exp(theta)[self.groups], self.bias_strength)[:, None]
        return Penalized(self.head, self.training, strengths)

    def hypergradient(self, theta: Array, weights: Array, error: float, residual: float) -> tuple[Array, float]:
        """The gradient of the tuning loss for theta, and a bound of its error.

        Args:
            theta: The logarithms of the strengths.
            weights: A solution.
            error: A bound of its distance from the exact one.
            residual: How accurately the linear system is solved.
        """
        lower = self.lower(theta)
        solved = conjugate_gradients(lower.curvature(weights), self.head.gradient(self.tuning, weights), residual)
        rows: Array = -2 * lower.strengths[:-1, 0] * np.sum(weights[:-1] * solved[:-1], axis=1)
        gradient = np.bincount(self.groups, rows, minlength=self.number).astype("float64")
        # How the weights' gradient changes with theta: linear in the weights.
        squares = np.bincount(self.groups, np.sum(weights[:-1] ** 2, axis=1), minlength=self.number)
        mixed, mixed_change = float(np.max(2 * np.exp(theta) * squares**0.5)), float(2 * np.exp(theta.max()))
        norm = float(np.linalg.norm(solved)) + residual / lower.convexity
        # The solution of the linear system at the exact weights, and then its product with the mixed derivative there.
        off = ((self.largest + self.change * norm) * error + residual) / lower.convexity
        return gradient, mixed * off + mixed_change * error * (norm + off)

    def run(self, theta: Array, max_steps: int, tolerance: float) -> HeadTuningResult:
        """Steps until nothing is left to gain."""
        weights = np.zeros((self.training.features.shape[1], self.training.targets.shape[1]))
        accuracy, residual, length = 0.1, 0.1, 0.0
        history: list[dict[str, float]] = []
        for step in range(max_steps + 1):
            for retry in range(40):
                weights, error = self.lower(theta).solve(weights, accuracy)
                gradient, bound = self.hypergradient(theta, weights, error, residual)
                norm = float(np.linalg.norm(gradient))
                small, found = norm + bound <= tolerance, None
                certain = bound <= (1 - _SHARE) * norm
                if certain and not small and step < max_steps:
                    length = length or 1.0 / float(np.abs(gradient).max())
                    found = self._step(theta, weights, error, gradient, length, 10 + retry, accuracy)
                if found is not None or small or (certain and step == max_steps):
                    break
                accuracy, residual = accuracy * _SHRINK, residual * _SHRINK
            loss = self.head.value(self.tuning, weights)
            history.append({"tuning_loss": loss, "gradient": norm, "bound": bound, "accuracy": error})
            if found is None:  # small enough, out of steps, or as far as float64 can tell
                break
            theta, weights, _, length = found
            accuracy, residual = accuracy * _GROW, residual * _GROW
        return HeadTuningResult(np.exp(theta), weights[:-1], weights[-1], history)

    def _step(
        self, theta: Array, weights: Array, error: float, gradient: Array, length: float, tries: int, accuracy: float
    ) -> tuple[Array, Array, float, float] | None:
        """The first of ever shorter steps that certainly brings less tuning loss."""
        highest = self._at_most(weights, error, -1)
        for index in range(tries):
            now = length * _BACK**index
            moved = theta - now * gradient
            solved, distance = self.lower(moved).solve(weights, accuracy)
            if self._at_most(solved, distance, 1) - highest <= -_SHARE * now * float(np.sum(gradient**2)):
                return moved, solved, distance, now * _LONGER
        return None

    def _at_most(self, weights: Array, error: float, sign: int) -> float:
        """The most, with a sign of 1, or the least that the tuning loss of the exact weights can be."""
        slope = float(np.linalg.norm(self.head.gradient(self.tuning, weights)))
        return self.head.value(self.tuning, weights) + sign * (slope * error + self.largest * error**2 / 2)
