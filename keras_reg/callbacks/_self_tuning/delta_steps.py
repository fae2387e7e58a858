"""The steps of Delta-STN (arXiv 2010.13514): the response of the weights of any model, and the gradient through it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.replicas import num_replicas
from keras_reg._keras.sublayers import iter_sublayers
from keras_reg.callbacks._self_tuning.state import Response
from keras_reg.callbacks._self_tuning.steps import TuningSteps, batch_size
from keras_reg.layers import WeightCompander
from keras_reg.ops.noise import along_batch
from keras_reg.ops.weight_response import hyperparameter_gradient, response_gradients
from keras_reg.random._normal import standard_normal
from keras_reg.random._uniform import open_uniform
from keras_reg.training._derivatives import linearize, value_and_gradient
from keras_reg.tune._override import override_values

# Mean of a function of a standard normal number by five of its values, exact for polynomials up to degree nine.
NODES, SHARES = np.polynomial.hermite_e.hermegauss(5)
SHARES = SHARES / SHARES.sum()


class DeltaSteps(TuningSteps):
    """The steps, for one model.

    Args:
        response: The response of its weights.
        *arguments: As of `TuningSteps`.
    """

    def __init__(self, response: Response, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.response = response
        # What the samples of a batch cannot have each for itself is perturbed for all alike, and so is all else.
        self._one_amplitude = any(
            isinstance(layer, WeightCompander) and layer.has_hyperparameters for layer, _ in iter_sublayers(self.model)
        )

    def draw(self) -> Any:
        """One direction, if scales are tuned: otherwise the gradient is that at the present weights."""
        return standard_normal((len(self.numbers.handles),), self.seed) if self.numbers.tune_scale else None

    def response_step(self, data: Any) -> None:
        """Trains the response on the batch: the linearized model at perturbed hyperparameters, one for each sample."""
        numbers, response = self.numbers, self.response
        free = ops.convert_to_tensor(numbers.free)
        sign = ops.where(open_uniform(free.shape, self.seed) < 0.5, -1.0, 1.0)
        direction = ops.softplus(ops.convert_to_tensor(numbers.scales)) * sign
        size = batch_size(data)
        # With one for all samples, its size would be most of the noise: the sign of the direction says enough then.
        amplitude = ops.ones((size,)) if self._one_amplitude else standard_normal((size,), self.seed)
        weights = self.weights()
        shift = response.shift(direction, weights)
        with override_values(numbers.values_at(free + ops.expand_dims(amplitude, 1) * direction)) as names:
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(self.changed(data))
            structure, forward = self.forward(x, training=True)
            outputs, tangents, pullback = linearize(forward, weights, shift)
            along = [along_batch(amplitude, tangent) * tangent for tangent in tangents]
            _, errors = value_and_gradient(
                lambda tensors: self.loss(x, y, tensors, structure[0], sample_weight, training=True),
                [output + change for output, change in zip(outputs, along, strict=True)],
            )
            gradients = pullback([along_batch(amplitude, error) * error for error in errors])
        self.used.update(names)
        of_penalties = self._penalty_gradients(free, direction, weights, shift)
        gradients = [ops.cast(g, "float32") + p for g, p in zip(gradients, of_penalties, strict=True)]
        pairs = [
            response_gradients(ops.reshape(g, _at_least_one_axis(g)), factors, direction, scaling)
            for g, (factors, scaling) in zip(gradients, response.parts(), strict=True)
        ]
        response.apply(*(list(side) for side in zip(*pairs, strict=True)))

    def tuning_gradient(self, uniform: Any, noise: Any = None) -> tuple[Any, Any, Any]:
        """Through the response, by the chain rule at the present weights or at perturbed ones, and without it."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(self.data.batch(uniform))
        weights, free = self.weights(), ops.convert_to_tensor(self.numbers.free)
        if noise is not None:
            change = ops.softplus(ops.convert_to_tensor(self.numbers.scales)) * noise
            shift = self.response.shift(change, weights)
            weights, free = [weight + moved for weight, moved in zip(weights, shift, strict=True)], free + change
        structure, forward = self.forward(x, training=False)

        def of_weights_and_numbers(tensors: list[Any]) -> Any:
            *values, own = tensors
            # Around the model alone: in it some numbers are read in inference too, and penalties do not count.
            with override_values(self.numbers.values_at(own)):
                outputs = forward(values)
            return self.loss(x, y, outputs, structure[0], sample_weight, training=False)

        loss, (*gradients, direct) = value_and_gradient(of_weights_and_numbers, [*weights, free])
        # The loss of Keras has the penalties of the weights in it, which do not depend on the predictions.
        loss = ops.cast(loss * num_replicas() - self.penalty(self.weights()), "float32")
        factors, scalings = zip(*self.response.parts(), strict=True)
        gradients = [ops.cast(ops.reshape(g, _at_least_one_axis(g)), "float32") for g in gradients]
        of_all = hyperparameter_gradient(gradients, list(factors), list(scalings))
        of_all = (of_all + direct) * num_replicas()
        if noise is None:
            return loss, of_all, ops.zeros_like(of_all)
        return loss, of_all, of_all * noise * ops.sigmoid(ops.convert_to_tensor(self.numbers.scales))

    def _penalty_gradients(self, free: Any, direction: Any, weights: list[Any], shift: list[Any]) -> list[Any]:
        """The gradient of the mean penalty for the change of the weights; the mean is over the amplitude, by nodes."""
        total = [ops.zeros(weight.shape, "float32") for weight in weights]
        for node, share in zip(NODES, SHARES, strict=True):
            if abs(node) < 1e-9:  # the gradient is multiplied by it
                continue
            moved = [
                ops.cast(w, "float32") + node * ops.cast(s, "float32") for w, s in zip(weights, shift, strict=True)
            ]
            with override_values(self.numbers.values_at(free + float(node) * direction)) as names:
                _, gradients = value_and_gradient(self.penalty, moved)
            self.used.update(names)
            factor = float(node * share) / num_replicas()
            total = [t + factor * ops.cast(g, "float32") for t, g in zip(total, gradients, strict=True)]
        return total


def _at_least_one_axis(tensor: Any) -> tuple[int, ...]:
    return tuple(tensor.shape) or (1,)
