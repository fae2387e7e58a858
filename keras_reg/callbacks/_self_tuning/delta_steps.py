"""The steps of Delta-STN: the response of the weights of any model, and the gradient through it.

Reference:

- [Bae and Grosse, 2020](https://arxiv.org/abs/2010.13514): Delta-STN: Efficient Bilevel Optimization for Neural
  Networks using Structured Response Jacobians
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.replicas import num_replicas
from keras_reg._keras.sublayers import iter_sublayers
from keras_reg._types import Structure, Tensor
from keras_reg.callbacks._self_tuning.state import Response
from keras_reg.callbacks._self_tuning.steps import TuningSteps, count_samples
from keras_reg.layers import WeightCompander
from keras_reg.ops.noise import along_batch
from keras_reg.ops.weight_response import hyperparameter_gradient, response_gradients
from keras_reg.random._normal import standard_normal
from keras_reg.random._uniform import open_uniform
from keras_reg.training._derivatives import linearize, value_and_gradient
from keras_reg.tune._override import override_values

# Gauss-Hermite quadrature computes the mean of a function of a standard normal number from five values of the function.
# It is exact for polynomials up to degree nine.
NODES, SHARES = np.polynomial.hermite_e.hermegauss(5)
SHARES = SHARES / SHARES.sum()


class DeltaSteps(TuningSteps):
    """Trains the response of a model's weights, and updates hyperparameters with the gradient through this response.

    Args:
        response: The response of the weights.
        *arguments: The arguments of `TuningSteps`.
    """

    def __init__(self, response: Response, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.response = response
        # All samples of a batch share one compander scale. With tuned scales, they share all perturbations.
        self._one_amplitude = any(
            isinstance(layer, WeightCompander) and layer.has_hyperparameters for layer, _ in iter_sublayers(self.model)
        )

    def draw_noise(self) -> Tensor | None:
        """Draws one direction if scales are tuned. Otherwise, the gradient is computed at the current weights."""
        return standard_normal((len(self.tuned.handles),), self.seed) if self.tuned.tune_scale else None

    def train_response(self, data: Structure) -> None:
        """Trains the response on a batch with the linearized model, at perturbed hyperparameters for each sample."""
        tuned, response = self.tuned, self.response
        free = ops.convert_to_tensor(tuned.free)
        sign = ops.where(open_uniform(free.shape, self.seed) < 0.5, -1.0, 1.0)
        direction = ops.softplus(ops.convert_to_tensor(tuned.scales)) * sign
        size = count_samples(data)
        # If all samples share an amplitude, a random amplitude would cause most of the noise. The random sign is
        # enough.
        amplitude = ops.ones((size,)) if self._one_amplitude else standard_normal((size,), self.seed)
        weights = self.read_weights()
        shift = response.compute_shift(direction, weights)
        with override_values(tuned.to_values(free + ops.expand_dims(amplitude, 1) * direction)) as names:
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(self.change_batch(data))
            structure, forward = self.build_forward(x, training=True)
            outputs, tangents, pullback = linearize(forward, weights, shift)
            changes = [along_batch(amplitude, tangent) * tangent for tangent in tangents]
            _, errors = value_and_gradient(
                lambda tensors: self.compute_loss(x, y, tensors, structure[0], sample_weight, training=True),
                [output + change for output, change in zip(outputs, changes, strict=True)],
            )
            gradients = pullback([along_batch(amplitude, error) * error for error in errors])
        self.used.update(names)
        penalty_gradients = self._compute_penalty_gradients(free, direction, weights, shift)
        gradients = [ops.cast(g, "float32") + p for g, p in zip(gradients, penalty_gradients, strict=True)]
        pairs = [
            response_gradients(ops.reshape(g, _at_least_one_axis(g)), factors, direction, scaling)
            for g, (factors, scaling) in zip(gradients, response.read_parts(), strict=True)
        ]
        response.apply(*(list(side) for side in zip(*pairs, strict=True)))

    def compute_tuning_gradient(self, uniform: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Computes the tuning loss and its gradients, through the response by the chain rule and directly.

        The weights and hyperparameters are the current ones, or the perturbed ones if `noise` is given.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(self.data.draw_batch(uniform))
        weights, free = self.read_weights(), ops.convert_to_tensor(self.tuned.free)
        if noise is not None:
            change = ops.softplus(ops.convert_to_tensor(self.tuned.scales)) * noise
            shift = self.response.compute_shift(change, weights)
            weights, free = [weight + moved for weight, moved in zip(weights, shift, strict=True)], free + change
        structure, forward = self.build_forward(x, training=False)

        def compute_loss(tensors: list[Tensor]) -> Tensor:
            *values, own_free = tensors
            # Only the forward pass is inside the context. Some layers read hyperparameters in inference too, and
            # penalties do not belong to the tuning loss.
            with override_values(self.tuned.to_values(own_free)):
                outputs = forward(values)
            return self.compute_loss(x, y, outputs, structure[0], sample_weight, training=False)

        loss, (*gradients, direct) = value_and_gradient(compute_loss, [*weights, free])
        # Keras includes the penalties of the weights in the loss. They do not depend on the predictions.
        loss = ops.cast(loss * num_replicas() - self.compute_penalty(self.read_weights()), "float32")
        factors, scalings = zip(*self.response.read_parts(), strict=True)
        gradients = [ops.cast(ops.reshape(g, _at_least_one_axis(g)), "float32") for g in gradients]
        gradient = hyperparameter_gradient(gradients, list(factors), list(scalings))
        gradient = (gradient + direct) * num_replicas()
        if noise is None:
            return loss, gradient, ops.zeros_like(gradient)
        return loss, gradient, gradient * noise * ops.sigmoid(ops.convert_to_tensor(self.tuned.scales))

    def _compute_penalty_gradients(
        self, free: Tensor, direction: Tensor, weights: list[Tensor], shift: list[Tensor]
    ) -> list[Tensor]:
        """Computes the gradients of the penalty, averaged over the amplitude, for the change of the weights."""
        total = [ops.zeros(weight.shape, "float32") for weight in weights]
        for node, share in zip(NODES, SHARES, strict=True):
            # The gradient is multiplied by the node, so a node of 0 contributes nothing.
            if abs(node) < 1e-9:
                continue
            moved = [
                ops.cast(w, "float32") + node * ops.cast(s, "float32") for w, s in zip(weights, shift, strict=True)
            ]
            with override_values(self.tuned.to_values(free + float(node) * direction)) as names:
                _, gradients = value_and_gradient(self.compute_penalty, moved)
            self.used.update(names)
            factor = float(node * share) / num_replicas()
            total = [t + factor * ops.cast(g, "float32") for t, g in zip(total, gradients, strict=True)]
        return total


def _at_least_one_axis(tensor: Tensor) -> tuple[int, ...]:
    """Returns the shape of a tensor, or (1,) for a scalar."""
    return tuple(tensor.shape) or (1,)
