"""Orthogonality of convolutions as a regularizer."""

from __future__ import annotations

from typing import Any

import keras

from keras_reg._registry import Range, export
from keras_reg._types import Config, Tensor
from keras_reg._validation import check_boolean, check_integer, check_number, is_integer, reject
from keras_reg.ops.orthogonal_convolution import orthogonal_convolution_penalty

_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
_CONVOLUTIONS = (
    *_DEPTHWISE,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)


@export(
    "regularizers.OrthogonalConvolution",
    kind="regularizer",
    tasks=("optimization",),
    tunable={"strength": Range(0.01, 1.0, log=True)},
    arxiv="1911.12207",
    year=2019,
)
class OrthogonalConvolution(keras.regularizers.Regularizer):
    """Pulls a convolution, as a linear map of whole images, towards an orthogonal map.

    An orthogonal layer preserves the length of its inputs, in the forward or the backward direction. For a convolution,
    this differs from orthogonality of the kernel as a matrix, because shifted kernels overlap. The penalty is 0 exactly
    if the layer with periodic boundaries is orthogonal. Its cost does not depend on the size of the images.

    The penalty depends on the layer's stride and groups. `keras_reg.apply_regularizer` reads them from each layer. If
    you pass the regularizer as `kernel_regularizer`, pass it the same values as the layer.

    Args:
        strength: Float. The factor of the penalty. The papers' code uses 0.1 to 0.5, but with a norm that is not
            squared. Defaults to `0.1`.
        strides: Integer or tuple. The layer's stride, one number or one for each spatial dimension. `None` is for
            `keras_reg.apply_regularizer` and for `Dense` layers, which have no stride. Defaults to `None`.
        groups: Integer. The layer's number of groups. Defaults to `1`.
        depthwise: Boolean. Whether the layer is a depthwise convolution, `DepthwiseConv1D` or `DepthwiseConv2D`.
            Defaults to `False`.

    Raises:
        ValueError: If an argument is out of range, or, when called, if the arguments do not fit the kernel.

    Example:

    ```python
    penalty = keras_reg.regularizers.OrthogonalConvolution(0.1, strides=2)
    layer = keras.layers.Conv2D(
        16, 3, strides=2, kernel_regularizer=penalty
    )
    convolutions = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.Conv2D(8, 2, 2),
        ]
    )
    penalty = keras_reg.regularizers.OrthogonalConvolution(0.1)
    keras_reg.apply_regularizer(convolutions, penalty)
    ```

    References:

    - [Wang et al., 2019](https://arxiv.org/abs/1911.12207): Orthogonal Convolutional Neural Networks
    - [Achour et al., 2021](https://arxiv.org/abs/2108.05623): Existence, Stability and Scalability of Orthogonal
      Convolutional Neural Networks. The form of the penalty, its padding and its square are those of this paper.
    """

    def __init__(
        self,
        strength: float = 0.1,
        *,
        strides: int | tuple[int, ...] | None = None,
        groups: int = 1,
        depthwise: bool = False,
    ) -> None:
        self.strength = check_number("strength", strength)
        self.strides = _check_strides(strides)
        self.groups = check_integer("groups", groups)
        self.depthwise = check_boolean("depthwise", depthwise)
        if self.depthwise and self.groups > 1:
            raise ValueError(
                "A depthwise convolution must have `groups=1`, because each channel is a group already. "
                f"Received: depthwise={depthwise!r}, groups={groups!r}"
            )

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the penalty of a kernel, multiplied by the strength."""
        if self.strides is None and len(x.shape) > 2:
            raise ValueError(
                "The penalty of a convolution depends on its stride. Pass the same `strides` as to the layer, or apply "
                "the regularizer with `keras_reg.apply_regularizer`. "
                f"Received: strides=None, a kernel of shape {x.shape}"
            )
        strides = 1 if self.strides is None else self.strides
        return self.strength * orthogonal_convolution_penalty(x, strides, self.groups, self.depthwise)

    def for_layer(self, layer: keras.Layer) -> OrthogonalConvolution | None:
        """Returns a regularizer for the kernel of a layer, with its stride and groups.

        Args:
            layer: The layer.

        Returns:
            A regularizer of the same strength, or `None` if the layer is neither a convolution nor `Dense`.
        """
        if isinstance(layer, _CONVOLUTIONS):
            depthwise = isinstance(layer, _DEPTHWISE)
            groups = 1 if depthwise else getattr(layer, "groups", 1)
            return type(self)(self.strength, strides=layer.strides, groups=groups, depthwise=depthwise)
        return type(self)(self.strength) if isinstance(layer, keras.layers.Dense) else None

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            "strength": self.strength,
            "strides": self.strides,
            "groups": self.groups,
            "depthwise": self.depthwise,
        }


def _check_strides(strides: Any) -> int | tuple[int, ...] | None:
    if strides is None:
        return None
    sizes = strides if isinstance(strides, (tuple, list)) else (strides,)
    if not sizes or not all(is_integer(size) and size >= 1 for size in sizes):
        reject("strides", strides, "must be an integer of at least 1, one for each spatial dimension, or None")
    return int(strides) if is_integer(strides) else tuple(int(size) for size in sizes)
