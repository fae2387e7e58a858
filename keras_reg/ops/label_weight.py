"""The best weight of the ground truth in self-distillation, in closed form.

Reference:
    - [Borup and Andersen, 2021](https://arxiv.org/abs/2102.13088): Even your Teacher Needs Guidance: Ground-Truth
      Targets Dampen Regularization Imposed by Self-Distillation
"""

from __future__ import annotations

import math

from keras import ops

from keras_reg._types import Tensor
from keras_reg._validation import reject


def optimal_label_weight(
    labels: Tensor,
    label_student: Tensor,
    teacher_student: Tensor,
    clip: tuple[float, float] | None = (0.0, 1.0),
) -> Tensor:
    """Computes the weight of the GROUND TRUTH for which a student of labels and teacher has the least squared error.

    MIND THE DIRECTION: the result weights the LABELS, alpha * label + (1 - alpha) * teacher. The weight of progressive
    self-distillation (PS-KD, arXiv 2006.12000) weights the PAST PREDICTION instead. Its counterpart is
    `1 - optimal_label_weight(...)`.

    A student that is trained by ridge regression is linear in its targets. It predicts alpha a + (1 - alpha) b. Here a
    is the student of the labels alone, and b is the student of the teacher's outputs alone. On held-out data, the
    squared error is smallest at

        alpha* = <y - b, a - b> / ||a - b||^2,

    with sums over samples and outputs. For deep networks this is a good estimate. There, a is the model trained without
    distillation, which already exists as the teacher, and b is one more student. Two training runs replace a grid
    search.

    Args:
        labels: Tensor. The labels y of validation samples on which no model was trained, one-hot for a classifier, of
            any shape. The first axis counts samples.
        label_student: Tensor. The predictions a for these samples by a model trained on labels only, as probabilities
            and not logits, of the same shape.
        teacher_student: Tensor. The predictions b for these samples by a model trained on the teacher's outputs only,
            of the same shape.
        clip: Tuple of two floats. The range of the result. `None` means no limit. The result may then be below 0 or
            above 1 (-0.62 at the first step of the paper's kernel-ridge example). Such a weight does not yield
            distributions over classes, but suits regression. Defaults to `(0.0, 1.0)`.

    Returns:
        The weight of the labels, a scalar tensor. A compiled function cannot raise an error for a = b. All weights are
        then equally good, and the result is 1, which means labels alone (within `clip`).

    Raises:
        ValueError: If the shapes differ, or `clip` is not a range. Outside of compiled functions, also if a = b or if
            an array is not finite.

    Example:

    ```python
    y = np.array([[1.0, 0.0], [0.0, 1.0]])
    a = np.array([[0.9, 0.1], [0.3, 0.7]])
    b = np.array([[0.5, 0.5], [0.1, 0.9]])
    optimal_label_weight(y, a, b)  # 0.36 / 0.4 = 0.9
    ```
    """
    if clip is not None and not (len(clip) == 2 and -math.inf < clip[0] <= clip[1] < math.inf):
        reject("clip", clip, "must be None or (lowest, highest), both finite")
    y, a, b = _convert_to_floats(labels, label_student, teacher_student)
    _check_shapes(y, a, b)
    difference = a - b
    numerator, denominator = ops.sum((y - b) * difference), ops.sum(difference * difference)
    known = _read_number(denominator), _read_number(numerator)
    if known[0] == 0.0:
        raise ValueError(
            "`label_student` and `teacher_student` are the same, so every weight is equally good. Pass the "
            "predictions of two models, one trained on labels only and one on the teacher's outputs only. "
            "Received: a mean squared difference of 0"
        )
    if not all(value is None or math.isfinite(value) for value in known):
        raise ValueError(f"Labels and predictions must be finite. Received: {known[1]} / {known[0]} as the weight")
    same = denominator == 0.0
    weight = ops.where(same, 1.0, numerator / ops.where(same, 1.0, denominator))
    return weight if clip is None else ops.clip(weight, *clip)


def _convert_to_floats(*arrays: Tensor) -> list[Tensor]:
    """Converts to tensors of float64 if one is float64, otherwise of float32. Sums in 16-bit floats are too coarse."""
    tensors = [ops.convert_to_tensor(array) for array in arrays]
    dtype = "float64" if any("float64" in str(tensor.dtype) for tensor in tensors) else "float32"
    return [ops.cast(tensor, dtype) for tensor in tensors]


def _check_shapes(y: Tensor, a: Tensor, b: Tensor) -> None:
    """Raises `ValueError` unless all shapes are the same, as far as they are known."""
    for other in (y, b):
        differ = any(None not in pair and pair[0] != pair[1] for pair in zip(a.shape, other.shape, strict=False))
        if differ or len(a.shape) != len(other.shape):
            raise ValueError(
                "`labels`, `label_student` and `teacher_student` must have the same shape. Convert integer classes to "
                f"one-hot labels with `keras.ops.one_hot`. Received: shapes {tuple(y.shape)}, {tuple(a.shape)} and "
                f"{tuple(b.shape)}"
            )


def _read_number(tensor: Tensor) -> float | None:
    """Returns the number, or `None` while a function is being compiled and the tensor has no value."""
    try:
        return float(ops.convert_to_numpy(tensor))
    except (NotImplementedError, TypeError, ValueError):  # TensorFlow, JAX and Keras's symbolic tensors raise these.
        return None
