"""Weights of whole models from files."""

from __future__ import annotations

from typing import TypeVar

from .. import nn
from ..serialization import load

M = TypeVar("M", bound=nn.Module)


def with_weights(model: M, path: str | None) -> M:
    """The model with the state in a safetensors file, if one is named."""
    if path is not None:
        model.load_state_dict(load(path))
    return model
