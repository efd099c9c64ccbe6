"""Gradients as values, or added to leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from duograph import _core as core
from duograph._recorded import current
from duograph.errors import ArgumentError

if TYPE_CHECKING:
    from duograph._core import Tensor


def as_tuple(tensors: Any) -> tuple[Any, ...]:
    return (tensors,) if isinstance(tensors, core.Tensor) else tuple(tensors)


def _gradients(name: str, outputs: tuple[Any, ...], grads: Any) -> tuple[Any, ...]:
    """One gradient (or None) per output, with the shapes checked."""
    given = (None,) * len(outputs) if grads is None else (grads,) if isinstance(grads, core.Tensor) else tuple(grads)
    if len(given) != len(outputs):
        raise ArgumentError(f"{name}: {len(outputs)} outputs but {len(given)} gradients for them")
    return given


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor, ...]:
    """Gradients of the sum of `outputs` with respect to `inputs`, as a tuple; no `.grad` is touched.

    Args:
        grad_outputs: what to multiply from the left with: one per output; None stands for 1 (scalars only).
        retain_graph: keep the recorded graph for another time (default: as `create_graph`).
        create_graph: record the gradient computation too, so that it can be differentiated again.
        allow_unused: give None for inputs that `outputs` do not depend on, instead of an error.
        is_grads_batched: each of `grad_outputs` has one more dimension in front, and so have the gradients: one for each
            row, as if `grad` were called once for each.
        materialize_grads: give zeros for inputs that `outputs` do not depend on (which may then be unused).

    Errors:   GradError if an output does not require grad, is no scalar and has no gradient, or an input is unused;
              ArgumentError for materialize_grads with allow_unused=False, and for batches of different sizes

    >>> import duograph as dg
    >>> x = dg.tensor(3.0, requires_grad=True)
    >>> (first,) = dg.autograd.grad(x * x * x, x, create_graph=True)
    >>> dg.autograd.grad(first, x)
    (tensor(18.),)
    """
    outs, ins = as_tuple(outputs), as_tuple(inputs)
    if materialize_grads and allow_unused is False:
        raise ArgumentError(
            "grad: materialize_grads=True gives zeros for unused inputs, so allow_unused cannot be False",
            hint="leave allow_unused out",
        )
    allowed = bool(allow_unused) or materialize_grads
    seeds = _gradients("grad", outs, grad_outputs)
    recorder = current()
    if recorder is not None:
        recorder.differentiates(outs)
    if is_grads_batched:
        found = _batched(outs, ins, seeds, retain_graph, create_graph, allowed)
    else:
        grads = core.grad if recorder is None else recorder.grad
        found = grads(outs, ins, seeds, retain_graph, create_graph, allowed)
    if materialize_grads and any(g is None for g in found):
        found = tuple(_zeros(x, seeds if is_grads_batched else None) if g is None else g for g, x in zip(found, ins))
    return cast("tuple[Tensor, ...]", found)


def _batched(
    outs: tuple[Any, ...], ins: tuple[Any, ...], seeds: tuple[Any, ...], retain: bool | None, create: bool, allowed: bool
) -> tuple[Any, ...]:
    """One set of gradients for each row of the seeds, stacked."""
    from duograph.ops.definition import REGISTRY

    for out, seed in zip(outs, seeds):
        if seed is not None and (seed.ndim == 0 or tuple(seed.shape)[1:] != tuple(out.shape)):
            raise ArgumentError(
                f"grad: is_grads_batched: a gradient for {list(out.shape)} must be [B, {', '.join(map(str, out.shape))}], "
                f"got {list(seed.shape)}"
            )
    sizes = {int(seed.shape[0]) for seed in seeds if seed is not None}
    if len(sizes) != 1 or not min(sizes):
        raise ArgumentError(
            f"grad: is_grads_batched needs gradients with one batch size of at least 1, got {sorted(sizes) or 'none'}"
        )
    (size,) = sizes
    keep = create if retain is None else retain
    from duograph.func.rows import ENOUGH, each_row

    if size >= ENOUGH:
        return _mapped(each_row, outs, ins, seeds, keep, create, allowed)
    rows = []
    for i in range(size):
        row = tuple(None if seed is None else seed[i] for seed in seeds)
        rows.append(core.grad(outs, ins, row, keep or i + 1 < size, create, allowed))
    stack = REGISTRY["stack"].op
    return tuple(None if rows[0][n] is None else stack([row[n] for row in rows], 0) for n in range(len(ins)))


def _mapped(
    each_row: Any, outs: tuple[Any, ...], ins: tuple[Any, ...], seeds: tuple[Any, ...], keep: bool, create: bool, allowed: bool
) -> tuple[Any, ...]:
    """The rows' gradients, computed at once."""
    given = [i for i, seed in enumerate(seeds) if seed is not None]

    def pull(row: list[Any]) -> tuple[Any, ...]:
        placed: list[Any] = [None] * len(seeds)
        for i, seed in zip(given, row):
            placed[i] = seed
        found: tuple[Any, ...] = core.grad(outs, ins, tuple(placed), True, create, allowed)
        return found

    used = [n for n, g in enumerate(pull([seeds[i][0] for i in given])) if g is not None]
    found = each_row(lambda row: [g for n, g in enumerate(pull(row)) if n in used], [seeds[i] for i in given]) if used else []
    if not keep:
        core.grad(outs, ins, tuple(None if seed is None else seed[0] for seed in seeds), False, False, allowed)
    placed = dict(zip(used, found))
    return tuple(placed.get(n) for n in range(len(ins)))


def _zeros(like: Any, seeds: tuple[Any, ...] | None) -> Any:
    from duograph.tensors.creation import zeros

    batch = () if seeds is None else next((seed.shape[0],) for seed in seeds if seed is not None)
    return zeros((*batch, *like.shape), dtype=like.dtype)


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add the gradients of `tensors` to the `.grad` of the leaves they depend on (of `inputs` only, if given)."""
    outs = as_tuple(tensors)
    chosen = None if inputs is None else as_tuple(inputs)
    recorder = current()
    run = core.backward if recorder is None else recorder.backward
    run(outs, _gradients("backward", outs, grad_tensors), retain_graph, create_graph, chosen)
