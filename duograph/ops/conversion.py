"""Conversion of dtype and device, under the names that PyTorch users know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ArgumentError

from .definition import function
from .slicing import cast, clone

if TYPE_CHECKING:
    from duograph._core import DType, Tensor


def _named(name: str, dtype: DType) -> Any:
    def convert(x: Tensor) -> Tensor:
        return x if x.dtype is dtype else cast(x, dtype)

    convert.__name__ = convert.__qualname__ = name
    convert.__doc__ = f"""`x.to(dg.{dtype.name})`.

    Shapes:   x [*S] → [*S]
    Dtypes:   {dtype.name}
    Gradient: converted back
    Errors:   none
    Source:   torch.Tensor.{name}

    >>> tensor([1]).{name}().dtype
    duograph.{dtype.name}
    """
    return function(public=False, samples=lambda m: [(m(3, 2),)], reference=lambda np, x: x)(convert)


float_, double, half, bfloat16 = (_named(n, d) for n, d in (("float", core.float32), ("double", core.float64), ("half", core.float16), ("bfloat16", core.bfloat16)))
long, int_, short, char, byte, bool_ = (
    _named(n, d)
    for n, d in (("long", core.int64), ("int", core.int32), ("short", core.int16), ("char", core.int8), ("byte", core.uint8), ("bool", core.bool))
)  # fmt: skip


@function(public=False, samples=lambda m: [], reference=lambda np, x: x)
def type_as(x: Tensor, other: Tensor) -> Tensor:
    """`x.to(other.dtype)`.

    Shapes:   x [*S] → [*S]
    Dtypes:   other's
    Gradient: converted back
    Errors:   none
    Source:   torch.Tensor.type_as

    >>> tensor([1]).type_as(tensor([1.0]))
    tensor([1.])
    """
    return x if x.dtype is other.dtype else cast(x, other.dtype)


@function(public=False, samples=lambda m: [], reference=lambda np, x: x)
def to(x: Tensor, *args: Any, dtype: DType | None = None, device: Any = None, copy: bool = False, non_blocking: bool = False) -> Tensor:
    """x on a device and in a dtype (or another tensor's): x itself if it is there already, unless `copy`.

    Shapes:   x [*S] → [*S]
    Dtypes:   the one given
    Gradient: converted back
    Errors:   DeviceError for a device that is not there; ArgumentError
    Source:   torch.Tensor.to

    >>> tensor([1]).to(dg.float32)
    tensor([1.])
    """
    for value in args:
        if isinstance(value, core.DType):
            dtype = value
        elif isinstance(value, core.Tensor):
            dtype, device = value.dtype, value.device
        elif isinstance(value, bool):
            continue
        elif isinstance(value, type):
            raise ArgumentError(f"to: {value.__name__} is no dtype", hint="for example duograph.float32")
        else:
            device = value
    if device is not None:
        from duograph.tensor.device import check_device

        check_device("to", device)
    if dtype is not None and dtype is not x.dtype:
        return cast(x, dtype)
    return clone(x) if copy else x


@function(public=False, differentiable=False, samples=lambda m: [], reference=lambda np, x: x)
def cpu(x: Tensor) -> Tensor:
    """x, which is in the processor's memory already.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept
    Gradient: 1
    Errors:   none
    Source:   torch.Tensor.cpu

    >>> tensor([1]).cpu()
    tensor([1])
    """
    return x
