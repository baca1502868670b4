"""Model files -> answers, on ONNX Runtime."""
