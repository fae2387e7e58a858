"""What self-tuning keeps beside a model: the response of its weights, and the hyperparameters as free numbers."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_reg.ops.hyperparameter_step import gradient_noise_gate, hyperparameter_step
from keras_reg.ops.weight_response import weight_response
from keras_reg.training._state import ArrayState, VariableState
from keras_reg.tune.hyperparameter import Hyperparameter


class Response:
    """How each trainable variable of a model answers to the hyperparameters; trained by an optimizer of its own.

    Args:
        weights: The variables.
        number: The number of hyperparameters.
        optimizer: The optimizer, which is not built yet.
        random: Draws the scalings. The factors start at 0, so that there is no response at first.
    """

    def __init__(
        self,
        weights: list[keras.Variable],
        number: int,
        optimizer: keras.optimizers.Optimizer,
        random: np.random.Generator,
    ) -> None:
        self.factors: list[keras.Variable] = []
        self.scalings: list[keras.Variable | None] = []
        for index, weight in enumerate(weights):
            units = weight.shape[-1] if weight.shape else 1
            self.factors.append(_trained(np.zeros((number, units)), f"factors_{index}"))
            bound = math.prod(weight.shape[:-1]) ** -0.5
            scaling = random.uniform(-bound, bound, weight.shape) if len(weight.shape) > 1 else None
            self.scalings.append(None if scaling is None else _trained(scaling, f"scaling_{index}"))
        self.optimizer = optimizer
        self.variables = [v for v in (*self.factors, *self.scalings) if v is not None]
        optimizer.build(self.variables)

    def carrier(self) -> VariableState:
        """Holds the variables for the compiled step and for checkpoints."""
        return VariableState([*self.variables, *self.optimizer.variables], "response")

    def parts(self) -> list[tuple[Any, Any]]:
        """Factors and scaling of each weight, as tensors."""
        return [
            (ops.convert_to_tensor(factors), None if scaling is None else ops.convert_to_tensor(scaling))
            for factors, scaling in zip(self.factors, self.scalings, strict=True)
        ]

    def shift(self, direction: Any, weights: list[Any]) -> list[Any]:
        """The change of all weights for a change of the hyperparameters, in their shapes and types."""
        changes = [weight_response(factors, direction, scaling) for factors, scaling in self.parts()]
        return [
            ops.cast(ops.reshape(change, weight.shape), weight.dtype)
            for change, weight in zip(changes, weights, strict=True)
        ]

    def apply(self, of_factors: list[Any], of_scalings: list[Any]) -> None:
        """A step of the optimizer."""
        gradients = [gradient for gradient in (*of_factors, *of_scalings) if gradient is not None]
        self.optimizer.apply(gradients, self.variables)


class HyperparameterState:
    """The hyperparameters as free numbers, the scales of their perturbation, and what moves both.

    Args:
        handles: For each name, the objects of that name.
        scale: The standard deviation of the perturbation of each free number.
        tune_scale: Whether it is tuned too.
        learning_rate: Of the free numbers.
        max_step: The largest change of a free number in a step.
        noise_gate: How many standard errors a gradient must be away from 0 to make a step.
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
        number = len(handles)
        free = np.asarray([group[0].to_unconstrained(group[0].value) for group in handles.values()])
        # A scale is the softplus of a free number.
        scales = np.full((number,), scale + math.log(-math.expm1(-scale)))
        zeros = [np.zeros(shape) for shape in ((number,), (number,), (3, number), (3, number), (2,), ())]
        #: The step and the values at the start of each epoch.
        self.starts: list[tuple[int, dict[str, float]]] = []
        self.arrays = ArrayState([a.astype("float32") for a in (free, scales, *zeros)], "tuned")
        self.free, self.scales, self.square, self.scale_square = self.arrays.values[:4]
        self.moments, self.all_moments, self.loss, self.steps = self.arrays.values[4:]

    def values_at(self, free: Any) -> dict[str, Any]:
        """The values of free numbers, by name; numbers of shape (hyperparameters,) or (batch, hyperparameters)."""
        return {name: group[0].from_unconstrained(free[..., j]) for j, (name, group) in enumerate(self.handles.items())}

    def remember(self) -> None:
        """Writes the present values down for the schedule; between steps."""
        values = {name: float(group[0].value) for name, group in self.handles.items()}
        self.starts.append((int(ops.convert_to_numpy(self.steps)), values))

    def schedule(self) -> dict[str, Any]:
        """The values by the step, as `tune.schedule_values` takes them, of the last `fit`."""
        first = self.starts[0][0]
        return {
            "total_steps": max(int(ops.convert_to_numpy(self.steps)), self.starts[-1][0] + 1) - first,
            "steps": [step - first for step, _ in self.starts],
            "values": {name: [values[name] for _, values in self.starts] for name in self.handles},
        }

    def mean_gradients(self) -> dict[str, float]:
        """Of all steps so far, by name."""
        count, total, _ = ops.convert_to_numpy(self.all_moments).astype("float64")
        return dict(zip(self.handles, (total / np.maximum(count, 1)).tolist(), strict=True))

    def present_scales(self) -> dict[str, float]:
        """The standard deviations of the perturbations, by name."""
        scales = np.logaddexp(0, ops.convert_to_numpy(self.scales).astype("float64"))
        return dict(zip(self.handles, scales.tolist(), strict=True))

    def give_values(self) -> None:
        """Gives the handles the values of the free numbers; between steps."""
        for name, value in self.values_at(ops.convert_to_tensor(self.free)).items():
            for handle in self.handles[name]:
                handle.variable.assign(ops.cast(value, handle.variable.dtype))

    def update(self, due: Any, gradient: Any, of_scales: Any, loss: Any) -> None:
        """A step of both where it is due; the handles get the new values."""

        def keep(variable: keras.Variable, new: Any) -> Any:
            value = ops.where(due, new, ops.convert_to_tensor(variable))
            variable.assign(value)
            return value

        clear, moments = gradient_noise_gate(ops.convert_to_tensor(self.moments), gradient, self.noise_gate)
        keep(self.moments, moments)
        keep(self.all_moments, self.all_moments + ops.stack([ops.ones_like(gradient), gradient, ops.square(gradient)]))
        keep(self.loss, self.loss + ops.stack([loss, ops.ones_like(loss)]))
        now = ops.convert_to_tensor(self.free)
        free, square = hyperparameter_step(now, self.square, gradient, self.learning_rate, max_step=self.max_step)
        keep(self.square, square)
        free = keep(self.free, ops.where(clear, free, now))
        if self.tune_scale:
            scales, square = hyperparameter_step(
                ops.convert_to_tensor(self.scales),
                self.scale_square,
                of_scales,
                self.learning_rate,
                max_step=self.max_step,
            )
            keep(self.scale_square, square)
            keep(self.scales, scales)
        for name, value in self.values_at(free).items():
            for handle in self.handles[name]:
                keep(handle.variable, ops.cast(value, handle.variable.dtype))


class TuningData:
    """The tuning data, in the memory of the device.

    Args:
        data: A tuple (inputs, labels) or (inputs, labels, sample weights) of arrays, or batches of such.
        batch_size: How many samples a step takes, at most.

    Raises:
        ValueError: If there are none, or they do not fit together.
    """

    def __init__(self, data: Any, batch_size: int) -> None:
        self.structure = _gathered(data)
        leaves = [_narrow(np.asarray(leaf)) for leaf in tree.flatten(self.structure)]
        sizes = {len(leaf) if leaf.ndim else -1 for leaf in leaves}
        if len(sizes) != 1 or not sizes.isdisjoint({0, -1}):
            shapes = [leaf.shape for leaf in leaves]
            raise ValueError(f"`tuning_data` needs as many labels as inputs, at least 1. Received: arrays of {shapes}")
        self.size, self.batch_size = len(leaves[0]), batch_size
        self.arrays = ArrayState(leaves, "tuning_data")

    def batch(self, uniform: Any) -> tuple[Any, ...]:
        """A batch: drawn with replacement by uniform numbers of shape (batch_size,), or all where all are fewer."""
        leaves = [ops.convert_to_tensor(variable) for variable in self.arrays.values]
        if self.size > self.batch_size:
            rows = ops.minimum(ops.cast(uniform * self.size, "int32"), self.size - 1)
            leaves = [ops.take(leaf, rows, axis=0) for leaf in leaves]
        return tuple(tree.pack_sequence_as(self.structure, leaves))


def _trained(array: np.ndarray, name: str) -> keras.Variable:
    return keras.Variable(array.astype("float32"), dtype="float32", trainable=True, name=name)


def _gathered(data: Any) -> Any:
    if isinstance(data, tuple) and len(data) in (2, 3) and not isinstance(data[0], tuple):
        return data
    batches = (data[index] for index in range(len(data))) if isinstance(data, keras.utils.PyDataset) else data
    try:
        parts = [tuple(tree.map_structure(np.asarray, tuple(batch))) for batch in batches]
    except TypeError:
        parts = []
    if not parts or len(parts[0]) not in (2, 3):
        raise ValueError(
            "`tuning_data` must be a tuple (inputs, labels) of arrays, or batches of such that end. "
            f"Received: tuning_data={type(data).__name__}"
        )
    return tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)


def _narrow(array: np.ndarray) -> np.ndarray:
    """The type that the backends compute in."""
    if array.dtype.kind == "f":
        return array.astype(keras.config.floatx())
    return array.astype("int32") if array.dtype == "int64" else array
