"""Two thin layers in place of one whose kernel has a low rank."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

import keras

from keras_reg._warnings import NoEffectWarning
from keras_reg.layers._kernels import CONVOLUTIONS
from keras_reg.ops.low_rank import check_energy, check_split, full_rank, low_rank_factors
from keras_reg.surgery._cloning import check_clonable, exchange
from keras_reg.surgery._rank_kernels import SUPPORTED, RankKernel, einsum_letters, rank_kernels
from keras_reg.surgery._select import LayerPatterns, check_patterns
from keras_reg.surgery._thin_layers import thin_layers

_CLASSES = (keras.layers.Dense, keras.layers.EinsumDense, *CONVOLUTIONS)
_SPLITS = ("channel", "spatial")


@dataclasses.dataclass(frozen=True)
class LayerRank:
    """What `low_rank_factorize` does with one layer.

    Attributes:
        layer: The names of the layers around it, and its own.
        rank: The rank that keeps the energy.
        full_rank: The largest rank that the kernel can have.
        before: How many parameters the kernel has.
        after: How many there are in its place.
        skip_reason: Why the layer stays as it is; empty if it is factorized.
    """

    layer: str
    rank: int | None
    full_rank: int | None
    before: int
    after: int
    skip_reason: str = ""


def low_rank_factorize(
    model: keras.Model,
    energy: float = 0.9,
    split: str = "channel",
    include: LayerPatterns = None,
    exclude: LayerPatterns = None,
) -> keras.Model:
    """Returns a model in which layers whose kernels have a low rank are two thin layers each.

    It computes what the given model would with its kernels cut by `ops.truncate_rank`. In the place of a layer there is
    a `keras.Sequential` of its name with two layers of its kind: the first, without a bias, has as many outputs as the
    rank; the second has bias, activation and activity regularizer. A convolution becomes one with the same window and
    a pointwise one (`"channel"`), or one along the first axis of the window and one along the others (`"spatial"`).
    The new layers are plain ones of Keras. Regularizers and constraints of a kernel do not go along, since they meant
    the product: give the thin layers their own with `apply_regularizer`.

    A layer stays as it is where two thin ones would not be smaller, and where it is no Dense, EinsumDense or
    Conv1D/2D/3D: depthwise and grouped convolutions, for example, and the projections in attention layers, which those
    make themselves. `surgery.low_rank_report` says what happens to which layer, and why.

    Args:
        model: A Sequential or Functional model, nested or not. It stays as it is.
        energy: The share of the sum of squared singular values that is kept at least, above 0 and below 1.
        split: How convolutions are divided: `"channel"` or `"spatial"`.
        include: Which layers: a pattern of names such as `"block*_conv*"` or of paths such as `"encoder/*"`, a layer
            class, a function of the layer, or a list of these. `None` means all.
        exclude: The same for layers to leave alone.

    Returns:
        The model, compiled as the given one, with a new optimizer.

    Raises:
        ValueError: If an argument is out of its range, or the model is subclassed or not built.

    Example:

    ```python
    thin = keras_reg.low_rank_factorize(model, energy=0.9)
    print(model.count_params(), thin.count_params())
    ```
    """
    check_clonable(model, "Put two thin layers where it makes a layer, with the kernels of `ops.low_rank_factors`.")
    plan = {id(step.kernel.layer): step for step in _plan(model, energy, split, include, exclude)}

    def thin(layer: keras.Layer) -> keras.Layer | None:
        step = plan.get(id(layer))
        return None if step is None or step.factors is None else thin_layers(layer, step.factors, split)

    new, changed = exchange(model, thin)
    if not changed:
        reasons = {step.row.layer: step.row.skip_reason for step in plan.values()}
        warnings.warn(
            f"low_rank_factorize has changed nothing in {model.name!r}; left alone: {reasons}. It is for {SUPPORTED}. "
            f"The model that is returned is a copy. Received: include={include!r}, exclude={exclude!r}",
            NoEffectWarning,
            stacklevel=2,
        )
    return new


def low_rank_report(
    model: keras.Model,
    energy: float = 0.9,
    split: str = "channel",
    include: LayerPatterns = None,
    exclude: LayerPatterns = None,
) -> list[LayerRank]:
    """What `low_rank_factorize` does with a model, or would do: the rank of each layer, and the number of parameters.

    Args:
        model: A built model, before it is factorized.
        energy: As in `low_rank_factorize`.
        split: As in `low_rank_factorize`.
        include: Which layers, as in `low_rank_factorize`.
        exclude: Layers to leave alone.

    Returns:
        A `surgery.LayerRank` for each selected layer that has a kernel.

    Raises:
        ValueError: If an argument is out of its range, or the model is not built.

    Example:

    ```python
    for row in keras_reg.surgery.low_rank_report(model, energy=0.9):
        print(row.layer, row.rank, row.full_rank, row.before, row.after, row.skip_reason)
    ```
    """
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(f"`model` must be a `keras.Model` that is built. Received: model={model!r}")
    return [step.row for step in _plan(model, energy, split, include, exclude)]


@dataclasses.dataclass(frozen=True)
class _Step:
    """What is done with one kernel: what is said of it, and the kernels in its place."""

    kernel: RankKernel
    row: LayerRank
    factors: tuple[Any, Any] | None = None


def _plan(model: keras.Model, energy: float, split: str, include: LayerPatterns, exclude: LayerPatterns) -> list[_Step]:
    check_energy(energy)
    check_split(split, _SPLITS)
    check_patterns("include", include)
    check_patterns("exclude", exclude)
    return [_step(kernel, energy, split) for kernel in rank_kernels(model, include, exclude)]


def _step(kernel: RankKernel, energy: float, split: str) -> _Step:
    before = math.prod(kernel.variable.shape)
    reason = kernel.skip_reason or _not_exchangeable(kernel)
    if reason:
        return _Step(kernel, LayerRank(kernel.path, None, None, before, before, reason))
    value = kernel.read()
    factors = low_rank_factors(value, energy, split)
    ranks = int(factors[0].shape[-1]), full_rank(value.shape, split)
    after = sum(math.prod(factor.shape) for factor in factors)
    if after >= before:
        return _Step(kernel, LayerRank(kernel.path, *ranks, before, before, "two layers would not be smaller"))
    return _Step(kernel, LayerRank(kernel.path, *ranks, before, after), factors)


def _not_exchangeable(kernel: RankKernel) -> str:
    layer = kernel.layer
    if type(layer) not in _CLASSES:  # a subclass may do anything with its kernel
        return f"it is a {type(layer).__name__}"
    for part in kernel.inside:
        # The class of Functional models has no public name; they alone know their operations.
        if not isinstance(part, (keras.Sequential, keras.layers.TimeDistributed)) and not hasattr(part, "operations"):
            return f"it is a part of {part.name!r}, which makes it itself"
    if isinstance(layer, keras.layers.EinsumDense) and einsum_letters(layer)[0].find("...") > 0:
        return "its equation has its ellipsis at the end"
    return ""
