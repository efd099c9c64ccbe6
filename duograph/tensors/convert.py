"""What `to(...)` may be given: a device, a dtype, both, or a tensor to be like."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import _core as core
from ..errors import ArgumentError
from ..ops.shapes.copying import cast, clone
from .device import check_device, device
from .formats import MemoryFormat, format_of

Tensor = core.Tensor
DType = core.DType

_BUILTIN = {float: "float32", int: "int64", bool: "bool"}


class Target(NamedTuple):
    """The dtype to convert to (None: keep it), whether to copy in any case, and the order in memory."""

    dtype: DType | None
    copy: bool = False
    format: MemoryFormat | None = None

    def apply(self, tensor: Tensor, dtype: DType | None) -> Tensor:
        """The tensor in this dtype and order: itself if nothing changes."""
        if dtype is not None and dtype is not tensor.dtype:
            made = cast(tensor, dtype)
        else:
            made = clone(tensor) if self.copy else tensor
        return made if self.format is None else self.format.laid_out("to", made)


def parse_to(owner: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Target:
    """Reads the arguments of a `to`: `(device)`, `(dtype)`, `(device, dtype)`, `(tensor)`, each also by keyword."""
    given = dict(kwargs)
    dtype = given.pop("dtype", None)
    place = given.pop("device", None)
    like = given.pop("other", None)
    copy = bool(given.pop("copy", False))
    given.pop("non_blocking", None)
    order = format_of(owner, given.pop("memory_format", None))
    if given:
        raise ArgumentError(
            f"{owner}: unknown argument {next(iter(given))!r}; there are device, dtype, other, copy, memory_format"
        )
    for position, arg in enumerate(args):
        if isinstance(arg, DType) or (isinstance(arg, type) and arg in _BUILTIN):
            dtype = arg
        elif isinstance(arg, Tensor):
            like = arg
        elif isinstance(arg, (str, device)) and position == 0:
            place = arg
        elif isinstance(arg, bool) and position >= 1:
            copy = arg if position == len(args) - 1 and len(args) > 2 else copy
        elif arg is not None:
            raise ArgumentError(
                f"{owner}: expected a device, a dtype or a tensor, got {arg!r}",
                hint="for example .to('cpu') or .to(duograph.float32)",
            )
    check_device(owner, place)
    if like is not None:
        dtype = like.dtype
    return Target(as_dtype(owner, dtype), copy, order)


def as_dtype(owner: str, dtype: Any) -> DType | None:
    """A dtype, also from Python's float, int and bool; None stays None."""
    if dtype is None or isinstance(dtype, DType):
        return dtype
    if isinstance(dtype, type) and dtype in _BUILTIN:
        found: DType = core.get_default_dtype() if dtype is float else getattr(core, _BUILTIN[dtype])
        return found
    raise ArgumentError(f"{owner}: dtype must be a duograph dtype, got {dtype!r}", hint="for example duograph.float32")
