"""The shape of the distribution of the weights as a callback."""

from __future__ import annotations

import warnings
from typing import Any

import keras
from keras import ops

from keras_reg._keras.callback_model import updated_model
from keras_reg._registry import export
from keras_reg._validation import check_number
from keras_reg._warnings import NoEffectWarning
from keras_reg.ops.generalized_gaussian import generalized_gaussian_shape
from keras_reg.regularizers import GeneralizedGaussianPrior
from keras_reg.surgery._select import LayerPatterns, VariablePatterns, check_patterns, check_variables, matching
from keras_reg.surgery.regularize import rebuild_step_functions


@export("callbacks.GeneralizedGaussianShape", kind="callback", arxiv="2504.16968", year=2025)
class GeneralizedGaussianShape(keras.callbacks.Callback):
    """Measures after each epoch how the weights are distributed: the shape of a generalized Gaussian, for `logs`.

    `generalized_gaussian_shape` is 2 for weights like normal ones, 1 for a Laplace distribution, less for sparser ones:
    the smaller it is, the better weights can be pruned and compressed. With `adapt=True` it is also given to the
    `regularizers.GeneralizedGaussianPrior` of these weights, so that the prior follows them.

    Args:
        adapt: Whether the priors get the shape before each epoch, rounded to a multiple of `step`. The training step is
            traced again in epochs before which the rounded shape has changed, and only then.
        step: What the shape is rounded to. It is never rounded to less than this.
        include: Which layers, as in `keras_reg.apply_regularizer`.
        exclude: Layers to leave out.
        variables: Which trainable variables of these layers; by default all, as the authors do.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    ```python
    prior = keras_reg.regularizers.GeneralizedGaussianPrior(1e-4)
    keras_reg.apply_regularizer(model, prior, variables=["kernel", "bias"])
    history = model.fit(x, y, epochs=100, callbacks=[keras_reg.callbacks.GeneralizedGaussianShape(adapt=True)])
    history.history["generalized_gaussian_shape"], prior.shape
    ```

    Source: Jun Wu, Jiangtao Wen, Yuxing Han, BackSlash: Rate Constrained Optimized Training of Large Language Models,
    arXiv 2504.16968, 2025, where the shape is estimated at each step.
    """

    def __init__(
        self,
        adapt: bool = False,
        step: float = 0.05,
        include: LayerPatterns = None,
        exclude: LayerPatterns = None,
        variables: VariablePatterns = "*",
    ) -> None:
        super().__init__()
        if not isinstance(adapt, bool):
            raise ValueError(f"`adapt` must be True or False. Received: adapt={adapt!r}")
        self.adapt = adapt
        self.step = check_number("step", step, above=0.0)
        check_patterns("include", include)
        check_patterns("exclude", exclude)
        check_variables(variables)
        self.include, self.exclude, self.variables = include, exclude, variables
        self._weights: list[keras.Variable] = []
        self._priors: list[GeneralizedGaussianPrior] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the weights and their priors."""
        found = matching(self.model, self.include, self.exclude, self.variables)
        self._weights = [variable for _, variable in found if variable.trainable]
        given = f"include={self.include!r}, exclude={self.exclude!r}, variables={self.variables!r}"
        if not self._weights:
            _warn(f"No trainable variable matched, so that no shape is measured. Received: {given}")
        regularizers = {id(v.regularizer): v.regularizer for v in self._weights}.values()
        self._priors = [r for r in regularizers if self.adapt and isinstance(r, GeneralizedGaussianPrior)]
        if self._weights and self.adapt and not self._priors:
            _warn(
                "No variable that matched has a `GeneralizedGaussianPrior`, so that no shape is adapted: give them one "
                f"with `keras_reg.apply_regularizer`. Received: adapt=True, {given}"
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Gives the priors the shape."""
        if not self._priors:
            return
        shape = max(self.step, round(self.step * round(self.measure() / self.step), 6))
        # Without an offset, a shape below 1 has an infinite gradient at 0.
        shapes = [max(shape, 1.0) if prior.offset == 0.0 else shape for prior in self._priors]
        if shapes != [prior.shape for prior in self._priors]:
            for prior, new in zip(self._priors, shapes, strict=True):
                prior.shape = new
            rebuild_step_functions(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Puts the shape into `logs`."""
        if self._weights and logs is not None:
            logs["generalized_gaussian_shape"] = self.measure()

    def measure(self) -> float:
        """The shape of the present weights; in a `fit`."""
        weights = [] if updated_model(self) is None else [variable.value for variable in self._weights]
        return float(ops.convert_to_numpy(generalized_gaussian_shape(weights)))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "adapt": self.adapt,
            "step": self.step,
            "include": self.include,
            "exclude": self.exclude,
            "variables": self.variables,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> GeneralizedGaussianShape:
        """Builds a callback from the arguments that `get_config` gave."""
        return cls(**config)


def _warn(what: str) -> None:
    warnings.warn(what, NoEffectWarning, stacklevel=3)
