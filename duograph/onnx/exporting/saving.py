"""Loaded models written to files again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .building import Built
from .files import write

if TYPE_CHECKING:
    from ..model import Model


def save_again(model: Model, path: Any, external: bool | None = None) -> None:
    """The file that a model was read from, with the tensors that it has now."""
    made = type(model.proto)()
    made.CopyFrom(model.proto)
    weights = {name: getattr(module, leaf) for name, (module, leaf) in model.places.items() if name not in model.narrow}
    write(Built(made, weights, list(model.inputs), []), path, external)
