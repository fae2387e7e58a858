"""The step of tuned hyperparameters beside an ordinary training step: what Delta-STN and STN have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import keras
from keras import ops, tree

from keras_reg._keras.replicas import mean_over_replicas
from keras_reg._keras.sublayers import iter_sublayers
from keras_reg.callbacks._self_tuning.state import HyperparameterState, TuningData
from keras_reg.layers._kernels import CONVOLUTIONS, DEPTHWISE, SEPARABLE, TRANSPOSED
from keras_reg.layers.hyper_conv import HyperConv2D
from keras_reg.ops.hyperparameters import perturbation_entropy
from keras_reg.random._uniform import open_uniform
from keras_reg.training._derivatives import value_and_gradient
from keras_reg.training._objective import Objective, has_training_argument
from keras_reg.training._output_maps import logit_map
from keras_reg.training._outputs import output_names


class TuningSteps:
    """Base of the steps, for one model; made at the first `fit`.

    Args:
        model: The compiled, built model.
        numbers: Its hyperparameters.
        data: The tuning data.
        seed: A seed generator.
        entropy_weight: The weight of the entropy of the perturbation, where its scale is tuned.
    """

    def __init__(
        self, model: keras.Model, numbers: HyperparameterState, data: TuningData, seed: Any, entropy_weight: float
    ) -> None:
        self.model, self.numbers, self.data = model, numbers, data
        self.seed, self.entropy_weight = seed, entropy_weight
        self.shapes = [tuple(variable.shape) for variable in model.trainable_variables]
        #: The names of the hyperparameters that the model has read so far.
        self.used: set[str] = set()

    def around_step(self, data: Any) -> contextlib.AbstractContextManager[Any]:
        """In what the model's own training step is traced."""
        return contextlib.nullcontext()

    def response_step(self, data: Any) -> None:
        """Trains what answers to hyperparameters on the batch, after the model's own step."""

    def changed(self, data: Any) -> Any:
        """The batch as callbacks that mix it give it to the model, at what hyperparameters are now read as."""
        return Objective.get_or_create(self.model).change_batch(data)

    def draw(self) -> Any:
        """The noise of one step of the hyperparameters, or `None` where they are not perturbed in it."""
        raise NotImplementedError

    def tuning_gradient(self, uniform: Any, noise: Any = None) -> tuple[Any, Any, Any]:
        """The loss on tuning data and its gradients for the free numbers and for those of their scales.

        Args:
            uniform: Numbers that draw the batch, shape (batch_size,).
            noise: What `draw` gives.
        """
        raise NotImplementedError

    def hyperparameter_step(self, due: Any) -> None:
        """Moves the hyperparameters down the gradient of the loss on tuning data, where it is due."""
        numbers = self.numbers
        # Drawn outside of the branch: the state of a seed changes in every step or in none.
        uniform, noise = open_uniform((self.data.batch_size,), self.seed), self.draw()
        zero, zeros = ops.zeros((), "float32"), ops.zeros((len(numbers.handles),), "float32")
        try:
            if branches_are_slow(self.model):
                found = self.tuning_gradient(uniform, noise)  # in every step; `update` takes it where it is due
            else:
                found = ops.cond(due, lambda: self.tuning_gradient(uniform, noise), lambda: (zero, zeros, zeros))
        except (ValueError, TypeError) as error:
            shapes = [tuple(variable.shape) for variable in self.data.arrays.values]
            raise ValueError(
                f"The model's loss on `tuning_data` cannot be computed. Received: arrays of {shapes}. {error}"
            ) from error
        # Every replica moves by the mean over what all of them have drawn.
        loss, gradient, of_scales = (mean_over_replicas(tensor) for tensor in found)
        if numbers.tune_scale:
            of_scales = of_scales - self.entropy_weight * self._entropy_gradient()
        numbers.update(due, gradient, of_scales, loss)

    def _entropy_gradient(self) -> Any:
        _, (gradient,) = value_and_gradient(
            lambda scales: perturbation_entropy(ops.softplus(scales[0])), [ops.convert_to_tensor(self.numbers.scales)]
        )
        return gradient

    def penalty(self, values: list[Any]) -> Any:
        """All regularizers of weights together, at other values of these."""
        total = ops.zeros((), "float32")
        for variable, value in zip(self.model.trainable_variables, values, strict=True):
            if variable.regularizer is not None:
                total = total + ops.cast(variable.regularizer(value), "float32")
        return total

    def weights(self) -> list[Any]:
        """The present weights."""
        return [ops.convert_to_tensor(variable) for variable in self.model.trainable_variables]

    def forward(self, x: Any, training: bool) -> tuple[list[Any], Callable[[list[Any]], list[Any]]]:
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

    def loss(self, x: Any, y: Any, tensors: list[Any], structure: Any, weight: Any, training: bool) -> Any:
        """The model's loss of linear outputs; on a replica, its share."""
        model = self.model
        predictions = [back(tensor) for tensor, (_, back) in zip(tensors, self._links(structure), strict=True)]
        loss, _ = model.stateless_compute_loss(
            self.weights(),
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
            return [logit_map(self.model, name) for name in tree.flatten({name: name for name in outputs})]
        names = output_names(self.model)
        return [logit_map(self.model, name) for name in names] if len(names) > 1 else [logit_map(self.model)]


def batch_size(data: Any) -> Any:
    """The number of samples of a batch as `train_step` gets it."""
    x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    return ops.shape(next(leaf for leaf in tree.flatten(x) if leaf is not None))[0]


def branches_are_slow(model: keras.Model) -> bool:
    """Whether gradients of a model's convolutions take ten times as long in a branch of its compiled step.

    So XLA is on processors: see `keras_reg.training._convolutions`, which mends it on JAX. In TensorFlow the order of
    axes that such gradients have cannot be chosen.

    Args:
        model: The compiled model.

    Returns:
        Whether TensorFlow compiles its step by XLA for processors, and it has layers that convolve.
    """
    if keras.backend.backend() != "tensorflow" or not model.jit_compile:
        return False
    import tensorflow as tf

    convolve = (*CONVOLUTIONS, *DEPTHWISE, *SEPARABLE, *TRANSPOSED, HyperConv2D)
    processors = all(device.device_type == "CPU" for device in tf.config.list_logical_devices())
    return processors and any(isinstance(layer, convolve) for layer, _ in iter_sublayers(model))
