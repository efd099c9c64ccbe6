"""In-place forms of views: the tensor itself shows its elements in another shape from then on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import GradError
from duograph.ir.builder import active, current

if TYPE_CHECKING:
    from duograph._core import Tensor

    from .definition import Definition


def in_place_view(base: Definition, name: str) -> Callable[..., Tensor]:
    """The method `name` that gives a tensor the shape of the view `base`."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return show(name, self, base.exported, *args, **kwargs)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"In-place form of `{base.name}`: the tensor itself shows its elements in this way from now on."
    return method


def show(name: str, x: Tensor, view: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
    """`x`, which shows its elements as `view(x, *args, **kwargs)` does from now on; views of it stay what they are."""
    recording = core.is_grad_enabled()
    if recording and x.requires_grad and x.is_leaf:
        raise GradError(
            f"{name}: a leaf tensor that requires grad cannot be changed in place",
            hint=f"write x = x.{name.rstrip('_')}(...), or do it under dg.no_grad()",
        )
    core.set_grad_enabled(recording or not x.is_leaf)  # the history always says what shape the elements came in
    try:
        made = view(x, *args, **kwargs)
    finally:
        core.set_grad_enabled(recording)
    if made is not x:
        if active():
            current().shape_changes(name, x, made)
        core.become_view(x, made)
    return x
