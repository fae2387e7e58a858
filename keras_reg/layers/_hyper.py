"""The base of layers whose weights respond to hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_reg.ops.hyper_response import along_samples, free_numbers, hyper_linear, hyper_squares, hyper_weight
from keras_reg.tune.hyperparameter import Hyperparameter


class HyperLayer(keras.layers.Layer):
    """A layer whose weights respond to hyperparameters.

    Args:
        hyperparameters: A list of `tune.Hyperparameter` of different names.
        centered: Whether the weights respond to deviations from the present values, as in Delta-STN.
        l2: One of the hyperparameters, or `None`: the strength of an L2 penalty of the kernels.
        **kwargs: As of any layer.
    """

    def __init__(self, hyperparameters: Any, centered: bool = True, l2: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(centered, bool):
            raise ValueError(f"`centered` must be True or False. Received: centered={centered!r}")
        self.hyperparameters, self.centered = _check_hyperparameters(hyperparameters), centered
        self.l2 = None if l2 is None else _check_l2(l2, self.hyperparameters)
        self.responses: tuple[HyperWeight, ...] = ()

    def hyper_inputs(self) -> Any:
        """The free numbers, or their deviations, that the weights respond to: shape (H,) or (batch, H)."""
        inputs = []
        for one in self.hyperparameters:
            # Of an integer too the real number, of which it is the floor.
            number = free_numbers(Hyperparameter.read(one), one.low, one.high, one.log)
            if self.centered:
                present = free_numbers(one.variable, one.low, one.high, one.log)
                number = number - ops.stop_gradient(present)
            inputs.append(number)
        samples = next((number for number in inputs if len(number.shape)), inputs[0])
        return ops.stack([number + ops.zeros_like(samples) for number in inputs], -1)

    def penalize(self) -> None:
        """Adds the L2 penalty of the kernels, as they are for each sample, to the loss."""
        if self.l2 is not None:
            squares = sum(response.squares(self.hyper_inputs()) for response in self.responses)
            self.add_loss(ops.mean(ops.cast(self.l2.read(), squares.dtype) * squares))

    def fold(self) -> keras.layers.Layer:
        """An ordinary layer that computes the same at the present values of the hyperparameters.

        Returns:
            A new layer, built, without the hyperparameters and the penalty.

        Raises:
            ValueError: If this layer is not built yet.
        """
        return fold_into(self, self.plain(), self.folded)

    def plain(self) -> keras.layers.Layer:
        """The layer that `fold` gives its weights."""
        raise NotImplementedError

    def folded(self) -> list[Any]:
        """The weights of that layer, in its order."""
        inputs = self.hyper_inputs()
        return [weight for response in self.responses for weight in response.weights(inputs)]

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same layer."""
        return {
            **super().get_config(),
            "hyperparameters": [keras.saving.serialize_keras_object(one) for one in self.hyperparameters],
            "centered": self.centered,
            "l2": None if self.l2 is None else keras.saving.serialize_keras_object(self.l2),
        }


class HyperWeight:
    """A kernel, with or without a bias, of a `HyperLayer`: general and response weights, and what multiplies these.

    All begin as in the papers' code: uniform with variance 1 / (3 fan-in); the matrix that maps hyperparameters to
    factors is small or, with `centered`, 0: then training begins with the general weights.

    Args:
        owner: The layer, which tracks the weights.
        shape: Of the kernel; the last axis is that of the units.
        use_bias: Whether there is a bias.
        prefix: Of the names of the weights.
        limit: The largest initial weight; `None` for 1 / sqrt(fan-in).
        scalar: Whether the general weights are multiplied by a trained number, as in the dense and convolutional
            layers of the STN code. Not with `centered`.
    """

    def __init__(
        self,
        owner: HyperLayer,
        shape: tuple[int, ...],
        use_bias: bool = True,
        prefix: str = "",
        limit: float | None = None,
        scalar: bool = False,
    ) -> None:
        limit = 1 / math.sqrt(math.prod(shape[:-1])) if limit is None else limit
        self.units = shape[-1]

        def weight(name: str, shape: tuple[int, ...], initializer: Any = None) -> Any:
            uniform = keras.initializers.RandomUniform(-limit, limit)
            # Not cast under mixed precision before the weights are computed.
            return owner.add_weight(shape=shape, initializer=initializer or uniform, name=prefix + name, autocast=False)

        self.kernel, self.bias = weight("kernel", shape), None
        if use_bias:
            self.bias = weight("bias", (self.units,))
        self.response_kernel, self.response_bias = weight("response_kernel", shape), None
        if use_bias:
            self.response_bias = weight("response_bias", (self.units,))
        matrix = "zeros" if owner.centered else keras.initializers.RandomNormal(stddev=0.01)
        width = self.units * (2 if use_bias else 1)
        self.hyper_kernel = weight("hyper_kernel", (len(owner.hyperparameters), width), matrix)
        self.scalar = weight("scalar", (), "ones") if scalar and not owner.centered else None

    def __call__(self, linear: Callable[[Any], Any], inputs: Any) -> Any:
        """A linear function of the kernel, plus the bias, for hyperparameters of shape (H,) or (batch, H)."""
        factors = ops.matmul(inputs, self.hyper_kernel)
        kernels = self.kernel, self.response_kernel, factors[..., : self.units], self.scalar

        def precisely(kernel: Any) -> Any:  # under mixed precision, `linear` gives 16 bits
            return ops.cast(linear(kernel), factors.dtype)

        outputs = hyper_linear(precisely, *kernels)
        if self.bias is None:
            return outputs
        bias = hyper_weight(self.bias, self.response_bias, factors[..., self.units :], self.scalar)
        return outputs + along_samples(bias, len(outputs.shape))

    def weights(self, inputs: Any) -> list[Any]:
        """The kernel, and the bias if there is one, for hyperparameters of shape (H,)."""
        factors = ops.matmul(inputs, self.hyper_kernel)
        found = [hyper_weight(self.kernel, self.response_kernel, factors[: self.units], self.scalar)]
        if self.bias is not None:
            found += [hyper_weight(self.bias, self.response_bias, factors[self.units :], self.scalar)]
        return found

    def squares(self, inputs: Any) -> Any:
        """The sum of squares of the kernel, shape () or (batch,)."""
        factors = ops.matmul(inputs, self.hyper_kernel)[..., : self.units]
        return hyper_squares(self.kernel, self.response_kernel, factors, self.scalar)


def fold_into(layer: keras.layers.Layer, plain: keras.layers.Layer, folded: Callable[[], list[Any]]) -> Any:
    """Builds a plain layer as another one, with weights that are computed.

    Args:
        layer: The other layer.
        plain: The plain layer, not built.
        folded: Computes the weights.

    Returns:
        The plain layer.

    Raises:
        ValueError: If the other layer is not built yet.
    """
    if not layer.built:
        raise ValueError(f"A layer that is not built has no weights to fold. Received: {layer!r}")
    plain.build(layer.get_build_config()["input_shape"])
    for variable, value in zip(plain.trainable_variables, folded(), strict=True):
        # Through the host: on JAX, what shares a buffer with another model dies with that model's step.
        variable.assign(ops.convert_to_numpy(value))
    plain.trainable = layer.trainable
    return plain


def _check_hyperparameters(hyperparameters: Any) -> list[Hyperparameter]:
    found = hyperparameters if isinstance(hyperparameters, (list, tuple)) else []
    found = [keras.saving.deserialize_keras_object(one) if isinstance(one, dict) else one for one in found]
    if not found or not all(isinstance(one, Hyperparameter) for one in found):
        raise ValueError(
            "`hyperparameters` must be a list of `keras_reg.tune.Float` or `Int`, one or more. "
            f"Received: hyperparameters={hyperparameters!r}"
        )
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        raise ValueError(f"`hyperparameters` must have different names. Received: hyperparameters={hyperparameters!r}")
    return found


def _check_l2(l2: Any, hyperparameters: list[Hyperparameter]) -> Hyperparameter:
    name = l2["config"]["name"] if isinstance(l2, dict) else getattr(l2, "name", None)
    found = next((one for one in hyperparameters if one.name == name), None)
    if found is None or found.low is None or found.low < 0:
        raise ValueError(f"`l2` must be one of `hyperparameters`, with a `low` of at least 0. Received: l2={l2!r}")
    return found
