"""`tf.bitwise`: integers bit by bit."""

from __future__ import annotations

from typing import Any

import duograph as dg

from .binary import bitwise_and as bitwise_and
from .binary import bitwise_or as bitwise_or
from .binary import bitwise_xor as bitwise_xor
from .definition import Operand, operation

__all__ = ["bitwise_and", "bitwise_or", "bitwise_xor", "invert", "left_shift", "right_shift"]


@operation("Invert", differentiable=False)
def invert(x: Operand, name: str | None = None) -> Any:
    """All bits turned round."""
    return dg.bitwise_not(x)


@operation("LeftShift", differentiable=False, stretches=True)
def left_shift(x: Operand, y: Operand, name: str | None = None) -> Any:
    """The bits of x moved up by y places."""
    return dg.bitwise_left_shift(x, y)


@operation("RightShift", differentiable=False, stretches=True)
def right_shift(x: Operand, y: Operand, name: str | None = None) -> Any:
    """The bits of x moved down by y places."""
    return dg.bitwise_right_shift(x, y)
