"""Metrics that measure how reliable the probabilities of a classifier are, for `compile(metrics=[...])`."""

from keras_reg.metrics.area_under_risk_coverage import AreaUnderRiskCoverage as AreaUnderRiskCoverage
from keras_reg.metrics.expected_calibration_error import ExpectedCalibrationError as ExpectedCalibrationError
from keras_reg.metrics.negative_log_likelihood import NegativeLogLikelihood as NegativeLogLikelihood

__all__ = ["AreaUnderRiskCoverage", "ExpectedCalibrationError", "NegativeLogLikelihood"]
