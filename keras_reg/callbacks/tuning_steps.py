"""The two steps of Delta-STN beside an ordinary training step: of the response, and of the hyperparameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_reg.callbacks.tuning_state import Response, TunedNumbers, TuningData
from keras_reg.ops.hyperparameters import perturbation_entropy
from keras_reg.ops.noise import along_batch
from keras_reg.ops.weight_response import hyperparameter_gradient, response_gradients
from keras_reg.random.normal import standard_normal
from keras_reg.random.uniform import open_uniform
from keras_reg.replicas import mean_over_replicas, num_replicas
from keras_reg.training.derivatives import linearize, value_and_gradient
from keras_reg.training.links import link
from keras_reg.training.objective import has_training_argument
from keras_reg.training.outputs import output_names
from keras_reg.tune.reading import read_as

# Mean of a function of a standard normal number by five of its values, exact for polynomials up to degree nine.
NODES, SHARES = np.polynomial.hermite_e.hermegauss(5)
SHARES = SHARES / SHARES.sum()


class TuningSteps:
    """The steps, for one model; made in each `fit`.

    Args:
        model: The compiled, built model.
        response: The response of its weights.
        numbers: Its hyperparameters.
        data: The tuning data.
        seed: A seed generator.
        entropy_weight: The weight of the entropy of the perturbation, where its scale is tuned.
    """

    def __init__(
        self,
        model: keras.Model,
        response: Response,
        numbers: TunedNumbers,
        data: TuningData,
        seed: Any,
        entropy_weight: float,
    ) -> None:
        self.model, self.response, self.numbers, self.data = model, response, numbers, data
        self.seed, self.entropy_weight = seed, entropy_weight
        self.shapes = [tuple(variable.shape) for variable in model.trainable_variables]
        #: The names of the hyperparameters that the model has read so far.
        self.used: set[str] = set()

    def response_step(self, data: Any) -> None:
        """Trains the response on the batch: the linearized model at perturbed hyperparameters, one for each sample."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        numbers, response = self.numbers, self.response
        free = ops.convert_to_tensor(numbers.free)
        sign = ops.where(open_uniform(free.shape, self.seed) < 0.5, -1.0, 1.0)
        direction = ops.softplus(ops.convert_to_tensor(numbers.scales)) * sign
        size = ops.shape(next(leaf for leaf in tree.flatten(x) if leaf is not None))[0]
        amplitude = standard_normal((size,), self.seed)
        weights = self._weights()
        shift = response.shift(direction, weights)
        with read_as(numbers.read_as(free + ops.expand_dims(amplitude, 1) * direction)) as names:
            structure, forward = self._forward(x, training=True)
            outputs, tangents, pullback = linearize(forward, weights, shift)
            along = [along_batch(amplitude, tangent) * tangent for tangent in tangents]
            _, errors = value_and_gradient(
                lambda tensors: self._loss(x, y, tensors, structure[0], sample_weight, training=True),
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

    def hyperparameter_step(self, due: Any) -> None:
        """Moves the hyperparameters down the gradient of the loss on tuning data, where it is due."""
        numbers = self.numbers
        number = len(numbers.handles)
        # Drawn outside of the branch: the state of a seed changes in every step or in none.
        uniform = open_uniform((self.data.batch_size,), self.seed)
        noise = standard_normal((number,), self.seed) if numbers.tune_scale else None
        zeros = ops.zeros((number,), "float32")
        loss, gradient = ops.cond(
            due, lambda: self.tuning_gradient(uniform, noise), lambda: (ops.zeros((), "float32"), zeros)
        )
        of_scales = zeros
        if noise is not None:
            of_scales = mean_over_replicas(gradient * noise) - self.entropy_weight * self._entropy_gradient()
            of_scales = of_scales * ops.sigmoid(ops.convert_to_tensor(numbers.scales))
        # Every replica moves by the mean over what all of them have drawn.
        numbers.update(due, mean_over_replicas(gradient), of_scales, mean_over_replicas(loss))

    def tuning_gradient(self, uniform: Any, noise: Any = None) -> tuple[Any, Any]:
        """The loss on tuning data and its gradient for the free numbers of the hyperparameters.

        Args:
            uniform: Numbers that draw the batch, shape (batch_size,).
            noise: Standard normal numbers that perturb the hyperparameters, or `None`.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(self.data.batch(uniform))
        weights = self._weights()
        if noise is not None:
            scales = ops.softplus(ops.convert_to_tensor(self.numbers.scales))
            shift = self.response.shift(scales * noise, weights)
            weights = [weight + change for weight, change in zip(weights, shift, strict=True)]
        structure, forward = self._forward(x, training=False)
        loss, gradients = value_and_gradient(
            lambda values: self._loss(x, y, forward(values), structure[0], sample_weight, training=False), weights
        )
        # The loss of Keras has the penalties of the weights in it, which do not depend on the predictions.
        loss = ops.cast(loss * num_replicas() - self._penalty(self._weights()), "float32")
        factors, scalings = zip(*self.response.parts(), strict=True)
        gradients = [ops.cast(ops.reshape(g, _at_least_one_axis(g)), "float32") for g in gradients]
        of_all = hyperparameter_gradient(gradients, list(factors), list(scalings))
        return loss, of_all * num_replicas()

    def _entropy_gradient(self) -> Any:
        _, (gradient,) = value_and_gradient(
            lambda scales: perturbation_entropy(scales[0]), [ops.softplus(ops.convert_to_tensor(self.numbers.scales))]
        )
        return gradient

    def _penalty_gradients(self, free: Any, direction: Any, weights: list[Any], shift: list[Any]) -> list[Any]:
        """The gradient of the mean penalty for the change of the weights; the mean is over the amplitude, by nodes."""
        total = [ops.zeros(weight.shape, "float32") for weight in weights]
        for node, share in zip(NODES, SHARES, strict=True):
            if abs(node) < 1e-9:  # the gradient is multiplied by it
                continue
            moved = [
                ops.cast(w, "float32") + node * ops.cast(s, "float32") for w, s in zip(weights, shift, strict=True)
            ]
            with read_as(self.numbers.read_as(free + float(node) * direction)) as names:
                _, gradients = value_and_gradient(self._penalty, moved)
            self.used.update(names)
            factor = float(node * share) / num_replicas()
            total = [t + factor * ops.cast(g, "float32") for t, g in zip(total, gradients, strict=True)]
        return total

    def _penalty(self, values: list[Any]) -> Any:
        """All regularizers of weights together."""
        total = ops.zeros((), "float32")
        for variable, value in zip(self.model.trainable_variables, values, strict=True):
            if variable.regularizer is not None:
                total = total + ops.cast(variable.regularizer(value), "float32")
        return total

    def _weights(self) -> list[Any]:
        return [ops.convert_to_tensor(variable) for variable in self.model.trainable_variables]

    def _forward(self, x: Any, training: bool) -> tuple[list[Any], Callable[[list[Any]], list[Any]]]:
        """The model as a function of its weights to its linear outputs; and where the structure of these will be."""
        model, structure = self.model, [None]
        others = [ops.convert_to_tensor(variable) for variable in model.non_trainable_variables]
        arguments = {"training": training} if has_training_argument(model.call) else {}

        def forward(values: list[Any]) -> list[Any]:
            # What layers add to losses and their moving statistics end here: the training step has done both.
            outputs, _, _ = model.stateless_call(values, others, x, return_losses=True, **arguments)
            structure[0] = outputs
            pairs = zip(tree.flatten(outputs), self._links(outputs), strict=True)
            return [to(ops.cast(leaf, "float32")) for leaf, (to, _) in pairs]

        return structure, forward

    def _loss(self, x: Any, y: Any, tensors: list[Any], structure: Any, weight: Any, training: bool) -> Any:
        model = self.model
        predictions = [back(tensor) for tensor, (_, back) in zip(tensors, self._links(structure), strict=True)]
        loss, _ = model.stateless_compute_loss(
            self._weights(),
            [ops.convert_to_tensor(variable) for variable in model.non_trainable_variables],
            [ops.convert_to_tensor(variable) for variable in model.metrics_variables],
            x=x,
            y=y,
            y_pred=tree.pack_sequence_as(structure, predictions),
            sample_weight=weight,
            training=training,
        )
        return ops.cast(loss, "float32")

    def _links(self, outputs: Any) -> list[Any]:
        """For each output, in the order of `tree.flatten`, the functions to its linear space and back."""
        if isinstance(outputs, dict):
            return [link(self.model, name) for name in tree.flatten({name: name for name in outputs})]
        names = output_names(self.model)
        return [link(self.model, name) for name in names] if len(names) > 1 else [link(self.model)]


def _at_least_one_axis(tensor: Any) -> tuple[int, ...]:
    return tuple(tensor.shape) or (1,)
