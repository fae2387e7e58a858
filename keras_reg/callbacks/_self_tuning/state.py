"""The state of self-tuning: the response of the weights, the hyperparameters, and the tuning data."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_reg._types import Array, Structure, Tensor
from keras_reg.ops.hyperparameter_step import gradient_noise_gate, hyperparameter_step
from keras_reg.ops.weight_response import weight_response
from keras_reg.training._state import ArrayState, VariableState
from keras_reg.tune._hyperparameter import Hyperparameter


class Response:
    """Holds the response of each trainable variable to the hyperparameters, and trains it with an optimizer.

    Args:
        weights: The variables.
        count: The number of hyperparameters.
        optimizer: The optimizer, which is not built yet.
        random: Draws the initial scalings. The factors start at 0, so the first response is 0.
    """

    def __init__(
        self,
        weights: list[keras.Variable],
        count: int,
        optimizer: keras.optimizers.Optimizer,
        random: np.random.Generator,
    ) -> None:
        self.factors: list[keras.Variable] = []
        self.scalings: list[keras.Variable | None] = []
        for index, weight in enumerate(weights):
            units = weight.shape[-1] if weight.shape else 1
            self.factors.append(_create_variable(np.zeros((count, units)), f"factors_{index}"))
            bound = math.prod(weight.shape[:-1]) ** -0.5
            scaling = random.uniform(-bound, bound, weight.shape) if len(weight.shape) > 1 else None
            self.scalings.append(None if scaling is None else _create_variable(scaling, f"scaling_{index}"))
        self.optimizer = optimizer
        self.variables = [v for v in (*self.factors, *self.scalings) if v is not None]
        optimizer.build(self.variables)

    def to_state(self) -> VariableState:
        """Returns a state that passes the variables to the compiled step and to checkpoints."""
        return VariableState([*self.variables, *self.optimizer.variables], "response")

    def read_parts(self) -> list[tuple[Tensor, Tensor | None]]:
        """Returns the factors and the scaling of each weight, as tensors."""
        return [
            (ops.convert_to_tensor(factors), None if scaling is None else ops.convert_to_tensor(scaling))
            for factors, scaling in zip(self.factors, self.scalings, strict=True)
        ]

    def compute_shift(self, direction: Tensor, weights: list[Tensor]) -> list[Tensor]:
        """Computes the change of all weights for a change of the hyperparameters, in the shapes of the weights."""
        changes = [weight_response(factors, direction, scaling) for factors, scaling in self.read_parts()]
        return [
            ops.cast(ops.reshape(change, weight.shape), weight.dtype)
            for change, weight in zip(changes, weights, strict=True)
        ]

    def apply(self, factor_gradients: list[Tensor], scaling_gradients: list[Tensor | None]) -> None:
        """Applies gradients with the optimizer."""
        gradients = [gradient for gradient in (*factor_gradients, *scaling_gradients) if gradient is not None]
        self.optimizer.apply(gradients, self.variables)


class HyperparameterState:
    """Holds the hyperparameters as unconstrained values, the scales of their perturbation, and optimizer slots.

    Args:
        handles: Maps each name to the objects of that name.
        scale: The standard deviation of the perturbation of each unconstrained value.
        tune_scale: Whether the scales are tuned too.
        learning_rate: The learning rate of the unconstrained values.
        max_step: The largest change of an unconstrained value in a step.
        noise_gate: The smallest distance of a gradient from 0 for a step, in standard errors.

    Attributes:
        starts: The number of the step and the values, at the start of each epoch.
    """

    def __init__(
        self,
        handles: dict[str, list[Hyperparameter]],
        scale: float,
        tune_scale: bool,
        learning_rate: float,
        max_step: float,
        noise_gate: float,
    ) -> None:
        self.handles, self.tune_scale = handles, tune_scale
        self.learning_rate, self.max_step, self.noise_gate = learning_rate, max_step, noise_gate
        count = len(handles)
        free = np.asarray([group[0].to_unconstrained(group[0].value) for group in handles.values()])
        # A scale is the softplus of the number that is stored.
        scales = np.full((count,), scale + math.log(-math.expm1(-scale)))
        zeros = [np.zeros(shape) for shape in ((count,), (count,), (3, count), (3, count), (2,), ())]
        self.starts: list[tuple[int, dict[str, float]]] = []
        self.arrays = ArrayState([a.astype("float32") for a in (free, scales, *zeros)], "tuned")
        self.free, self.scales, self.square, self.scale_square = self.arrays.values[:4]
        self.moments, self.all_moments, self.loss, self.steps = self.arrays.values[4:]

    def to_values(self, free: Tensor) -> dict[str, Tensor]:
        """Converts unconstrained values to hyperparameters, by name.

        Args:
            free: The unconstrained values, shape (hyperparameters,) or (batch, hyperparameters).
        """
        return {name: group[0].from_unconstrained(free[..., j]) for j, (name, group) in enumerate(self.handles.items())}

    def record_values(self) -> None:
        """Records the current values in the schedule. Call this method between steps."""
        values = {name: float(group[0].value) for name, group in self.handles.items()}
        self.starts.append((int(ops.convert_to_numpy(self.steps)), values))

    def build_schedule(self) -> dict[str, Any]:
        """Returns the values of the last `fit` per step, in the form that `tune.schedule.schedule_values` reads."""
        first = self.starts[0][0]
        return {
            "total_steps": max(int(ops.convert_to_numpy(self.steps)), self.starts[-1][0] + 1) - first,
            "steps": [step - first for step, _ in self.starts],
            "values": {name: [values[name] for _, values in self.starts] for name in self.handles},
        }

    def mean_gradients(self) -> dict[str, float]:
        """Returns the mean gradient over all steps so far, by name."""
        count, total, _ = ops.convert_to_numpy(self.all_moments).astype("float64")
        return dict(zip(self.handles, (total / np.maximum(count, 1)).tolist(), strict=True))

    def current_scales(self) -> dict[str, float]:
        """Returns the standard deviations of the perturbations, by name."""
        scales = np.logaddexp(0, ops.convert_to_numpy(self.scales).astype("float64"))
        return dict(zip(self.handles, scales.tolist(), strict=True))

    def assign_values(self) -> None:
        """Assigns the values of the unconstrained numbers to the handles. Call this method between steps."""
        for name, value in self.to_values(ops.convert_to_tensor(self.free)).items():
            for handle in self.handles[name]:
                handle.variable.assign(ops.cast(value, handle.variable.dtype))

    def update(self, due: Tensor, gradient: Tensor, scale_gradient: Tensor, loss: Tensor) -> None:
        """Updates the unconstrained values and the scales, and assigns the new values to the handles.

        Args:
            due: A boolean scalar. If it is False, nothing changes.
            gradient: The gradient of the loss with respect to the unconstrained values.
            scale_gradient: The gradient of the loss with respect to the numbers that represent the scales.
            loss: The loss on tuning data.
        """

        def assign_if_due(variable: keras.Variable, new_value: Tensor) -> Tensor:
            value = ops.where(due, new_value, ops.convert_to_tensor(variable))
            variable.assign(value)
            return value

        clear, moments = gradient_noise_gate(ops.convert_to_tensor(self.moments), gradient, self.noise_gate)
        assign_if_due(self.moments, moments)
        new_moments = ops.stack([ops.ones_like(gradient), gradient, ops.square(gradient)])
        assign_if_due(self.all_moments, self.all_moments + new_moments)
        assign_if_due(self.loss, self.loss + ops.stack([loss, ops.ones_like(loss)]))
        before = ops.convert_to_tensor(self.free)
        free, square = hyperparameter_step(before, self.square, gradient, self.learning_rate, max_step=self.max_step)
        assign_if_due(self.square, square)
        free = assign_if_due(self.free, ops.where(clear, free, before))
        if self.tune_scale:
            scales, square = hyperparameter_step(
                ops.convert_to_tensor(self.scales),
                self.scale_square,
                scale_gradient,
                self.learning_rate,
                max_step=self.max_step,
            )
            assign_if_due(self.scale_square, square)
            assign_if_due(self.scales, scales)
        for name, value in self.to_values(free).items():
            for handle in self.handles[name]:
                assign_if_due(handle.variable, ops.cast(value, handle.variable.dtype))


class TuningData:
    """Holds the tuning data in the memory of the device.

    Args:
        data: A tuple (inputs, labels) or (inputs, labels, sample weights) of arrays, or batches of such tuples.
        batch_size: The largest number of samples per step.

    Raises:
        ValueError: If there are no samples, or arrays differ in length.
    """

    def __init__(self, data: Structure, batch_size: int) -> None:
        self.structure = _gather(data)
        leaves = [_cast(np.asarray(leaf)) for leaf in tree.flatten(self.structure)]
        sizes = {len(leaf) if leaf.ndim else -1 for leaf in leaves}
        if len(sizes) != 1 or not sizes.isdisjoint({0, -1}):
            shapes = [leaf.shape for leaf in leaves]
            raise ValueError(f"`tuning_data` needs as many labels as inputs, at least 1. Received: arrays of {shapes}")
        self.size, self.batch_size = len(leaves[0]), batch_size
        self.arrays = ArrayState(leaves, "tuning_data")

    def draw_batch(self, uniform: Tensor) -> tuple[Structure, ...]:
        """Returns a batch that is drawn with replacement, or all samples if there are not more than `batch_size`.

        Args:
            uniform: Uniform random numbers, shape (batch_size,).
        """
        leaves = [ops.convert_to_tensor(variable) for variable in self.arrays.values]
        if self.size > self.batch_size:
            rows = ops.minimum(ops.cast(uniform * self.size, "int32"), self.size - 1)
            leaves = [ops.take(leaf, rows, axis=0) for leaf in leaves]
        return tuple(tree.pack_sequence_as(self.structure, leaves))


def _create_variable(array: Array, name: str) -> keras.Variable:
    return keras.Variable(array.astype("float32"), dtype="float32", trainable=True, name=name)


def _gather(data: Structure) -> Structure:
    """Returns a tuple of arrays unchanged, and concatenates batches."""
    if isinstance(data, tuple) and len(data) in (2, 3) and not isinstance(data[0], tuple):
        return data
    batches = (data[index] for index in range(len(data))) if isinstance(data, keras.utils.PyDataset) else data
    try:
        parts = [tuple(tree.map_structure(np.asarray, tuple(batch))) for batch in batches]
    except TypeError:
        parts = []
    if not parts or len(parts[0]) not in (2, 3):
        raise ValueError(
            "`tuning_data` must be a tuple (inputs, labels) of arrays, or a finite number of such batches. "
            f"Received: tuning_data={type(data).__name__}"
        )
    return tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)


def _cast(array: Array) -> Array:
    """Returns an array in the type that the backends compute in."""
    if array.dtype.kind == "f":
        return array.astype(keras.config.floatx())
    return array.astype("int32") if array.dtype == "int64" else array
