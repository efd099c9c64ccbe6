"""Images whose channels are last are views of images whose channels are first, where a convolution or pool made them.

What reads them next as channels-first gets the images themselves, and functions of single elements work on these: so between
convolutions nothing is moved, as if the program had channels first throughout.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

from duograph import _core as core

_sources: dict[int, tuple[weakref.ref[Any], Any]] = {}


def channels_last(source: Any) -> Any:
    """Images with channels last, as a view that remembers the images with channels first."""
    view = source.permute([0, *range(2, source.ndim), 1])
    key = id(view)
    _sources[key] = weakref.ref(view, lambda _: _sources.pop(key, None)), source
    return view


def source_of(view: Any) -> Any:
    """The images with channels first that a view with channels last is of; None for other tensors."""
    found = _sources.get(id(view))
    return None if found is None or found[0]() is not view else found[1]


def channels_first(x: Any) -> Any:
    """Images with channels first, of images with channels last."""
    source = source_of(x)
    return x.permute([0, x.ndim - 1, *range(1, x.ndim - 1)]) if source is None else source


def any_layout(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: a function of single elements works on images as they lie, and gives images that lie alike."""

    @functools.wraps(function)
    def apply(**arguments: Any) -> Any:
        tensors = {name: x for name, x in arguments.items() if isinstance(x, core.Tensor) and x.ndim}
        sources = {name: source for name, x in tensors.items() if (source := source_of(x)) is not None}
        if not sources:
            return function(**arguments)
        rank = next(iter(sources.values())).ndim
        for name, x in tensors.items():
            if name not in sources and x.ndim == 1:  # one number for each channel
                sources[name] = x.reshape([-1] + [1] * (rank - 2))
        if len(sources) < len(tensors) or any(x.ndim not in (rank, rank - 1) for x in sources.values()):
            return function(**arguments)
        return channels_last(function(**{**arguments, **sources}))

    return apply
