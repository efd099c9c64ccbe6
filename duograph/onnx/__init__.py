"""ONNX: models read from its files and written to them. Needs the package `onnx` (`pip install duograph[onnx]`)."""
