"""Base class and weights of layers whose weights respond to hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_reg._types import Config, Tensor, TensorFunction
from keras_reg._validation import check_boolean, reject
from keras_reg.ops.hyper_response import along_samples, free_numbers, hyper_linear, hyper_squares, hyper_weight
from keras_reg.tune._hyperparameter import Hyperparameter


class HyperLayer(keras.layers.Layer):
    """Holds weights that respond to hyperparameters.

    Args:
        hyperparameters: List of `keras_reg.tune.Float` and `Int` with different names.
        centered: Boolean. Whether the weights respond to deviations from the current values, as in Delta-STN. Defaults
            to `True`.
        l2: One of the hyperparameters, or `None`. The strength of an L2 penalty on the kernels. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: If an argument is invalid.
    """

    def __init__(
        self,
        hyperparameters: Sequence[Hyperparameter],
        centered: bool = True,
        l2: Hyperparameter | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.centered = check_boolean("centered", centered)
        self.hyperparameters = _check_hyperparameters(hyperparameters)
        self.l2 = None if l2 is None else _check_l2(l2, self.hyperparameters)
        self.responses: tuple[HyperWeight, ...] = ()

    def compute_hyper_inputs(self) -> Tensor:
        """Returns the numbers that the weights respond to: unconstrained ones, or deviations from the current ones.

        Returns:
            A tensor of shape (H,), or (batch, H) while a tuner perturbs the hyperparameters.
        """
        inputs = []
        for hyperparameter in self.hyperparameters:
            low, high, log = hyperparameter.low, hyperparameter.high, hyperparameter.log
            # An `Int` rounds down in its `read`. The `read` of the base class returns the real number.
            number = free_numbers(Hyperparameter.read(hyperparameter), low, high, log)
            if self.centered:
                current = free_numbers(hyperparameter.variable, low, high, log)
                number = number - ops.stop_gradient(current)
            inputs.append(number)
        samples = next((number for number in inputs if len(number.shape)), inputs[0])
        return ops.stack([number + ops.zeros_like(samples) for number in inputs], -1)

    def penalize(self) -> None:
        """Adds the L2 penalty on the kernels of each sample to the loss."""
        if self.l2 is not None:
            squares = sum(response.compute_squares(self.compute_hyper_inputs()) for response in self.responses)
            self.add_loss(ops.mean(ops.cast(self.l2.read(), squares.dtype) * squares))

    def fold(self) -> keras.layers.Layer:
        """Returns an ordinary layer that computes the same outputs at the current values of the hyperparameters.

        Returns:
            A new layer without the hyperparameters and the penalty. It is built.

        Raises:
            ValueError: If this layer is not built.
        """
        return fold_into(self, self.make_plain_layer(), self.compute_plain_weights)

    def make_plain_layer(self) -> keras.layers.Layer:
        """Returns the ordinary layer that receives the folded weights. It is not built."""
        raise NotImplementedError

    def compute_plain_weights(self) -> list[Tensor]:
        """Computes the weights of the ordinary layer, in the order of that layer."""
        inputs = self.compute_hyper_inputs()
        return [weight for response in self.responses for weight in response.compute_weights(inputs)]

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "hyperparameters": [serialize(hyperparameter) for hyperparameter in self.hyperparameters],
            "centered": self.centered,
            "l2": None if self.l2 is None else serialize(self.l2),
        }


class HyperWeight:
    """Holds a kernel and its bias that respond to hyperparameters.

    Each consists of general weights and response weights. The response weights are multiplied by factors. All weights
    are initialized as in the papers' code: uniformly, with variance 1 / (3 fan-in). A matrix maps hyperparameters to
    factors. It is small, or 0 with `centered`, so that training starts with the general weights.

    Args:
        owner: The layer, which tracks the weights.
        shape: Tuple of integers. The shape of the kernel. The last axis is the axis of units.
        use_bias: Boolean. Whether there is a bias. Defaults to `True`.
        prefix: String. Prefix of the names of the weights. Defaults to `""`.
        limit: Float. The largest initial weight. `None` means 1 / sqrt(fan-in). Defaults to `None`.
        scalar: Boolean. Whether the general weights are multiplied by a trained number, as in the dense and
            convolutional layers of the STN code. It has no effect with `centered`. Defaults to `False`.
    """

    def __init__(
        self,
        owner: HyperLayer,
        shape: tuple[Any, ...],
        use_bias: bool = True,
        prefix: str = "",
        limit: float | None = None,
        scalar: bool = False,
    ) -> None:
        limit = 1 / math.sqrt(math.prod(shape[:-1])) if limit is None else limit
        self.units = shape[-1]

        def add_weight(name: str, shape: tuple[int, ...], initializer: Any = None) -> keras.Variable:
            uniform = keras.initializers.RandomUniform(-limit, limit)
            # Mixed precision must not cast the weights before the kernel is computed from them.
            return owner.add_weight(shape=shape, initializer=initializer or uniform, name=prefix + name, autocast=False)

        self.kernel, self.bias = add_weight("kernel", shape), None
        if use_bias:
            self.bias = add_weight("bias", (self.units,))
        self.response_kernel, self.response_bias = add_weight("response_kernel", shape), None
        if use_bias:
            self.response_bias = add_weight("response_bias", (self.units,))
        matrix = "zeros" if owner.centered else keras.initializers.RandomNormal(stddev=0.01)
        width = self.units * (2 if use_bias else 1)
        self.hyper_kernel = add_weight("hyper_kernel", (len(owner.hyperparameters), width), matrix)
        self.scalar = add_weight("scalar", (), "ones") if scalar and not owner.centered else None

    def __call__(self, linear: TensorFunction, inputs: Tensor) -> Tensor:
        """Returns a linear function of the kernel plus the bias.

        Args:
            linear: A linear function of the kernel.
            inputs: Hyperparameters, shape (H,) or (batch, H).
        """
        factors = ops.matmul(inputs, self.hyper_kernel)
        kernels = self.kernel, self.response_kernel, factors[..., : self.units], self.scalar

        def compute(kernel: Tensor) -> Tensor:
            # Under mixed precision `linear` returns 16 bits, but its outputs are added in the type of the weights.
            return ops.cast(linear(kernel), factors.dtype)

        outputs = hyper_linear(compute, *kernels)
        if self.bias is None:
            return outputs
        bias = hyper_weight(self.bias, self.response_bias, factors[..., self.units :], self.scalar)
        return outputs + along_samples(bias, len(outputs.shape))

    def compute_weights(self, inputs: Tensor) -> list[Tensor]:
        """Returns the kernel, and the bias if there is one, for hyperparameters of shape (H,)."""
        factors = ops.matmul(inputs, self.hyper_kernel)
        weights = [hyper_weight(self.kernel, self.response_kernel, factors[: self.units], self.scalar)]
        if self.bias is not None:
            weights += [hyper_weight(self.bias, self.response_bias, factors[self.units :], self.scalar)]
        return weights

    def compute_squares(self, inputs: Tensor) -> Tensor:
        """Returns the sum of squares of the kernel, shape () or (batch,)."""
        factors = ops.matmul(inputs, self.hyper_kernel)[..., : self.units]
        return hyper_squares(self.kernel, self.response_kernel, factors, self.scalar)


def fold_into(
    layer: keras.layers.Layer, plain: keras.layers.Layer, compute_weights: Callable[[], list[Tensor]]
) -> keras.layers.Layer:
    """Builds an ordinary layer with the input shape of another layer, and assigns computed weights to it.

    Args:
        layer: The layer that is folded.
        plain: The ordinary layer. It is not built.
        compute_weights: Computes the weights of the ordinary layer.

    Returns:
        The ordinary layer.

    Raises:
        ValueError: If `layer` is not built.
    """
    if not layer.built:
        raise ValueError(f"A layer that is not built has no weights to fold. Received: {layer!r}")
    plain.build(layer.get_build_config()["input_shape"])
    for variable, value in zip(plain.trainable_variables, compute_weights(), strict=True):
        # The values are copied through NumPy, because a JAX training step deletes buffers that two models share.
        variable.assign(ops.convert_to_numpy(value))
    plain.trainable = layer.trainable
    return plain


def _check_hyperparameters(hyperparameters: Any) -> list[Hyperparameter]:
    """Checks hyperparameters, which may be configurations, and returns them as a list.

    Raises:
        ValueError: If it is not such a list, is empty, or has two equal names.
    """
    requirement = "must be a list of one or more `keras_reg.tune.Float` or `Int` with different names"
    if not isinstance(hyperparameters, (list, tuple)):
        reject("hyperparameters", hyperparameters, requirement)
    checked = [keras.saving.deserialize_keras_object(h) if isinstance(h, dict) else h for h in hyperparameters]
    if not checked or not all(isinstance(hyperparameter, Hyperparameter) for hyperparameter in checked):
        reject("hyperparameters", hyperparameters, requirement)
    if len({hyperparameter.name for hyperparameter in checked}) < len(checked):
        reject("hyperparameters", hyperparameters, requirement)
    return checked


def _check_l2(l2: Any, hyperparameters: list[Hyperparameter]) -> Hyperparameter:
    """Checks `l2`, which may be a configuration, and returns the hyperparameter of this name.

    Raises:
        ValueError: If there is none, or if it has no `low` of at least 0.
    """
    name = l2.get("config", {}).get("name") if isinstance(l2, dict) else getattr(l2, "name", None)
    match = next((hyperparameter for hyperparameter in hyperparameters if hyperparameter.name == name), None)
    if match is None or match.low is None or match.low < 0:
        reject("l2", l2, "must be one of `hyperparameters` with a `low` of at least 0")
    return match
