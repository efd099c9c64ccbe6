"""Results that cannot be, told before anything is prepared for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import OutOfMemoryError
from duograph.ir.dim import Expr, product

MOST_BYTES = (1 << 63) - 1  # that a size can say


def require_room(name: str, sizes: Sequence[Expr], dtype: Any, most: int | None = None) -> None:
    """OutOfMemoryError where a result of these sizes takes more bytes than there are, as far as sizes are known.

    Args:
        most: the bytes that there are; by default what is free now.
    """
    if not all(isinstance(size, int) for size in sizes):
        return
    wanted = product(list(sizes)) * dtype.itemsize
    if isinstance(wanted, int) and wanted > (core.available_memory() if most is None else most):
        there = f"there are {core.available_memory()}" if most is None else "which no memory has"
        listed = ", ".join(map(str, sizes))
        raise OutOfMemoryError(
            f"{name}: a result of the sizes ({listed}) takes {wanted} bytes, {there}", location=user_location()
        )
