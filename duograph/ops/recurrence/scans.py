"""A loop over the rows of tensors as one operator, with gradients of every order, which are such loops again.

A *step* is what one turn does: Python over tensors, known by its name, so that the name is all that the operator's key
needs. `before(step)` also gives the carried tensors that each turn began with, `vjp<n>(step)` is the gradient of a step
of n rows; both may be taken of each other and of themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from duograph import _core as core
from duograph.ir.builder import active, current
from duograph.ir.types import TensorType

from ..definition import COMPOSITION, REGISTRY, op
from ..shapes.arranging import flip
from ..shapes.creation import zeros_like
from ..tracing import require_equal, user_operator, value_of, wrap

if TYPE_CHECKING:
    from duograph._core import Tensor
    from duograph.ir.builder import Builder
    from duograph.ir.dim import Expr
    from duograph.ir.graph import Value

Tensors: TypeAlias = "Sequence[Tensor]"
Step: TypeAlias = Callable[[Tensors, Tensors, Tensors], "tuple[Tensors, Tensors]"]  # (carried, rows, fixed) → (carried, kept)

STEPS: dict[str, Step] = {}
COUNTER = TensorType(core.int64, (), weak=True)


def step(name: str) -> Callable[[Step], Step]:
    """Decorator: makes a function known as a step."""

    def enter(function: Step) -> Step:
        STEPS[name] = function
        return function

    return enter


def find_step(name: str) -> Step:
    """The step of a name."""
    found = STEPS.get(name)
    if found is not None:
        return found
    kind, _, inner = name[:-1].partition("(")
    inside = find_step(inner)
    return _before(inside) if kind == "before" else _gradient(inside, int(kind.removeprefix("vjp")))


def _before(inside: Step) -> Step:
    def run(carried: Tensors, rows: Tensors, fixed: Tensors) -> tuple[Tensors, Tensors]:
        after, kept = inside(carried, rows, fixed)
        return after, [*kept, *carried]

    return run


def _gradient(inside: Step, count: int) -> Step:
    """Carried: slopes of the carried tensors, then sums of those of the fixed ones. Rows: the carried tensors before each
    turn, the step's rows, slopes of what it keeps. Kept: slopes of its rows of floats.
    """

    def run(carried: Tensors, rows: Tensors, fixed: Tensors) -> tuple[Tensors, Tensors]:
        states = len(carried) - len(fixed)
        given = [_leaf(x) for x in (*rows[: states + count], *fixed)]
        slopes = [*carried[:states], *rows[states + count :]]
        found = _pulled(inside, given, slopes, (states, states + count))
        to_fixed = [sum + g for sum, g in zip(carried[states:], found[states + count :])]
        to_rows = [g for x, g in zip(rows[states:], found[states : states + count]) if x.dtype.is_floating_point]
        return [*found[:states], *to_fixed], to_rows

    return run


def _leaf(x: Any) -> Any:
    if not x.dtype.is_floating_point:
        return x
    again = core.is_grad_enabled() and x.requires_grad
    made = REGISTRY["alias"].op(x) if again else x.detach().requires_grad_()
    if active():
        current().local_leaf(made)
    return made


def _pulled(inside: Step, given: Sequence[Any], slopes: Sequence[Any], parts: tuple[int, int]) -> list[Any]:
    """Slopes of what a step is given, from those of its results."""
    again = core.set_grad_enabled(True)
    try:
        after, kept = inside(given[: parts[0]], given[parts[0] : parts[1]], given[parts[1] :])
        pairs = [(y, g) for y, g in zip((*after, *kept), slopes) if y.requires_grad]
        leaves = [x for x in given if x.requires_grad]
        outs, weights = [y for y, _ in pairs], [g for _, g in pairs]
        grads = iter(core.grad(outs, leaves, weights, create_graph=again, allow_unused=True))
        found = [next(grads) if x.requires_grad else None for x in given]
    finally:
        core.set_grad_enabled(again)
    return [zeros_like(x) if g is None and x.dtype.is_floating_point else g for x, g in zip(given, found)]


@op(kind=COMPOSITION, lowers=True, method=False, public=False)
def scan(
    step: str, carried: Sequence[Tensor], rows: Sequence[Tensor], fixed: Sequence[Tensor], backwards: bool = False
) -> Tensor:
    """A step for each row: the carried tensors after the last one, then what the steps kept, stacked in the order of turns.

    Shapes:   carried any, rows [turns, *S], fixed any → carried's, [turns, *K]
    Dtypes:   the step's
    Gradient: a loop over the same rows the other way round
    Errors:   ShapeError if rows have different numbers
    """
    builder = current()
    values = [[value_of(x) for x in xs] for xs in (carried, rows, fixed)]
    name = user_operator("scan")
    turns = rows[0].shape[0]
    for x in rows[1:]:
        turns = require_equal(name, turns, x.shape[0], f"rows of {x.shape[0]} and of {turns} turns")
    types = [COUNTER, *(value.type for value in values[0])]
    zero, count = builder.emit("constant", (), {"value": 0}, [COUNTER])[0], value_of(turns)
    with builder.region(types) as test:
        test.outputs = builder.emit("lt", [test.inputs[0], count], {}, [TensorType(core.bool, ())])
    with builder.region(types) as body:
        one = builder.emit("constant", (), {"value": 1}, [COUNTER])[0]
        turn = body.inputs[0]
        at = _from_end(builder, count, one, turn) if backwards else turn
        taken = [builder.emit("row", [x, at], {}, [TensorType(x.type.dtype, x.type.shape[1:])])[0] for x in values[1]]
        wrapped = [[wrap(x) for x in xs] for xs in (body.inputs[1:], taken, values[2])]
        after, kept = find_step(step)(*wrapped)
        following = builder.emit("add", [turn, one], {}, [COUNTER])[0]
        body.outputs = [following, *_as_before(after, values[0]), *(value_of(x) for x in kept)]
    made = builder.while_loop(test, body, [zero, *values[0]], len(kept), turns)
    return tuple(wrap(value) for value in made[1:])  # type: ignore[return-value]


def _from_end(builder: Builder, count: Value, one: Value, turn: Value) -> Value:
    last = builder.emit("sub", [count, one], {}, [COUNTER])[0]
    return builder.emit("sub", [last, turn], {}, [COUNTER])[0]


def _as_before(after: Tensors, before: Sequence[Value]) -> list[Value]:
    """What a turn hands on, in the sizes that it was given."""
    found = []
    for x, value in zip(after, before, strict=True):
        made = value_of(x)
        for have, want in zip(made.type.shape, value.type.shape, strict=True):
            if have is not want and have != want:
                _same_size(have, want)
        found.append(made)
    return found


def _same_size(have: Expr, want: Expr) -> None:
    require_equal("scan", want, have, f"a turn hands on a size of {have} where it was given {want}")


@scan.vjp
def _(g: Any, out: Any, step: str, carried: Any, rows: Any, fixed: Any, backwards: bool) -> Any:
    g = g if isinstance(g, tuple) else (g,)
    states = len(carried)
    found = scan(f"before({step})", carried, rows, fixed, backwards)
    history = found[-states:]  # in the order of turns: brought into that of the rows
    order = (lambda x: flip(x, 0)) if backwards else (lambda x: x)
    kept = [order(x) for x in g[states:]]
    start = [*g[:states], *(zeros_like(x) for x in fixed)]
    given = [*(order(x) for x in history), *rows, *kept]
    made = scan(f"vjp{len(rows)}({step})", start, given, fixed, not backwards)
    slopes = iter(made[states + len(fixed) :])
    restored = (lambda x: x) if backwards else (lambda x: flip(x, 0))
    to_rows = [restored(next(slopes)) if x.dtype.is_floating_point else None for x in rows]
    return list(made[:states]), to_rows, list(made[states : states + len(fixed)])
