"""Captured programs written as ONNX: the calls are in `calling`, what each operation becomes in the families' tables."""

from ..messages import library

library()  # an error that names the extra, before the files here import it
