"""Operators on bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..definition import ELEMENTWISE, op
from ..dtypes import integers, integral
from ..samples import binary, unary

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Operand


@op(
    kind=ELEMENTWISE,
    dtypes=integral,
    primitive="bit_and",
    differentiable=False,
    reference="numpy.bitwise_and",
    samples=binary(0, 9),
    slot="__and__",
    inplace="bitwise_and_",
    inplace_slot="__iand__",
)
def bitwise_and(a: Operand, b: Operand) -> Tensor:
    """The bits that both have; for bool the logical operation.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   integers and bool promote
    Gradient: none
    Errors:   DTypeError for floats; ShapeError
    Source:   torch.bitwise_and

    >>> tensor([3]) & 6
    tensor([2])
    """
    ...


@op(
    kind=ELEMENTWISE,
    dtypes=integral,
    primitive="bit_or",
    differentiable=False,
    reference="numpy.bitwise_or",
    samples=binary(0, 9),
    slot="__or__",
    inplace="bitwise_or_",
    inplace_slot="__ior__",
)
def bitwise_or(a: Operand, b: Operand) -> Tensor:
    """The bits that either has; for bool the logical operation.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   integers and bool promote
    Gradient: none
    Errors:   DTypeError for floats; ShapeError
    Source:   torch.bitwise_or

    >>> tensor([3]) | 6
    tensor([7])
    """
    ...


@op(
    kind=ELEMENTWISE,
    dtypes=integral,
    primitive="bit_xor",
    differentiable=False,
    reference="numpy.bitwise_xor",
    samples=binary(0, 9),
    slot="__xor__",
    inplace="bitwise_xor_",
    inplace_slot="__ixor__",
)
def bitwise_xor(a: Operand, b: Operand) -> Tensor:
    """The bits that exactly one has; for bool the logical operation.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   integers and bool promote
    Gradient: none
    Errors:   DTypeError for floats; ShapeError
    Source:   torch.bitwise_xor

    >>> tensor([3]) ^ 6
    tensor([5])
    """
    ...


@op(
    kind=ELEMENTWISE,
    dtypes=integral,
    primitive="bit_not",
    differentiable=False,
    reference="numpy.bitwise_not",
    samples=unary(),
    slot="__invert__",
    inplace="bitwise_not_",
)
def bitwise_not(x: Operand) -> Tensor:
    """The bits flipped; for bool the logical not.

    Shapes:   x [*S] → [*S]
    Dtypes:   integers and bool
    Gradient: none
    Errors:   DTypeError for floats
    Source:   torch.bitwise_not

    >>> ~tensor([0, 5])
    tensor([-1, -6])
    """
    ...


@op(
    kind=ELEMENTWISE,
    dtypes=integers,
    primitive="shl",
    differentiable=False,
    reference="numpy.left_shift",
    samples=binary(0, 5),
    slot="__lshift__",
    inplace="bitwise_left_shift_",
    inplace_slot="__ilshift__",
)
def bitwise_left_shift(a: Operand, b: Operand) -> Tensor:
    """a with its bits moved up by b places; 0 if b is the width or more.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   integers promote
    Gradient: none
    Errors:   DTypeError for floats and bool; ShapeError
    Source:   torch.bitwise_left_shift

    >>> tensor([1, 2]) << 3
    tensor([ 8, 16])
    """
    ...


@op(
    kind=ELEMENTWISE,
    dtypes=integers,
    primitive="shr",
    differentiable=False,
    reference="numpy.right_shift",
    samples=binary(0, 5),
    slot="__rshift__",
    inplace="bitwise_right_shift_",
    inplace_slot="__irshift__",
)
def bitwise_right_shift(a: Operand, b: Operand) -> Tensor:
    """a with its bits moved down by b places, the sign kept; 0 or -1 if b is the width or more.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   integers promote
    Gradient: none
    Errors:   DTypeError for floats and bool; ShapeError
    Source:   torch.bitwise_right_shift

    >>> tensor([16, -16]) >> 3
    tensor([ 2, -2])
    """
    ...
