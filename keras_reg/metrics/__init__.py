"""Metrics for `compile(metrics=[...])`: how far a classifier's probabilities can be trusted."""

from keras_reg.metrics.area_under_risk_coverage import AreaUnderRiskCoverage as AreaUnderRiskCoverage
from keras_reg.metrics.expected_calibration_error import ExpectedCalibrationError as ExpectedCalibrationError
from keras_reg.metrics.negative_log_likelihood import NegativeLogLikelihood as NegativeLogLikelihood

__all__ = ["AreaUnderRiskCoverage", "ExpectedCalibrationError", "NegativeLogLikelihood"]
