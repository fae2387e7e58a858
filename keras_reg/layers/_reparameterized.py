"""The base of layers whose kernels are computed from other parameters, which are what is stored and trained."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_reg._keras.computed_weights import FunctionConstraint, variables_without_regularizers
from keras_reg.layers._kernels import SUPPORTED, Kernel, find_kernels, leaves, load_all_variables, mapped_initializers


class ReparameterizedLayer(keras.layers.Wrapper):
    """A layer whose kernels are functions of free parameters: the parameters are stored and trained, nothing else.

    The variable that was the kernel of the wrapped layer holds the free parameter. In each call the effective kernel is
    computed from it, in the type of the variables (float32 under mixed precision), and the wrapped layer is called with
    it in place of the variable's value. Nothing is assigned, there is no second copy, and any layer works that has its
    kernels in variables, however it uses them: shared layers, `TimeDistributed`, LoRA enabled after wrapping, XLA.

    A subclass says what the effective kernel is (`effective`), which parameters give a wanted kernel (`set_effective`,
    and `initial_parameter` for a kernel that is just being built), and which more weights it needs (`add_parameters`).

    Args:
        layer: The layer to wrap, built or not.
        **kwargs: As of any layer: `name`, `trainable`.

    Attributes:
        layer: The wrapped layer.
        kernels: Its kernels, once it is built.

    Raises:
        ValueError: If the layer is none that is supported, is reparameterized already, or is quantized.

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
        if not isinstance(layer, keras.layers.Layer) or not leaves(layer):
            raise ValueError(f"{type(self).__name__} wraps {SUPPORTED}. Received: layer={layer!r}")
        if getattr(layer, "quantization_mode", None):
            raise ValueError(
                f"{type(self).__name__} cannot wrap a quantized layer: wrap it before, fold it, then quantize it. "
                f"Received: layer={layer!r} with quantization_mode={layer.quantization_mode!r}"
            )
        # Keras reads the signature of `call` when the layer is made, and that of `build` when it is first called.
        signature = inspect.signature(layer.call)
        self.call = _with_signature(self._call, signature)
        # Variables must not be cast before the effective kernel is computed; the wrapped layer casts its own inputs.
        kwargs = {"trainable": layer.trainable, "name": layer.name, **kwargs}
        kwargs.update(dtype=layer.variable_dtype, autocast=False)
        super().__init__(layer, **kwargs)
        if not kwargs["trainable"]:  # Keras hands it on when it is set, not from the constructor
            layer.trainable = False
        self.build.__signature__ = inspect.signature(layer.build)  # type: ignore[attr-defined]
        self.supports_masking = layer.supports_masking
        self.kernels: tuple[Kernel, ...] = ()
        self.is_loading = False
        self._takes_training = "training" in signature.parameters
        for leaf in leaves(layer):
            if hasattr(leaf, "enable_lora"):
                # Keras would merge LoRA into what it takes for the kernel; kept apart, both come back exactly.
                leaf.save_own_variables = functools.partial(keras.layers.Layer.save_own_variables, leaf)
                leaf.load_own_variables = functools.partial(load_all_variables, leaf)

    def build(self, *shapes: Any, **named_shapes: Any) -> None:
        """Builds the wrapped layer with parameters for kernels, then what the subclass adds."""
        given = self.layer.built
        if not given:
            with mapped_initializers(self.layer, self.initial_parameter):
                self.layer.build(*shapes, **named_shapes)
                self.layer.built = True
        self.kernels = tuple(find_kernels(self.layer))
        for kernel in self.kernels:
            variable = kernel.variable
            self.add_parameters(kernel)
            if given:
                self.set_effective(kernel, ops.convert_to_tensor(ops.convert_to_numpy(variable)))
            if variable.regularizer is not None:
                variable.regularizer = self.regularizer(kernel, variable.regularizer)
            if variable.constraint is not None:
                variable.constraint = FunctionConstraint(self.constraint(kernel, variable.constraint))

    def effective(self, kernel: Kernel, parameter: Any, training: bool = False) -> Any:
        """The kernel that the wrapped layer computes with.

        Args:
            kernel: Which kernel.
            parameter: The value of its variable, a tensor.
            training: Whether the layer trains.

        Returns:
            A tensor of the same shape.
        """
        raise NotImplementedError

    def set_effective(self, kernel: Kernel, weight: Any) -> None:
        """Assigns parameters with which the effective kernel is `weight`."""
        raise NotImplementedError

    def initial_parameter(self, weight: Any) -> Any:
        """The parameter of a kernel that is drawn to be `weight`."""
        return weight

    def add_parameters(self, kernel: Kernel) -> None:
        """Adds the weights that a kernel needs besides its variable."""

    def regularizer(self, kernel: Kernel, regularizer: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """What regularizes the variable, where the layer has a kernel regularizer: by default that of the parameter."""
        return regularizer

    def constraint(self, kernel: Kernel, constraint: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """What constrains the variable, where the layer has a kernel constraint."""
        raise ValueError(
            f"{type(self).__name__} cannot hold a constraint on the kernel, which is not what is trained. Build the "
            f"layer without it. Received: {constraint!r} on {kernel.variable.path!r}"
        )

    def fold(self) -> keras.layers.Layer:
        """A plain layer that computes the same in inference: with the effective kernels, and LoRA merged into them.

        Returns:
            A new layer, built, of the class of the wrapped one.

        Raises:
            ValueError: If this layer is not built yet.
        """
        if not self.built:
            raise ValueError(f"A layer that is not built has no kernels to fold. Received: {self!r}")
        config = {k: v for k, v in self.layer.get_config().items() if not k.startswith("lora_")}
        plain = type(self.layer).from_config({**config, "name": self.name})
        plain.build_from_config(self.layer.get_build_config())
        instead = self._inference_values()
        with keras.StatelessScope([(v, instead.get(id(v), v.value)) for v in self.layer.variables]):
            for kernel in self.kernels:
                if getattr(kernel.owner, "lora_enabled", False):
                    instead[id(kernel.variable)] = getattr(kernel.owner, kernel.variable.name)
        kept = [v for v in variables_without_regularizers(self.layer) if not v.name.startswith("lora_")]
        for variable, target in zip(kept, variables_without_regularizers(plain), strict=True):
            # Through the host: on JAX, what shares a buffer with another model dies with that model's step.
            target.assign(ops.convert_to_numpy(instead.get(id(variable), variable.value)))
        return plain

    def _inference_values(self) -> dict[int, Any]:
        effective = {id(kernel.variable): self.effective(kernel, kernel.variable.value) for kernel in self.kernels}
        return {**effective, **self.other_values()}

    def _call(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        if getattr(self.layer, "quantization_mode", None):
            raise ValueError(
                f"The layer in {self.name!r} was quantized: its parameters, not its kernels. Fold the model first "
                f"(`keras_reg.fold`). Received: quantization_mode={self.layer.quantization_mode!r}"
            )
        if self._takes_training:
            kwargs["training"] = training
        self.prepare(bool(training), args, kwargs)
        effective = {id(k.variable): self.effective(k, k.variable.value, bool(training)) for k in self.kernels}
        return self._call_with({**effective, **self.other_values()}, args, kwargs)

    def prepare(self, training: bool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Called with the arguments of each call before the effective kernels are computed."""

    def other_values(self) -> dict[int, Any]:
        """Values of variables other than kernels that the wrapped layer computes with, by the id of the variable."""
        return {}

    def _call_with(self, instead: dict[int, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Calls the wrapped layer with other values of some variables; what it assigns, and its losses, are kept."""
        # On JAX a variable has its traced value in the innermost scope only: so all of them go into this one.
        values = [(variable, instead.get(id(variable), variable.value)) for variable in self.layer.variables]
        with keras.StatelessScope(values, collect_losses=True) as scope:
            before = [scope.get_current_value(variable) for variable, _ in values]
            outputs = self.layer(*args, **kwargs)
        for (variable, _), value in zip(values, before, strict=True):
            after = scope.get_current_value(variable)
            if after is not value:  # seeds of dropout
                variable.assign(after)
        for loss in scope.losses:
            # Keras knows losses by the id of the object: the same one would count for the wrapped layer too. The other
            # one keeps it alive, since a later loss could get the id of one that is gone.
            taken = loss + 0
            weakref.finalize(taken, lambda _: None, loss).atexit = False
            self.add_loss(taken)
        return outputs

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """The output of the wrapped layer."""
        if not self._takes_training:
            kwargs.pop("training", None)
        return self.layer.compute_output_spec(*args, **kwargs)

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """The output shape of the wrapped layer."""
        return self.layer.compute_output_shape(*args, **kwargs)

    def compute_mask(self, *args: Any, **kwargs: Any) -> Any:
        """The mask of the wrapped layer."""
        return self.layer.compute_mask(*args, **kwargs)

    def build_from_config(self, config: Any) -> None:
        """Builds a layer whose values are loaded next, so that those it begins with may be any."""
        self.is_loading = True
        try:
            super().build_from_config(config)
        finally:
            self.is_loading = False

    def get_build_config(self) -> Any:
        """The shapes that the wrapped layer was built with."""
        return self.layer.get_build_config()

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same layer."""
        config: dict[str, Any] = super().get_config()
        config["layer"].pop("build_config", None)  # it is built with its wrapper, or its kernels would seem given
        del config["dtype"]  # it is that of the variables of the wrapped layer
        return config


def _with_signature(function: Callable[..., Any], signature: inspect.Signature) -> Callable[..., Any]:
    """A function that says it takes the arguments of another, and `training`."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    parameters = list(signature.parameters.values())
    if "training" not in signature.parameters:
        parameters.append(inspect.Parameter("training", inspect.Parameter.KEYWORD_ONLY, default=None))
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return call
