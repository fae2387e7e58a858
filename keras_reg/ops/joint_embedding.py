"""The parts of T-JEPA, a joint-embedding predictive architecture for tables: Thimonier et al., arXiv 2410.05016, 2024.

Each column of a row becomes a token. From the representation of some columns, the context, another network predicts
the representation that a slow copy of the encoder gives to other columns, the targets. No column is reconstructed.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


def column_tokens(x: Any, cardinalities: Any, weights: Any, embeddings: Any, biases: Any) -> Any:
    """A token for each column: x_j w_j + b_j if it is numeric, the embedding of its category + b_j otherwise.

    Args:
        x: Rows, shape (batch, columns); categories as numbers from 0, also in columns of floats.
        cardinalities: For each column its number of categories, or 0 for a numeric column.
        weights: w, one vector for each numeric column, shape (numeric columns, width); or `None` if there is none.
        embeddings: One vector for each category, those of one column after those of another, shape (sum of
            cardinalities, width); or `None` if all columns are numeric.
        biases: b, shape (columns, width).

    Returns:
        Tokens in the order of the columns, shape (batch, columns, width), of the type of `biases`. That of a category
        which does not exist is NaN: a loss that is NaN is seen, an arbitrary embedding would not be.

    Example:

    ```python
    x, w, table, b = np.float32([[0.5, 1.0]]), np.ones((1, 4)), np.zeros((3, 4)), np.zeros((2, 4))
    column_tokens(x, (0, 3), w, table, b)  # a numeric column, and one of three categories: (1, 2, 4)
    ```
    """
    x, biases = ops.convert_to_tensor(x), ops.convert_to_tensor(biases)
    counts = np.asarray(cardinalities, "int32")
    numeric, categorical = np.flatnonzero(counts == 0), np.flatnonzero(counts)
    parts = []
    if len(numeric):
        values = ops.cast(ops.take(x, ops.convert_to_tensor(numeric.astype("int32")), axis=1), biases.dtype)
        parts.append(ops.expand_dims(values, -1) * ops.cast(weights, biases.dtype))
    if len(categorical):
        given = ops.take(x, ops.convert_to_tensor(categorical.astype("int32")), axis=1)
        codes, sizes = ops.cast(given, "int32"), counts[categorical]
        # NaN and infinity become an integer that depends on the backend.
        known = ops.logical_and(given >= 0, ops.logical_and(codes >= 0, codes < ops.convert_to_tensor(sizes)))
        offsets = ops.convert_to_tensor((np.cumsum(sizes) - sizes).astype("int32"))
        found = ops.take(embeddings, ops.where(known, codes, ops.zeros_like(codes)) + offsets, axis=0)
        found = ops.cast(found, biases.dtype)
        parts.append(ops.where(ops.expand_dims(known, -1), found, ops.full_like(found, float("nan"))))
    tokens = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=1)
    order = np.argsort(np.concatenate([numeric, categorical])).astype("int32")
    return ops.take(tokens, ops.convert_to_tensor(order), axis=1) + biases


def sinusoidal_positions(length: int, width: int, base: float = 10000.0, interleaved: bool = False) -> np.ndarray:
    """The table of sine and cosine positions: angle p / base**(2 i / width) for position p and pair i.

    Args:
        length: The number of positions.
        width: The width of a token, an even number.
        base: The ratio of the slowest wave to the fastest. T-JEPA takes 100 in its encoder.
        interleaved: Whether sine and cosine alternate, or all sines come before all cosines.

    Returns:
        The table, a NumPy array of shape (length, width) in float64.

    Raises:
        ValueError: If the width is odd.

    Example:

    ```python
    sinusoidal_positions(2, 4)  # [[0, 0, 1, 1], [0.841, 0.01, 0.540, 1.0]]
    ```
    """
    if width < 2 or width % 2:
        raise ValueError(f"`width` must be an even number of at least 2. Received: width={width!r}")
    angles = np.arange(length)[:, None] / base ** (2 * np.arange(width // 2) / width)
    pair = np.stack([np.sin(angles), np.cos(angles)], axis=-1 if interleaved else 1)
    return pair.reshape(length, width)


def gather_tokens(x: Any, indices: Any) -> Any:
    """The tokens of each sequence at its own indices.

    Args:
        x: Sequences, shape (batch, length, width).
        indices: Integers from 0 to length - 1, shape (batch, ...). Where extra tokens stand at the start, add their
            number: the released T-JEPA does not, so that its features are all one off.

    Returns:
        Tokens, shape (batch, ..., width).

    Example:

    ```python
    gather_tokens(np.arange(6.0).reshape(1, 3, 2), np.array([[2, 0]]))  # [[[4, 5], [0, 1]]]
    ```
    """
    x, indices = ops.convert_to_tensor(x), ops.convert_to_tensor(indices)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Where the size of the batch is not known, XLA compiles `vectorized_map` anew for every batch.
        return tf.gather(x, indices, axis=1, batch_dims=1)
    # Sample by sample: `take_along_axis` gathers number by number, and rows of all samples in one table would be sent
    # between devices that share a batch.
    tokens = ops.vectorized_map(lambda sample: ops.take(sample[0], sample[1], axis=0), (x, indices))
    return ops.reshape(tokens, (-1, *indices.shape[1:], x.shape[-1]))


def latent_prediction_loss(predictions: Any, targets: Any, valid: Any) -> Any:
    """The mean squared error of predicted representations, for each row; no gradient flows into the targets.

    Args:
        predictions: Shape (batch, sets, length, width).
        targets: What is predicted, same shape.
        valid: Which entries count and which only fill up, shape (batch, sets, length), at least one for each row.

    Returns:
        The mean over sets, valid entries and width, shape (batch,). Where all rows have as many valid entries, its mean
        is the mean squared error over everything.

    Example:

    ```python
    p, z = np.ones((1, 1, 2, 3)), np.zeros((1, 1, 2, 3))
    keras_reg.ops.latent_prediction_loss(p, z, np.array([[[True, False]]]))  # [1.0]
    ```
    """
    predictions = ops.convert_to_tensor(predictions)
    weight = ops.cast(valid, predictions.dtype)
    errors = ops.mean(ops.square(predictions - ops.stop_gradient(ops.convert_to_tensor(targets))), axis=-1)
    return ops.sum(errors * weight, axis=(1, 2)) / ops.sum(weight, axis=(1, 2))


def follow(target: Any, online: Any, momentum: Any) -> Any:
    """One step of a moving average: momentum * target + (1 - momentum) * online, without a gradient.

    Args:
        target: The average so far.
        online: The present value, same shape.
        momentum: How much of the average is kept, from 0 to 1.

    Returns:
        The next average.

    Example:

    ```python
    follow(np.array([1.0]), np.array([0.0]), 0.9)  # [0.9]
    ```
    """
    target, online = (ops.stop_gradient(ops.convert_to_tensor(value)) for value in (target, online))
    return momentum * target + (1.0 - momentum) * online
