"""Trained rank pruning as a callback."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.callback_model import model_without_update, updated_model
from keras_reg._registry import Range, export
from keras_reg._types import Config, Tensor
from keras_reg._validation import check_integer
from keras_reg._warnings import NoEffectWarning
from keras_reg.callbacks._configurable import Configurable, serialize_functions
from keras_reg.ops.low_rank import check_energy, check_split, full_rank, truncate_rank
from keras_reg.surgery._rank_kernels import SUPPORTED, RankKernel, iter_rank_kernels
from keras_reg.surgery._select import LayerPatterns, check_patterns


@export(
    "callbacks.TrainedRankPruning",
    kind="callback",
    tasks=("compression",),
    tunable={"energy": Range(0.8, 0.99)},
    arxiv="1812.02402",
    year=2018,
)
class TrainedRankPruning(Configurable, keras.callbacks.Callback):
    """Cuts kernels to a low rank while they train, so that they can be factorized afterwards.

    Before every `every_n_steps`-th step, the callback replaces each kernel with the nearest kernel of the lowest rank
    that keeps `energy` of the squared singular values. That step, forward and backward, uses the cut kernels. Between
    these steps, kernels train freely. The optimizer counts the steps, so resumed training continues the count. Also
    give the kernels a `regularizers.NuclearNorm`, which pulls them towards a low rank. After `fit`,
    `low_rank_factorize` replaces the layers with thin ones.

    At the end of each epoch, the logs get `rank_share`: the rank that each kernel would be cut to now, as a share of
    its full rank, averaged over the kernels. It is NaN after training has diverged, and such kernels stay unchanged.
    Nothing is cut at the end of `fit`.

    Args:
        energy: Float. The smallest share of the sum of squared singular values to keep, above 0 and below 1. Defaults
            to `0.9`.
        every_n_steps: Integer. The number of steps from one cut to the next. With `steps_per_execution`, kernels are
            cut before the execution that contains such a step. Defaults to `20`.
        split: String. The matrix of a kernel, `"channel"`, `"spatial"` or `"filter"`, as in `low_rank_factorize`.
            Defaults to `"channel"`.
        include: String, class, Callable or a list of these. Selects layers, as in `apply_regularizer`: a pattern of
            names or paths, a layer class, a function of the layer, or a list of these. A callback with a class here
            cannot be serialized. Defaults to `None`, which selects every layer that can be cut: Dense, EinsumDense and
            Conv1D/2D/3D without groups, with trained kernels.
        exclude: Selects layers to leave unchanged, in the same form. Defaults to `None`.

    Attributes:
        ranks: Maps the path of a layer to the rank that its kernel would be cut to after the last epoch. For
            `"filter"` it is a list with one rank for each output.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    ```python
    nuclear_norm = keras_reg.regularizers.NuclearNorm(3e-4)
    keras_reg.apply_regularizer(model, nuclear_norm)
    pruning = keras_reg.callbacks.TrainedRankPruning(0.9, every_n_steps=20)
    model.fit(x, y, epochs=100, callbacks=[pruning])
    print(pruning.ranks)
    thin = keras_reg.low_rank_factorize(model, energy=0.9)
    ```

    Reference:

    - [Xu et al., 2018](https://arxiv.org/abs/1812.02402): Trained Rank Pruning for Efficient Deep Neural Networks
    """

    serialized_arguments = ("include", "exclude")

    def __init__(
        self,
        energy: float = 0.9,
        *,
        every_n_steps: int = 20,
        split: str = "channel",
        include: LayerPatterns = None,
        exclude: LayerPatterns = None,
    ) -> None:
        super().__init__()
        self.energy = check_energy(energy)
        self.every_n_steps = check_integer("every_n_steps", every_n_steps)
        self.split = check_split(split)
        check_patterns("include", include)
        check_patterns("exclude", exclude)
        self.include, self.exclude = include, exclude
        self.ranks: dict[str, Any] = {}
        self._kernels: list[RankKernel] = []
        self._first_step = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the kernels."""
        self.ranks = {}
        selected = list(iter_rank_kernels(self.model, self.include, self.exclude))
        self._kernels = [kernel for kernel in selected if not kernel.skip_reason and kernel.variable.trainable]
        if not self._kernels:
            warnings.warn(
                f"TrainedRankPruning has nothing to cut: no trained layer of {SUPPORTED} matches "
                f"include={self.include!r} and exclude={self.exclude!r}. Skipped: "
                f"{ {kernel.path: kernel.skip_reason or 'it is frozen' for kernel in selected} }",
                NoEffectWarning,
                stacklevel=2,
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Reads the number of steps so far."""
        # `optimizer.iterations` counts updates, which are fewer than steps if gradients are accumulated. With loss
        # scaling, the first count belongs to `LossScaleOptimizer` and the last one to the inner optimizer.
        counts = [variable for variable in self.model.optimizer.variables if variable.name == "iteration"]
        self._first_step = int(ops.convert_to_numpy(counts[-1]))

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Cuts the kernels before every `every_n_steps`-th step."""
        model = model_without_update(self)
        if model is None or -(self._first_step + batch) % self.every_n_steps >= model.steps_per_execution:
            return
        if self._kernels and updated_model(self) is not None:
            for kernel in self._kernels:
                value = kernel.read()
                if _is_finite(value):
                    kernel.write(truncate_rank(value, self.energy, self.split)[0])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the mean share of the ranks to the logs."""
        if self.model is None or not self._kernels:
            return
        shares = []
        for kernel in self._kernels:
            value = kernel.read()
            if not _is_finite(value):
                self.ranks.pop(kernel.path, None)
                shares.append(np.nan)
                continue
            ranks = ops.convert_to_numpy(truncate_rank(value, self.energy, self.split)[1])
            self.ranks[kernel.path] = ranks.tolist()
            shares.append(np.mean(ranks) / full_rank(value.shape, self.split))
        if logs is not None:
            logs["rank_share"] = float(np.mean(shares))

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        patterns = {name: serialize_functions(getattr(self, name)) for name in self.serialized_arguments}
        return {"energy": self.energy, "every_n_steps": self.every_n_steps, "split": self.split, **patterns}


def _is_finite(kernel: Tensor) -> bool:
    """Returns True for a kernel of finite numbers. Other kernels, after divergence, cannot be decomposed."""
    return bool(ops.convert_to_numpy(ops.all(ops.isfinite(kernel))))
