"""The steps of Self-Tuning Networks (arXiv 1903.03088): layers that respond are trained at perturbed values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from keras_reg._keras.replicas import num_replicas
from keras_reg.callbacks._self_tuning.steps import TuningSteps, batch_size
from keras_reg.random._normal import standard_normal
from keras_reg.training._derivatives import value_and_gradient
from keras_reg.tune._override import override_values


class StnSteps(TuningSteps):
    """The steps, for one model with `HyperDense` and its like."""

    @contextlib.contextmanager
    def _read(self, values: dict[str, Any]) -> Iterator[None]:
        with override_values(values) as names:
            yield
        self.used.update(names)

    def around_step(self, data: Any) -> contextlib.AbstractContextManager[Any]:
        """The model's own step reads perturbed hyperparameters, others for each sample."""
        noise = standard_normal((batch_size(data), self._number), self.seed)
        return self._read(self.numbers.values_at(self._perturbed(noise)))

    @property
    def _number(self) -> int:
        return len(self.numbers.handles)

    def _perturbed(self, noise: Any) -> Any:
        scales = ops.softplus(ops.convert_to_tensor(self.numbers.scales))
        return ops.convert_to_tensor(self.numbers.free) + scales * noise

    def draw(self) -> Any:
        """Noise for each sample, if scales are tuned."""
        if not self.numbers.tune_scale:
            return None
        return standard_normal((min(self.data.size, self.data.batch_size), self._number), self.seed)

    def tuning_gradient(self, uniform: Any, noise: Any = None) -> tuple[Any, Any, Any]:
        """Through the layers, which get the free numbers."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(self.data.batch(uniform))
        weights = self.weights()
        structure, forward = self.forward(x, training=False)

        def of_numbers(tensors: list[Any]) -> Any:
            free, scales = tensors
            at = free if noise is None else free + ops.softplus(scales) * noise
            with self._read(self.numbers.values_at(at)):
                outputs = forward(weights)
            return self.loss(x, y, outputs, structure[0], sample_weight, training=False)

        both = [ops.convert_to_tensor(variable) for variable in (self.numbers.free, self.numbers.scales)]
        loss, (of_free, of_scales) = value_and_gradient(of_numbers, both)
        loss = ops.cast(loss * num_replicas() - self.penalty(weights), "float32")
        return loss, of_free * num_replicas(), of_scales * num_replicas()
