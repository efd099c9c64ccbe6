"""Methods of Tensor that are no operators: conversions by name, layout, new tensors like this one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _core as core
from ..ir.builder import active, current
from ..ops.arguments import checked
from ..ops.copying import cast
from ..ops.copying import contiguous as contiguous_copy
from ..ops.movement import permute, transpose
from . import creation
from .convert import as_dtype, parse_to
from .hooks import register_hook

Tensor = core.Tensor
DType = core.DType


def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """This tensor in another dtype or on another device: `to(dtype)`, `to(device)`, `to(device, dtype)`, `to(other)`.

    Returns the tensor itself if nothing changes.
    """
    if len(args) == 1 and not kwargs and isinstance(args[0], DType):
        return self if args[0] is self.dtype else cast(self, args[0])
    target = parse_to("to", args, kwargs)
    return target.apply(self, target.dtype)


def type_(self: Tensor, dtype: DType | None = None) -> Any:
    """Without an argument the dtype's name, else this tensor in that dtype."""
    return f"duograph.{self.dtype.name}" if dtype is None else to(self, as_dtype("type", dtype))


def type_as(self: Tensor, other: Tensor) -> Tensor:
    """This tensor in the dtype of another."""
    return to(self, other.dtype)


def contiguous(self: Tensor) -> Tensor:
    """This tensor if its elements lie in row-major order without gaps, else a copy that does."""
    traced = self._traced is not None and active()
    return self if (current().is_row_major(self) if traced else self.is_contiguous()) else contiguous_copy(self)


def cpu(self: Tensor) -> Tensor:
    """This tensor on the CPU: itself."""
    return self


def cuda(self: Tensor, device: Any = None) -> Tensor:
    """There is no CUDA backend: raises DeviceError."""
    return to(self, "cuda" if device is None else device)


def new_zeros(self: Tensor, *size: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of a size, by default in this tensor's dtype."""
    return creation.zeros(*size, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)


def new_ones(self: Tensor, *size: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of a size, by default in this tensor's dtype."""
    return creation.ones(*size, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)


def new_empty(self: Tensor, *size: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """An uninitialised tensor of a size, by default in this tensor's dtype."""
    return creation.empty(*size, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)


def new_full(
    self: Tensor, size: Any, fill_value: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """One value in a size, by default in this tensor's dtype."""
    return creation.full(size, fill_value, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)


def new_tensor(self: Tensor, data: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of data, by default in this tensor's dtype."""
    return creation.tensor(data, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)


def _converter(name: str, dtype: DType) -> Callable[[Tensor], Tensor]:
    def convert(self: Tensor) -> Tensor:
        return self if dtype is self.dtype else cast(self, dtype)

    convert.__name__ = convert.__qualname__ = name
    convert.__doc__ = f"This tensor as {dtype.name}."
    return convert


_CONVERTERS = {
    "bfloat16": core.bfloat16,
    "bool": core.bool,
    "byte": core.uint8,
    "char": core.int8,
    "double": core.float64,
    "float": core.float32,
    "half": core.float16,
    "int": core.int32,
    "long": core.int64,
    "short": core.int16,
}


def _transposed(self: Tensor) -> Tensor:
    """All dimensions in reverse order."""
    return permute(self, *range(self.dim() - 1, -1, -1))


def _matrix_transposed(self: Tensor) -> Tensor:
    """The last two dimensions exchanged."""
    return transpose(self, -2, -1)


def install() -> None:
    """Gives Tensor these methods."""
    for method in (
        to,
        checked(type_as),
        contiguous,
        cpu,
        cuda,
        new_zeros,
        new_ones,
        new_empty,
        new_full,
        new_tensor,
        register_hook,
    ):
        core.bind_method(method.__name__, method)
    core.bind_method("type", type_)
    for name, dtype in _CONVERTERS.items():
        core.bind_method(name, _converter(name, dtype))
    core.bind_method("T", property(_transposed))
    core.bind_method("mT", property(_matrix_transposed))
    core.bind_method("is_cuda", False)


install()
