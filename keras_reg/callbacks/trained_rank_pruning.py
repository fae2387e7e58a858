"""Trained rank pruning as a callback."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.callback_model import model_without_update, updated_model
from keras_reg._registry import export
from keras_reg._validation import check_integer
from keras_reg._warnings import NoEffectWarning
from keras_reg.ops.low_rank import check_energy, check_split, full_rank, truncate_rank
from keras_reg.surgery._rank_kernels import SUPPORTED, RankKernel, rank_kernels
from keras_reg.surgery._select import LayerPatterns, check_patterns


@export("callbacks.TrainedRankPruning", kind="callback", arxiv="1812.02402", year=2018)
class TrainedRankPruning(keras.callbacks.Callback):
    """Trained rank pruning: cuts kernels to a low rank while they train, so that they can be factorized afterwards.

    Before every `every_n_steps`-th step, the callback replaces each kernel by the nearest kernel of the lowest rank
    that keeps `energy` of the squared singular values. That step, forward and backward, uses the cut kernels. Between
    these steps, kernels train freely. The optimizer counts the steps, so that a resumed training continues the count.
    Give the kernels a `regularizers.NuclearNorm` too, which draws them to a low rank, and let `low_rank_factorize` make
    thin layers of them after `fit`.

    The logs of an epoch get `rank_share`: what the kernels would be cut to now, as a share of their full ranks, mean
    over the kernels; NaN where training has diverged, and such kernels are left as they are. Nothing is cut at the end
    of `fit`.

    Args:
        every_n_steps: Integer. The number of steps from one cut to the next. With `steps_per_execution`, kernels are
            cut before the execution that contains such a step. Defaults to `20`.
        energy: The share of the sum of squared singular values that is kept at least, above 0 and below 1.
        split: Which matrix a kernel is: `"channel"`, `"spatial"` or `"filter"`, as in `ops.truncate_rank`.
        include: Which layers, as in `apply_regularizer`: a pattern of names or paths, a layer class, a function of the
            layer, or a list of these; `None` means every layer that can be cut: Dense, EinsumDense and Conv1D/2D/3D,
            without groups, whose kernels are trained. A callback with a class here cannot be serialized.
        exclude: The same for layers to leave alone.

    Attributes:
        ranks: By the path of a layer, the rank that its kernel would be cut to after the last epoch; for `"filter"`, a
            list with one for each output.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    ```python
    keras_reg.apply_regularizer(model, keras_reg.regularizers.NuclearNorm(3e-4))
    pruning = keras_reg.callbacks.TrainedRankPruning(every_n_steps=20, energy=0.9)
    model.fit(x, y, epochs=100, callbacks=[pruning])
    print(pruning.ranks)
    thin = keras_reg.low_rank_factorize(model, energy=0.9)
    ```

    Source: Yuhui Xu, Yuxi Li, Shuai Zhang, Wei Wen, Botao Wang, Yingyong Qi, Yiran Chen, Weiyao Lin, Hongkai Xiong,
    Trained Rank Pruning for Efficient Deep Neural Networks, arXiv 1812.02402, 2018.
    """

    def __init__(
        self,
        every_n_steps: int = 20,
        energy: float = 0.9,
        split: str = "channel",
        include: LayerPatterns = None,
        exclude: LayerPatterns = None,
    ) -> None:
        super().__init__()
        self.every_n_steps = check_integer("every_n_steps", every_n_steps)
        self.energy = check_energy(energy)
        self.split = check_split(split)
        for name, patterns in (("include", include), ("exclude", exclude)):
            check_patterns(name, patterns)
        self.include, self.exclude = include, exclude
        self.ranks: dict[str, Any] = {}
        self._kernels: list[RankKernel] = []
        self._first_step = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the kernels."""
        self.ranks = {}
        found = list(rank_kernels(self.model, self.include, self.exclude))
        self._kernels = [kernel for kernel in found if not kernel.skip_reason and kernel.variable.trainable]
        if not self._kernels:
            warnings.warn(
                f"TrainedRankPruning has nothing to cut: no trained layer of {SUPPORTED} matches "
                f"include={self.include!r} and exclude={self.exclude!r}. Left alone: "
                f"{ {kernel.path: kernel.skip_reason or 'it is frozen' for kernel in found} }",
                NoEffectWarning,
                stacklevel=2,
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Looks up how many steps there were."""
        # Not `optimizer.iterations`, which counts updates: with accumulated gradients there are fewer of them. Loss
        # scaling has a count of its own before that of the optimizer.
        counts = [variable for variable in self.model.optimizer.variables if variable.name == "iteration"]
        self._first_step = int(ops.convert_to_numpy(counts[-1]))

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Cuts the kernels, if it is time."""
        model = model_without_update(self)
        if model is None or -(self._first_step + batch) % self.every_n_steps >= model.steps_per_execution:
            return
        if self._kernels and updated_model(self) is not None:
            for kernel in self._kernels:
                value = kernel.read()
                if _is_finite(value):
                    kernel.write(truncate_rank(value, self.energy, self.split)[0])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Puts the mean share of the ranks into the logs."""
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

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "every_n_steps": self.every_n_steps,
            "energy": self.energy,
            "split": self.split,
            "include": _stored(self.include),
            "exclude": _stored(self.exclude),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TrainedRankPruning:
        """Builds a callback from the arguments that `get_config` gave."""
        patterns = {name: _restored(config[name]) for name in ("include", "exclude")}
        return cls(**{**config, **patterns})


def _is_finite(kernel: Any) -> bool:
    """Whether it can be decomposed: what remains of a diverged training cannot, and is left as it is."""
    return bool(ops.convert_to_numpy(ops.all(ops.isfinite(kernel))))


def _stored(patterns: Any) -> Any:
    if isinstance(patterns, (list, tuple)):
        return [_stored(pattern) for pattern in patterns]
    is_function = callable(patterns) and not isinstance(patterns, type)
    return keras.saving.serialize_keras_object(patterns) if is_function else patterns


def _restored(stored: Any) -> Any:
    if isinstance(stored, list):
        return [_restored(pattern) for pattern in stored]
    return keras.saving.deserialize_keras_object(stored) if isinstance(stored, dict) else stored
