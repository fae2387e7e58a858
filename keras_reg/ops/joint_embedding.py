"""The parts of T-JEPA, a joint-embedding predictive architecture for tables.

Each column of a row becomes a token. The encoder represents some columns, the context. From this representation,
another network predicts how a slow copy of the encoder represents other columns, the targets. No column is
reconstructed.

Reference:
    - [Thimonier et al., 2024](https://arxiv.org/abs/2410.05016): T-JEPA: Augmentation-Free Self-Supervised Learning for
      Tabular Data
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_reg._types import Array, Tensor


def column_tokens(
    x: Tensor, cardinalities: Sequence[int], weights: Tensor | None, embeddings: Tensor | None, biases: Tensor
) -> Tensor:
    """Computes a token for each column: x_j w_j + b_j if it is numeric, the embedding of its category + b_j otherwise.

    Args:
        x: Tensor. Rows, shape (batch, columns). Categories are numbers from 0, also in columns of floats.
        cardinalities: Tuple of integers. The number of categories of each column, or 0 for a numeric column.
        weights: Tensor. The vectors w, one for each numeric column, shape (numeric columns, width), or `None` if there
            is no numeric column.
        embeddings: Tensor. One vector for each category, in the order of the columns, shape (sum of cardinalities,
            width), or `None` if all columns are numeric.
        biases: Tensor. The vectors b, shape (columns, width).

    Returns:
        Tokens in the order of the columns, shape (batch, columns, width), of the type of `biases`. The token of a
        category that does not exist is NaN, because a NaN loss is noticed and an arbitrary embedding is not.

    Example:

    ```python
    x, w = np.float32([[0.5, 1.0]]), np.ones((1, 4))
    table, b = np.zeros((3, 4)), np.zeros((2, 4))
    # A numeric column, and a column of three categories.
    column_tokens(x, (0, 3), w, table, b)  # shape (1, 2, 4)
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
        values = ops.take(x, ops.convert_to_tensor(categorical.astype("int32")), axis=1)
        codes, sizes = ops.cast(values, "int32"), counts[categorical]
        # NaN and infinity become an integer that depends on the backend.
        known = ops.logical_and(values >= 0, ops.logical_and(codes >= 0, codes < ops.convert_to_tensor(sizes)))
        offsets = ops.convert_to_tensor((np.cumsum(sizes) - sizes).astype("int32"))
        vectors = ops.take(embeddings, ops.where(known, codes, ops.zeros_like(codes)) + offsets, axis=0)
        vectors = ops.cast(vectors, biases.dtype)
        parts.append(ops.where(ops.expand_dims(known, -1), vectors, ops.full_like(vectors, float("nan"))))
    tokens = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=1)
    order = np.argsort(np.concatenate([numeric, categorical])).astype("int32")
    return ops.take(tokens, ops.convert_to_tensor(order), axis=1) + biases


def sinusoidal_positions(length: int, width: int, base: float = 10000.0, interleaved: bool = False) -> Array:
    """Computes the table of sine and cosine positions.

    The angle is p / base**(2 i / width) for position p and pair i.

    Args:
        length: Integer. The number of positions.
        width: Integer. The width of a token, an even number.
        base: Float. The ratio of the slowest wave to the fastest. T-JEPA uses 100 in its encoder. Defaults to
            `10000.0`.
        interleaved: Boolean. Whether sine and cosine alternate. If false, all sines come before all cosines. Defaults
            to `False`.

    Returns:
        The table, a NumPy array of shape (length, width) in float64.

    Raises:
        ValueError: If the width is odd.

    Example:

    ```python
    table = sinusoidal_positions(2, 4)
    table  # [[0, 0, 1, 1], [0.841, 0.01, 0.540, 1.0]]
    ```
    """
    if width < 2 or width % 2:
        raise ValueError(f"`width` must be an even number of at least 2. Received: width={width!r}")
    angles = np.arange(length)[:, None] / base ** (2 * np.arange(width // 2) / width)
    pair = np.stack([np.sin(angles), np.cos(angles)], axis=-1 if interleaved else 1)
    return pair.reshape(length, width)


def gather_tokens(x: Tensor, indices: Tensor) -> Tensor:
    """Gathers the tokens of each sequence at the indices of that sequence.

    Args:
        x: Tensor. Sequences, shape (batch, length, width).
        indices: Tensor. Integers from 0 to length - 1, shape (batch, ...). If there are extra tokens at the start, add
            their number. The released T-JEPA does not add it, so its features are all off by one.

    Returns:
        Tokens, shape (batch, ..., width).

    Example:

    ```python
    x = np.arange(6.0).reshape(1, 3, 2)
    gather_tokens(x, np.array([[2, 0]]))  # [[[4, 5], [0, 1]]]
    ```
    """
    x, indices = ops.convert_to_tensor(x), ops.convert_to_tensor(indices)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # If the batch size is unknown, XLA recompiles `vectorized_map` for every batch.
        return tf.gather(x, indices, axis=1, batch_dims=1)
    # The map gathers one sample at a time. `take_along_axis` would gather one number at a time. A single table with the
    # rows of all samples would be sent between the devices that share a batch.
    tokens = ops.vectorized_map(lambda sample: ops.take(sample[0], sample[1], axis=0), (x, indices))
    return ops.reshape(tokens, (-1, *indices.shape[1:], x.shape[-1]))


def latent_prediction_loss(predictions: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """Computes the mean squared error of predicted representations for each row.

    No gradient flows into the targets.

    Args:
        predictions: Tensor. Predicted representations, shape (batch, sets, length, width).
        targets: Tensor. The representations to predict, of the same shape.
        valid: Tensor. Booleans that are true for entries that count and false for padding, shape (batch, sets,
            length). Each row needs at least one valid entry.

    Returns:
        The mean over sets, valid entries and width, shape (batch,). If all rows have the same number of valid entries,
        the mean of the result is the mean squared error over everything.

    Example:

    ```python
    p, z = np.ones((1, 1, 2, 3)), np.zeros((1, 1, 2, 3))
    valid = np.array([[[True, False]]])
    keras_reg.ops.latent_prediction_loss(p, z, valid)  # [1.0]
    ```

    Reference:
        - [Thimonier et al., 2024](https://arxiv.org/abs/2410.05016): T-JEPA: Augmentation-Free Self-Supervised Learning
          for Tabular Data
    """
    predictions = ops.convert_to_tensor(predictions)
    weight = ops.cast(valid, predictions.dtype)
    errors = ops.mean(ops.square(predictions - ops.stop_gradient(ops.convert_to_tensor(targets))), axis=-1)
    return ops.sum(errors * weight, axis=(1, 2)) / ops.sum(weight, axis=(1, 2))


def follow(target: Tensor, online: Tensor, momentum: Tensor | float) -> Tensor:
    """Takes one step of a moving average, momentum * target + (1 - momentum) * online, without a gradient.

    Args:
        target: Tensor. The current average.
        online: Tensor. The current value, of the same shape.
        momentum: Float or tensor. The share of the average that is kept, from 0 to 1.

    Returns:
        The next average.

    Example:

    ```python
    follow(np.array([1.0]), np.array([0.0]), 0.9)  # [0.9]
    ```
    """
    target, online = (ops.stop_gradient(ops.convert_to_tensor(value)) for value in (target, online))
    return momentum * target + (1.0 - momentum) * online
