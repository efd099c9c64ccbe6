"""Tensors that get another shape in place while a function is captured.

Such a tensor becomes a view of its own storage. What the caller or another view would see of that, no program says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph._stack import user_location
from duograph.errors import CaptureError

if TYPE_CHECKING:
    from ..builder import CaptureBuilder


def check_shape_change(builder: CaptureBuilder, name: str, tensor: Any, made: Any) -> None:
    """Refuses what the run would show elsewhere, where `tensor` becomes `made`.

    That is of tensors from outside, in branches and loops, and of tensors with views.
    """
    if tensor._traced is None:
        builder.keep.append(tensor.detach())  # storages are known by their memory's address
    cell = builder.view_of(tensor).cell
    known = builder.layouts.retired | {tensor._traced, made._traced}
    if _is_from_outside(builder, tensor):
        why = "a tensor from outside of the function"
    elif builder.regions or id(tensor) in builder.rows:
        why = "a tensor in a branch or loop that a tensor's value steers"
    elif cell in builder.aliases.links or cell in builder.borrowed.known:
        why = "a tensor that may be another one, as a branch or loop decides"
    elif tensor._base is None and any(v.cell is cell and v.chain and h not in known for h, v in builder.views.items()):
        why = "a tensor that has views"
    else:
        builder.layouts.retired.add(tensor._traced)
        return
    raise CaptureError(
        f"static: {name} changes the shape of {why}",
        hint=f"write x = x.{name.rstrip('_')}(...)",
        location=user_location(),
    )


def _is_from_outside(builder: CaptureBuilder, tensor: Any) -> bool:
    if tensor._traced is None and not tensor._born_traced:
        return True
    return any(known is tensor for _, known in builder.tensor_inputs)
