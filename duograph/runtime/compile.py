"""The core's hooks for what it has not met yet: programs of operators and of their gradients.

Everything is looked up in the object cache first; the graph, the passes and LLVM are imported on a miss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._forks import compile_lock

from . import cache
from .libraries import load_libraries

if TYPE_CHECKING:
    from duograph.ir.graph import Graph

Operands = Sequence[Any]


_VIEW = 2  # flag of `core.Op`


def _key(op: Any, kind: str, *parts: Any) -> str | None:
    """The key in the object cache. Operators defined outside of the package have none: their name says too little."""
    return cache.key(kind, op.name, *parts, core.get_default_dtype()) if op.definition.is_ours else None


def _program(key: str | None, make: Callable[[], Graph], views: bool) -> Any:
    """The program kept under a key, or the one made from a graph, which is then kept."""
    with compile_lock:
        return _load_or_make(key, make, views)


def _load_or_make(key: str | None, make: Callable[[], Graph], views: bool) -> Any:
    found = None if key is None else cache.load(key)
    if found is not None:
        try:
            spec, code = found
            load_libraries(spec.get("symbols", ()))
            return core.Program(spec, code)
        except Exception:  # whatever is wrong with what was on disk: make it anew
            pass
    from .build import build

    built = build(make(), views=views, cached=False)
    program = built.program
    if key is not None:
        cache.store(key, built.spec, built.code)
    return program


def compile_entry(op: Any, operands: Operands, attrs: Sequence[Any], n_sizes: int) -> Any:
    """Hook: the program of one operator."""
    key = _key(op, "entry", operands, attrs, n_sizes)

    def make() -> Graph:
        from duograph.ops.entries import forward_graph

        return forward_graph(op, operands, attrs, n_sizes)

    return _program(key, make, bool(op.definition.flags & _VIEW))


def compile_gradient(
    op: Any,
    operands: Operands,
    out_operands: Operands,
    grad_operands: Operands,
    attrs: Sequence[Any],
    n_sizes: int,
    needs: int,
    forward: bool = False,
) -> Any:
    """Hook: the program of an operator's gradient, one output for each operand in `needs`.

    With `forward` that of its tangent: `grad_operands` are then the operands' tangents, and the result is the program (None:
    the tangents are zero) and which outputs it gives the tangents of.
    """
    if forward:
        return _compile_tangent(op, operands, out_operands, grad_operands, attrs)
    key = _key(op, "gradient", operands, out_operands, grad_operands, attrs, n_sizes, needs)

    def make() -> Graph:
        from duograph.ops.entries import gradient_graph

        wanted = [bool(needs >> i & 1) for i in range(len(operands))]
        return gradient_graph(op, operands, out_operands, grad_operands, attrs, n_sizes, wanted)

    return _program(key, make, views=True)


def _compile_tangent(
    op: Any, operands: Operands, out_operands: Operands, tangent_operands: Operands, attrs: Sequence[Any]
) -> tuple[Any, tuple[int, ...]]:
    parts = operands, out_operands, tangent_operands, attrs
    key, outputs_key = _key(op, "tangent", *parts), _key(op, "tangent outputs", *parts)
    known = None if outputs_key is None else cache.load(outputs_key)
    made: list[Any] = []

    def make() -> Graph:
        if not made:
            from duograph.ops.entries import tangent_graph

            made[:] = tangent_graph(op, operands, out_operands, tangent_operands, attrs)
        graph: Graph = made[0]
        return graph

    with compile_lock:
        if known is not None and isinstance(known[0], list):
            wanted = tuple(known[0])
        else:
            make()
            wanted = tuple(made[1])
            if outputs_key is not None:
                cache.store(outputs_key, made[1], b"")
        return (_load_or_make(key, make, True), wanted) if wanted else (None, ())


def gradient_needs(op: Any, operands: Operands, attrs: Sequence[Any], needs: int) -> tuple[int, int]:
    """Hook: bit masks of the operands and outputs whose values the gradient reads."""
    with compile_lock:
        return _needs(op, operands, attrs, needs)


def _needs(op: Any, operands: Operands, attrs: Sequence[Any], needs: int) -> tuple[int, int]:
    key = _key(op, "needs", operands, attrs, needs)
    found = None if key is None else cache.load(key)
    if found is not None and isinstance(found[0], list) and len(found[0]) == 2:
        return found[0][0], found[0][1]
    from duograph.ops import entries

    masks = entries.gradient_needs(op, operands, attrs, [bool(needs >> i & 1) for i in range(len(operands))])
    if key is not None:
        cache.store(key, list(masks), b"")
    return masks
