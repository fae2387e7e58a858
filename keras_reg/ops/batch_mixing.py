"""Samples mixed with other samples of their batch: mixup and CutMix.

References:
    - [Zhang et al., 2017](https://arxiv.org/abs/1710.09412): mixup: Beyond Empirical Risk Minimization
    - [Yun et al., 2019](https://arxiv.org/abs/1905.04899): CutMix: Regularization Strategy to Train Strong Classifiers
      with Localizable Features
"""

from __future__ import annotations

from keras import ops

from keras_reg._types import Tensor
from keras_reg.ops.noise import along_batch


def mix_samples(inputs: Tensor, order: Tensor, share: Tensor) -> Tensor:
    """Mixes each sample with another sample, as mixup does: share x_i + (1 - share) x_order(i).

    Args:
        inputs: Tensor. Floats, with the samples along the first axis.
        order: Tensor. The index of the other sample for each sample, integers of shape (batch,).
        share: Tensor. The share that remains of each sample, from 0 to 1, shape (batch,).

    Returns:
        A tensor of the shape and type of the inputs. It is computed in float32.

    Example:

    ```python
    x = np.array([[0.0, 1.0], [4.0, 5.0]], "float32")
    order, share = np.array([1, 0]), np.array([0.75, 1.0])
    keras_reg.ops.mix_samples(x, order, share)  # [[1, 2], [4, 5]]
    ```

    Reference:
        - [Zhang et al., 2017](https://arxiv.org/abs/1710.09412): mixup: Beyond Empirical Risk Minimization
    """
    inputs = ops.convert_to_tensor(inputs)
    others = ops.take(inputs, order, axis=0)
    share = along_batch(share, inputs)
    mixed = share * ops.cast(inputs, "float32") + (1 - share) * ops.cast(others, "float32")
    return ops.cast(mixed, inputs.dtype)


def paste_boxes(images: Tensor, order: Tensor, share: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """Pastes a box of another image into each image, as CutMix does.

    The sides of the box are sqrt(1 - share) of the sides of the image. The box is cut off at the edges of the image, so
    more of the image may remain than its share.

    Args:
        images: Tensor. Floats, shape (batch, height, width, channels).
        order: Tensor. The index of the image from which each box comes, integers of shape (batch,).
        share: Tensor. The share of each image that should remain, from 0 to 1, shape (batch,).
        centers: Tensor. The centers of the boxes, as shares of height and width, shape (batch, 2).

    Returns:
        Images of the same shape and type, and the share of the pixels of each image that remains, shape (batch,).

    Example:

    ```python
    images = np.arange(2.0).reshape(2, 1, 1, 1) * np.ones((2, 4, 4, 1))
    order, share = np.array([1, 0]), np.array([0.75, 0.75])
    images, share = paste_boxes(images, order, share, np.full((2, 2), 0.5))
    share  # [0.75, 0.75]; the four central pixels come from the other
    ```
    """
    images, centers = ops.convert_to_tensor(images), ops.cast(centers, "float32")
    half = ops.expand_dims(ops.sqrt(1 - ops.cast(share, "float32")), 1) / 2

    def covered(size: Tensor, center: Tensor) -> Tensor:
        middles = (ops.cast(ops.arange(size), "float32") + 0.5) / ops.cast(size, "float32")
        return ops.abs(ops.expand_dims(middles, 0) - ops.expand_dims(center, 1)) < half

    _, height, width, _ = ops.shape(images)
    rows, columns = covered(height, centers[:, 0]), covered(width, centers[:, 1])
    box = ops.logical_and(ops.expand_dims(rows, 2), ops.expand_dims(columns, 1))
    pasted = ops.where(ops.expand_dims(box, 3), ops.take(images, order, axis=0), images)
    return pasted, 1 - ops.mean(ops.cast(box, "float32"), axis=(1, 2))
