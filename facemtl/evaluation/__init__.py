"""Evaluation of the models: tables of metrics, calibration, robustness and costs."""
