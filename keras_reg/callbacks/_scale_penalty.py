"""The base class of callbacks that penalize the scales of batch normalizations."""

from __future__ import annotations

import warnings

import keras
from keras import ops

from keras_reg._keras.dtypes import compute_dtype
from keras_reg._types import Config, Tensor
from keras_reg._validation import check_number
from keras_reg._warnings import NoEffectWarning
from keras_reg.callbacks._configurable import Configurable, serialize_functions
from keras_reg.surgery._scales import find_scaled_normalizations
from keras_reg.surgery._select import LayerPatterns, check_patterns
from keras_reg.training import ObjectiveCallback
from keras_reg.training.terms import Batch

#: In the recipe of MaskSparsity, channels with scales up to this value are pruned.
SMALL_SCALE = 0.01


class ScalePenalty(Configurable, ObjectiveCallback):
    """Adds a penalty of all scales of a model to the training loss.

    A subclass names its term in `term_names` and computes it in `penalty`. The logs contain the share of small scales
    as `small_scales`.

    Args:
        strength: Float. The factor of the penalty.
        include: Selects batch normalizations, as in `keras_reg.apply_regularizer`. `None` selects all.
        exclude: Selects batch normalizations to leave out, in the same form.
        save_memory: Boolean. Whether checkpoints that are written during `fit` contain the state. Defaults to `True`.
    """

    diagnostic_names = ("small_scales",)
    serialized_arguments = ("include", "exclude")

    def __init__(
        self, strength: float, include: LayerPatterns, exclude: LayerPatterns, save_memory: bool = True
    ) -> None:
        super().__init__(save_memory)
        self.strength = check_number("strength", strength)
        check_patterns("include", include)
        check_patterns("exclude", exclude)
        self.include, self.exclude = include, exclude
        self.scales: list[keras.Variable] = []

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        patterns = {"include": serialize_functions(self.include), "exclude": serialize_functions(self.exclude)}
        return {"strength": self.strength, **patterns}

    def check_model(self, model: keras.Model) -> None:
        """Finds the scales. Raises a `ValueError` if the model trains none of the selected ones."""
        layers = find_scaled_normalizations(model, self.include, self.exclude)
        if not layers:
            raise ValueError(
                "The model has no batch normalization that trains a scale and that `include` and `exclude` select, so "
                f"there is nothing to penalize. Received: include={self.include!r}, exclude={self.exclude!r}"
            )
        self.scales = [layer.gamma for layer in layers]
        if not self.strength:
            warnings.warn(f"strength=0 has no effect on training. Received: {self}", NoEffectWarning, stacklevel=2)

    def penalty(self, scales: list[Tensor]) -> Tensor:
        """Returns the penalty of the scales of all layers, a scalar.

        Args:
            scales: The scales of each layer.
        """
        raise NotImplementedError

    def terms(self, batch: Batch) -> dict[str, tuple[Tensor, ...]]:
        """Computes the penalty and the share of small scales."""
        scales = [ops.cast(ops.convert_to_tensor(scale), compute_dtype()) for scale in self.scales]
        small = ops.cast(ops.abs(ops.concatenate(scales)) <= SMALL_SCALE, compute_dtype())
        (name,) = self.term_names
        # The penalty depends neither on the batch nor on the replicas that share it, so one value represents all
        # samples.
        return {
            name: (ops.reshape(self.strength * self.penalty(scales), (1,)), None),
            "small_scales": (ops.reshape(ops.sum(small) / small.shape[0], (1,)), None),
        }
