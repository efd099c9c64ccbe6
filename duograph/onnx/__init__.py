"""ONNX: models read from its files and written to them. Needs the package `onnx` (`pip install duograph[onnx]`)."""

from .errors import ModelError as ModelError
from .errors import UnsupportedError as UnsupportedError
from .exporting.calling import Exported as Exported
from .exporting.calling import export as export
from .exporting.calling import save as save
from .model import Model as Model
from .model import load as load
