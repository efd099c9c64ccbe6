"""The bytes of a tensor as elements of another dtype, in a static program: a copy, made by a call in its middle."""

from __future__ import annotations

import functools
from typing import Any

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import CaptureError
from duograph.ir.builder import current
from duograph.ops.shapes.copying import cast

from .callbacks import HostCallback


def reinterpreted(x: Any, dtype: Any) -> Any:
    """What `x.view(dtype)` shows. Writes to either tensor would have to reach the other one: they are refused from here on."""
    wide, narrow = max(x.dtype.itemsize, dtype.itemsize), min(x.dtype.itemsize, dtype.itemsize)
    if wide > narrow == x.dtype.itemsize and x.shape and x.shape[-1] % (wide // narrow):
        raise CaptureError(
            f"static: view: {x.shape[-1]} elements of {x.dtype.name} are no whole number of {dtype.name}",
            location=user_location(),
        )
    made = _call(x.dtype, dtype)(x.detach())
    builder: Any = current()
    for tensor in (x, made) if hasattr(builder, "view_of") else ():
        builder.view_of(tensor).cell.opaque = True
    return made


@functools.cache
def _call(source: Any, dtype: Any) -> HostCallback:
    def view(x: Any) -> Any:
        return core.reinterpreted(x.contiguous(), dtype)

    def like(x: Any) -> Any:
        if dtype.itemsize < source.itemsize:
            x = x.repeat_interleave(source.itemsize // dtype.itemsize, -1)
        elif dtype.itemsize > source.itemsize:
            x = x[..., :: dtype.itemsize // source.itemsize]
        return cast(x, dtype)

    return HostCallback(view, like, examples=True)
