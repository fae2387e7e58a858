"""Softmax and ridge regression on fixed features, with an L2 strength for each group of features; NumPy, float64."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclasses.dataclass(frozen=True)
class Batch:
    """Features with a last column of ones, shape (samples, features + 1), and targets, shape (samples, outputs)."""

    features: Array
    targets: Array


class SoftmaxHead:
    """The mean cross-entropy of linear logits."""

    #: A bound of the change of the Hessian in the weights, over the mean cubed norm of features: a third central moment
    #: of numbers in a range r is at most r**3 / (6 sqrt 3), and logits along a unit direction lie in a range of sqrt 2.
    CURVATURE_CHANGE = 2**1.5 / (6 * 3**0.5)

    def value(self, batch: Batch, weights: Array) -> float:
        """The mean loss."""
        logits = batch.features @ weights
        logits = logits - logits.max(1, keepdims=True)
        return float(np.mean(np.log(np.exp(logits).sum(1)) - (logits * batch.targets).sum(1)))

    def gradient(self, batch: Batch, weights: Array) -> Array:
        """Its gradient for the weights."""
        return np.asarray(batch.features.T @ (self._shares(batch, weights) - batch.targets) / len(batch.features))

    def curvature(self, batch: Batch, weights: Array) -> Any:
        """The product of its Hessian with a direction, as a function."""
        shares = self._shares(batch, weights)

        def product(direction: Array) -> Array:
            change = shares * (batch.features @ direction)
            change = change - shares * change.sum(1, keepdims=True)
            return np.asarray(batch.features.T @ change / len(batch.features))

        return product

    def largest_curvature(self, batch: Batch) -> float:
        """A bound of the eigenvalues of the Hessian, anywhere: those of a softmax are at most a half."""
        return 0.5 * _largest_square(batch.features)

    def curvature_change(self, batch: Batch) -> float:
        """A bound of the change of the Hessian for a unit change of the weights."""
        return float(self.CURVATURE_CHANGE * np.mean(np.linalg.norm(batch.features, axis=1) ** 3))

    @staticmethod
    def _shares(batch: Batch, weights: Array) -> Array:
        logits = batch.features @ weights
        shares = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(shares / shares.sum(1, keepdims=True))


class RidgeHead:
    """Half the mean squared distance of linear outputs, summed over the outputs."""

    def value(self, batch: Batch, weights: Array) -> float:
        """The mean loss."""
        return float(0.5 * np.mean(((batch.features @ weights - batch.targets) ** 2).sum(1)))

    def gradient(self, batch: Batch, weights: Array) -> Array:
        """Its gradient for the weights."""
        return batch.features.T @ (batch.features @ weights - batch.targets) / len(batch.features)

    def curvature(self, batch: Batch, weights: Array) -> Any:
        """The product of its Hessian with a direction, as a function."""
        return lambda direction: batch.features.T @ (batch.features @ direction) / len(batch.features)

    def largest_curvature(self, batch: Batch) -> float:
        """The largest eigenvalue of the Hessian."""
        return _largest_square(batch.features)

    def curvature_change(self, batch: Batch) -> float:
        """None: the Hessian is the same everywhere."""
        return 0.0


@dataclasses.dataclass(frozen=True)
class Penalized:
    """A head on a batch with L2: sum over the rows of the weights of strength * squares.

    Attributes:
        head: The head.
        batch: The batch.
        strengths: One for each row of the weights, above 0, shape (features + 1, 1).
    """

    head: SoftmaxHead | RidgeHead
    batch: Batch
    strengths: Array

    @property
    def convexity(self) -> float:
        """A bound of the eigenvalues of the Hessian from below."""
        return float(2 * self.strengths.min())

    def value(self, weights: Array) -> float:
        """The objective."""
        return self.head.value(self.batch, weights) + float(np.sum(self.strengths * weights**2))

    def gradient(self, weights: Array) -> Array:
        """Its gradient."""
        return self.head.gradient(self.batch, weights) + 2 * self.strengths * weights

    def curvature(self, weights: Array) -> Any:
        """The product of its Hessian with a direction, as a function."""
        of_loss = self.head.curvature(self.batch, weights)
        return lambda direction: of_loss(direction) + 2 * self.strengths * direction

    def solve(self, weights: Array, accuracy: float) -> tuple[Array, float]:
        """The minimum, by Newton steps with conjugate gradients from given weights.

        Args:
            weights: Where to start.
            accuracy: How far from the minimum the result may be.

        Returns:
            The weights, and a bound of their distance from the minimum. It is above `accuracy` only where float64 can
            tell no better.
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
            # Next to the minimum values are equal to the last digit, and only gradients still tell.
            if length <= 1e-8 or np.array_equal(moved, weights):
                moved = weights + step
                if np.linalg.norm(self.gradient(moved)) >= norm:
                    break
            weights = moved
        return weights, float(np.linalg.norm(self.gradient(weights))) / self.convexity


def conjugate_gradients(product: Any, right: Array, residual: float) -> Array:
    """Solves a positive definite system, until the norm of the residual is at most a number.

    Args:
        product: The matrix times an array.
        right: The right side.
        residual: The norm.

    Returns:
        The solution.
    """
    solution = np.zeros_like(right)
    rest, direction = right.copy(), right.copy()
    square = float(np.sum(rest**2))
    for _ in range(10 * right.size):
        if square**0.5 <= residual:
            break
        image = product(direction)
        length = square / float(np.sum(direction * image))
        solution = solution + length * direction
        rest = rest - length * image
        new = float(np.sum(rest**2))
        direction = rest + (new / square) * direction
        square = new
    return solution


def _largest_square(features: Array) -> float:
    """The largest eigenvalue of the mean outer product of the features."""
    return float(np.linalg.norm(features, 2) ** 2 / len(features))
