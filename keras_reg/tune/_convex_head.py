"""Softmax and ridge regression on fixed features, with an L2 strength for each group of features, in float64 NumPy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
#: A linear map from directions to arrays of the same shape.
Product = Callable[[Array], Array]


@dataclasses.dataclass(frozen=True)
class Batch:
    """Holds the features and targets of a dataset.

    Attributes:
        features: Array of shape (samples, features + 1) whose last column contains ones.
        targets: Array of shape (samples, outputs).
    """

    features: Array
    targets: Array


class SoftmaxHead:
    """Computes the mean cross-entropy of linear logits and its derivatives."""

    #: A bound on the change of the Hessian for a unit change of the weights, divided by the mean cubed norm of the
    #: features. The third central moment of numbers within a range r is at most r**3 / (6 sqrt 3). Logits along a unit
    #: direction lie in a range of sqrt 2.
    CURVATURE_CHANGE = 2**1.5 / (6 * 3**0.5)

    def value(self, batch: Batch, weights: Array) -> float:
        """Returns the mean loss."""
        logits = batch.features @ weights
        logits = logits - logits.max(1, keepdims=True)
        return float(np.mean(np.log(np.exp(logits).sum(1)) - (logits * batch.targets).sum(1)))

    def gradient(self, batch: Batch, weights: Array) -> Array:
        """Returns the gradient of the loss with respect to the weights."""
        return np.asarray(
            batch.features.T @ (self._probabilities(batch, weights) - batch.targets) / len(batch.features)
        )

    def curvature(self, batch: Batch, weights: Array) -> Product:
        """Returns a function that multiplies a direction by the Hessian of the loss."""
        probabilities = self._probabilities(batch, weights)

        def multiply(direction: Array) -> Array:
            change = probabilities * (batch.features @ direction)
            change = change - probabilities * change.sum(1, keepdims=True)
            return np.asarray(batch.features.T @ change / len(batch.features))

        return multiply

    def largest_curvature(self, batch: Batch) -> float:
        """Returns a bound on the eigenvalues of the Hessian for any weights. Those of a softmax are at most 1/2."""
        return 0.5 * _largest_square(batch.features)

    def curvature_change(self, batch: Batch) -> float:
        """Returns a bound on the change of the Hessian for a unit change of the weights."""
        return float(self.CURVATURE_CHANGE * np.mean(np.linalg.norm(batch.features, axis=1) ** 3))

    @staticmethod
    def _probabilities(batch: Batch, weights: Array) -> Array:
        logits = batch.features @ weights
        exponentials = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(1, keepdims=True))


class RidgeHead:
    """Computes half the mean squared distance of linear outputs, summed over the outputs, and its derivatives."""

    def value(self, batch: Batch, weights: Array) -> float:
        """Returns the mean loss."""
        return float(0.5 * np.mean(((batch.features @ weights - batch.targets) ** 2).sum(1)))

    def gradient(self, batch: Batch, weights: Array) -> Array:
        """Returns the gradient of the loss with respect to the weights."""
        return batch.features.T @ (batch.features @ weights - batch.targets) / len(batch.features)

    def curvature(self, batch: Batch, weights: Array) -> Product:
        """Returns a function that multiplies a direction by the Hessian of the loss."""
        return lambda direction: batch.features.T @ (batch.features @ direction) / len(batch.features)

    def largest_curvature(self, batch: Batch) -> float:
        """Returns the largest eigenvalue of the Hessian."""
        return _largest_square(batch.features)

    def curvature_change(self, batch: Batch) -> float:
        """Returns 0, since the Hessian does not depend on the weights."""
        return 0.0


@dataclasses.dataclass(frozen=True)
class Penalized:
    """Adds an L2 penalty to the loss of a head: the sum over the rows of the weights of strength times squares.

    Attributes:
        head: The head.
        batch: The batch.
        strengths: A strength above 0 for each row of the weights, shape (features + 1, 1).
    """

    head: SoftmaxHead | RidgeHead
    batch: Batch
    strengths: Array

    @property
    def convexity(self) -> float:
        """Returns a lower bound on the eigenvalues of the Hessian."""
        return float(2 * self.strengths.min())

    def value(self, weights: Array) -> float:
        """Returns the objective."""
        return self.head.value(self.batch, weights) + float(np.sum(self.strengths * weights**2))

    def gradient(self, weights: Array) -> Array:
        """Returns the gradient of the objective."""
        return self.head.gradient(self.batch, weights) + 2 * self.strengths * weights

    def curvature(self, weights: Array) -> Product:
        """Returns a function that multiplies a direction by the Hessian of the objective."""
        multiply = self.head.curvature(self.batch, weights)
        return lambda direction: multiply(direction) + 2 * self.strengths * direction

    def solve(self, weights: Array, accuracy: float) -> tuple[Array, float]:
        """Minimizes the objective by Newton steps, which are computed by conjugate gradients.

        Args:
            weights: The initial weights.
            accuracy: The allowed distance of the result from the minimum.

        Returns:
            The weights, and a bound on their distance from the minimum. The bound exceeds `accuracy` only if float64 is
            not precise enough.
        """
        for _ in range(200):
            gradient = self.gradient(weights)
            norm = float(np.linalg.norm(gradient))
            if norm <= accuracy * self.convexity:
                break
            residual = min(0.1, norm) * norm
            step = conjugate_gradients(self.curvature(weights), -gradient, residual)
            before, slope, length = self.value(weights), float(np.sum(step * gradient)), 1.0
            while self.value(weights + length * step) > before + 1e-4 * length * slope and length > 1e-8:
                length *= 0.5
            moved = weights + length * step
            # Close to the minimum, values are equal in float64. Only gradients show progress there.
            if length <= 1e-8 or np.array_equal(moved, weights):
                moved = weights + step
                if np.linalg.norm(self.gradient(moved)) >= norm:
                    break
            weights = moved
        return weights, float(np.linalg.norm(self.gradient(weights))) / self.convexity


def conjugate_gradients(multiply: Product, right: Array, tolerance: float) -> Array:
    """Solves a positive definite linear system.

    Args:
        multiply: A function that multiplies an array by the matrix.
        right: The right-hand side.
        tolerance: The norm of the residual at which the iteration stops.

    Returns:
        The solution.
    """
    solution = np.zeros_like(right)
    residual, direction = right.copy(), right.copy()
    square = float(np.sum(residual**2))
    for _ in range(10 * right.size):
        if square**0.5 <= tolerance:
            break
        image = multiply(direction)
        length = square / float(np.sum(direction * image))
        solution = solution + length * direction
        residual = residual - length * image
        new = float(np.sum(residual**2))
        direction = residual + (new / square) * direction
        square = new
    return solution


def _largest_square(features: Array) -> float:
    """Returns the largest eigenvalue of the mean outer product of the features."""
    return float(np.linalg.norm(features, 2) ** 2 / len(features))
