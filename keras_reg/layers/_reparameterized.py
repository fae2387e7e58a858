"""Base class of layers whose kernels are computed from trained parameters."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import keras
from keras import ops

from keras_reg._keras.computed_weights import FunctionConstraint, variables_without_regularizers
from keras_reg._keras.function_regularizer import as_regularizer
from keras_reg._types import Config, Structure, Tensor, TensorFunction
from keras_reg.layers._forwarding import call_with_values, copy_signature
from keras_reg.layers._kernels import (
    SUPPORTED,
    Kernel,
    find_kernels,
    find_leaf_layers,
    load_all_variables,
    map_kernel_initializers,
)


class ReparameterizedLayer(keras.layers.Wrapper):
    """Wraps a layer and computes its kernels from free parameters. Only the parameters are stored and trained.

    The kernel variable of the wrapped layer holds the free parameter. Each call computes the effective kernel from it,
    in the type of the variables (float32 under mixed precision). The wrapped layer is then called with the effective
    kernel in place of the value of the variable. Nothing is assigned, and the weights have no second copy.

    Any layer that has its kernels in variables works, however it uses them. Shared layers, `TimeDistributed`, LoRA that
    is enabled after wrapping, and XLA are also supported.

    A subclass defines the effective kernel (`effective`) and the parameters that produce a given kernel
    (`set_effective`). It may also define `initial_parameter`, for a kernel that is being built, and `add_parameters`,
    for additional weights.

    Args:
        layer: A `keras.layers.Layer`. The layer to wrap, built or not.
        **kwargs: Arguments of `keras.layers.Layer`: `name`, `trainable`.

    Call arguments:
        The call arguments of the wrapped layer.

    Attributes:
        layer: The wrapped layer.
        kernels: Tuple of the kernels of the wrapped layer. It is empty until the layer is built.

    Raises:
        ValueError: If the layer is not supported, is reparameterized already, or is quantized.

    Example:

    ```python
    class Doubled(keras_reg.layers.ReparameterizedLayer):
        def effective(self, kernel, parameter, training=False):
            return 2 * parameter

        def set_effective(self, kernel, weight):
            kernel.variable.assign(weight / 2)
    ```
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any) -> None:
        if not isinstance(layer, keras.layers.Layer) or not find_leaf_layers(layer):
            raise ValueError(f"{type(self).__name__} wraps {SUPPORTED}. Received: layer={layer!r}")
        if getattr(layer, "quantization_mode", None):
            raise ValueError(
                f"{type(self).__name__} cannot wrap a quantized layer. Wrap the layer, fold it, then quantize it. "
                f"Received: layer={layer!r} with quantization_mode={layer.quantization_mode!r}"
            )
        # Keras reads the signature of `call` when the layer is created, and the signature of `build` in the first call.
        signature = inspect.signature(layer.call)
        self.call = copy_signature(self._call, signature)
        # The effective kernel is computed in the type of the variables, so this layer must not cast them. The wrapped
        # layer casts its inputs.
        kwargs = {"trainable": layer.trainable, "name": layer.name, **kwargs}
        kwargs.update(dtype=layer.variable_dtype, autocast=False)
        super().__init__(layer, **kwargs)
        if not kwargs["trainable"]:
            # Keras passes `trainable` on to inner layers when it is assigned, but not in the constructor.
            layer.trainable = False
        self.build.__signature__ = inspect.signature(layer.build)  # type: ignore[attr-defined]
        self.supports_masking = layer.supports_masking
        self.kernels: tuple[Kernel, ...] = ()
        self.is_loading = False
        self._takes_training = "training" in signature.parameters
        for leaf in find_leaf_layers(layer):
            if hasattr(leaf, "enable_lora"):
                # Keras would merge LoRA into the variable, which holds the parameter and not the kernel. Saved
                # separately, both are restored exactly.
                leaf.save_own_variables = functools.partial(keras.layers.Layer.save_own_variables, leaf)
                leaf.load_own_variables = functools.partial(load_all_variables, leaf)

    def build(self, *shapes: Any, **named_shapes: Any) -> None:
        """Builds the wrapped layer with parameters as kernels, then adds the weights of the subclass."""
        was_built = self.layer.built
        if not was_built:
            with map_kernel_initializers(self.layer, self.initial_parameter):
                self.layer.build(*shapes, **named_shapes)
                self.layer.built = True
        self.kernels = tuple(find_kernels(self.layer))
        for kernel in self.kernels:
            variable = kernel.variable
            self.add_parameters(kernel)
            if was_built:
                self.set_effective(kernel, ops.convert_to_tensor(ops.convert_to_numpy(variable)))
            if variable.regularizer is not None:
                variable.regularizer = as_regularizer(self.regularizer(kernel, variable.regularizer))
            if variable.constraint is not None:
                variable.constraint = FunctionConstraint(self.constraint(kernel, variable.constraint))

    def effective(self, kernel: Kernel, parameter: Tensor, training: bool = False) -> Tensor:
        """Returns the kernel that the wrapped layer computes with.

        Args:
            kernel: The `Kernel` to compute.
            parameter: Tensor. The value of the variable of the kernel.
            training: Boolean. Whether the call is a training step.

        Returns:
            A tensor of the same shape as `parameter`.
        """
        raise NotImplementedError

    def set_effective(self, kernel: Kernel, weight: Tensor) -> None:
        """Assigns parameters for which the effective kernel is `weight`."""
        raise NotImplementedError

    def initial_parameter(self, weight: Tensor) -> Tensor:
        """Returns the parameter of a kernel whose initial value is `weight`."""
        return weight

    def add_parameters(self, kernel: Kernel) -> None:
        """Adds the weights that a kernel needs in addition to its variable."""

    def regularizer(self, kernel: Kernel, regularizer: TensorFunction) -> TensorFunction:
        """Returns the regularizer of the variable, for a layer that has a kernel regularizer.

        By default the kernel regularizer acts on the parameter.
        """
        return regularizer

    def constraint(self, kernel: Kernel, constraint: TensorFunction) -> TensorFunction:
        """Returns the constraint of the variable, for a layer that has a kernel constraint.

        Raises:
            ValueError: By default, because a constraint acts on the trained variable.
        """
        raise ValueError(
            f"{type(self).__name__} does not support a kernel constraint, because it trains a parameter and not the "
            f"kernel. Build the layer without the constraint. Received: {constraint!r} on {kernel.variable.path!r}"
        )

    def fold(self) -> keras.layers.Layer:
        """Returns an ordinary layer that computes the same outputs in inference.

        Its kernels are the effective kernels, with LoRA merged into them.

        Returns:
            A new layer of the class of the wrapped layer. It is built.

        Raises:
            ValueError: If this layer is not built.
        """
        if not self.built:
            raise ValueError(f"A layer that is not built has no kernels to fold. Received: {self!r}")
        config = {k: v for k, v in self.layer.get_config().items() if not k.startswith("lora_")}
        plain = type(self.layer).from_config({**config, "name": self.name})
        plain.build_from_config(self.layer.get_build_config())
        values = self._compute_inference_values()
        with keras.StatelessScope([(v, values.get(id(v), v.value)) for v in self.layer.variables]):
            for kernel in self.kernels:
                if getattr(kernel.owner, "lora_enabled", False):
                    values[id(kernel.variable)] = getattr(kernel.owner, kernel.variable.name)
        sources = [v for v in variables_without_regularizers(self.layer) if not v.name.startswith("lora_")]
        for source, target in zip(sources, variables_without_regularizers(plain), strict=True):
            # The values are copied through NumPy, because a JAX training step deletes buffers that two models share.
            target.assign(ops.convert_to_numpy(values.get(id(source), source.value)))
        return plain

    def _compute_inference_values(self) -> dict[int, Tensor]:
        """Returns the values that replace those of the variables in inference, by variable id."""
        effective = {id(kernel.variable): self.effective(kernel, kernel.variable.value) for kernel in self.kernels}
        return {**effective, **self.other_values()}

    def _call(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Structure:
        """Calls the wrapped layer with the effective kernels."""
        if getattr(self.layer, "quantization_mode", None):
            raise ValueError(
                f"Quantizing the layer in {self.name!r} has quantized its parameters, not its kernels. Fold the model "
                f"first (`keras_reg.fold`). Received: quantization_mode={self.layer.quantization_mode!r}"
            )
        if self._takes_training:
            kwargs["training"] = training
        self.prepare(bool(training), args, kwargs)
        effective = {id(k.variable): self.effective(k, k.variable.value, bool(training)) for k in self.kernels}
        outputs, losses = call_with_values(self.layer, {**effective, **self.other_values()}, args, kwargs)
        for loss in losses:
            self.add_loss(loss)
        return outputs

    def prepare(self, training: bool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Prepares a call. It is called with the call's arguments before the effective kernels are computed."""

    def other_values(self) -> dict[int, Tensor]:
        """Returns values that replace those of variables other than kernels, by variable id."""
        return {}

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the output specification of the wrapped layer."""
        if not self._takes_training:
            kwargs.pop("training", None)
        return self.layer.compute_output_spec(*args, **kwargs)

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the output shape of the wrapped layer."""
        return self.layer.compute_output_shape(*args, **kwargs)

    def compute_mask(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the output mask of the wrapped layer."""
        return self.layer.compute_mask(*args, **kwargs)

    def build_from_config(self, config: Config) -> None:
        """Builds the layer before its values are loaded, without checking the initial values."""
        self.is_loading = True
        try:
            super().build_from_config(config)
        finally:
            self.is_loading = False

    def get_build_config(self) -> Config:
        """Returns the shapes that the wrapped layer was built with."""
        config: Config = self.layer.get_build_config()
        return config

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        config: Config = super().get_config()
        # The wrapped layer must be built together with its wrapper. Otherwise, its kernels would be taken for weights.
        config["layer"].pop("build_config", None)
        del config["dtype"]  # The wrapped layer determines the type of the variables.
        return config
