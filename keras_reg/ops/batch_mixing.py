"""Samples that are mixed with others of their batch: mixup, arXiv 1710.09412, and CutMix, arXiv 1905.04899."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reg.ops.noise import along_batch


def mix_samples(inputs: Any, order: Any, share: Any) -> Any:
    """Mixup: each sample times its share, plus the rest of another sample: share x_i + (1 - share) x_order(i).

    Args:
        inputs: Floats, samples along the first axis.
        order: Which sample each is mixed with, integers of shape (batch,).
        share: What stays of each, from 0 to 1, shape (batch,).

    Returns:
        A tensor of the shape and type of the inputs; computed in float32.

    Example:

    ```python
    x = np.array([[0.0, 1.0], [4.0, 5.0]], "float32")
    keras_reg.ops.mix_samples(x, np.array([1, 0]), np.array([0.75, 1.0]))  # [[1, 2], [4, 5]]
    ```
    """
    inputs = ops.convert_to_tensor(inputs)
    others = ops.take(inputs, order, axis=0)
    share = along_batch(share, inputs)
    mixed = share * ops.cast(inputs, "float32") + (1 - share) * ops.cast(others, "float32")
    return ops.cast(mixed, inputs.dtype)


def paste_boxes(images: Any, order: Any, share: Any, centers: Any) -> tuple[Any, Any]:
    """CutMix: a box of each image, with sides sqrt(1 - share) of the image's, comes from another one.

    What is outside of the image is cut off, so that more of it may stay than its share.

    Args:
        images: Floats, shape (batch, height, width, channels).
        order: Which image each box comes from, integers of shape (batch,).
        share: The share of each image that is to stay, from 0 to 1, shape (batch,).
        centers: The middles of the boxes, as shares of height and width, shape (batch, 2).

    Returns:
        Images of the same shape and type, and the share of the pixels of each that has stayed, shape (batch,).

    Example:

    ```python
    images = np.arange(2.0).reshape(2, 1, 1, 1) * np.ones((2, 4, 4, 1))
    images, share = paste_boxes(images, np.array([1, 0]), np.array([0.75, 0.75]), np.full((2, 2), 0.5))
    share  # [0.75, 0.75]; the four pixels in the middle of each image are the other's
    ```
    """
    images, centers = ops.convert_to_tensor(images), ops.cast(centers, "float32")
    half = ops.expand_dims(ops.sqrt(1 - ops.cast(share, "float32")), 1) / 2

    def covered(size: Any, center: Any) -> Any:
        middles = (ops.cast(ops.arange(size), "float32") + 0.5) / ops.cast(size, "float32")
        return ops.abs(ops.expand_dims(middles, 0) - ops.expand_dims(center, 1)) < half

    _, height, width, _ = ops.shape(images)
    rows, columns = covered(height, centers[:, 0]), covered(width, centers[:, 1])
    box = ops.logical_and(ops.expand_dims(rows, 2), ops.expand_dims(columns, 1))
    pasted = ops.where(ops.expand_dims(box, 3), ops.take(images, order, axis=0), images)
    return pasted, 1 - ops.mean(ops.cast(box, "float32"), axis=(1, 2))
