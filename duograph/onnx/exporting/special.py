"""Primitives that ONNX has no operator for: made of others."""
