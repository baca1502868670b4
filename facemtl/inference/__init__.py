"""Predictions from model files, on ONNX Runtime."""
