"""The best weight of the ground truth in self-distillation, in closed form.

Borup, Andersen, Even your Teacher Needs Guidance: Ground-Truth Targets Dampen Regularization Imposed by
Self-Distillation, arXiv 2102.13088, 2021.
"""

from __future__ import annotations

import math
from typing import Any

from keras import ops


def optimal_label_weight(
    labels: Any, label_student: Any, teacher_student: Any, clip: tuple[float, float] | None = (0.0, 1.0)
) -> Any:
    """The weight of the GROUND TRUTH with which a student of labels and teacher has the least squared error.

    MIND THE DIRECTION: the result weights the LABELS, alpha * label + (1 - alpha) * teacher. The weight of progressive
    self-distillation (PS-KD, arXiv 2006.12000) is the other way round: it weights the PAST PREDICTION, so its
    counterpart is `1 - optimal_label_weight(...)`.

    Trained by ridge regression, the student is linear in its targets: it predicts alpha a + (1 - alpha) b, with a the
    student of the labels only and b that of the teacher's outputs only. On held-out data the squared error is least at

        alpha* = <y - b, a - b> / ||a - b||^2,

    the sums over samples and outputs. For deep networks this is a good guess: a is the plain model, which is there
    already as the teacher, and b one more student, so two trainings take the place of a grid.

    Args:
        labels: The labels y of validation samples that nothing was trained on, one-hot for a classifier; any shape,
            the first axis counts samples.
        label_student: Predictions a on them, of a model trained on labels only: probabilities, not logits; same shape.
        teacher_student: Predictions b, of a model trained on the teacher's outputs only; same shape.
        clip: The range of the result. `None` leaves it free: it may then be below 0 or above 1 (-0.62 at the first
            step of the paper's kernel-ridge example), which gives no distributions over classes, but suits regression.

    Returns:
        The weight of the labels, a scalar tensor. In a compiled function, where a = b cannot be told by an error, all
        weights are equally good then and it is 1, the plain labels (within `clip`).

    Raises:
        ValueError: If the shapes differ, `clip` is no range, or, unless in a compiled function, if a = b or one of the
            arrays is not finite.

    Example:

    ```python
    y = np.array([[1.0, 0.0], [0.0, 1.0]])
    a, b = np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([[0.5, 0.5], [0.1, 0.9]])
    optimal_label_weight(y, label_student=a, teacher_student=b)  # 0.36 / 0.4 = 0.9
    ```
    """
    if clip is not None and not (len(clip) == 2 and -math.inf < clip[0] <= clip[1] < math.inf):
        raise ValueError(f"`clip` must be None or (lowest, highest), both finite. Received: clip={clip!r}")
    y, a, b = _floating(labels, label_student, teacher_student)
    _check_shapes(y, a, b)
    difference = a - b
    numerator, denominator = ops.sum((y - b) * difference), ops.sum(difference * difference)
    known = _value(denominator), _value(numerator)
    if known[0] == 0.0:
        raise ValueError(
            "`label_student` and `teacher_student` are the same, so that every weight is equally good. Give the "
            "predictions of two models, one trained on labels only and one on the teacher's outputs only. "
            "Received: a mean squared difference of 0"
        )
    if not all(value is None or math.isfinite(value) for value in known):
        raise ValueError(f"Labels and predictions must be finite. Received: {known[1]} / {known[0]} as the weight")
    same = denominator == 0.0
    weight = ops.where(same, 1.0, numerator / ops.where(same, 1.0, denominator))
    return weight if clip is None else ops.clip(weight, *clip)


def _floating(*arrays: Any) -> list[Any]:
    """As tensors of float64 if one is that already, otherwise of float32: halves are too coarse for the sums."""
    tensors = [ops.convert_to_tensor(array) for array in arrays]
    dtype = "float64" if any("float64" in str(tensor.dtype) for tensor in tensors) else "float32"
    return [ops.cast(tensor, dtype) for tensor in tensors]


def _check_shapes(y: Any, a: Any, b: Any) -> None:
    """Raises unless all shapes are the same, as far as they are known."""
    for other in (y, b):
        differ = any(None not in pair and pair[0] != pair[1] for pair in zip(a.shape, other.shape, strict=False))
        if differ or len(a.shape) != len(other.shape):
            raise ValueError(
                "`labels`, `label_student` and `teacher_student` must have the same shape; make integer classes "
                f"one-hot, with `keras.ops.one_hot`. Received: shapes {tuple(y.shape)}, {tuple(a.shape)} and "
                f"{tuple(b.shape)}"
            )


def _value(tensor: Any) -> float | None:
    """The number, or `None` while a function is being compiled and there is none yet."""
    try:
        return float(ops.convert_to_numpy(tensor))
    except (NotImplementedError, TypeError, ValueError):  # TensorFlow, JAX, Keras' symbolic tensors
        return None
