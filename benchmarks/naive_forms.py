"""Implements functions of `keras_reg.ops` naively from the papers' formulas, with `keras.ops` and autodiff."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

import keras_reg


def log_gamma(x: Any) -> Any:
    """Computes the backend's log-gamma, because `keras.ops` has no such function."""
    backend = keras.backend.backend()
    if backend == "jax":
        from jax.scipy.special import gammaln

        return gammaln(x)
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.math.lgamma(x)
    return x.lgamma()


def beta_log_prob(x: Any, alpha: Any, beta: Any) -> Any:
    normalizer = log_gamma(alpha) + log_gamma(beta) - log_gamma(alpha + beta)
    return (alpha - 1) * ops.log(x) + (beta - 1) * ops.log(1 - x) - normalizer


def attention_entropy(logits: Any) -> Any:
    attention = ops.softmax(logits)
    return -ops.sum(attention * ops.log(attention + 1e-9), axis=-1)


def paste_boxes(images: Any, order: Any, share: Any, centers: Any) -> tuple[Any, Any]:
    """Pastes the boxes image by image."""
    size = images.shape[1]
    middles = ops.convert_to_tensor((np.arange(size, dtype="float32") + 0.5) / size)
    pasted, kept = [], []
    for i in range(images.shape[0]):
        half = ops.sqrt(1 - share[i]) / 2
        rows, columns = (ops.abs(middles - centers[i, axis]) < half for axis in (0, 1))
        box = ops.logical_and(rows[:, None], columns[None, :])
        pasted.append(ops.where(box[:, :, None], ops.take(images, order[i], axis=0), images[i]))
        kept.append(1 - ops.mean(ops.cast(box, "float32")))
    return ops.stack(pasted), ops.stack(kept)


def calibration_bins(confidence: Any, correct: Any, num_bins: int = 10) -> Any:
    rows = []
    for i in range(num_bins):
        inside = ops.logical_and(confidence > i / num_bins, confidence <= (i + 1) / num_bins)
        inside = ops.cast(inside, "float32")
        rows.append(ops.stack([ops.sum(inside), ops.sum(inside * confidence), ops.sum(inside * correct)]))
    return ops.stack(rows)


def calibration_error(confidence: Any, correct: Any, num_bins: int = 10) -> Any:
    error = 0.0
    for i in range(num_bins):
        inside = ops.logical_and(confidence > i / num_bins, confidence <= (i + 1) / num_bins)
        inside = ops.cast(inside, "float32")
        count = ops.maximum(ops.sum(inside), 1.0)
        gap = ops.abs(ops.sum(inside * confidence) / count - ops.sum(inside * correct) / count)
        error = error + count / confidence.shape[0] * gap
    return error


def area_under_risk_coverage(confidence: Any, correct: Any) -> Any:
    """Computes the area for samples with distinct confidences."""
    wrong = 1 - ops.take(correct, ops.argsort(-confidence))
    return ops.mean(ops.cumsum(wrong) / ops.arange(1, wrong.shape[0] + 1, dtype="float32"))


def confidence_log_odds(probabilities: Any) -> Any:
    confidence = ops.max(probabilities, axis=-1)
    return ops.log(confidence / (1 - confidence))


def risk_coverage_bins(log_odds: Any, correct: Any, num_bins: int = 1000) -> Any:
    """Fills the bins by comparing every sample with every bin."""
    edges = np.linspace(-10.0, 30.0, num_bins + 1).astype("float32")
    edges[0], edges[-1] = -np.inf, np.inf
    edges = ops.convert_to_tensor(edges)
    inside = ops.logical_and(log_odds[:, None] > edges[:-1], log_odds[:, None] <= edges[1:])
    return ops.matmul(ops.transpose(ops.cast(inside, "float32")), ops.stack([ops.ones_like(correct), 1 - correct], 1))


def area_of_bins(log_odds: Any, correct: Any) -> Any:
    """Computes the area, with the number of a sample's bin as its confidence."""
    bins = ops.clip(ops.ceil((log_odds + 10) * 25), 1, 1000)
    return keras_reg.ops.area_under_risk_coverage(bins, correct)


def distances(z: Any) -> Any:
    """Computes squared distances from all pairwise differences."""
    return ops.sum(ops.square(z[:, None] - z[None]), axis=-1)


def cauchy_schwarz_information(x: Any, t: Any) -> Any:
    k, q = (ops.exp(-distances(z) / 2) for z in (x, t))
    joint, product = ops.mean(k * q), ops.mean(k) * ops.mean(q)
    cross = ops.mean(ops.mean(k, axis=0) * ops.mean(q, axis=0))
    return ops.log(joint) + ops.log(product) - 2 * ops.log(cross)


def uniformity(features: Any) -> Any:
    directions = features / ops.sqrt(ops.sum(ops.square(features), axis=1, keepdims=True))
    size = features.shape[0]
    others = 1.0 - ops.eye(size)
    return ops.log(ops.sum(others * ops.exp(-2.0 * distances(directions))) / (size * (size - 1)))


def group_envelope(weights: Any, num_groups: int) -> Any:
    """Sorts the groups: the strongest have share 1, and the others have shares in proportion to their norms."""
    norms = ops.flip(ops.sort(ops.sqrt(ops.sum(ops.square(weights), axis=0))))
    whole = ops.arange(num_groups, dtype="float32")  # the number of groups with share 1
    strong = (ops.cumsum(ops.square(norms)) - ops.square(norms))[:num_groups]
    weak = ops.sum(norms) - (ops.cumsum(norms) - norms)[:num_groups]
    fits = norms[:num_groups] * (num_groups - whole) <= weak
    first = ops.argmax(ops.cast(fits, "int32"))
    return 0.5 * ops.take(strong + ops.square(weak) / (num_groups - whole), first)


def strongest_groups(weights: Any, num_groups: int) -> Any:
    norms = ops.sqrt(ops.sum(ops.square(weights), axis=0))
    return ops.where(norms >= ops.sort(norms)[-num_groups], weights, 0.0)


def hyper_linear(x: Any, general: Any, response: Any, factors: Any) -> Any:
    """Computes a linear map with a weight for each sample."""
    weights = general + factors[:, None, :] * response
    return ops.einsum("bi,biu->bu", x, weights)


def hyper_squares(general: Any, response: Any, factors: Any) -> Any:
    """Computes the sum of squares of a weight for each sample."""
    return ops.sum(ops.square(general + factors[:, None, :] * response), axis=(1, 2))


def column_tokens(x: Any, weights: Any, embeddings: Any, biases: Any, cardinalities: tuple[int, ...]) -> Any:
    """Makes the tokens column by column."""
    tokens, numeric, offset = [], 0, 0
    for column, count in enumerate(cardinalities):
        if count:
            tokens.append(ops.take(embeddings, ops.cast(x[:, column], "int32") + offset, axis=0))
            offset += count
        else:
            tokens.append(x[:, column, None] * weights[numeric])
            numeric += 1
    return ops.stack(tokens, axis=1) + biases


def gather_tokens(x: Any, indices: Any) -> Any:
    return ops.matmul(ops.one_hot(indices, x.shape[1]), x)


def log_likelihood(labels: Any, logits: Any) -> Any:
    of_label = ops.take_along_axis(ops.softmax(logits), labels[:, None], axis=-1)
    return ops.sum(ops.log(of_label))


def expand_mask(mask: Any, size: int, sigma: float) -> Any:
    """Repeats the cells, and convolves the result with a Gaussian."""
    for axis in (1, 2):
        mask = ops.repeat(mask, size // mask.shape[axis], axis=axis)
    reach = round(sigma)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    image = ops.pad(mask, ((0, 0), (reach, reach), (reach, reach)), mode="reflect")[..., None]
    kernel = np.outer(weights, weights).astype("float32")[:, :, None, None]
    return ops.conv(image, kernel, padding="valid", data_format="channels_last")[..., 0]


def polar_factor(matrix: Any) -> Any:
    left, _, right = ops.svd(matrix, full_matrices=False)
    return ops.matmul(left, right)


def top_singular(matrix: Any) -> tuple[Any, Any]:
    left, sigma, _ = ops.svd(matrix, full_matrices=False)
    return sigma[0], ops.abs(left[:, 0])


def orthogonal_gradient(gradient: Any, weight: Any) -> Any:
    rest = gradient - ops.sum(weight * gradient) / ops.sum(weight * weight) * weight
    return rest * ops.sqrt(ops.sum(gradient * gradient) / ops.sum(rest * rest))


def self_distillation_term(targets: Any, past: Any, log_probabilities: Any, weight: float) -> Any:
    """Computes the cross-entropy of mixed targets minus that of the labels."""
    mixed = (1 - weight) * targets + weight * past
    return ops.sum(targets * log_probabilities, axis=-1) - ops.sum(mixed * log_probabilities, axis=-1)


def soft_orthogonality(kernel: Any) -> Any:
    """Computes the penalty from the Gram matrix of the columns, minus the constant that is due to extra columns."""
    rows, columns = kernel.shape
    gram = ops.matmul(ops.transpose(kernel), kernel)
    return ops.sum(ops.square(gram - ops.eye(columns))) - max(0, columns - rows)


def log_stablemax(logits: Any) -> Any:
    s = ops.where(logits >= 0, logits + 1, 1 / (1 - logits))
    return ops.log(s / ops.sum(s, axis=-1, keepdims=True))


def softmax_collapse(labels: Any, logits: Any) -> Any:
    of_label = ops.take_along_axis(ops.softmax(logits), labels[:, None], axis=-1)
    return of_label[:, 0] == 1.0


def keep_top_k(rows: Any, k: int) -> tuple[Any, Any, Any]:
    places = ops.argsort(-rows, axis=-1)[:, :k]
    values = ops.take_along_axis(rows, places, axis=-1)
    rest = (ops.sum(rows, axis=-1) - ops.sum(values, axis=-1)) / (rows.shape[1] - k)
    return values, ops.cast(places, "int32"), rest


def spread_top_k(values: Any, places: Any, rest: Any, width: int) -> Any:
    chosen = ops.one_hot(places, width)
    return ops.sum(values[:, :, None] * chosen, axis=1) + rest[:, None] * (1 - ops.sum(chosen, axis=1))


def normalize_weight(parameter: Any, length: Any) -> Any:
    return length * parameter / ops.sqrt(ops.sum(ops.square(parameter), axis=0, keepdims=True))


def response_of_each(factors: Any, scaling: Any) -> Any:
    """Returns the full derivative of the weight with respect to each hyperparameter."""
    return factors[:, None, :] * scaling[None]


def weight_response(factors: Any, direction: Any, scaling: Any) -> Any:
    return ops.tensordot(direction, response_of_each(factors, scaling), axes=1)


def hyperparameter_gradient(gradient: Any, factors: Any, scaling: Any) -> Any:
    return ops.sum(response_of_each(factors, scaling) * gradient, axis=(1, 2))
