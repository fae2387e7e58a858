"""Conformance cases of layers and regularizers with hyperparameters that can change during training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_reg.callbacks import HyperparameterSchedule, ReplaySchedule
from keras_reg.layers import (
    TunableBrightness,
    TunableContrast,
    TunableCutout,
    TunableDropout,
    TunableGaussianNoise,
    TunableHue,
    TunableSaturation,
    TunableScale,
    TunableShear,
    TunableTranslation,
)
from keras_reg.regularizers import TunableL1, TunableL2
from keras_reg.tune import Float, Int
from tests.conformance.case import Case
from tests.conformance.noise_cases import RANDOM
from tests.conformance.regularizer_cases import NOT_APPLICABLE, simulated
from tests.conformance.rules import load_all


def make_float(name: str, init: float, low: float = 0.0, high: float | None = None) -> Callable[[], Float]:
    return lambda: Float(name, init, low=low, high=high)


def make_int(name: str, init: int) -> Callable[[], Int]:
    return lambda: Int(name, init, low=0, high=4)


def make_decay() -> Float:
    return Float("decay", 0.05, low=0.0, log=True)


def compute_absolute_penalty(arguments: dict[str, Any], kernel: np.ndarray) -> float:
    return 0.05 * np.abs(kernel).sum()


def compute_square_penalty(arguments: dict[str, Any], kernel: np.ndarray) -> float:
    return 0.05 * np.square(kernel).sum()


WRONG_STRENGTHS = (
    {"strength": 0.1},
    {"strength": None},
    {"strength": True},
    {"strength": "0.1"},
    {"strength": Float("decay", 0.1)},
)
WRONG_SEEDS = ({"seed": 1.5}, {"seed": True}, {"seed": "1"})
WRONG_NOISE_SHAPES = ({"noise_shape": 2}, {"noise_shape": "all"}, {"noise_shape": (0, 1)}, {"noise_shape": (True, 1)})
#: The rules for a callback that sets numbers and changes nothing else about a step.
SCHEDULE_RULES = ("config_round_trip", "registered_for_serialization", "wrong_arguments_raise")
SCHEDULE = {"total_steps": 6, "steps": [0, 2], "values": {"dropout": [0.2, 0.6]}}
#: One test in tests/layers/test_tunable_images.py trains all image layers.
IMAGE_EXCEPTIONS = dict.fromkeys(
    set(load_all()) - {*SCHEDULE_RULES, "saved_model_loads_in_a_fresh_process"},
    "it trains like TunableDropout; tests/layers/test_tunable_images.py checks its numbers",
)
#: The hyperparameter is a variable of the model that training does not change.
NO_STATE = {"state_changes_in_every_epoch": "its value changes only when it is set; tests/tune"}

TUNABLE_CASES = [
    Case(
        cls=TunableDropout,
        kind="layer",
        mechanism="hyperparameter",
        arguments={"rate": make_float("dropout", 0.3, high=0.9)},
        configurations=({"rate": make_float("other", 0.5, high=0.75), "noise_shape": (None, 1), "seed": 5},),
        wrong_arguments=(
            {"rate": 0.5},
            {"rate": None},
            {"rate": Float("dropout", 0.5, low=0.0)},
            {"rate": Float("dropout", 0.5, low=0.0, high=1.0)},
            {"rate": Float("dropout", 0.5, high=0.9)},
            {"rate": True},
            {"rate": "0.5"},
            *WRONG_NOISE_SHAPES,
            *WRONG_SEEDS,
        ),
        not_applicable={**RANDOM, **NO_STATE},
    ),
    Case(
        cls=TunableGaussianNoise,
        kind="layer",
        mechanism="hyperparameter",
        arguments={"stddev": make_float("noise", 0.3)},
        configurations=({"stddev": make_float("other", 0.5, 0.1), "noise_shape": (None, 1), "seed": 5},),
        wrong_arguments=(
            {"stddev": 0.5},
            {"stddev": None},
            {"stddev": True},
            {"stddev": "0.5"},
            {"stddev": Float("noise", 0.5, low=-1.0)},
            *WRONG_NOISE_SHAPES,
            *WRONG_SEEDS,
        ),
        not_applicable={**RANDOM, **NO_STATE},
    ),
    *(
        Case(
            cls=cls,
            kind="regularizer",
            mechanism="hyperparameter",
            arguments={"strength": make_decay},
            configurations=({"strength": make_float("other", 0.5)},),
            half_precision={"strength": make_float("decay", 1e-9)},
            simulate=simulated(penalty),
            golden=("tests/regularizers/test_tunable.py::test_tunable_l1_l2_match_golden_loss_and_gradient",),
            reference=reference,
            wrong_arguments=WRONG_STRENGTHS,
            not_applicable={**NOT_APPLICABLE, **NO_STATE},
        )
        for cls, penalty, reference in (
            (TunableL2, compute_square_penalty, {"loss": 1.366699, "weights": 8.744416}),
            (TunableL1, compute_absolute_penalty, {"loss": 1.559999, "weights": 8.571532}),
        )
    ),
    *(
        Case(
            cls=cls,
            kind="callback",
            mechanism="number between epochs",
            layer=lambda: TunableDropout(Float("dropout", 0.5, low=0.0, high=0.9), seed=3),
            arguments=arguments,
            configurations=(configuration,),
            wrong_arguments=wrong,
            not_applicable=dict.fromkeys(
                set(load_all()) - set(SCHEDULE_RULES),
                "it changes neither the objective nor the step; tests/callbacks/test_hyperparameter_schedule.py",
            ),
        )
        for cls, arguments, configuration, wrong in (
            (
                HyperparameterSchedule,
                {"schedules": {"dropout": [0.2, 0.6]}},
                {"schedules": {"dropout": [0.1]}},
                (
                    {"schedules": {}},
                    {"schedules": None},
                    {"schedules": {"dropout": 0.5}},
                    {"schedules": {"dropout": []}},
                    {"schedules": {"dropout": "linear"}},
                    {"schedules": {"dropout": True}},
                    {"schedules": "linear"},
                ),
            ),
            (
                ReplaySchedule,
                {"schedule": SCHEDULE},
                {"schedule": SCHEDULE, "by": "step"},
                (
                    {"schedule": None},
                    {"schedule": {"dropout": [0.1]}},
                    {"schedule": {**SCHEDULE, "steps": []}},
                    {"schedule": {**SCHEDULE, "steps": [2, 0]}},
                    {"schedule": {**SCHEDULE, "steps": [0, 1.5]}},
                    {"schedule": {**SCHEDULE, "total_steps": 2}},
                    {"schedule": {**SCHEDULE, "values": {}}},
                    {"schedule": {**SCHEDULE, "values": {"dropout": [0.2]}}},
                    {"schedule": {**SCHEDULE, "values": {"dropout": [0.2, float("nan")]}}},
                    {"by": "epoch"},
                    {"by": None},
                ),
            ),
        )
    ),
    *(
        Case(
            cls=cls,
            kind="layer",
            mechanism="hyperparameter",
            # The 6 units become images of 2 pixels with 3 channels.
            before=lambda: keras.layers.Reshape((2, 1, 3)),
            after=keras.layers.Flatten,
            arguments={"factor": make_float("factor", high / 4, high=high / 2)},
            configurations=({"factor": make_float("other", high / 3, high=high), **other, "seed": 5},),
            wrong_arguments=(
                {"factor": high / 4},
                {"factor": None},
                {"factor": True},
                {"factor": "0.1"},
                {"factor": Float("factor", high / 4, low=0.0)},
                {"factor": Float("factor", high / 4, low=0.0, high=2 * high)},
                {"factor": Float("factor", high / 4, low=-1.0, high=high)},
                *WRONG_SEEDS,
                *wrong,
            ),
            not_applicable=IMAGE_EXCEPTIONS,
        )
        for classes, other, wrong in (
            (
                {TunableBrightness: 1.0, TunableContrast: 1.0, TunableSaturation: 1.0, TunableHue: 0.5},
                {"value_range": (0.0, 255.0)},
                (
                    {"value_range": 255},
                    {"value_range": None},
                    {"value_range": "01"},
                    {"value_range": (1.0, 0.0)},
                    {"value_range": (False, 1.0)},
                    {"value_range": (0.0, "1")},
                    {"value_range": (0.0, float("inf"))},
                ),
            ),
            (
                {TunableTranslation: 1.0, TunableScale: 0.9, TunableShear: 80.0},
                {"fill_value": 0.5},
                ({"fill_value": "black"}, {"fill_value": True}, {"fill_value": float("nan")}),
            ),
        )
        for cls, high in classes.items()
    ),
    Case(
        cls=TunableCutout,
        kind="layer",
        mechanism="hyperparameter",
        before=lambda: keras.layers.Reshape((2, 1, 3)),
        after=keras.layers.Flatten,
        arguments={"length": make_int("length", 1), "count": make_int("count", 1)},
        configurations=({"length": make_int("side", 2), "count": make_int("number", 3), "fill_value": 0.5, "seed": 5},),
        wrong_arguments=(
            {"length": 4},
            {"length": None},
            {"length": True},
            {"length": "4"},
            {"length": Int("length", 4)},
            {"count": 1},
            {"count": None},
            {"count": True},
            {"count": "1"},
            {"count": Int("count", 1, low=0)},
            {"fill_value": None},
            {"fill_value": True},
            {"fill_value": "black"},
            *WRONG_SEEDS,
        ),
        not_applicable=IMAGE_EXCEPTIONS,
    ),
]
