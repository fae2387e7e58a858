"""Replaces layers whose kernels have a low rank by two thin layers each."""

from __future__ import annotations

import dataclasses
import math
import warnings

import keras

from keras_reg._keras.cloning import has_graph
from keras_reg._types import Tensor
from keras_reg._validation import reject
from keras_reg._warnings import NoEffectWarning
from keras_reg.layers._kernels import CONVOLUTIONS
from keras_reg.ops.low_rank import check_energy, check_split, full_rank, low_rank_factors
from keras_reg.surgery._cloning import check_clonable, exchange
from keras_reg.surgery._rank_kernels import SUPPORTED, RankKernel, iter_rank_kernels, split_equation
from keras_reg.surgery._select import LayerPatterns, check_patterns
from keras_reg.surgery._thin_layers import build_thin_layers

_CLASSES = (keras.layers.Dense, keras.layers.EinsumDense, *CONVOLUTIONS)
_SPLITS = ("channel", "spatial")


@dataclasses.dataclass(frozen=True)
class LayerRank:
    """Describes what `low_rank_factorize` does with one layer.

    Attributes:
        layer: String. The names of the layers around the layer and the name of the layer, joined by `/`.
        rank: Integer or `None`. The rank that keeps the energy.
        full_rank: Integer or `None`. The largest rank that the kernel can have.
        before: Integer. The number of parameters of the kernel.
        after: Integer. The number of parameters that replace them.
        skip_reason: String. The reason why the layer is not replaced. It is empty if the layer is factorized.
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
    *,
    split: str = "channel",
    include: LayerPatterns = None,
    exclude: LayerPatterns = None,
) -> keras.Model:
    """Returns a model in which layers whose kernels have a low rank are replaced by two thin layers each.

    The new model computes the same outputs as the model with truncated kernels, which have the lowest rank that keeps
    the energy. A `keras.Sequential` with the name of the layer replaces the layer. It contains two layers of the same
    class:

    - The first layer has as many outputs as the rank and no bias.
    - The second layer has the bias, the activation and the activity regularizer.

    With `split="channel"`, a convolution becomes one with the same window and a pointwise one. With
    `split="spatial"`, it becomes one along the first axis of the window and one along the other axes. The new layers
    are Keras's own. Regularizers and constraints of a kernel are dropped, since they apply to the product of both
    kernels. Call `apply_regularizer` to regularize the thin layers.

    These layers are not replaced:

    - layers for which two thin layers would not be smaller
    - layers other than `Dense`, `EinsumDense`, `Conv1D`, `Conv2D` and `Conv3D`, such as depthwise convolutions
    - grouped convolutions
    - layers that another layer creates, such as the projections in attention layers

    `keras_reg.surgery.low_rank_report` lists each layer with the reason.

    Args:
        model: A Sequential or Functional `keras.Model`, nested or not. It is not changed.
        energy: Float. The smallest share of the sum of squared singular values to keep, above 0 and below 1. Defaults
            to `0.9`.
        split: String. How convolutions are divided: `"channel"` or `"spatial"`. Defaults to `"channel"`.
        include: String, class, Callable or a list of these. The layers to select: a pattern of names such as
            `"block*_conv*"` or of paths such as `"encoder/*"`, a layer class, or a function of the layer. Defaults to
            `None`, which means all.
        exclude: Layers to leave out, in the same form. Defaults to `None`, which means none.

    Returns:
        The model. If the original model is compiled, the new model is compiled with a new optimizer.

    Raises:
        ValueError: If an argument is out of range, or the model is subclassed or not built.

    Example:

    ```python
    thin = keras_reg.low_rank_factorize(model, energy=0.9)
    print(model.count_params(), thin.count_params())
    ```
    """
    check_clonable(model, "Create two thin layers in its code, with the kernels of `ops.low_rank.low_rank_factors`.")
    steps = {id(step.kernel.layer): step for step in _plan(model, energy, split, include, exclude)}

    def replace(layer: keras.Layer) -> keras.Layer | None:
        step = steps.get(id(layer))
        return None if step is None or step.factors is None else build_thin_layers(layer, step.factors, split)

    new, changed = exchange(model, replace)
    if not changed:
        reasons = {step.row.layer: step.row.skip_reason for step in steps.values()}
        warnings.warn(
            f"low_rank_factorize has changed nothing in {model.name!r}. It supports {SUPPORTED}. Skipped layers and "
            f"reasons: {reasons}. The returned model is a copy. Received: include={include!r}, exclude={exclude!r}",
            NoEffectWarning,
            stacklevel=2,
        )
    return new


def low_rank_report(
    model: keras.Model,
    energy: float = 0.9,
    *,
    split: str = "channel",
    include: LayerPatterns = None,
    exclude: LayerPatterns = None,
) -> list[LayerRank]:
    """Returns the rank and the number of parameters that `low_rank_factorize` would give each layer of a model.

    Args:
        model: A `keras.Model` that is built, before it is factorized.
        energy: Float. The share to keep, as in `low_rank_factorize`. Defaults to `0.9`.
        split: String. How convolutions are divided, as in `low_rank_factorize`. Defaults to `"channel"`.
        include: The layers to select, as in `low_rank_factorize`. Defaults to `None`, which means all.
        exclude: The layers to leave out. Defaults to `None`, which means none.

    Returns:
        A list with one `keras_reg.surgery.LayerRank` for each selected layer that has a kernel.

    Raises:
        ValueError: If an argument is out of range, or the model is not built.

    Example:

    ```python
    for row in keras_reg.surgery.low_rank_report(model, energy=0.9):
        print(row.layer, row.rank, row.full_rank, row.before, row.after)
        print(row.skip_reason)
    ```
    """
    if not isinstance(model, keras.Model) or not model.built:
        reject("model", model, "must be a built `keras.Model`")
    return [step.row for step in _plan(model, energy, split, include, exclude)]


@dataclasses.dataclass(frozen=True)
class _Step:
    """Describes what is done with one kernel: its row in the report and the two kernels that replace it."""

    kernel: RankKernel
    row: LayerRank
    factors: tuple[Tensor, Tensor] | None = None


def _plan(model: keras.Model, energy: float, split: str, include: LayerPatterns, exclude: LayerPatterns) -> list[_Step]:
    check_energy(energy)
    check_split(split, _SPLITS)
    check_patterns("include", include)
    check_patterns("exclude", exclude)
    return [_plan_step(kernel, energy, split) for kernel in iter_rank_kernels(model, include, exclude)]


def _plan_step(kernel: RankKernel, energy: float, split: str) -> _Step:
    before = math.prod(kernel.variable.shape)
    reason = kernel.skip_reason or _find_skip_reason(kernel)
    if reason:
        return _Step(kernel, LayerRank(kernel.path, None, None, before, before, reason))
    value = kernel.read()
    factors = low_rank_factors(value, energy, split)
    ranks = int(factors[0].shape[-1]), full_rank(value.shape, split)
    after = sum(math.prod(factor.shape) for factor in factors)
    if after >= before:
        return _Step(kernel, LayerRank(kernel.path, *ranks, before, before, "two layers would not be smaller"))
    return _Step(kernel, LayerRank(kernel.path, *ranks, before, after), factors)


def _find_skip_reason(kernel: RankKernel) -> str:
    """Returns the reason why a layer cannot be replaced, or an empty string."""
    layer = kernel.layer
    if type(layer) not in _CLASSES:
        # A subclass may use its kernel differently.
        return f"it is a {type(layer).__name__}"
    for parent in kernel.parents:
        if not has_graph(parent) and not isinstance(parent, keras.layers.TimeDistributed):
            return f"it is a part of {parent.name!r}, which creates it"
    if isinstance(layer, keras.layers.EinsumDense) and split_equation(layer)[0].find("...") > 0:
        return "its equation has an ellipsis at the end"
    return ""
