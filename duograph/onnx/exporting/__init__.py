"""Captured programs written as ONNX: the calls are in `calling`, what each operation becomes in the families' tables."""
