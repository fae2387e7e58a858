"""Plots of noise masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_reg._plotting import new_figure
from keras_reg._types import ArrayLike
from keras_reg.layers.policy_noise_mask import PolicyNoiseMask


def draw_masks(layer: PolicyNoiseMask, images: ArrayLike) -> Any:
    """Draws a figure with a column for each image: the image, the mean of its masks, and the image times a random mask.

    Args:
        layer: A mask layer that is built for images.
        images: The images in the form of the layer's inputs, shape (batch, height, width, channels).

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the images do not have this shape.
    """
    images = np.asarray(images, "float32")
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            f"`images` must have the shape (number, height, width, 1 or 3). Received: images of shape {images.shape}"
        )
    tensor = ops.convert_to_tensor(images)
    mean = ops.convert_to_numpy(layer.mean_mask(tensor))
    masked = images * ops.convert_to_numpy(layer.expand(layer.draw(*layer.log_concentrations(tensor))))[..., None]
    figure = new_figure(figsize=(1.6 * len(images) + 0.8, 5), layout="constrained")
    axes = figure.subplots(3, len(images), squeeze=False)
    low, high = float(images.min()), float(images.max())
    for row, (name, pictures) in enumerate((("image", images), ("mean mask", mean), ("masked image", masked))):
        for axis, picture in zip(axes[row], pictures, strict=True):
            if row != 1:
                picture = np.clip((picture - low) / (high - low or 1.0), 0, 1)
            axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
        axes[row][0].set_ylabel(name)
    return figure
