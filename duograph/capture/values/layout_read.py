"""What a program asks of the layout of a tensor that has no memory yet, since its function is being captured."""

from __future__ import annotations

from typing import Any

from duograph._stack import user_location
from duograph.errors import CaptureError
from duograph.ir.builder import active, current
from duograph.ir.types import TensorType
from duograph.ops.tracing import wrap


def layout_read(tensor: Any, what: str) -> Any:
    """Hook of the core: "is_contiguous", "stride" or "storage_offset" was asked of a traced tensor."""
    if not active():
        raise _unknown(tensor, what)
    builder: Any = current()
    if what == "is_contiguous":
        found = builder.row_major(tensor)
        return found if isinstance(found, bool) else wrap(found)
    layouts = getattr(builder, "layouts", None)
    place = None if layouts is None else layouts.place(tensor)
    if place is None or (what == "storage_offset" and place[0] is None):
        raise _unknown(tensor, what)
    return place[0] if what == "storage_offset" else tuple(place[1])


def _unknown(tensor: Any, what: str) -> CaptureError:
    described = str(TensorType(tensor.dtype, tuple(tensor.shape)))
    return CaptureError(
        f"static: {what}() of a tensor ({described}) whose place in memory only the run knows",
        hint="ask is_contiguous(), or read it outside of the static function",
        location=user_location(),
    )
