"""Elastic weight consolidation as a regularizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._registry import Range, export
from keras_reg._types import Array, ArrayLike, Config
from keras_reg._validation import reject
from keras_reg.regularizers._anchored import AnchoredRegularizer


@export(
    "regularizers.ElasticWeightConsolidation",
    kind="regularizer",
    tasks=("continual learning",),
    tunable={"strength": Range(0.1, 10000.0, log=True)},
    arxiv="1612.00796",
    year=2016,
)
class ElasticWeightConsolidation(AnchoredRegularizer):
    """Pulls weights towards their old values, most strongly those that matter most for the old data (EWC).

    The penalty is `strength / 2 * sum(F * (w - anchor)**2)`. F is the Fisher information of each weight on the old
    data. It measures how much the predictions on the old data depend on the weight. The model thus learns new data and
    keeps what it has learned, without the old data.

    `keras_reg.apply_regularizer` takes the current weights as anchors, and the Fisher information of each variable from
    `fisher`. Model files and weights files contain both.

    Args:
        fisher: Dictionary. The Fisher information by the path of the variable, as `keras_reg.training.fisher_diagonal`
            returns it. It is required when the regularizer is applied. Defaults to `None`.
        strength: Float. The factor of the penalty, lambda in the paper. By Bayes' rule, 1 is the right value if there
            are as many old samples as new ones. In practice, it is tuned. Defaults to `1.0`.
        shape: Tuple. The shape of the variable, for layers that are created with the regularizer as an argument.
            `keras_reg.apply_regularizer` or a file then provides the arrays. `None` lets
            `keras_reg.apply_regularizer` set the shape. Defaults to `None`.

    Attributes:
        anchor: A `keras.Variable` with the anchors of one variable. It belongs to the regularizer of that variable.
        importance: A `keras.Variable` with the Fisher information of the same variable.

    Raises:
        ValueError: If an argument is out of range. When the regularizer is applied, if `fisher` lacks a variable.
            When it is called, if there are no anchors yet.

    Example:

    ```python
    fisher = keras_reg.training.fisher_diagonal(model, (x, y))
    elastic = keras_reg.regularizers.ElasticWeightConsolidation(
        fisher, 100.0
    )
    keras_reg.apply_regularizer(
        model, elastic, variables=["kernel", "bias"]
    )
    ```

    Reference:

    - [Kirkpatrick et al., 2016](https://arxiv.org/abs/1612.00796): Overcoming catastrophic forgetting in neural
      networks
    """

    def __init__(
        self,
        fisher: Mapping[str, ArrayLike] | None = None,
        strength: float = 1.0,
        *,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__(strength, shape, ("anchor", "importance"))
        self.fisher = _check_fisher(fisher)

    def for_variable(self, variable: keras.Variable) -> ElasticWeightConsolidation:
        """Returns a regularizer for a variable, with its current value as the anchor and its Fisher information.

        Args:
            variable: The variable.

        Returns:
            A regularizer of the same strength.

        Raises:
            ValueError: If `fisher` lacks the variable.
        """
        if variable.path not in self.fisher:
            raise ValueError(
                f"`fisher` has no Fisher information for {variable.path!r}. Compute it with "
                "`keras_reg.training.fisher_diagonal` while the variable is trainable, or leave the variable out. "
                f"Received: fisher of {sorted(self.fisher)}"
            )
        bound = type(self)(None, self.strength, shape=tuple(variable.shape))
        bound.assign(anchor=ops.convert_to_numpy(variable), importance=self.fisher[variable.path])
        return bound

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        fisher = keras.saving.serialize_keras_object(dict(self.fisher)) if self.fisher else None
        return {"fisher": fisher, "strength": self.strength, "shape": self.shape}

    @classmethod
    def from_config(cls, config: Config) -> ElasticWeightConsolidation:
        """Creates a regularizer from the configuration that `get_config` returns."""
        return cls(**{**config, "fisher": keras.saving.deserialize_keras_object(config["fisher"])})


def _check_fisher(fisher: Any) -> dict[str, Array]:
    if fisher is None:
        return {}
    if not isinstance(fisher, Mapping):
        reject(
            "fisher",
            fisher,
            "must be a mapping from paths of variables to arrays, as `keras_reg.training.fisher_diagonal` returns it",
        )
    arrays = {path: np.asarray(array) for path, array in fisher.items()}
    for path, array in arrays.items():
        # The type bfloat16 has the kind "V".
        if array.dtype.kind not in "fiuV" or not np.isfinite(array).all() or (array < 0).any():
            reject("fisher", fisher, f"must hold finite numbers of at least 0, but does not for {path!r}")
    return arrays
