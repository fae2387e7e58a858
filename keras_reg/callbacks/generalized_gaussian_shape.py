"""A callback that measures the shape of the distribution of the weights."""

from __future__ import annotations

import warnings
from typing import Any

import keras
from keras import ops

from keras_reg._keras.callback_model import updated_model
from keras_reg._keras.step_functions import rebuild_step_functions
from keras_reg._registry import export
from keras_reg._types import Config
from keras_reg._validation import check_boolean, check_number
from keras_reg._warnings import NoEffectWarning
from keras_reg.callbacks._configurable import Configurable, serialize_functions
from keras_reg.ops.generalized_gaussian import generalized_gaussian_shape
from keras_reg.regularizers import GeneralizedGaussianPrior
from keras_reg.regularizers.sum import list_parts
from keras_reg.surgery._select import LayerPatterns, VariablePatterns, check_patterns, check_variables, iter_variables


@export(
    "callbacks.GeneralizedGaussianShape",
    kind="callback",
    tasks=("weight decay", "diagnostics"),
    arxiv="2504.16968",
    year=2025,
)
class GeneralizedGaussianShape(Configurable, keras.callbacks.Callback):
    """Measures after each epoch how the weights are distributed, as the shape of a generalized Gaussian.

    The logs contain `generalized_gaussian_shape`. It is 2 for normally distributed weights, 1 for a Laplace
    distribution, and less for sparser weights. The smaller it is, the better the weights can be pruned and compressed.
    With `adapt=True`, the `regularizers.GeneralizedGaussianPrior` of these weights follows this shape.

    Args:
        adapt: Boolean. Whether to set the shape of the priors before each epoch, rounded to a multiple of `step`. The
            training step is retraced only before epochs in which the rounded shape has changed. Defaults to `False`.
        step: Float. The shape is rounded to a multiple of this value, and never to less than it. Defaults to `0.05`.
        include: Selects layers, as in `keras_reg.apply_regularizer`. Defaults to `None`, which selects all.
        exclude: Selects layers to leave out, in the same form. Defaults to `None`.
        variables: Selects trainable variables of these layers, as in `keras_reg.apply_regularizer`. Defaults to `"*"`,
            which selects all, as the authors do.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    ```python
    prior = keras_reg.regularizers.GeneralizedGaussianPrior(1e-4)
    keras_reg.apply_regularizer(model, prior, variables=["kernel", "bias"])
    shape = keras_reg.callbacks.GeneralizedGaussianShape(adapt=True)
    history = model.fit(x, y, epochs=100, callbacks=[shape])
    history.history["generalized_gaussian_shape"], prior.shape
    ```

    Reference:

    - [Wu et al., 2025](https://arxiv.org/abs/2504.16968): BackSlash: Rate Constrained Optimized Training of Large
      Language Models. The authors estimate the shape at each step.
    """

    serialized_arguments = ("include", "exclude", "variables")

    def __init__(
        self,
        *,
        adapt: bool = False,
        step: float = 0.05,
        include: LayerPatterns = None,
        exclude: LayerPatterns = None,
        variables: VariablePatterns = "*",
    ) -> None:
        super().__init__()
        self.adapt = check_boolean("adapt", adapt)
        self.step = check_number("step", step, above=0.0)
        check_patterns("include", include)
        check_patterns("exclude", exclude)
        check_variables(variables)
        self.include, self.exclude, self.variables = include, exclude, variables
        self._weights: list[keras.Variable] = []
        self._priors: list[GeneralizedGaussianPrior] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the weights and their priors."""
        selected = iter_variables(self.model, self.include, self.exclude, self.variables)
        self._weights = [variable for _, variable in selected if variable.trainable]
        patterns = f"include={self.include!r}, exclude={self.exclude!r}, variables={self.variables!r}"
        if not self._weights:
            _warn(f"No trainable variable matched, so no shape is measured. Received: {patterns}")
        regularizers = {id(part): part for v in self._weights for part in list_parts(v.regularizer)}.values()
        self._priors = [r for r in regularizers if self.adapt and isinstance(r, GeneralizedGaussianPrior)]
        if self._weights and self.adapt and not self._priors:
            _warn(
                "No variable that matched has a `GeneralizedGaussianPrior`, so no shape is adapted. Add one with "
                f"`keras_reg.apply_regularizer`. Received: adapt=True, {patterns}"
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Assigns the rounded shape to the priors."""
        if not self._priors:
            return
        shape = max(self.step, round(self.step * round(self.measure() / self.step), 6))
        # Without an offset, a shape below 1 has an infinite gradient at 0.
        shapes = [max(shape, 1.0) if prior.offset == 0.0 else shape for prior in self._priors]
        if shapes != [prior.shape for prior in self._priors]:
            for prior, new_shape in zip(self._priors, shapes, strict=True):
                prior.shape = new_shape
            rebuild_step_functions(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the shape to `logs`."""
        if self._weights and logs is not None:
            logs["generalized_gaussian_shape"] = self.measure()

    def measure(self) -> float:
        """Returns the shape of the current weights. It works while `fit` runs."""
        weights = [] if updated_model(self) is None else [variable.value for variable in self._weights]
        return float(ops.convert_to_numpy(generalized_gaussian_shape(weights)))

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        patterns = {name: serialize_functions(getattr(self, name)) for name in self.serialized_arguments}
        return {"adapt": self.adapt, "step": self.step, **patterns}


def _warn(message: str) -> None:
    """Emits a `NoEffectWarning` for the caller of the hook."""
    warnings.warn(message, NoEffectWarning, stacklevel=3)
