"""What the arguments of convolutions say: numbers for each dimension, sizes of results, their errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import ArgumentError, DimensionError, DomainError, ShapeError

from ..tracing import require, require_equal

if TYPE_CHECKING:
    from collections.abc import Sequence

Numbers = tuple[int, ...]


def numbers(name: str, what: str, given: Any, dims: int, least: int) -> Numbers:
    """One number for each dimension; a single one is for all."""
    listed = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    if not all(isinstance(value, int) for value in listed):
        raise ArgumentError(f"{name}: {what} must be an integer or {dims} of them, got {given!r}")
    if len(listed) == 1:
        listed *= dims
    if len(listed) != dims:
        raise ArgumentError(f"{name}: {what} must be one number or {dims}, got {given!r}")
    if any(value < least for value in listed):
        raise DomainError(f"{name}: {what} must be at least {least}, got {given!r}")
    return listed


def paddings(name: str, given: Any, dims: int, steps: Numbers, spans: Sequence[Any]) -> list[tuple[Any, Any]]:
    """How many zeros in front of and behind each dimension.

    Args:
        steps: the strides; spans: how far each kernel reaches beyond its first tap.
    """
    if given == "valid":
        return [(0, 0)] * dims
    if given == "same":
        if any(step != 1 for step in steps):
            raise DomainError(f"{name}: padding='same' needs a stride of 1, got {steps}", hint="say the padding in numbers")
        return [(span // 2, span - span // 2) for span in spans]
    if isinstance(given, str):
        raise DomainError(f"{name}: padding must be 'same', 'valid' or numbers, got {given!r}")
    return [(value, value) for value in numbers(name, "padding", given, dims, 0)]


def check_operands(name: str, x: Any, weight: Any, bias: Any, dims: int, groups: int, *, transposed: bool) -> None:
    """Errors for operands that do not fit together; x has no batch dimension or one."""
    if len(x.shape) not in (dims + 1, dims + 2):
        raise DimensionError(
            f"{name}: x must have {dims + 2} dimensions, or {dims + 1} without a batch, got shape {tuple(x.shape)}"
        )
    if len(weight.shape) != dims + 2:
        raise DimensionError(f"{name}: weight must have {dims + 2} dimensions, got shape {tuple(weight.shape)}")
    if not isinstance(groups, int) or groups < 1:
        raise DomainError(f"{name}: groups must be at least 1, got {groups!r}")
    channels, first, second = x.shape[-dims - 1], weight.shape[0], weight.shape[1]
    _divisible(name, "weight.shape[0]", first, groups)
    if transposed:
        wanted, made = first, second * groups
        text = f"x has {channels} channels, weight of shape {tuple(weight.shape)} takes {wanted}"
    else:
        wanted, made = second * groups, first
        text = f"x has {channels} channels, weight of shape {tuple(weight.shape)} with groups={groups} takes {wanted}"
    require_equal(name, channels, wanted, text)
    for size in weight.shape[2:]:
        require("le", 1, size, ShapeError, f"{name}: a kernel must not be empty, weight has shape {tuple(weight.shape)}")
    if bias is not None:
        message = f"bias must have shape ({made},), got {tuple(bias.shape)}"
        if len(bias.shape) != 1:
            raise ShapeError(f"{name}: {message}")
        require_equal(name, bias.shape[0], made, message)


def _divisible(name: str, what: str, size: Any, groups: int) -> None:
    if groups == 1:
        return
    message = f"{name}: {what} is {size}, which groups={groups} does not divide"
    require("eq", size % groups, 0, ShapeError, message)
    require("le", groups, size, ShapeError, message)


def spans_of(kernel: Sequence[Any], dilation: Numbers) -> list[Any]:
    """How far each kernel reaches beyond its first tap."""
    return [(size - 1) * step for size, step in zip(kernel, dilation)]


def window_counts(
    name: str, sizes: Sequence[Any], pads: Sequence[tuple[Any, Any]], spans: Sequence[Any], stride: Numbers
) -> tuple[Any, ...]:
    """How many windows there are along each dimension; an error if a padded dimension is smaller than the kernel."""
    found = []
    for size, (low, high), span, step in zip(sizes, pads, spans, stride):
        padded = low + size + high
        message = f"{name}: a kernel that spans {span + 1} is larger than the size {size}"
        if not (isinstance(padded, int) and isinstance(size, int) and padded == size):
            message += f" (padded: {padded})"
        require("le", span + 1, padded, ShapeError, message)
        found.append((padded - span - 1) // step + 1)
    return tuple(found)


def spread_sizes(
    name: str,
    counts: Sequence[Any],
    pads: Sequence[Any],
    spans: Sequence[Any],
    stride: Numbers,
    dilation: Numbers,
    extra: Sequence[Any],
) -> tuple[Any, ...]:
    """The sizes of a transposed convolution's result."""
    found = []
    for count, pad, span, step, hole, more in zip(counts, pads, spans, stride, dilation, extra):
        limit = max(step, hole)
        require("le", 0, more, DomainError, f"{name}: output_padding must not be negative, got {more}")
        message = f"{name}: output_padding {more} must be smaller than the stride {step} or the dilation {hole}"
        require("lt", more, limit, DomainError, message)
        size = (count - 1) * step - 2 * pad + span + more + 1
        message = f"{name}: a size of the result would be {size}, for size {count}, stride {step} and padding {pad}"
        require("le", 1, size, ShapeError, message)
        found.append(size)
    return tuple(found)
