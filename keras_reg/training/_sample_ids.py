"""The sample ids of a batch, and fingerprints of labels."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from keras_reg._types import Structure, Tensor
from keras_reg.data._input_names import SAMPLE_ID


def sample_ids(x: Structure) -> Tensor:
    """Returns the sample ids of a batch as int32, shape (batch,).

    Raises:
        ValueError: If `x` has no ids, or if they are not integers.
    """
    if x is None:
        raise ValueError(
            "This method needs the inputs with their sample ids. Let the model's own `train_step` pass them to "
            "`self.compute_loss(x=x, y=y, y_pred=y_pred)`. Received: x=None"
        )
    if not isinstance(x, dict) or SAMPLE_ID not in x:
        received = f"a dict with the keys {sorted(x)}" if isinstance(x, dict) else f"{type(x).__name__}"
        raise ValueError(
            f"This method needs sample ids, but `x` has no {SAMPLE_ID!r}. Pass "
            f"`keras_reg.data.with_sample_ids(model, x)` to `fit` instead of `x`. Received: x is {received}"
        )
    ids = x[SAMPLE_ID]
    dtype = keras.backend.standardize_dtype(ids.dtype)
    if not keras.backend.is_int_dtype(dtype):
        raise ValueError(f"Sample ids must be integers, preferably int32. Received: {SAMPLE_ID!r} of dtype {dtype}")
    if len(ids.shape) > 1 and any(size != 1 for size in ids.shape[1:]):
        shape = tuple(ids.shape)
        raise ValueError(f"Each sample must have exactly one sample id. Received: {SAMPLE_ID!r} of shape {shape}")
    return ops.cast(ops.reshape(ids, (-1,)), "int32")


def fingerprint(labels: Tensor) -> Tensor:
    """Returns an int32 number for each label, shape (batch, 1). It changes when the label changes.

    It uses integer arithmetic, which is exact on every backend.
    """
    # TensorFlow may not know the sizes after reshaping.
    sizes = tuple(labels.shape[1:])
    if None in sizes:
        raise ValueError(
            "`check_ids` needs labels whose shape is known except for the batch. Pad them to one length. "
            f"Received: labels of shape {tuple(labels.shape)}"
        )
    width = int(np.prod(sizes))
    labels = ops.reshape(labels, (-1, width))
    if keras.backend.is_float_dtype(keras.backend.standardize_dtype(labels.dtype)):
        labels = ops.round(labels * 2.0**16)
    labels = ops.cast(labels, "int32")
    factors = np.random.default_rng(0).integers(1, 2**20, width, dtype=np.int32) * 2 + 1
    return ops.sum(labels * ops.convert_to_tensor(factors), axis=1, keepdims=True)
