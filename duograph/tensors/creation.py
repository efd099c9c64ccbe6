"""Creating tensors: the functions of the package's namespace with the arguments that PyTorch users know.

What is computed is an operator's business (`ops.creation`, `ops.random`); here sizes are gathered, defaults chosen, devices
checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from .. import _core as core
from ..errors import ArgumentError, CaptureError, DomainError, DTypeError, ShapeError
from ..ops import creation as ops
from ..ops import random
from ..ops.arguments import checked
from ..ops.randomness.generators import drawn_from
from ..ops.shapes.copying import cast, clone
from ..ops.shapes.joining import stack
from ..ops.tracing import is_weak
from .convert import as_dtype
from .device import check_device

Tensor = core.Tensor
DType = core.DType
Shape: TypeAlias = Any  # integers, or one tuple or list of them

__all__ = [
    "arange",
    "as_tensor",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
    "ones",
    "ones_like",
    "rand",
    "rand_like",
    "randint",
    "randn",
    "randn_like",
    "randperm",
    "tensor",
    "zeros",
    "zeros_like",
]


def tensor(
    data: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """A new tensor of numbers, nested sequences, arrays or another tensor; the data is copied.

    Dtypes: dtype; or an array's own; or bool, int64 or the default float, whatever holds all numbers
    Errors: ShapeError for rows of different lengths, ArgumentError for anything that is no number

    >>> tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    """
    check_device("tensor", device)
    if isinstance(data, Tensor):
        if is_weak(data):  # it stands for a number
            made = ops.full((), data, dtype or (core.get_default_dtype() if data.dtype.is_floating_point else data.dtype))
        else:
            made = clone(data.detach()) if dtype is None or dtype is data.dtype else cast(data.detach(), dtype)
    else:
        if isinstance(data, range):
            data = list(data)
        elif type(data).__module__ == "numpy" and isinstance(data, float):  # NumPy's float64 is a Python float as well
            from numpy import asarray

            data = asarray(data)
        elif data is None:
            raise ArgumentError("tensor: expected numbers, sequences of them or an array, got None")
        computed = _of_numbers(data, dtype) if core.tracing() else None
        made = core.tensor_from_data(data, as_dtype("tensor", dtype)) if computed is None else computed
    return _with_grad("tensor", made, requires_grad)


def _elements(data: Any, depth: int, shape: list[int]) -> Iterator[Any]:
    """The elements of nested sequences; `shape` gets their lengths."""
    if not isinstance(data, (list, tuple)):
        yield data
        return
    if depth == len(shape):
        shape.append(len(data))
    if len(data) != shape[depth]:
        raise ShapeError(f"tensor: the nested sequences are ragged: {len(data)} elements where {shape[depth]} are expected")
    for item in data:
        yield from _elements(item, depth + 1, shape)


def _of_numbers(data: Any, dtype: DType | None) -> Tensor | None:
    """A tensor of numbers that only each run of a static function knows; None if all are plain, or others among them."""
    shape: list[int] = []
    elements = list(_elements(data, 0, shape))
    plain = all(type(e) in (bool, int, float) for e in elements)
    if plain or not all(isinstance(e, (bool, int, float)) or (isinstance(e, Tensor) and e.ndim == 0) for e in elements):
        return None
    if dtype is None:
        kinds = [e.dtype if isinstance(e, Tensor) else e.__class__ for e in elements]
        if any(kind is float or (isinstance(kind, DType) and kind.is_floating_point) for kind in kinds):
            dtype = core.get_default_dtype()
        else:
            dtype = core.bool if all(kind in (bool, core.bool) for kind in kinds) else core.int64
    alone = [cast(e.detach(), dtype) if isinstance(e, Tensor) else ops.full((), e, dtype) for e in elements]
    made: Tensor = stack(alone).reshape(shape)
    return made


@checked
def as_tensor(data: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Like `tensor`, but shares memory with a tensor or NumPy array that has the dtype already."""
    check_device("as_tensor", device)
    if isinstance(data, Tensor) and not is_weak(data):
        return data if dtype is None or dtype is data.dtype else cast(data, dtype)
    if type(data).__module__ == "numpy" and type(data).__name__ == "ndarray" and data.flags.writeable:
        made = core.from_numpy(data)
        return made if dtype is None or dtype is made.dtype else cast(made, dtype)
    return tensor(data, dtype=dtype)


def from_numpy(array: Any) -> Tensor:
    """A tensor that shares a NumPy array's memory: writing to one shows in the other."""
    return core.from_numpy(array)


def from_dlpack(array: Any) -> Tensor:
    """A tensor that shares the memory of any array with `__dlpack__` (NumPy, PyTorch, JAX, …) on the CPU."""
    return core.from_dlpack(array)


def tensor_new(cls: type[Tensor], *args: Any, device: Any = None, dtype: DType | None = None) -> Tensor:
    """The core's hook for `Tensor(...)`, default dtype: `Tensor(2, 3)` is uninitialised, `Tensor([0])` holds data."""
    check_device("Tensor", device)
    if dtype is not None:
        raise ArgumentError("Tensor: takes no dtype", hint="write duograph.tensor(data, dtype=...)")
    wanted = core.get_default_dtype()
    if len(args) == 1 and isinstance(args[0], Tensor):
        made = cast(args[0].detach(), wanted)
    elif len(args) == 1 and not isinstance(args[0], int) and type(args[0]).__name__ != "Size":
        made = core.tensor_from_data(args[0], wanted)
    else:
        made = empty(*(args or (0,)))
    return made if cls is Tensor else core.as_subclass(made, cls)


# Filled -------------------------------------------------------------------------------------------------------------------


@checked
def empty(*size: Shape, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of this size with undefined values.

    >>> empty(2, 3).shape
    duograph.Size([2, 3])
    """
    check_device("empty", device)
    shape = _sizes("empty", size)
    made_of = as_dtype("empty", dtype) or core.get_default_dtype()
    made = ops.full(shape, 0, made_of) if core.tracing() else core.empty(shape, made_of)
    return _with_grad("empty", made, requires_grad)


@checked
def zeros(*size: Shape, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of this size filled with 0.

    >>> zeros(2)
    tensor([0., 0.])
    """
    check_device("zeros", device)
    shape = _sizes("zeros", size)
    made_of = as_dtype("zeros", dtype) or core.get_default_dtype()
    made = ops.full(shape, 0, made_of) if core.tracing() else core.zeros(shape, made_of)
    return _with_grad("zeros", made, requires_grad)


@checked
def ones(*size: Shape, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of this size filled with 1.

    >>> ones(2)
    tensor([1., 1.])
    """
    check_device("ones", device)
    made = ops.full(_sizes("ones", size), 1, as_dtype("ones", dtype) or core.get_default_dtype())
    return _with_grad("ones", made, requires_grad)


@checked
def full(
    size: Sequence[int], fill_value: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of this size filled with one value; its dtype is the value's: bool, int64 or the default float.

    >>> full((2,), 7)
    tensor([7, 7])
    """
    check_device("full", device)
    made = ops.full(_sizes("full", (size,)), fill_value, as_dtype("full", dtype))
    return _with_grad("full", made, requires_grad)


@checked
def empty_like(input: Tensor, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of the same size and dtype with undefined values."""
    _checked_tensor("empty_like", input)
    return empty(input.shape, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)


@checked
def zeros_like(input: Tensor, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of the same size and dtype filled with 0."""
    check_device("zeros_like", device)
    return _with_grad("zeros_like", ops.zeros_like(_checked_tensor("zeros_like", input), dtype), requires_grad)


@checked
def ones_like(input: Tensor, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of the same size and dtype filled with 1."""
    check_device("ones_like", device)
    return _with_grad("ones_like", ops.ones_like(_checked_tensor("ones_like", input), dtype), requires_grad)


@checked
def full_like(
    input: Tensor, fill_value: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of the same size and dtype filled with one value."""
    check_device("full_like", device)
    return _with_grad("full_like", ops.full_like(_checked_tensor("full_like", input), fill_value, dtype), requires_grad)


# Sequences ----------------------------------------------------------------------------------------------------------------


@checked
def arange(
    start: float | None = None,
    end: float | None = None,
    step: float = 1,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The numbers from start (0 if only one is given) up to, but without, end, step apart.

    >>> arange(1, 7, 2)
    tensor([1, 3, 5])
    """
    check_device("arange", device)
    if start is None:
        if end is None:
            raise ArgumentError("arange: missing a required argument: 'end'")
        start = 0
    if dtype is None and (isinstance(start, float) or isinstance(end, float) or isinstance(step, float)):
        dtype = core.get_default_dtype()
    return _with_grad("arange", ops.arange(start, end, step, dtype), requires_grad)


@checked
def linspace(
    start: float, end: float, steps: int, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """`steps` numbers evenly spaced from start to end, both included.

    >>> linspace(0, 1, 3)
    tensor([0.0000, 0.5000, 1.0000])
    """
    check_device("linspace", device)
    return _with_grad("linspace", ops.linspace(start, end, steps, dtype), requires_grad)


@checked
def eye(n: int, m: int | None = None, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones on the diagonal of an n × m matrix (n × n if m is left out), zeros elsewhere."""
    check_device("eye", device)
    return _with_grad("eye", ops.eye(n, m, dtype), requires_grad)


# Random -------------------------------------------------------------------------------------------------------------------


@checked
def rand(
    *size: Shape, dtype: DType | None = None, device: Any = None, requires_grad: bool = False, generator: Any = None
) -> Tensor:
    """Numbers drawn uniformly from [0, 1).

    >>> rand(2, 3).shape
    duograph.Size([2, 3])
    """
    check_device("rand", device)
    wanted = as_dtype("rand", dtype) or core.get_default_dtype()
    made = drawn_from(generator, random.rand, _sizes("rand", size), wanted)
    return _with_grad("rand", made, requires_grad)


@checked
def randn(
    *size: Shape, dtype: DType | None = None, device: Any = None, requires_grad: bool = False, generator: Any = None
) -> Tensor:
    """Numbers drawn from the normal distribution with mean 0 and variance 1.

    >>> randn(2, 3).shape
    duograph.Size([2, 3])
    """
    check_device("randn", device)
    wanted = as_dtype("randn", dtype) or core.get_default_dtype()
    made = drawn_from(generator, random.randn, _sizes("randn", size), wanted)
    return _with_grad("randn", made, requires_grad)


@checked
def randint(
    low: int = 0,
    high: Any = None,
    size: Any = None,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    generator: Any = None,
) -> Tensor:
    """Integers drawn uniformly from low (0 in `randint(high, size)`) to high − 1.

    >>> randint(0, 10, (3,)).dtype
    duograph.int64
    """
    check_device("randint", device)
    if size is None:
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    if not isinstance(size, (tuple, list)):
        raise ArgumentError(
            f"randint: the size must be a tuple or list of ints, got {size!r}", hint="write randint(low, high, (n,))"
        )
    if isinstance(low, int) and isinstance(high, int) and low >= high:
        raise DomainError(f"randint: low must be below high, got low = {low}, high = {high}")
    wanted = as_dtype("randint", dtype) or core.int64
    made = drawn_from(generator, random.randint, low, high, _sizes("randint", (size,)), wanted)
    return _with_grad("randint", made, requires_grad)


@checked
def randperm(
    n: int, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False, generator: Any = None
) -> Tensor:
    """The numbers 0 … n − 1 in random order. The order is drawn in Python, so a static graph takes it as an argument."""
    check_device("randperm", device)
    if core.tracing():
        raise CaptureError(
            "randperm: the order would be drawn once, at capture, and be the same at every run",
            hint="call randperm outside of the static function and pass the order in",
        )
    if isinstance(n, int) and n < 0:
        raise DomainError(f"randperm: n must be at least 0, got {n}")
    return _with_grad("randperm", random.randperm(n, as_dtype("randperm", dtype) or core.int64, generator), requires_grad)


@checked
def rand_like(
    input: Tensor, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False, generator: Any = None
) -> Tensor:
    """Numbers drawn uniformly from [0, 1), in the size and dtype of another tensor."""
    _checked_tensor("rand_like", input)
    return rand(input.shape, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad, generator=generator)


@checked
def randn_like(
    input: Tensor, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False, generator: Any = None
) -> Tensor:
    """Numbers drawn from the normal distribution, in the size and dtype of another tensor."""
    _checked_tensor("randn_like", input)
    return randn(input.shape, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad, generator=generator)


# Arguments ----------------------------------------------------------------------------------------------------------------


def _sizes(owner: str, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """`f(2, 3)` and `f((2, 3))` as one tuple."""
    if len(given) == 1 and isinstance(given[0], (tuple, list)):
        given = tuple(given[0])
    for size in given:
        if isinstance(size, (float, str)) or size is None:
            raise ArgumentError(f"{owner}: sizes must be ints, got {size!r} of type {type(size).__name__}")
    return given


def _checked_tensor(owner: str, value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise ArgumentError(f"{owner}: expected a Tensor, got {type(value).__name__}")
    return value


def _with_grad(owner: str, made: Tensor, requires_grad: bool) -> Tensor:
    if not requires_grad:
        return made
    if not made.dtype.is_floating_point:
        raise DTypeError(
            f"{owner}: only floating-point tensors can require a gradient, this one is {made.dtype.name}",
            hint="give floats, or a floating-point dtype",
        )
    return made.requires_grad_()
