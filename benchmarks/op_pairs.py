"""Lists the functions of `keras_reg.ops` that `ops.py` measures, their naive forms and inputs, and those left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import naive_forms as naive
import numpy as np
from keras import ops
from op_functions import ops_of_package as ours
from op_inputs import (
    CARDINALITIES,
    Inputs,
    distilled,
    images,
    kept_rows,
    labelled,
    masked,
    normal,
    predictions,
    probabilities,
    scored,
    table_rows,
    tokens,
    uniform,
    with_vector,
)
from regularizers import convolved_with_itself, sum_of_singular_values


@dataclasses.dataclass(frozen=True)
class Pair:
    """Holds a function and its naive form, which must return the same results.

    Attributes:
        ours: The function of the package.
        naive: The naive form, or `None` where the function is only compared with a copy.
        inputs: Makes the input arrays from a random generator and a size.
        size: The measured size.
        small: The size for a quick check.
        wrt: The positions of the inputs with respect to which gradients are taken.
        elementwise: If true, each number of the result depends on a single number of each input.
        tolerance: The largest allowed difference of both results, as a share of the largest number.
    """

    ours: Callable[..., Any]
    naive: Callable[..., Any] | None
    inputs: Inputs
    size: int
    small: int = 8
    wrt: tuple[int, ...] = ()
    elementwise: bool = False
    tolerance: float = 1e-4


SQUARE = (lambda n: (n, n),)
ROWS = (lambda n: (n, 100),)
FEATURES = (lambda n: (n, 128),)
MILLIONS = 2**22

PAIRS = {
    "polynomial_arctan": Pair(
        ours.polynomial_arctan, ops.arctan, uniform((-4, 4)), MILLIONS, wrt=(0,), elementwise=True
    ),
    "scaled_arctan": Pair(
        lambda x, a, b: ours.scaled_arctan(x, a, b),
        lambda x, a, b: a * ops.arctan(x / b),
        lambda rng, n: [*uniform((-4, 4))(rng, n), np.float32(0.7), np.float32(0.8)],
        MILLIONS,
        wrt=(0, 1, 2),
        elementwise=True,
        tolerance=1e-3,  # the result sums millions of gradients of both signs
    ),
    "compand_weight": Pair(
        ours.compand_weight,
        lambda x: 0.7 * ops.arctan(x / 0.8),
        uniform((-4, 4)),
        MILLIONS,
        wrt=(0,),
        elementwise=True,
    ),
    "clip_probabilities": Pair(
        ours.clip_probabilities,
        lambda p: ops.clip(p, 1e-4, 1 - 1e-4),
        uniform((0, 1)),
        MILLIONS,
        wrt=(0,),
        elementwise=True,
    ),
    "beta_log_prob": Pair(
        lambda x, a, b: ours.beta_log_prob(x, a, b),
        naive.beta_log_prob,
        uniform((0.05, 0.95), (0.3, 3.0), (0.3, 3.0)),
        2**20,
        wrt=(0, 1, 2),
        elementwise=True,
    ),
    "free_numbers": Pair(
        lambda value: ours.free_numbers(value, low=0.0, high=1.0),
        lambda value: ops.log(value / (1 - value)),
        uniform((0.05, 0.95)),
        MILLIONS,
        wrt=(0,),
        elementwise=True,
    ),
    "attention_entropy": Pair(
        lambda x: ours.attention_entropy(x, from_logits=True),
        naive.attention_entropy,
        normal(lambda n: (n, 4, 64, 64)),
        64,
        2,
        wrt=(0,),
    ),
    "paste_boxes": Pair(ours.paste_boxes, naive.paste_boxes, images, 64, 4),
    "calibration_bins": Pair(ours.calibration_bins, naive.calibration_bins, predictions, 2**17, 64),
    "calibration_error": Pair(
        lambda *samples: ours.calibration_error(ours.calibration_bins(*samples)),
        naive.calibration_error,
        predictions,
        2**17,
        64,
        tolerance=1e-3,
    ),
    "area_under_risk_coverage": Pair(
        ours.area_under_risk_coverage, naive.area_under_risk_coverage, predictions, 2**15, 64
    ),
    "confidence_log_odds": Pair(
        ours.confidence_log_odds,
        naive.confidence_log_odds,
        lambda rng, n: [rng.dirichlet(np.full(100, 0.3), n).astype("float32")],
        8192,
    ),
    "risk_coverage_bins": Pair(ours.risk_coverage_bins, naive.risk_coverage_bins, scored, 8192, 64),
    "binned_area_under_risk_coverage": Pair(
        lambda *samples: ours.binned_area_under_risk_coverage(ours.risk_coverage_bins(*samples)),
        naive.area_of_bins,
        scored,
        2**15,
        64,
    ),
    "cauchy_schwarz_information": Pair(
        lambda x, t: ours.cauchy_schwarz_information(x, t),
        naive.cauchy_schwarz_information,
        lambda rng, n: [0.1 * x for x in normal(lambda n: (n, 64), lambda n: (n, 64))(rng, n)],
        256,
        wrt=(0, 1),
        tolerance=1e-2,  # the logarithms nearly cancel
    ),
    "uniformity": Pair(ours.uniformity, naive.uniformity, normal(*FEATURES), 256),
    "dispersive_loss": Pair(
        ours.dispersive_loss,
        lambda z: ops.log(ops.mean(ops.exp(-naive.distances(z) / z.shape[1] / 0.5))),
        normal(*FEATURES),
        256,
        wrt=(0,),
    ),
    "early_learning_penalty": Pair(
        ours.early_learning_penalty,
        lambda targets, p: ops.log(1 - ops.sum(targets * p, axis=-1)),
        lambda rng, n: [probabilities(rng, n), probabilities(rng, n)],
        8192,
        wrt=(1,),
    ),
    "self_distillation_term": Pair(
        lambda *samples: ours.self_distillation_term(*samples, 0.5),
        lambda *samples: naive.self_distillation_term(*samples, 0.5),
        distilled,
        8192,
        wrt=(2,),
    ),
    "log_likelihood": Pair(ours.log_likelihood, naive.log_likelihood, labelled, 8192, wrt=(1,)),
    "log_stablemax": Pair(ours.log_stablemax, naive.log_stablemax, normal(*ROWS), 8192, wrt=(0,)),
    "stablemax_cross_entropy": Pair(
        ours.stablemax_cross_entropy,
        lambda targets, logits: -ops.sum(targets * naive.log_stablemax(logits), axis=-1),
        lambda rng, n: [probabilities(rng, n), *normal(*ROWS)(rng, n)],
        8192,
        wrt=(1,),
    ),
    "softmax_collapse": Pair(
        ours.softmax_collapse,
        naive.softmax_collapse,
        lambda rng, n: [*labelled(rng, n)[:1], 90 * labelled(rng, n)[1]],
        8192,
    ),
    "keep_top_k": Pair(
        lambda rows: ours.keep_top_k(rows, 10),
        lambda rows: naive.keep_top_k(rows, 10),
        lambda rng, n: [rng.uniform(size=(n, 1000)).astype("float32")],
        256,
    ),
    "spread_top_k": Pair(
        lambda *kept: ours.spread_top_k(*kept, 1000), lambda *kept: naive.spread_top_k(*kept, 1000), kept_rows, 256
    ),
    "generalized_gaussian_penalty": Pair(
        lambda w: ours.generalized_gaussian_penalty(w, 0.5),
        lambda w: ops.sum(ops.power(ops.abs(w) + 1.0, 0.5) - 1.0),
        normal(*SQUARE),
        1024,
        wrt=(0,),
    ),
    "mask_sparsity_penalty": Pair(
        ours.mask_sparsity_penalty, lambda g, mask: ops.sum(mask * ops.abs(g)), masked, 2**20, wrt=(0,)
    ),
    "polarization_penalty": Pair(
        ours.polarization_penalty,
        lambda g: 1.2 * ops.sum(ops.abs(g)) - ops.sum(ops.abs(g - ops.mean(g))),
        lambda rng, n: [rng.uniform(0.5, 1.5, n).astype("float32")],
        2**16,
        wrt=(0,),
    ),
    "group_envelope": Pair(
        lambda w: ours.group_envelope(w, w.shape[1] // 8),
        lambda w: naive.group_envelope(w, w.shape[1] // 8),
        lambda rng, n: [(rng.normal(size=(n, n)) * rng.exponential(size=n)).astype("float32")],
        512,
        16,
        wrt=(0,),
    ),
    "strongest_groups": Pair(
        lambda w: ours.strongest_groups(w, w.shape[1] // 8),
        lambda w: naive.strongest_groups(w, w.shape[1] // 8),
        normal(*SQUARE),
        512,
    ),
    "nuclear_norm": Pair(
        ours.nuclear_norm,
        lambda kernel: sum_of_singular_values(kernel, 1),
        normal(lambda n: (2 * n, n)),
        128,
        wrt=(0,),
        tolerance=1e-3,
    ),
    "polar_factor": Pair(ours.polar_factor, naive.polar_factor, normal(lambda n: (2 * n, n)), 128, tolerance=1e-3),
    "top_singular": Pair(
        lambda matrix: [ops.abs(part) for part in ours.top_singular(matrix)],
        naive.top_singular,
        normal(lambda n: (2 * n, n)),
        128,
        tolerance=1e-2,  # a vector is less exact if the next singular value is close
    ),
    "spectral_norm_step": Pair(
        lambda matrix, vector: ours.spectral_norm_step(matrix, vector)[0],
        lambda matrix, vector: ops.svd(matrix, full_matrices=False)[1][0],
        with_vector,
        128,
        wrt=(0,),
        tolerance=1e-3,
    ),
    "soft_orthogonality": Pair(
        ours.soft_orthogonality, naive.soft_orthogonality, normal(lambda n: (n, 4 * n)), 128, wrt=(0,), tolerance=1e-3
    ),
    "orthogonal_convolution_penalty": Pair(
        ours.orthogonal_convolution_penalty,
        lambda kernel: convolved_with_itself(kernel, 1),
        lambda rng, n: [(rng.normal(size=(3, 3, n, n)) / (3 * n**0.5)).astype("float32")],
        64,
        wrt=(0,),
        tolerance=1e-3,
    ),
    "orthogonal_gradient": Pair(
        ours.orthogonal_gradient, naive.orthogonal_gradient, normal(*SQUARE, *SQUARE), 1024, tolerance=1e-3
    ),
    "normalize_weight": Pair(
        lambda v, g: ours.normalize_weight(v, g, (0,)),
        naive.normalize_weight,
        normal(*SQUARE, lambda n: (1, n)),
        1024,
        wrt=(0, 1),
    ),
    "hyper_linear": Pair(
        lambda x, general, response, factors: ours.hyper_linear(
            lambda weight: ops.matmul(x, weight), general, response, factors
        ),
        naive.hyper_linear,
        normal(*SQUARE, *SQUARE, *SQUARE, *SQUARE),
        128,
        wrt=(0, 1, 2, 3),
        tolerance=1e-3,
    ),
    "hyper_squares": Pair(
        ours.hyper_squares, naive.hyper_squares, normal(*SQUARE, *SQUARE, *SQUARE), 128, wrt=(0, 1, 2), tolerance=1e-3
    ),
    "weight_response": Pair(
        ours.weight_response, naive.weight_response, normal(lambda n: (10, n), lambda n: (10,), *SQUARE), 256
    ),
    "hyperparameter_gradient": Pair(
        lambda gradient, factors, scaling: ours.hyperparameter_gradient([gradient], [factors], [scaling]),
        naive.hyperparameter_gradient,
        normal(*SQUARE, lambda n: (10, n), *SQUARE),
        256,
        tolerance=1e-3,
    ),
    "column_tokens": Pair(
        lambda x, *weights: ours.column_tokens(x, CARDINALITIES, *weights),
        lambda x, *weights: naive.column_tokens(x, *weights, CARDINALITIES),
        table_rows,
        256,
        wrt=(1, 2, 3),
    ),
    "gather_tokens": Pair(ours.gather_tokens, naive.gather_tokens, tokens, 256, wrt=(0,)),
    "expand_mask": Pair(
        lambda mask: ours.expand_mask(mask, (112, 112)),
        lambda mask: naive.expand_mask(mask, 112, 6.0),
        normal(lambda n: (n, 14, 14)),
        32,
        2,
        wrt=(0,),
        tolerance=1e-3,
    ),
    "official_code_term": Pair(
        ours.official_code_term,
        lambda log_prob, cost: (ops.mean(ops.log(ops.sum(ops.exp(log_prob), axis=-1))) - 1) * cost,
        normal(lambda n: (n, 196), lambda n: (n,)),
        4096,
        wrt=(0, 1),
        tolerance=1e-3,
    ),
    # These functions have no naive form and are only compared with a copy.
    "weight_compander_slope": Pair(
        ours.weight_compander_slope, None, uniform((-4, 4)), MILLIONS, wrt=(0,), elementwise=True
    ),
    "invert_weight_compander": Pair(
        ours.invert_weight_compander, None, uniform((-1, 1)), MILLIONS, wrt=(0,), elementwise=True
    ),
    "soften_targets": Pair(
        lambda y, p: ours.soften_targets(y, p, 0.5), None, uniform((0, 1), (0, 1)), MILLIONS, elementwise=True
    ),
    "follow": Pair(lambda a, b: ours.follow(a, b, 0.9), None, uniform((0, 1), (0, 1)), MILLIONS, elementwise=True),
    "bounded": Pair(
        lambda x: ours.bounded(x, low=0.0, high=1.0), None, uniform((-4, 4)), MILLIONS, wrt=(0,), elementwise=True
    ),
    "hyper_weight": Pair(
        ours.hyper_weight, None, uniform((-1, 1), (-1, 1), (-1, 1)), MILLIONS, wrt=(0, 1, 2), elementwise=True
    ),
    "mask_log_concentrations": Pair(
        ours.mask_log_concentrations, None, uniform((-1, 1), (-1, 1)), MILLIONS, wrt=(1,), elementwise=True
    ),
    "scale_gradient": Pair(
        lambda x: ours.scale_gradient(x, 0.1), None, uniform((-4, 4)), MILLIONS, wrt=(0,), elementwise=True
    ),
    "entropy_deviation_penalty": Pair(
        lambda h: ours.entropy_deviation_penalty(h, 4.0, 0.5),
        None,
        uniform((0, 4)),
        MILLIONS,
        wrt=(0,),
        elementwise=True,
    ),
    "hyperparameter_step": Pair(
        lambda *state: ours.hyperparameter_step(*state, 0.01),
        None,
        uniform((-1, 1), (0, 1), (-1, 1)),
        MILLIONS,
        elementwise=True,
    ),
}

#: Functions for which no naive form gives the same results by other operations, by reason.
LEFT_OUT = {
    "the obvious operations for the paper's formula are those of the package": {
        "anchored_penalty",
        "bounded",
        "effective_rank",
        "entropy_deviation_penalty",
        "feature_deviation",
        "follow",
        "hyper_weight",
        "invert_weight_compander",
        "latent_prediction_loss",
        "low_rank_factors",
        "mask_log_concentrations",
        "mix_samples",
        "mutual_coherence",
        "optimal_label_weight",
        "scale_gradient",
        "score_function_term",
        "soften_targets",
        "spectral_isometry",
        "truncate_rank",
        "update_early_targets",
        "update_mask_base",
        "weight_compander_slope",
        "weight_length",
    },
    "only a handful of numbers is processed": {
        "gradient_noise_gate",
        "data_dependent_initialization",
        "hyperparameter_step",
        "perturbation_entropy",
        "relaxed_orthogonality",
    },
    "the result is a number or a table that Python or NumPy computes": {
        "generalized_gaussian_ratio",
        "linear_schedule",
        "polarization_threshold",
        "sinusoidal_positions",
        "unbounded",
        "weight_compander_bound",
    },
    "one operation of Keras moves numbers or changes a shape": {"along_samples", "drop_tokens", "insert_tokens"},
    "the function interpolates where the authors look up the nearest entry of a table, so results differ": {
        "generalized_gaussian_shape"
    },
    "no simpler form is exact": {"proximal_group_envelope"},
    "the function returns what autodiff gives for `weight_response`": {"response_gradients"},
}
