"""The core's hooks for what it has not met yet: programs of operators and of their gradients.

Everything is looked up in the object cache first; the graph, the passes and LLVM are imported on a miss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core

from . import cache
from .libraries import load_libraries

if TYPE_CHECKING:
    from duograph.ir.graph import Graph

Operands = Sequence[Any]


_VIEW = 2  # flag of `core.Op`


def _program(key: str, make: Callable[[], Graph], views: bool) -> Any:
    """The program kept under a key, or the one made from a graph, which is then kept."""
    found = cache.load(key)
    if found is not None:
        try:
            spec, code = found
            load_libraries(spec.get("symbols", ()))
            return core.Program(spec, code)
        except Exception:  # whatever is wrong with what was on disk: make it anew
            pass
    from .build import build

    built = build(make(), views=views)
    program = built.program
    cache.store(key, built.spec, built.code)
    return program


def compile_entry(op: Any, operands: Operands, attrs: Sequence[Any], n_sizes: int) -> Any:
    """Hook: the program of one operator."""
    key = cache.key("entry", op.name, operands, attrs, n_sizes, core.get_default_dtype())

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
) -> Any:
    """Hook: the program of an operator's gradient, one output for each operand in `needs`."""
    key = cache.key("gradient", op.name, operands, out_operands, grad_operands, attrs, n_sizes, needs, core.get_default_dtype())

    def make() -> Graph:
        from duograph.ops.entries import gradient_graph

        wanted = [bool(needs >> i & 1) for i in range(len(operands))]
        return gradient_graph(op, operands, out_operands, grad_operands, attrs, n_sizes, wanted)

    return _program(key, make, views=True)


def gradient_needs(op: Any, operands: Operands, attrs: Sequence[Any], needs: int) -> tuple[int, int]:
    """Hook: bit masks of the operands and outputs whose values the gradient reads."""
    key = cache.key("needs", op.name, operands, attrs, needs, core.get_default_dtype())
    found = cache.load(key)
    if found is not None and isinstance(found[0], list) and len(found[0]) == 2:
        return found[0][0], found[0][1]
    from duograph.ops import entries

    masks = entries.gradient_needs(op, operands, attrs, [bool(needs >> i & 1) for i in range(len(operands))])
    cache.store(key, list(masks), b"")
    return masks
