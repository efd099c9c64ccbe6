"""Methods of Tensor that are no operators: conversions by name, layout, new tensors like this one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _core as core
from .._forks import import_late
from ..errors import ArgumentError, CaptureError, GradError, ShapeError
from ..ir.builder import active, current
from ..ops.arguments import checked
from ..ops.shapes.copying import cast
from ..ops.shapes.copying import contiguous as contiguous_copy
from ..ops.shapes.permuting import permute, transpose
from . import creation, functions, resizing
from .convert import as_dtype, parse_to
from .formats import contiguous_format, format_of, strided
from .hooks import register_hook, register_post_accumulate_grad_hook

Tensor = core.Tensor
DType = core.DType


def contains(self: Tensor, element: Any) -> bool:
    """Whether an element equals a number, or any equals its counterpart in another tensor: `3 in x`."""
    if not isinstance(element, (Tensor, bool, int, float)):
        raise ArgumentError(f"in: a Tensor holds numbers, not {type(element).__name__}")
    return bool((self == element).any())


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


def contiguous(self: Tensor, memory_format: Any = contiguous_format) -> Tensor:
    """This tensor if its elements lie in row-major order without gaps, else a copy that does; or in another memory format."""
    if memory_format is not contiguous_format:
        wanted = format_of("contiguous", memory_format)
        if wanted is None:
            raise ArgumentError("contiguous: preserve_format names no order", hint="use clone()")
        return wanted.laid_out("contiguous", self)
    traced = self._traced is not None and active()
    fits = current().row_major(self) if traced else self.is_contiguous()
    if fits is True:
        return self
    made = contiguous_copy(self)
    return made if fits is False else current().copied_elsewhere(made, self, fits)


def is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Whether two tensors show the same memory in the same way."""
    if self._traced is not None or tensor._traced is not None:
        if self._traced is tensor._traced:
            return True
        raise CaptureError("static: is_set_to asks for memory that only the run has", hint="ask outside of the static function")
    same = core.storage_id(self) == core.storage_id(tensor) and self.storage_offset() == tensor.storage_offset()
    return same and tuple(self.shape) == tuple(tensor.shape) and self.stride() == tensor.stride()


def dim_order(self: Tensor) -> tuple[int, ...]:
    """The dimensions from the outermost in memory to the innermost."""
    return tuple(sorted(range(self.dim()), key=lambda d: -self.stride(d)))


def _is_view(self: Tensor) -> bool:
    """Whether it shows another tensor's memory."""
    return self._base is not None


def _never(name: str, what: str) -> Callable[[Tensor], bool]:
    def method(self: Tensor) -> bool:
        return False

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"False: {what}."
    return method


def _itself(name: str, why: str) -> Callable[..., Tensor]:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"This tensor: {why}."
    return method


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


def new_empty_strided(
    self: Tensor, size: Any, stride: Any, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """An uninitialised tensor of a size, laid out with these strides, by default in this tensor's dtype."""
    return functions.empty_strided(size, stride, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)


def apply_(self: Tensor, function: Callable[[Any], Any]) -> Tensor:
    """Replaces every element by what a Python function of it gives: slow, for tensors that need no gradient."""
    return _written("apply_", self, [function(x) for x in self.detach().flatten().tolist()])


def map_(self: Tensor, other: Tensor, function: Callable[[Any, Any], Any]) -> Tensor:
    """Replaces every element by what a Python function of it and the other's element gives: slow, without gradients."""
    theirs = other.detach().expand(tuple(self.shape)).flatten().tolist()
    return _written("map_", self, [function(a, b) for a, b in zip(self.detach().flatten().tolist(), theirs)])


def _written(name: str, target: Tensor, values: list[Any]) -> Tensor:
    if target.requires_grad:
        raise GradError(f"{name}: a Python function has no gradient here", hint=f"use x.detach().{name}(...), or operators")
    return target.copy_(creation.tensor(values, dtype=target.dtype).reshape(tuple(target.shape)))  # type: ignore[no-any-return]


def get_device(self: Tensor) -> int:
    """-1: the CPU's number."""
    return -1


def split_with_sizes(self: Tensor, split_sizes: Any, dim: int = 0) -> Any:
    """`split` into parts of these sizes."""
    return self.split(list(split_sizes), dim)


def sum_to_size(self: Tensor, *size: Any) -> Tensor:
    """The sum over the dimensions in which this tensor is larger: undoes `expand`."""
    wanted = tuple(size[0]) if len(size) == 1 and isinstance(size[0], (tuple, list)) else size
    shape = tuple(self.shape)
    extra = len(shape) - len(wanted)
    if extra < 0 or any(have != want and want != 1 for have, want in zip(shape[extra:], wanted)):
        raise ShapeError(f"sum_to_size: {shape} is no shape that {wanted} expands to")
    dims = [d for d, have in enumerate(shape) if d < extra or (wanted[d - extra] == 1 and have != 1)]
    return (self.sum(dims, True) if dims else self).reshape(wanted)  # type: ignore[no-any-return]


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


def _of_linalg(name: str) -> Callable[..., Any]:
    """A method that is a function of `linalg`, which is imported when it is first called."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return getattr(import_late("duograph"), name)(self, *args, **kwargs)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"`duograph.{name}` of this tensor."
    return method


def _transposed(self: Tensor) -> Tensor:
    """All dimensions in reverse order."""
    return permute(self, tuple(range(self.dim() - 1, -1, -1)))


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
        new_empty_strided,
        new_tensor,
        apply_,
        map_,
        get_device,
        split_with_sizes,
        sum_to_size,
        functions.is_nonzero,
        functions.is_same_size,
        functions.is_signed,
        register_hook,
        register_post_accumulate_grad_hook,
        checked(is_set_to),
        dim_order,
        _is_view,
        resizing.as_strided_,
        resizing.resize_,
        resizing.resize_as_,
        resizing.set_,
    ):
        core.bind_method(method.__name__, method)
    core.bind_method("__contains__", contains)
    core.bind_method("type", type_)
    for name, dtype in _CONVERTERS.items():
        core.bind_method(name, _converter(name, dtype))
    for name in (
        "cholesky",
        "cholesky_inverse",
        "cholesky_solve",
        "det",
        "inverse",
        "logdet",
        "matrix_exp",
        "pinverse",
        "slogdet",
    ):
        core.bind_method(name, _of_linalg(name))
    core.bind_method("T", property(_transposed))
    core.bind_method("mT", property(_matrix_transposed))
    core.bind_method("H", property(_transposed))
    core.bind_method("mH", property(_matrix_transposed))
    for kind in ("cuda", "meta", "mps", "sparse", "quantized", "nested", "xla", "mkldnn", "xpu", "vulkan"):
        core.bind_method(f"is_{kind}", False)
    core.bind_method("is_cpu", True)
    core.bind_method("layout", strided)
    for name in ("is_complex", "is_conj", "is_neg"):
        core.bind_method(name, _never(name, "numbers are real, and nothing is put off"))
    for name in ("is_pinned", "is_shared", "is_coalesced"):
        core.bind_method(name, _never(name, "memory is that of the process"))
    core.bind_method("to_dense", _itself("to_dense", "every tensor is dense"))
    core.bind_method("conj_physical", _itself("conj_physical", "numbers are real"))


install()
