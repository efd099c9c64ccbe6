"""ONNX: models read from its files and written to them. Needs the package `onnx` (`pip install duograph[onnx]`)."""

from .exporting.calling import Exported as Exported
from .exporting.calling import export as export
from .exporting.calling import save as save
