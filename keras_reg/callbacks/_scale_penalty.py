"""What the callbacks that penalize the scales of batch normalizations share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_reg._keras.dtypes import compute_dtype
from keras_reg._validation import check_number
from keras_reg._warnings import NoEffectWarning
from keras_reg.surgery._scales import scaled_normalizations
from keras_reg.training import ObjectiveCallback
from keras_reg.training.terms import Batch

#: A scale that is not above this prunes its channel, in the recipe of MaskSparsity.
SMALL = 0.01

Names = str | Sequence[str] | None


class ScalePenalty(ObjectiveCallback):
    """Base of the callbacks that add a penalty of all scales of a model to the training loss.

    A subclass names its term in `term_names`, and computes it in `penalty`. The share of the scales that are small is
    in the logs as `small_scales`.

    Args:
        strength: The factor of the penalty.
        include: Names of the batch normalizations to take, as patterns such as `"block1_*"`; `None` for all.
        exclude: Names of those to leave out.
        save_memory: Whether the state goes into checkpoints that are written during `fit`.
    """

    diagnostic_names = ("small_scales",)

    def __init__(self, strength: float, include: Names, exclude: Names, save_memory: bool = True) -> None:
        super().__init__(save_memory)
        self.strength = check_number("strength", strength)
        self.include = _check_names("include", include)
        self.exclude = _check_names("exclude", exclude)
        self.scales: list[keras.Variable] = []

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"strength": self.strength, "include": self.include, "exclude": self.exclude}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ScalePenalty:
        """Builds a callback from the arguments that `get_config` gave."""
        return cls(**config)

    def check_model(self, model: keras.Model) -> None:
        """Finds the scales."""
        layers = scaled_normalizations(model, self.include, self.exclude)
        if not layers:
            raise ValueError(
                "The model has no batch normalization whose scale is trained and that `include` and `exclude` mean: "
                f"there is nothing to penalize. Received: include={self.include!r}, exclude={self.exclude!r}"
            )
        self.scales = [layer.gamma for layer in layers]
        if not self.strength:
            warnings.warn(f"strength=0 leaves training as it is. Received: {self}", NoEffectWarning, stacklevel=2)

    def penalty(self, scales: list[Any]) -> Any:
        """The penalty of the scales of each layer, a scalar."""
        raise NotImplementedError

    def terms(self, batch: Batch) -> dict[str, tuple[Any, Any]]:
        """The penalty, and the share of small scales."""
        scales = [ops.cast(ops.convert_to_tensor(scale), compute_dtype()) for scale in self.scales]
        small = ops.cast(ops.abs(ops.concatenate(scales)) <= SMALL, compute_dtype())
        (name,) = self.term_names
        # One value and not one for each sample: it does not depend on the batch, nor on how replicas share it.
        return {
            name: (ops.reshape(self.strength * self.penalty(scales), (1,)), None),
            "small_scales": (ops.reshape(ops.sum(small) / small.shape[0], (1,)), None),
        }


def _check_names(name: str, names: Names) -> Names:
    several = [names] if isinstance(names, str) or names is None else names
    if not isinstance(several, Sequence) or not all(isinstance(one, str) for one in several if one is not None):
        raise ValueError(
            f"`{name}` must be a pattern of layer names such as 'block1_*', a list of them, or None. "
            f"Received: {name}={names!r}"
        )
    return names
