"""The cases of layers and regularizers whose strengths may change in training."""

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


def number(name: str, init: float, low: float = 0.0, high: float | None = None) -> Callable[[], Float]:
    return lambda: Float(name, init, low=low, high=high)


def whole(name: str, init: int) -> Callable[[], Int]:
    return lambda: Int(name, init, low=0, high=4)


def decay() -> Float:
    return Float("decay", 0.05, low=0.0, log=True)


def absolute_penalty(arguments: dict[str, Any], kernel: np.ndarray) -> float:
    return 0.05 * np.abs(kernel).sum()


def square_penalty(arguments: dict[str, Any], kernel: np.ndarray) -> float:
    return 0.05 * np.square(kernel).sum()


WRONG_STRENGTHS = ({"strength": 0.1}, {"strength": None}, {"strength": Float("decay", 0.1)})
#: A callback that sets numbers: of what is done around a step it changes nothing.
OF_A_SCHEDULE = ("config_round_trip", "registered_for_serialization", "wrong_arguments_raise")
SCHEDULE = {"total_steps": 6, "steps": [0, 2], "values": {"dropout": [0.2, 0.6]}}
#: Layers of images, of which one test trains all (tests/layers/test_tunable_images.py).
OF_IMAGES = dict.fromkeys(
    set(load_all()) - {*OF_A_SCHEDULE, "saved_model_loads_in_a_fresh_process"},
    "in training as TunableDropout; numbers: tests/layers/test_tunable_images.py",
)
#: A strength is a weight of the model that training leaves alone.
NO_STATE = {"state_changes_in_every_epoch": "its strength changes when it is told to; tests/tune"}

TUNABLE_CASES = [
    Case(
        cls=TunableDropout,
        kind="layer",
        mechanism="hyperparameter",
        arguments={"rate": number("dropout", 0.3, high=0.9)},
        configurations=({"rate": number("other", 0.5, high=0.75), "noise_shape": (None, 1), "seed": 5},),
        wrong_arguments=(
            {"rate": 0.5},
            {"rate": None},
            {"rate": Float("dropout", 0.5, low=0.0)},
            {"rate": Float("dropout", 0.5, low=0.0, high=1.0)},
            {"rate": Float("dropout", 0.5, high=0.9)},
            {"seed": 1.5},
        ),
        not_applicable={**RANDOM, **NO_STATE},
    ),
    Case(
        cls=TunableGaussianNoise,
        kind="layer",
        mechanism="hyperparameter",
        arguments={"stddev": number("noise", 0.3)},
        configurations=({"stddev": number("other", 0.5, 0.1), "noise_shape": (None, 1), "seed": 5},),
        wrong_arguments=({"stddev": 0.5}, {"stddev": Float("noise", 0.5, low=-1.0)}, {"seed": "1"}),
        not_applicable={**RANDOM, **NO_STATE},
    ),
    *(
        Case(
            cls=cls,
            kind="regularizer",
            mechanism="hyperparameter",
            arguments={"strength": decay},
            configurations=({"strength": number("other", 0.5)},),
            half_precision={"strength": number("decay", 1e-9)},
            simulate=simulated(penalty),
            golden=("tests/regularizers/test_tunable.py::test_tunable_l1_l2_match_golden_loss_and_gradient",),
            reference=reference,
            wrong_arguments=WRONG_STRENGTHS,
            not_applicable={**NOT_APPLICABLE, **NO_STATE},
        )
        for cls, penalty, reference in (
            (TunableL2, square_penalty, {"loss": 1.366699, "weights": 8.744416}),
            (TunableL1, absolute_penalty, {"loss": 1.559999, "weights": 8.571532}),
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
                set(load_all()) - set(OF_A_SCHEDULE),
                "it leaves the objective and the step alone; tests/callbacks/test_hyperparameter_schedule.py",
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
                ),
            ),
        )
    ),
    *(
        Case(
            cls=cls,
            kind="layer",
            mechanism="hyperparameter",
            # The features of 6 units as images of 2 pixels.
            before=lambda: keras.layers.Reshape((2, 1, 3)),
            after=keras.layers.Flatten,
            arguments={"strength": number("strength", most / 4, high=most / 2)},
            configurations=({"strength": number("other", most / 3, high=most), **other, "seed": 5},),
            wrong_arguments=(
                {"strength": most / 4},
                {"strength": None},
                {"strength": Float("strength", most / 4, low=0.0)},
                {"strength": Float("strength", most / 4, low=0.0, high=2 * most)},
                {"strength": Float("strength", most / 4, low=-1.0, high=most)},
                {"seed": 1.5},
                *wrong,
            ),
            not_applicable=OF_IMAGES,
        )
        for classes, other, wrong in (
            (
                {TunableBrightness: 1.0, TunableContrast: 1.0, TunableSaturation: 1.0, TunableHue: 0.5},
                {"value_range": (0.0, 255.0)},
                ({"value_range": 255}, {"value_range": (1.0, 0.0)}, {"value_range": (0.0, float("inf"))}),
            ),
            (
                {TunableTranslation: 1.0, TunableScale: 0.9, TunableShear: 80.0},
                {"fill_value": 0.5},
                ({"fill_value": "black"}, {"fill_value": float("nan")}),
            ),
        )
        for cls, most in classes.items()
    ),
    Case(
        cls=TunableCutout,
        kind="layer",
        mechanism="hyperparameter",
        before=lambda: keras.layers.Reshape((2, 1, 3)),
        after=keras.layers.Flatten,
        arguments={"length": whole("length", 1), "count": whole("count", 1)},
        configurations=({"length": whole("side", 2), "count": whole("number", 3), "fill_value": 0.5, "seed": 5},),
        wrong_arguments=(
            {"length": 4},
            {"length": Int("length", 4)},
            {"count": 1},
            {"count": Int("count", 1, low=0)},
            {"fill_value": None},
            {"seed": 1.5},
        ),
        not_applicable=OF_IMAGES,
    ),
]
