"""The base class of the steps that update tuned hyperparameters alongside an ordinary training step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import keras
from keras import ops, tree

from keras_reg._keras.replicas import mean_over_replicas
from keras_reg._keras.sublayers import iter_sublayers
from keras_reg._keras.trainer import has_training_argument
from keras_reg._types import Structure, Tensor
from keras_reg.callbacks._self_tuning.state import HyperparameterState, TuningData
from keras_reg.layers._kernels import CONVOLUTIONS, DEPTHWISE, SEPARABLE, TRANSPOSED
from keras_reg.layers.hyper_conv import HyperConv2D
from keras_reg.ops.hyperparameters import perturbation_entropy
from keras_reg.random._uniform import open_uniform
from keras_reg.training._derivatives import value_and_gradient
from keras_reg.training._objective import Objective
from keras_reg.training._output_maps import logit_map
from keras_reg.training._outputs import output_names


class TuningSteps:
    """Updates the hyperparameters of one model. It is created in the first `fit`.

    Args:
        model: The compiled, built model.
        tuned: The state of its hyperparameters.
        data: The tuning data.
        seed: A seed generator.
        entropy_weight: The weight of the entropy of the perturbation, if its scale is tuned.

    Attributes:
        used: The names of the hyperparameters that the model has read so far.
    """

    def __init__(
        self,
        model: keras.Model,
        tuned: HyperparameterState,
        data: TuningData,
        seed: keras.random.SeedGenerator,
        entropy_weight: float,
    ) -> None:
        self.model, self.tuned, self.data = model, tuned, data
        self.seed, self.entropy_weight = seed, entropy_weight
        self.shapes = [tuple(variable.shape) for variable in model.trainable_variables]
        self.used: set[str] = set()

    def around_step(self, data: Structure) -> contextlib.AbstractContextManager[Any]:
        """Returns a context manager that is active while the model's own training step is traced."""
        return contextlib.nullcontext()

    def train_response(self, data: Structure) -> None:
        """Trains the response to hyperparameters on the batch, after the model's own step."""

    def change_batch(self, data: Structure) -> Structure:
        """Returns the batch as the mixing callbacks change it, at the overridden values of hyperparameters."""
        return Objective.get_or_create(self.model).change_batch(data)

    def draw_noise(self) -> Tensor | None:
        """Draws the noise of one hyperparameter step, or returns `None` if the step does not perturb them."""
        raise NotImplementedError

    def compute_tuning_gradient(self, uniform: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Computes the tuning loss and its gradients with respect to the unconstrained values and their scales.

        Args:
            uniform: Uniform random numbers that select the batch, shape (batch_size,).
            noise: The result of `draw_noise`.
        """
        raise NotImplementedError

    def move_hyperparameters(self, due: Tensor) -> None:
        """Moves the hyperparameters down the gradient of the loss on tuning data.

        Args:
            due: A boolean scalar. If it is False, the hyperparameters stay.
        """
        tuned = self.tuned
        # The numbers are drawn outside the branch, because a seed must change its state in every step or in none.
        uniform, noise = open_uniform((self.data.batch_size,), self.seed), self.draw_noise()
        zero, zeros = ops.zeros((), "float32"), ops.zeros((len(tuned.handles),), "float32")
        try:
            if has_slow_branches(self.model):
                # The gradient is computed in every step, and `update` ignores it if no step is due.
                results = self.compute_tuning_gradient(uniform, noise)
            else:
                results = ops.cond(
                    due, lambda: self.compute_tuning_gradient(uniform, noise), lambda: (zero, zeros, zeros)
                )
        except (ValueError, TypeError) as error:
            shapes = [tuple(variable.shape) for variable in self.data.arrays.values]
            raise ValueError(
                f"The model's loss on `tuning_data` cannot be computed. Received: arrays of {shapes}. {error}"
            ) from error
        # Each replica draws its own batch, and all replicas use the mean of their gradients.
        loss, gradient, scale_gradient = (mean_over_replicas(tensor) for tensor in results)
        if tuned.tune_scale:
            scale_gradient = scale_gradient - self.entropy_weight * self._compute_entropy_gradient()
        tuned.update(due, gradient, scale_gradient, loss)

    def _compute_entropy_gradient(self) -> Tensor:
        _, (gradient,) = value_and_gradient(
            lambda scales: perturbation_entropy(ops.softplus(scales[0])), [ops.convert_to_tensor(self.tuned.scales)]
        )
        return gradient

    def compute_penalty(self, values: list[Tensor]) -> Tensor:
        """Computes the sum of all weight regularizers at other values of the weights."""
        total = ops.zeros((), "float32")
        for variable, value in zip(self.model.trainable_variables, values, strict=True):
            if variable.regularizer is not None:
                total = total + ops.cast(variable.regularizer(value), "float32")
        return total

    def read_weights(self) -> list[Tensor]:
        """Returns the current weights."""
        return [ops.convert_to_tensor(variable) for variable in self.model.trainable_variables]

    def build_forward(
        self, x: Structure, training: bool
    ) -> tuple[list[Structure], Callable[[list[Tensor]], list[Tensor]]]:
        """Returns the model as a function that maps its weights to its linear outputs.

        Returns:
            A list whose only entry is the structure of the outputs once the function was called, and the function.
        """
        model, structure = self.model, [None]
        others = [ops.convert_to_tensor(variable) for variable in model.non_trainable_variables]
        arguments = {"training": training} if has_training_argument(model.call) else {}

        def forward(values: list[Tensor]) -> list[Tensor]:
            # Losses and moving statistics of layers are dropped, because the training step has already computed both.
            outputs, _, _ = model.stateless_call(values, others, x, return_losses=True, **arguments)
            structure[0] = outputs
            pairs = zip(tree.flatten(outputs), self._find_logit_maps(outputs), strict=True)
            return [to_logits(ops.cast(leaf, "float32")) for leaf, (to_logits, _) in pairs]

        return structure, forward

    def compute_loss(
        self, x: Structure, y: Structure, tensors: list[Tensor], structure: Structure, weight: Structure, training: bool
    ) -> Tensor:
        """Computes the model's loss from linear outputs. On a replica, it is the replica's share of the loss."""
        model = self.model
        maps = self._find_logit_maps(structure)
        predictions = [from_logits(tensor) for tensor, (_, from_logits) in zip(tensors, maps, strict=True)]
        loss, _ = model.stateless_compute_loss(
            self.read_weights(),
            [ops.convert_to_tensor(variable) for variable in model.non_trainable_variables],
            [ops.convert_to_tensor(variable) for variable in model.metrics_variables],
            x=x,
            y=y,
            y_pred=tree.pack_sequence_as(structure, predictions),
            sample_weight=weight,
            training=training,
        )
        return ops.cast(loss, "float32")

    def _find_logit_maps(self, outputs: Structure) -> list[Any]:
        """Returns the functions to the linear space and back for each output, in the order of `tree.flatten`."""
        if isinstance(outputs, dict):
            return [logit_map(self.model, name) for name in tree.flatten({name: name for name in outputs})]
        names = output_names(self.model)
        return [logit_map(self.model, name) for name in names] if len(names) > 1 else [logit_map(self.model)]


def count_samples(data: Structure) -> Any:
    """Returns the number of samples of a batch in the form that `train_step` receives."""
    x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    return ops.shape(next(leaf for leaf in tree.flatten(x) if leaf is not None))[0]


def has_slow_branches(model: keras.Model) -> bool:
    """Returns True if gradients of a model's convolutions take ten times as long in a branch of its compiled step.

    This is the case with XLA on CPUs. `keras_reg.training._convolutions` corrects it on JAX. On TensorFlow, the order
    of the axes of such gradients cannot be chosen.

    Args:
        model: The compiled model.

    Returns:
        True if TensorFlow compiles the step with XLA for CPUs, and the model has convolutional layers.
    """
    if keras.backend.backend() != "tensorflow" or not model.jit_compile:
        return False
    import tensorflow as tf

    convolutional = (*CONVOLUTIONS, *DEPTHWISE, *SEPARABLE, *TRANSPOSED, HyperConv2D)
    processors = all(device.device_type == "CPU" for device in tf.config.list_logical_devices())
    return processors and any(isinstance(layer, convolutional) for layer, _ in iter_sublayers(model))
