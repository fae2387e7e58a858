"""Orthogonality of convolutions as a regularizer."""

from __future__ import annotations

from typing import Any

import keras

from keras_reg._registry import export
from keras_reg._validation import check_integer, check_number
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


@export("regularizers.OrthogonalConvolution", kind="regularizer", arxiv="1911.12207", year=2019)
class OrthogonalConvolution(keras.regularizers.Regularizer):
    """Orthogonality of convolutions: draws a convolution, as a linear map of whole images, to an orthogonal one.

    An orthogonal layer keeps the length of what passes, forwards or backwards. For a convolution this is another thing
    than orthogonality of the kernel as a matrix: shifted kernels overlap. The penalty is 0 exactly where the layer with
    periodic boundaries is orthogonal, and its cost does not depend on the size of the images.

    The layer's stride, and its groups, are part of the mathematics. `keras_reg.apply_regularizer` reads them off each
    layer; as a `kernel_regularizer`, give the same as to the layer.

    Args:
        strength: The factor of the penalty. The papers' code takes 0.1 to 0.5, but of an unsquared norm.
        strides: The layer's stride, one number or one for each spatial dimension. `None` is for
            `keras_reg.apply_regularizer` and for `Dense` layers, which have none.
        groups: The layer's number of groups.
        depthwise: Whether the layer is a depthwise convolution, `DepthwiseConv1D` or `DepthwiseConv2D`.

    Raises:
        ValueError: If an argument is out of its range, or, when called, if it does not fit the kernel.

    Example:

    ```python
    layer = keras.layers.Conv2D(
        16, 3, strides=2, kernel_regularizer=keras_reg.regularizers.OrthogonalConvolution(0.1, strides=2)
    )
    convolutions = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Conv2D(8, 2, 2)])
    keras_reg.apply_regularizer(convolutions, keras_reg.regularizers.OrthogonalConvolution(0.1))
    ```

    Source: Jiayun Wang, Yubei Chen, Rudrasis Chakraborty, Stella X. Yu, Orthogonal Convolutional Neural Networks,
    arXiv 1911.12207, 2019; in the form, with the padding and with the square of El Mehdi Achour, François Malgouyres,
    Franck Mamalet, Existence, Stability and Scalability of Orthogonal Convolutional Neural Networks, arXiv 2108.05623.
    """

    def __init__(
        self,
        strength: float = 0.1,
        strides: int | tuple[int, ...] | None = None,
        groups: int = 1,
        depthwise: bool = False,
    ) -> None:
        self.strength = check_number("strength", strength)
        self.strides = _check_strides(strides)
        self.groups = check_integer("groups", groups)
        if not isinstance(depthwise, bool) or (depthwise and self.groups > 1):
            raise ValueError(
                "`depthwise` must be True or False, and a depthwise convolution has no other groups. "
                f"Received: depthwise={depthwise!r}, groups={groups!r}"
            )
        self.depthwise = depthwise

    def __call__(self, x: Any) -> Any:
        """The penalty of a kernel, times the strength."""
        if self.strides is None and len(x.shape) > 2:
            raise ValueError(
                "The penalty of a convolution depends on its stride: give `strides`, the same as to the layer, or "
                f"apply it with `keras_reg.apply_regularizer`. Received: strides=None, a kernel of shape {x.shape}"
            )
        strides = 1 if self.strides is None else self.strides
        return self.strength * orthogonal_convolution_penalty(x, strides, self.groups, self.depthwise)

    def for_layer(self, layer: keras.Layer) -> OrthogonalConvolution | None:
        """The same for the kernel of a layer, with its stride and groups.

        Args:
            layer: The layer.

        Returns:
            A regularizer of the same strength, or `None` if the layer is neither a convolution nor `Dense`.
        """
        if isinstance(layer, _CONVOLUTIONS):
            depthwise = isinstance(layer, _DEPTHWISE)
            groups = 1 if depthwise else getattr(layer, "groups", 1)
            return type(self)(self.strength, layer.strides, groups, depthwise)
        return type(self)(self.strength) if isinstance(layer, keras.layers.Dense) else None

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "strength": self.strength,
            "strides": self.strides,
            "groups": self.groups,
            "depthwise": self.depthwise,
        }


def _check_strides(strides: Any) -> int | tuple[int, ...] | None:
    if strides is None:
        return None
    try:
        if isinstance(strides, (tuple, list)) and strides:
            return tuple(check_integer("strides", stride) for stride in strides)
        return check_integer("strides", strides)
    except ValueError:
        raise ValueError(
            "`strides` must be an integer of at least 1, or one for each spatial dimension. "
            f"Received: strides={strides!r}"
        ) from None
