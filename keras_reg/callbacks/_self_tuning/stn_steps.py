"""The steps of Self-Tuning Networks: layers that respond are trained at perturbed hyperparameters.

Reference:

- [MacKay et al., 2019](https://arxiv.org/abs/1903.03088): Self-Tuning Networks
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from keras_reg._keras.replicas import num_replicas
from keras_reg._types import Structure, Tensor
from keras_reg.callbacks._self_tuning.steps import TuningSteps, count_samples
from keras_reg.random._normal import standard_normal
from keras_reg.training._derivatives import value_and_gradient
from keras_reg.tune._override import override_values


class StnSteps(TuningSteps):
    """Perturbs the hyperparameters in the model's own step, for a model with `HyperDense` and similar layers."""

    @contextlib.contextmanager
    def _override(self, values: dict[str, Tensor]) -> Iterator[None]:
        with override_values(values) as names:
            yield
        self.used.update(names)

    def around_step(self, data: Structure) -> contextlib.AbstractContextManager[Any]:
        """Returns a context in which the model's own step reads perturbed hyperparameters, one set per sample."""
        noise = standard_normal((count_samples(data), self._count), self.seed)
        return self._override(self.tuned.to_values(self._perturb(noise)))

    @property
    def _count(self) -> int:
        return len(self.tuned.handles)

    def _perturb(self, noise: Tensor) -> Tensor:
        scales = ops.softplus(ops.convert_to_tensor(self.tuned.scales))
        return ops.convert_to_tensor(self.tuned.free) + scales * noise

    def draw_noise(self) -> Tensor | None:
        """Draws noise for each sample if scales are tuned."""
        if not self.tuned.tune_scale:
            return None
        return standard_normal((min(self.data.size, self.data.batch_size), self._count), self.seed)

    def compute_tuning_gradient(self, uniform: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Computes the tuning loss and its gradients, through the layers that read the unconstrained values."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(self.data.draw_batch(uniform))
        weights = self.read_weights()
        structure, forward = self.build_forward(x, training=False)

        def compute_loss(tensors: list[Tensor]) -> Tensor:
            free, scales = tensors
            perturbed = free if noise is None else free + ops.softplus(scales) * noise
            with self._override(self.tuned.to_values(perturbed)):
                outputs = forward(weights)
            return self.compute_loss(x, y, outputs, structure[0], sample_weight, training=False)

        both = [ops.convert_to_tensor(variable) for variable in (self.tuned.free, self.tuned.scales)]
        loss, (gradient, scale_gradient) = value_and_gradient(compute_loss, both)
        loss = ops.cast(loss * num_replicas() - self.compute_penalty(weights), "float32")
        return loss, gradient * num_replicas(), scale_gradient * num_replicas()
