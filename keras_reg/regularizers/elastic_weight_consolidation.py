"""Elastic weight consolidation as a regularizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._registry import export
from keras_reg.regularizers._anchored import AnchoredRegularizer


@export("regularizers.ElasticWeightConsolidation", kind="regularizer", arxiv="1612.00796", year=2016)
class ElasticWeightConsolidation(AnchoredRegularizer):
    """Elastic weight consolidation (EWC): strength / 2 * sum(F * (w - anchor)**2), weights that matter are held most.

    F is the Fisher information of each weight on the old data: how much the old predictions depend on it. So a model
    learns something new and keeps what it knew, without the old data.

    `keras_reg.apply_regularizer` takes the present weights as anchors, with the Fisher information of each variable
    from `fisher`. Files of models and of weights hold both.

    Args:
        fisher: The Fisher information by the path of the variable, from `keras_reg.training.fisher_diagonal`.
        strength: The factor, lambda in the paper. 1 is right by Bayes' rule if there are as many old samples as new
            ones; in practice it is tuned.
        shape: The shape of the variable, for layers that are made with the regularizer as an argument; what it holds
            comes with `keras_reg.apply_regularizer`, or with a file. `None` leaves it to
            `keras_reg.apply_regularizer`.

    Attributes:
        anchor: The anchors of one variable, a `keras.Variable`; of the regularizer that the variable has.
        importance: Its Fisher information, the same.

    Raises:
        ValueError: If an argument is out of its range, when it is applied, if there is no Fisher information of a
            variable, or, when called, if there are no anchors yet.

    Example:

    ```python
    fisher = keras_reg.training.fisher_diagonal(model, (x, y))
    keras_reg.apply_regularizer(
        model, keras_reg.regularizers.ElasticWeightConsolidation(fisher, 100.0), variables=["kernel", "bias"]
    )
    ```

    Source: James Kirkpatrick et al., Overcoming catastrophic forgetting in neural networks, arXiv 1612.00796, 2016.
    """

    def __init__(
        self,
        fisher: Mapping[str, Any] | None = None,
        strength: float = 1.0,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__(strength, shape, ("anchor", "importance"))
        self.fisher = _check_fisher(fisher)

    def for_variable(self, variable: keras.Variable) -> ElasticWeightConsolidation:
        """The same for a variable, with its present value as the anchor and its Fisher information.

        Args:
            variable: The variable.

        Returns:
            A regularizer of the same strength.
        """
        if variable.path not in self.fisher:
            raise ValueError(
                f"`fisher` has no Fisher information of {variable.path!r}. Compute it with "
                "`keras_reg.training.fisher_diagonal` while the variable is trainable, or leave the variable out. "
                f"Received: fisher of {sorted(self.fisher)}"
            )
        bound = type(self)(None, self.strength, tuple(variable.shape))
        bound.set(anchor=ops.convert_to_numpy(variable), importance=self.fisher[variable.path])
        return bound

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        fisher = keras.saving.serialize_keras_object(dict(self.fisher)) if self.fisher else None
        return {"fisher": fisher, "strength": self.strength, "shape": self.shape}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ElasticWeightConsolidation:
        """Builds a regularizer from the arguments that `get_config` gave."""
        return cls(**{**config, "fisher": keras.saving.deserialize_keras_object(config["fisher"])})


def _check_fisher(fisher: Any) -> dict[str, np.ndarray]:
    if fisher is None:
        return {}
    if not isinstance(fisher, Mapping):
        raise ValueError(
            "`fisher` must be a mapping from the paths of variables to arrays, as "
            f"`keras_reg.training.fisher_diagonal` returns. Received: fisher={fisher!r}"
        )
    arrays = {path: np.asarray(array) for path, array in fisher.items()}
    for path, array in arrays.items():
        if not np.isfinite(array).all() or (array < 0).any():
            raise ValueError(
                f"The Fisher information is finite and at least 0, but not that of {path!r}. "
                f"Received: fisher={fisher!r}"
            )
    return arrays
