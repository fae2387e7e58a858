"""Augmentation of images (batch, height, width, channels), by one amount per image, with operations that suit XLA."""

from __future__ import annotations

import math

from keras import ops

from keras_reg._types import Tensor

_GRAY = (0.299, 0.587, 0.114)


def scale_brightness(images: Tensor, amount: Tensor) -> Tensor:
    """Multiplies images by 1 + amount.

    Args:
        images: Tensor. Floats from 0 to 1.
        amount: Tensor. One number for each image, from -1 to 1.

    Returns:
        Images from 0 to 1.
    """
    return ops.clip(ops.convert_to_tensor(images) * (1 + _expand_to_pixels(amount)), 0.0, 1.0)


def scale_contrast(images: Tensor, amount: Tensor) -> Tensor:
    """Multiplies the distance of images from the mean of their gray values by 1 + amount.

    Args:
        images: Tensor. Floats from 0 to 1.
        amount: Tensor. One number for each image, from -1 to 1.

    Returns:
        Images from 0 to 1.
    """
    images = ops.convert_to_tensor(images)
    mean = ops.mean(_convert_to_gray(images), axis=(1, 2, 3), keepdims=True)
    return ops.clip(mean + (images - mean) * (1 + _expand_to_pixels(amount)), 0.0, 1.0)


def scale_saturation(images: Tensor, amount: Tensor) -> Tensor:
    """Multiplies the distance of pixels from their gray value by 1 + amount.

    Args:
        images: Tensor. Floats from 0 to 1.
        amount: Tensor. One number for each image, from -1 to 1.

    Returns:
        Images from 0 to 1.
    """
    images = ops.convert_to_tensor(images)
    gray = _convert_to_gray(images)
    return ops.clip(gray + (images - gray) * (1 + _expand_to_pixels(amount)), 0.0, 1.0)


def turn_hue(images: Tensor, amount: Tensor) -> Tensor:
    """Turns the hue of images by a share of the color circle, and keeps saturation and value.

    A channel of a color is value * (1 - saturation * f(hue)), with one f that is shifted for each channel.

    Args:
        images: Tensor. Floats from 0 to 1.
        amount: Tensor. The share of the circle for each image, from -0.5 to 0.5.

    Returns:
        Images of the same shape.
    """
    images = ops.convert_to_tensor(images)
    high, low = ops.max(images, axis=-1, keepdims=True), ops.min(images, axis=-1, keepdims=True)
    spread = high - low
    safe = ops.where(spread > 0, spread, ops.ones_like(spread))
    red, green, blue = (images[..., i : i + 1] for i in range(3))
    sixth = ops.where(
        red == high,
        (green - blue) / safe,
        ops.where(green == high, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = sixth + 6 * _expand_to_pixels(amount)
    channels = []
    for shift in (5.0, 3.0, 1.0):
        place = ops.mod(shift + hue, 6.0)
        channels.append(high - spread * ops.clip(ops.minimum(place, 4 - place), 0.0, 1.0))
    return ops.concatenate(channels, axis=-1)


def transform_images(images: Tensor, matrix: Tensor, shift: Tensor, fill: float = 0.0) -> Tensor:
    """Applies affine transformations around the center of images, with bilinear interpolation.

    Args:
        images: Tensor. Floats, shape (batch, height, width, channels).
        matrix: Tensor. The matrix that maps the position of a pixel in the result to its position in the image, shape
            (batch, 2, 2). Positions are (y, x) from the center.
        shift: Tensor. The shift that is added to the mapped position, in pixels, shape (batch, 2).
        fill: Float. The value outside the image. Defaults to `0.0`.

    Returns:
        Images of the same shape.
    """
    images = ops.convert_to_tensor(images)
    batch, height, width, channels = ops.shape(images)
    sizes = ops.cast(height, "float32"), ops.cast(width, "float32")
    y, x = ops.meshgrid(
        *(ops.cast(ops.arange(n), "float32") - (size - 1) / 2 for n, size in zip((height, width), sizes, strict=True)),
        indexing="ij",
    )
    grid = ops.stack([ops.reshape(y, (-1,)), ops.reshape(x, (-1,))], axis=-1)
    middle = ops.stack([(size - 1) / 2 for size in sizes])
    source = ops.einsum("bij,pj->bpi", matrix, grid) + ops.expand_dims(shift, 1) + middle
    corner = ops.floor(source)
    share = source - corner
    pixels = ops.reshape(images, (batch, height * width, channels)) - fill
    result: Tensor = 0.0
    for down in (0, 1):
        for right in (0, 1):
            row, column = corner[..., 0] + down, corner[..., 1] + right
            weight = (share[..., 0] if down else 1 - share[..., 0]) * (share[..., 1] if right else 1 - share[..., 1])
            inside = (row >= 0) & (row < sizes[0]) & (column >= 0) & (column < sizes[1])
            place = ops.clip(row, 0, sizes[0] - 1) * sizes[1] + ops.clip(column, 0, sizes[1] - 1)
            index = ops.broadcast_to(ops.expand_dims(ops.cast(place, "int32"), -1), ops.shape(pixels))
            weight = ops.expand_dims(ops.where(inside, weight, ops.zeros_like(weight)), -1)
            result = result + weight * ops.take_along_axis(pixels, index, axis=1)
    return ops.reshape(result, (batch, height, width, channels)) + fill


def shear_matrix(degrees: Tensor) -> Tensor:
    """Returns the matrix for `transform_images` that shears rows sideways, by angles of shape (batch,)."""
    slope = ops.tan(degrees * (math.pi / 180))
    one, zero = ops.ones_like(slope), ops.zeros_like(slope)
    return ops.stack([ops.stack([one, zero], axis=-1), ops.stack([slope, one], axis=-1)], axis=-2)


def cut_squares(images: Tensor, centers: Tensor, length: Tensor, count: Tensor, fill: float = 0.0) -> Tensor:
    """Fills squares of images with a value.

    Args:
        images: Tensor. Floats, shape (batch, height, width, channels).
        centers: Tensor. The centers of candidate squares, as shares of height and width, shape (batch, squares, 2).
        length: Tensor. The sides of the squares in pixels, a scalar or of shape (batch,). Squares are cut off at the
            edges of the image.
        count: Tensor. The number of squares that are cut, a scalar or of shape (batch,).
        fill: Float. The value in the squares. Defaults to `0.0`.

    Returns:
        Images of the same shape.
    """
    images, centers = ops.convert_to_tensor(images), ops.convert_to_tensor(centers)
    _, height, width, _ = ops.shape(images)
    length, count = (ops.reshape(ops.cast(value, "float32"), (-1, 1, 1)) for value in (length, count))
    selected = ops.reshape(ops.cast(ops.arange(centers.shape[1]), "float32"), (1, -1, 1)) < count

    def covered(size: Tensor, center: Tensor) -> Tensor:
        place = ops.reshape(ops.cast(ops.arange(size), "float32"), (1, 1, -1))
        first = ops.floor(ops.expand_dims(center, -1) * ops.cast(size, "float32")) - ops.floor(length / 2)
        return (place >= first) & (place < first + length)

    rows, columns = covered(height, centers[..., 0]) & selected, covered(width, centers[..., 1])
    inside = ops.any(ops.expand_dims(rows, -1) & ops.expand_dims(columns, -2), axis=1)
    return ops.where(ops.expand_dims(inside, -1), ops.cast(fill, images.dtype), images)


def _expand_to_pixels(amount: Tensor) -> Tensor:
    return ops.reshape(amount, (-1, 1, 1, 1))


def _convert_to_gray(images: Tensor) -> Tensor:
    if images.shape[-1] == 1:
        return images
    return sum(share * images[..., i : i + 1] for i, share in enumerate(_GRAY))
