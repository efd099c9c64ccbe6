"""Functions of the namespace that ask tensors and dtypes something, or make tensors in unusual ways."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from .. import _core as core
from ..errors import ArgumentError, DomainError, DTypeError, ShapeError
from ..ops.arguments import checked
from ..ops.dtypes import DIMENSIONED, WEAK, ZERO_DIMENSIONAL, OperandType, weak_dtype
from ..ops.dtypes import result_type as joined
from ..ops.randomness.generators import default_generator
from ..ops.tracing import broadcast_shapes as joined_shapes
from ..ops.tracing import is_weak
from . import creation
from .convert import as_dtype
from .size import Size

Tensor = core.Tensor
DType = core.DType

__all__ = [
    "are_deterministic_algorithms_enabled",
    "asarray",
    "broadcast_shapes",
    "can_cast",
    "conj_physical",
    "detach",
    "detach_",
    "empty_strided",
    "fill",
    "fill_",
    "finfo",
    "frombuffer",
    "get_default_device",
    "iinfo",
    "index_put",
    "index_put_",
    "initial_seed",
    "is_complex",
    "is_conj",
    "is_floating_point",
    "is_inference",
    "is_neg",
    "is_nonzero",
    "is_same_size",
    "is_signed",
    "is_tensor",
    "numel",
    "promote_types",
    "range",
    "resize_as_",
    "result_type",
    "scalar_tensor",
    "seed",
    "set_float32_matmul_precision",
    "split_with_sizes",
    "unsafe_split_with_sizes",
    "use_deterministic_algorithms",
    "zero_",
]


# Tensors ------------------------------------------------------------------------------------------------------------------


def is_tensor(obj: Any) -> bool:
    """Whether it is a Tensor.

    >>> is_tensor(1.0)
    False
    """
    return isinstance(obj, Tensor) and not is_weak(obj)


@checked
def numel(input: Tensor) -> int:
    """How many elements there are.

    >>> import duograph as dg
    >>> numel(dg.zeros(2, 3))
    6
    """
    return input.numel()


@checked
def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is one of floats."""
    return input.dtype.is_floating_point


@checked
def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers.

    >>> import duograph as dg
    >>> is_signed(dg.tensor(1, dtype=dg.uint8))
    False
    """
    return input.dtype.kind in "if"


@checked
def is_nonzero(input: Tensor) -> bool:
    """Whether the only element is not 0. Errors: DomainError unless there is exactly one."""
    if input.numel() != 1:
        raise DomainError(f"is_nonzero: takes one element, got {input.numel()}", hint="use .any() or .all()")
    from duograph.ops.reduction.answers import answer

    answered: bool = answer(input.reshape(()))
    return answered


@checked
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape."""
    return tuple(input.shape) == tuple(other.shape)


@checked
def is_complex(input: Tensor) -> bool:
    """False: numbers are real."""
    return bool(input.is_complex())


@checked
def is_conj(input: Tensor) -> bool:
    """False: numbers are real."""
    return bool(input.is_conj())


@checked
def is_neg(input: Tensor) -> bool:
    """False: no negation is put off."""
    return bool(input.is_neg())


@checked
def is_inference(input: Tensor) -> bool:
    """Whether the tensor was made in inference mode."""
    return input.is_inference()


@checked
def conj_physical(input: Tensor) -> Tensor:
    """The tensor: numbers are real."""
    return input


@checked
def detach_(input: Tensor) -> Tensor:
    """The tensor, which forgets its history."""
    return input.detach_()


@checked
def resize_as_(input: Tensor, the_template: Tensor) -> Tensor:
    """Gives a tensor the size of another, as `Tensor.resize_`."""
    return input.resize_as_(the_template)  # type: ignore[no-any-return]


@checked
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> Any:
    """`split` into parts of these sizes.

    >>> import duograph as dg
    >>> split_with_sizes(dg.tensor([1, 2, 3]), [1, 2])
    (tensor([1]), tensor([2, 3]))
    """
    return input.split_with_sizes(split_sizes, dim)


unsafe_split_with_sizes = split_with_sizes


def get_default_device() -> Any:
    """The CPU."""
    from .device import device

    return device("cpu")


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """No effect: results are the same bits run after run."""


def are_deterministic_algorithms_enabled() -> bool:
    """True: results are the same bits run after run."""
    return True


def set_float32_matmul_precision(precision: str) -> None:
    """No effect: products of float32 are computed in float32.

    Errors: DomainError unless it is "highest", "high" or "medium".
    """
    if precision not in ("highest", "high", "medium"):
        raise DomainError(f"set_float32_matmul_precision: precision must be 'highest', 'high' or 'medium', got {precision!r}")


@checked
def detach(input: Tensor) -> Tensor:
    """The same elements without history."""
    return input.detach()


@checked
def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor of this shape and dtype, every element the value, through which a 0-d value gets its gradient."""
    return input.clone().fill_(value)  # type: ignore[no-any-return]


@checked
def fill_(input: Tensor, value: Any) -> Tensor:
    """Writes the value into every element."""
    return input.fill_(value)  # type: ignore[no-any-return]


@checked
def zero_(input: Tensor) -> Tensor:
    """Writes 0 into every element."""
    return input.zero_()  # type: ignore[no-any-return]


@checked
def index_put(input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy with the elements replaced (or added to) that `input[indices]` shows.

    >>> import duograph as dg
    >>> index_put(dg.zeros(3), (dg.tensor([0, 2]),), dg.tensor([1.0, 2.0]))
    tensor([1., 0., 2.])
    """
    return input.index_put(indices, values, accumulate)  # type: ignore[no-any-return]


@checked
def index_put_(input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False) -> Tensor:
    """Replaces (or adds to) the elements that `input[indices]` shows."""
    return input.index_put_(indices, values, accumulate)  # type: ignore[no-any-return]


@checked
def broadcast_shapes(*shapes: Any) -> Size:
    """The shape to which these broadcast. Errors: ShapeError if they do not; ArgumentError for what is no shape.

    >>> broadcast_shapes((2, 1), (3,))
    duograph.Size([2, 3])
    """
    pairs = [(f"shape {i}", (s,) if isinstance(s, int) else s) for i, s in enumerate(shapes)]
    for name, shape in pairs:
        if not isinstance(shape, (tuple, list)) or not all(hasattr(type(n), "__index__") for n in shape):
            raise ArgumentError(f"broadcast_shapes: {name} must be integers, not {shape!r}")
    return Size(joined_shapes("broadcast_shapes", pairs) if pairs else ())


# Dtypes -------------------------------------------------------------------------------------------------------------------


def promote_types(type1: DType, type2: DType) -> DType:
    """The least dtype that holds both. Errors: DTypeError where there is none.

    >>> import duograph as dg
    >>> promote_types(dg.int32, dg.float16)
    duograph.float16
    """
    found = core.promote(_dtype("promote_types", type1), _dtype("promote_types", type2))
    if found is None:
        raise DTypeError(f"promote_types: {type1.name} and {type2.name} do not promote to one dtype")
    return found


@partial(checked, names="tensor=tensor1 other=tensor2 scalar=tensor2 scalar1=tensor1 scalar2=tensor2")
def result_type(tensor1: Any, tensor2: Any) -> DType:
    """The dtype of the sum of two tensors or numbers.

    >>> import duograph as dg
    >>> result_type(dg.tensor([1], dtype=dg.int8), 2.5)
    duograph.float32
    """

    def of(x: Any) -> OperandType:
        if isinstance(x, Tensor):
            return OperandType(x.dtype, DIMENSIONED if len(x.shape) else ZERO_DIMENSIONAL)
        if not isinstance(x, (bool, int, float)):
            raise ArgumentError(f"result_type: takes tensors and numbers, got {type(x).__name__}")
        return OperandType(weak_dtype(x), WEAK)

    return joined("result_type", [of(tensor1), of(tensor2)])


def can_cast(from_: DType, to: DType) -> bool:
    """Whether promotion's rules let one dtype become the other: bool < integers < floats.

    >>> import duograph as dg
    >>> can_cast(dg.float32, dg.int64)
    False
    """
    order = {"b": 0, "u": 1, "i": 1, "f": 2}
    first, second = _dtype("can_cast", from_), _dtype("can_cast", to)
    return order[first.kind] <= order[second.kind]


def _dtype(name: str, given: Any) -> DType:
    found = as_dtype(name, given)
    if found is None:
        raise DTypeError(f"{name}: takes dtypes, got None")
    return found


class finfo:
    """The limits of a dtype of floats (the default one if none is given). Errors: DTypeError for other dtypes.

    >>> finfo().eps
    1.1920928955078125e-07
    """

    def __init__(self, dtype: DType | None = None) -> None:
        dtype = core.get_default_dtype() if dtype is None else _dtype("finfo", dtype)
        if dtype not in _FLOATS:
            raise DTypeError(f"finfo: takes a dtype of floats, got {dtype.name}", hint="iinfo tells the limits of integers")
        digits, exponent = _FLOATS[dtype]
        self.dtype, self.bits = dtype.name, 8 * dtype.itemsize
        self.eps: float = 2.0**-digits
        self.max: float = (2.0 - self.eps) * 2.0 ** (exponent - 1)
        self.min = -self.max
        self.tiny: float = 2.0 ** (2 - exponent)
        self.smallest_normal = self.tiny

    def __repr__(self) -> str:
        return f"finfo(dtype={self.dtype}, bits={self.bits}, eps={self.eps}, max={self.max}, min={self.min}, tiny={self.tiny})"

    @property
    def resolution(self) -> float:
        """The least power of ten that is still resolved at 1."""
        from math import ceil, log10

        return float(f"1e{ceil(log10(self.eps))}")


# Bits of the fraction, and the greatest exponent.
_FLOATS = {core.float16: (10, 16), core.bfloat16: (7, 128), core.float32: (23, 128), core.float64: (52, 1024)}


class iinfo:
    """The limits of a dtype of integers. Errors: DTypeError for other dtypes.

    >>> import duograph as dg
    >>> iinfo(dg.int8).min
    -128
    """

    def __init__(self, dtype: DType) -> None:
        dtype = _dtype("iinfo", dtype)
        if dtype.kind not in "ui":
            raise DTypeError(f"iinfo: takes a dtype of integers, got {dtype.name}", hint="finfo tells the limits of floats")
        signed = dtype.kind == "i"
        self.dtype, self.bits = dtype.name, 8 * dtype.itemsize
        self.max: int = 2 ** (self.bits - signed) - 1
        self.min: int = -self.max - 1 if signed else 0

    def __repr__(self) -> str:
        return f"iinfo(dtype={self.dtype}, bits={self.bits}, max={self.max}, min={self.min})"


# Making tensors -----------------------------------------------------------------------------------------------------------


@checked
def asarray(
    obj: Any, *, dtype: DType | None = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of a tensor, array, number or sequence: sharing memory where it can, unless `copy`.

    Errors: DomainError where copy is False and memory cannot be shared

    >>> asarray([1, 2])
    tensor([1, 2])
    """
    made = creation.tensor(obj, dtype=dtype, device=device) if copy else creation.as_tensor(obj, dtype, device)
    shared = made is obj if isinstance(obj, Tensor) else made.dtype.name == str(getattr(obj, "dtype", ""))
    if copy is False and not shared:
        raise DomainError("asarray: this cannot be had without a copy", hint="leave copy out")
    if not requires_grad:
        return made.detach()
    return made if made.requires_grad else made.requires_grad_()


@checked
def frombuffer(buffer: Any, *, dtype: DType, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """The numbers in an object with Python's buffer interface, as one row: sharing its memory if it can be written, else copied.

    Args:
        count: how many; -1: all. offset: how many bytes come before.

    Errors: DomainError for a buffer that is too small or not a whole number of elements

    >>> import duograph as dg
    >>> frombuffer(bytearray(b"ab"), dtype=dg.uint8)
    tensor([97, 98], dtype=duograph.uint8)
    """
    import numpy

    dtype = _dtype("frombuffer", dtype)
    if dtype is core.bfloat16:
        raise DTypeError("frombuffer: takes no bfloat16", hint="read int16 and use .view(dg.bfloat16)")
    try:
        found = numpy.frombuffer(buffer, dtype.name, count, offset)
    except ValueError as error:
        raise DomainError(f"frombuffer: {error}") from None
    made = core.from_numpy(found if found.flags.writeable else found.copy())
    return made.requires_grad_() if requires_grad else made


@checked
def empty_strided(
    size: Sequence[int], stride: Sequence[int], *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of this size with undefined values, laid out with these strides.

    >>> empty_strided((2, 3), (1, 2)).stride()
    (1, 2)
    """
    if len(size) != len(stride):
        raise ShapeError(f"empty_strided: {len(size)} sizes, but {len(stride)} strides")
    room = 1 + sum((n - 1) * s for n, s in zip(size, stride)) if all(size) else 0
    made = creation.empty(room, dtype=dtype, device=device).as_strided(tuple(size), tuple(stride))
    return made.detach().requires_grad_() if requires_grad else made  # type: ignore[no-any-return]


@checked
def scalar_tensor(s: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A 0-d tensor of a number, by default in the default float dtype.

    >>> scalar_tensor(2)
    tensor(2.)
    """
    return creation.tensor(s, dtype=dtype or core.get_default_dtype(), device=device, requires_grad=requires_grad)


@checked
def range(start: float, end: float, step: float = 1, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """The numbers from start to end, both included, step apart: `arange` does not include the end.

    >>> range(1, 3)
    tensor([1., 2., 3.])
    """
    if step == 0 or (end - start) * step < 0:
        raise DomainError(f"range: step {step} does not lead from {start} to {end}")
    count = int((end - start) / step) + 1
    return start + creation.arange(count, dtype=dtype or core.get_default_dtype(), device=device) * step


# Random state -------------------------------------------------------------------------------------------------------------


def seed() -> int:
    """Sets a seed that nobody can foresee, and returns it."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that was set last."""
    return core.get_rng_state()[0]
