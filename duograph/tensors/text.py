"""Tensors as text: `repr`, `format()` and the options of both. Numbers are laid out as PyTorch lays them out."""

from __future__ import annotations

import math
import sys

from .. import _core as core
from ..errors import DomainError

Tensor = core.Tensor
Nested = list["Nested | float | None"]  # None stands for the elements left out


class PrintOptions:
    """How tensors print. `set_printoptions` changes it."""

    precision = 4
    threshold = 1000
    edgeitems = 3
    linewidth = 80
    sci_mode: bool | None = None


_PROFILES = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": sys.maxsize, "edgeitems": 3, "linewidth": 80},
}


_MOST_DIGITS = 1100  # no float64 has more


def set_printoptions(
    precision: int | None = None,
    threshold: int | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Sets how tensors print.

    Args:
        precision: digits after the point (4).
        threshold: the number of elements above which a tensor is summarised (1000).
        edgeitems: elements shown at each end of a summarised dimension (3).
        linewidth: characters per line (80).
        profile: "default", "short" or "full", applied before the others.
        sci_mode: True: always scientific; False: never; None: when the range asks for it.
    """
    if profile is not None:
        if profile not in _PROFILES:
            raise DomainError(f"set_printoptions: profile must be one of {', '.join(_PROFILES)}, got {profile!r}")
        for name, value in _PROFILES[profile].items():
            setattr(PrintOptions, name, value)
    for name, given in (("precision", precision), ("threshold", threshold), ("edgeitems", edgeitems), ("linewidth", linewidth)):
        if given is None:
            continue
        if not isinstance(given, int) or given < 0:
            raise DomainError(f"set_printoptions: {name} must be an int of at least 0, got {given!r}")
        if name == "precision" and given > _MOST_DIGITS:
            raise DomainError(f"set_printoptions: precision must be at most {_MOST_DIGITS}, got {given}")
        setattr(PrintOptions, name, given)
    PrintOptions.sci_mode = sci_mode


class NumberLayout:
    """One width and notation for all numbers of a tensor."""

    def __init__(self, values: list[float], is_float: bool) -> None:
        self.is_float = is_float
        self.scientific = False
        self.whole = True
        self.width = 1
        if not is_float:
            self.width = max([len(str(value)) for value in values], default=1)
            return
        measured = [value for value in values if value != 0 and math.isfinite(value)]
        if measured:
            self.whole = all(value == math.floor(value) for value in measured)
            largest = max(abs(value) for value in measured)
            smallest = min(abs(value) for value in measured)
            self.scientific = largest / smallest > 1000 or largest > 1e8 or (not self.whole and smallest < 1e-4)
        if PrintOptions.sci_mode is not None and measured:
            self.scientific = PrintOptions.sci_mode
        self.width = max([len(self._digits(value)) for value in measured], default=1)

    def _digits(self, value: float) -> str:
        if not math.isfinite(value):
            return str(value)
        if self.scientific:
            return f"{value:.{PrintOptions.precision}e}"
        if self.whole:
            return f"{value:.0f}."
        return f"{value:.{PrintOptions.precision}f}"

    def text(self, value: float) -> str:
        """One number, padded to the common width."""
        return (self._digits(value) if self.is_float else str(value)).rjust(self.width)


def tensor_repr(tensor: Tensor, name: str | None = None) -> str:
    """The core's hook for `repr`."""
    prefix = f"{name or 'tensor'}("
    text, suffixes = _traced_parts(tensor) if tensor._traced is not None else _value_parts(tensor, len(prefix))
    if tensor.grad_fn is not None:
        suffixes.append(f"grad_fn={_node_text(tensor.grad_fn)}")
    elif tensor.requires_grad:
        suffixes.append("requires_grad=True")
    return _container(tensor) + _join(prefix + text, suffixes, len(prefix))


def tensor_format(tensor: Tensor, specification: str) -> str:
    """The core's hook for `format()`: a tensor without dimensions formats as its number."""
    if tensor.dim() == 0 and tensor._traced is None:
        return format(tensor.item(), specification)
    if specification:
        raise DomainError(
            f"format: {specification!r} formats one number, the tensor is {tensor.dtype.name}{list(tensor.shape)}",
            hint="format an element: x[0], or x.item() of a tensor with one element",
        )
    return tensor_repr(tensor)


def _node_text(node: core.Node) -> str:
    """The operator and the user's line: `<mul at train.py:12>`."""
    if node.location is None:
        return f"<{node.name()}>"
    file, line, *_ = node.location
    return f"<{node.name()} at {file[file.rfind('/') + 1 :]}:{line}>"


def _container(tensor: Tensor) -> str:
    kind = type(tensor)
    return "" if kind is Tensor else f"{kind.__name__} containing:\n"


def _traced_parts(tensor: Tensor) -> tuple[str, list[str]]:
    shape = ", ".join(str(size) for size in tensor.shape)
    return f"<traced {tensor.dtype.name}[{shape}]>", []


def _value_parts(tensor: Tensor, indent: int) -> tuple[str, list[str]]:
    dtype = tensor.dtype
    suffixes = []
    default = core.get_default_dtype()
    if tensor.numel() == 0:
        if tensor.dim() != 1:
            suffixes.append(f"size=({', '.join(str(size) for size in tensor.shape)})")
        if dtype is not default:
            suffixes.append(f"dtype={dtype!r}")
        return "[]", suffixes
    if dtype is not default and dtype not in (core.int64, core.bool):
        suffixes.append(f"dtype={dtype!r}")
    summarised = tensor.numel() > PrintOptions.threshold
    nested = _corners(tensor) if summarised else tensor.tolist()
    flat: list[float] = []
    _flatten(nested, flat)
    layout = NumberLayout(flat, dtype.is_floating_point)
    return _nested_text(nested, tensor.dim(), layout, indent), suffixes


def _corners(tensor: Tensor) -> Nested:
    """The values that a summary shows, nested; None where elements are left out."""
    shape, strides = tuple(tensor.shape), tuple(tensor.stride())
    edge = PrintOptions.edgeitems

    def shown(dim: int) -> list[int | None]:
        size = shape[dim]
        if size <= 2 * edge:
            return list(range(size))
        return [*range(edge), None, *range(size - edge, size)]

    def read(dim: int, offset: int) -> Nested:
        positions = shown(dim)
        if dim < len(shape) - 1:
            return [None if at is None else read(dim + 1, offset + at * strides[dim]) for at in positions]
        if None not in positions:
            row: Nested = core.as_strided(tensor, (shape[dim],), (strides[dim],), offset).tolist()
            return row
        first = core.as_strided(tensor, (edge,), (strides[dim],), offset).tolist()
        last = core.as_strided(tensor, (edge,), (strides[dim],), offset + (shape[dim] - edge) * strides[dim]).tolist()
        return [*first, None, *last]

    return read(0, tensor.storage_offset())


def _flatten(nested: Nested | float | None, into: list[float]) -> None:
    if isinstance(nested, list):
        for part in nested:
            _flatten(part, into)
    elif nested is not None:
        into.append(nested)


def _nested_text(nested: Nested | float | None, dims: int, layout: NumberLayout, indent: int) -> str:
    if not isinstance(nested, list):
        return "..." if nested is None else layout.text(nested)
    if dims == 1:
        per_line = max(1, (PrintOptions.linewidth - indent) // (layout.width + 2))
        items = [" ..." if value is None else layout.text(value) for value in nested]  # type: ignore[arg-type]
        lines = [", ".join(items[i : i + per_line]) for i in range(0, len(items), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    parts = [_nested_text(part, dims - 1, layout, indent + 1) for part in nested]
    return "[" + ("," + "\n" * (dims - 1) + " " * (indent + 1)).join(parts) + "]"


def _join(text: str, suffixes: list[str], indent: int) -> str:
    """Appends `, suffix` for each, on a new line where the width is used up."""
    last_line = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if last_line + len(suffix) + 2 > PrintOptions.linewidth:
            text += ",\n" + " " * indent + suffix
            last_line = indent + len(suffix)
        else:
            text += ", " + suffix
            last_line += len(suffix) + 2
    return text + ")"
