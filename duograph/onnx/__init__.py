"""ONNX: models read from its files and written to them. Needs the package `onnx` (`pip install "duograph[onnx]"`)."""

from typing import TYPE_CHECKING, Any

from .errors import ModelError as ModelError
from .errors import UnsupportedError as UnsupportedError
from .model import Model as Model
from .model import load as load

if TYPE_CHECKING:
    from .exporting.calling import Exported as Exported
    from .exporting.calling import export as export
    from .exporting.calling import save as save
    from .writing.module import to_python as to_python

_WRITING = ("Exported", "export", "save", "to_python")  # who only reads a model does not wait for what writes them


def __getattr__(name: str) -> Any:
    if name not in _WRITING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "to_python":
        from .writing.module import to_python

        return globals().setdefault(name, to_python)
    from .exporting import calling

    return globals().setdefault(name, getattr(calling, name))


def __dir__() -> list[str]:
    return sorted({*globals(), *_WRITING})
