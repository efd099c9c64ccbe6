"""Branches and loops of a graph: `cond`, `case`, `while_loop`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from duograph import _recorded
from duograph.errors import ArgumentError, DTypeError, ShapeError
from duograph.ir.graph import Graph as Region

from . import followed
from .building import Graph, OpenRegion, get_default_graph
from .constants import convert_to_tensor
from .definition import Definition, filled, structure_of
from .elements import Operation, Slot, Tensor
from .resolving import Run, as_tensor, needed
from .shapes import PartialType, TensorShape
from .tensor_arrays import TensorArray, Unmade, settled_arrays, written_by_turn

__all__ = ["case", "cond", "while_loop"]

_INPUT = Definition("LoopVariable", lambda: None)


def _is_leaf(value: Any) -> bool:
    return not isinstance(value, (list, tuple, dict))


def _flow(value: Any) -> Tensor:
    """The tensor that stands for a loop variable or a result."""
    return value.flow if isinstance(value, TensorArray) else convert_to_tensor(value)


def _like(tensor: Tensor, original: Any) -> Any:
    return original.with_flow(tensor) if isinstance(original, TensorArray) else tensor


def captures_of(region: OpenRegion, outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """What the inside of a branch or loop reads from outside, each once."""
    found: dict[Tensor, None] = {}
    read = [x for node in region.nodes for x in (*node.inputs, *node.attrs.get("captures", ()))]
    for tensor in (*read, *outputs):
        where = tensor.node.region
        if where is None or not where.inside(region):
            found.setdefault(tensor)
    return tuple(found)


def close(region: OpenRegion, outputs: Sequence[Tensor], effects: Sequence[Operation] = ()) -> Region:
    """The region with only the operations that its outputs need."""
    inputs = set(region.inputs)
    nodes = [node for node in needed([*outputs, *effects], {}, region) if not node.outputs or node.outputs[0] not in inputs]
    return Region(tuple(region.inputs), tuple(nodes), tuple(outputs), name=region.name)


# ---- branches


def _branch(run: Run, node: Operation) -> Any:
    then, otherwise = node.regions
    test = run.tensor(node.inputs[0])

    def side(region: Region) -> Any:
        return tuple([as_tensor(x) for x in run.region(region, (), region.nodes)])  # type: ignore[arg-type]

    if not node.outputs:
        return _recorded.callee(followed.branch)(test.reshape(()), lambda: _effects(run, then), lambda: _effects(run, otherwise))
    return _recorded.callee(followed.branch)(test.reshape(()), lambda: side(then), lambda: side(otherwise))


def _effects(run: Run, region: Region) -> None:
    run.region(region, (), region.nodes)  # type: ignore[arg-type]


_COND = Definition("If", lambda: None, evaluate=_branch)


def cond(
    pred: Any,
    true_fn: Callable[[], Any] | None = None,
    false_fn: Callable[[], Any] | None = None,
    strict: bool = False,
    name: str | None = None,
    fn1: Callable[[], Any] | None = None,
    fn2: Callable[[], Any] | None = None,
) -> Any:
    """What `true_fn` gives where `pred` is true at the run, else what `false_fn` gives: only one of them runs.

    Args:
        pred: a scalar bool tensor, or a Python bool, which decides while the graph is built.
        true_fn, false_fn: functions without arguments; they give tensors in the same structure and of the same dtypes.
            What they build belongs to the branch: operations that both sides read are built outside.

    Errors:   DTypeError if pred is no bool, ArgumentError if the two sides give different structures or dtypes

    >>> import duograph.graph as tf
    >>> x = tf.placeholder(tf.float32, [])
    >>> y = tf.cond(x > 0.0, lambda: x * 2.0, lambda: -x)
    >>> with tf.Session() as session:
    ...     session.run(y, {x: -3.0})
    np.float32(3.0)
    """
    first, second = true_fn or fn1, false_fn or fn2
    if not callable(first) or not callable(second):
        raise ArgumentError("cond: true_fn and false_fn are functions without arguments")
    if isinstance(pred, bool):
        return first() if pred else second()
    pred = convert_to_tensor(pred)
    if pred.dtype.kind != "b":
        raise DTypeError(
            f"cond: pred is {pred.dtype.name}, it must be bool", [pred.node.built_at], hint="compare it with something"
        )
    if pred.type.sizes not in (None, (), (1,)):
        raise ShapeError(
            f"cond: pred has shape {pred.shape}, it must be a scalar", [pred.node.built_at], hint="tf.reduce_all or tf.reduce_any"
        )
    graph = pred.graph
    with graph.as_default(), graph.name_scope(name or "cond"):
        structures: list[Any] = []
        sides: list[Any] = []
        for title, function in (("true", first), ("false", second)):
            with graph.region(title, "tf.cond") as region:
                leaves: list[Any] = []
                structures.append(structure_of(_given(function()), leaves, _is_leaf))
                operations = [x for x in leaves if isinstance(x, Operation) or x is None]
                sides.append((region, [x if isinstance(x, Operation) or x is None else _flow(x) for x in leaves], operations))
        return _cond_of(graph, pred, structures, sides, name)


def _given(result: Any) -> Any:
    return [result] if _is_leaf(result) else result


def _cond_of(graph: Graph, pred: Tensor, structures: list[Any], sides: Any, name: str | None) -> Any:
    """The node of a branch whose sides are built."""
    if structures[0] != structures[1]:
        raise ArgumentError(
            f"cond: true_fn gives {_described(structures[0])} and false_fn {_described(structures[1])}",
            hint="both sides must give the same structure of tensors",
        )
    (then, first, effects), (otherwise, second, other_effects) = sides
    pairs = [(a, b) for a, b in zip(first, second) if isinstance(a, Tensor) and isinstance(b, Tensor)]
    for a, b in pairs:
        if a.dtype is not b.dtype:
            raise DTypeError(
                f"cond: true_fn gives {a.dtype.name} and false_fn {b.dtype.name}",
                [a.node.built_at, b.node.built_at],
                hint="tf.cast one of them",
            )
    regions = [
        close(region, [pair[i] for pair in pairs], [x for x in ops if x is not None])
        for i, (region, ops) in enumerate(((then, effects), (otherwise, other_effects)))
    ]
    captures = tuple(
        dict.fromkeys(
            x for region, outputs, _ in sides for x in captures_of(region, [t for t in outputs if isinstance(t, Tensor)])
        )
    )
    types = [PartialType(a.dtype, common_sizes(a.type.sizes, b.type.sizes)) for a, b in pairs]
    graph.check_inputs("cond", (pred,))
    scope = graph.get_name_scope()
    attrs = {"pred": Slot(0), "captures": captures}
    node = graph.add(_COND, (pred,), attrs, types, f"{scope}/" if scope else name or "cond", tuple(regions))
    outputs = iter(node.outputs)
    made = [next(outputs) if isinstance(a, Tensor) and isinstance(b, Tensor) else node for a, b in zip(first, second)]
    return filled(structures[0], made) if len(made) != 1 or structures[0] != [Slot(0)] else made[0]


def _described(structure: Any) -> str:
    return f"{len(structure)} results" if isinstance(structure, (list, tuple)) else repr(structure)


def common_sizes(a: Any, b: Any) -> Any:
    """What two shapes have in common."""
    if a is None or b is None or len(a) != len(b):
        return None
    return tuple(x if x == y else None for x, y in zip(a, b))


def case(
    pred_fn_pairs: Any,
    default: Callable[[], Any] | None = None,
    exclusive: bool = False,
    strict: bool = False,
    name: str = "case",
) -> Any:
    """What the function of the first condition that holds gives, or `default`.

    Args:
        pred_fn_pairs: (condition, function) pairs in a list, or a dict from conditions to functions.
        exclusive: taken as TensorFlow's; the first condition that holds decides.

    >>> import duograph.graph as tf
    >>> x = tf.constant(5.0)
    >>> y = tf.case([(x < 1.0, lambda: tf.constant(1)), (x < 10.0, lambda: tf.constant(2))], default=lambda: tf.constant(3))
    >>> with tf.Session() as session:
    ...     session.run(y)
    np.int32(2)
    """
    pairs = list(pred_fn_pairs.items()) if isinstance(pred_fn_pairs, dict) else list(pred_fn_pairs)
    if not pairs:
        raise ArgumentError("case: there are no pairs of a condition and a function")
    if default is None:
        default = pairs.pop()[1]
    chosen = default
    for pred, function in reversed(pairs):
        chosen = lambda pred=pred, function=function, rest=chosen: cond(pred, function, rest)  # noqa: E731
    with get_default_graph().name_scope(name):
        return chosen()


# ---- loops


def _loop(run: Run, node: Operation) -> Any:
    test, body = node.regions
    rows = node.attrs["rows"]  # for each loop variable that is a row of each turn: the tensor that a turn writes
    values = [_initial(run.value(x)) for x in node.inputs]
    kept = [i for i in range(len(values)) if i not in rows]
    if any(isinstance(values[i], Unmade) for i in kept):
        values = settled_arrays(run, body, values)

    def given(state: Any) -> list[Any]:
        whole: list[Any] = [None] * len(values)
        for i, value in zip(kept, state):
            whole[i] = value
        return whole

    def goes_on(state: Any) -> Any:
        (found,) = run.region(test, given(state), test.nodes)  # type: ignore[arg-type]
        return as_tensor(found).reshape(())

    def turn(state: Any) -> Any:
        found = [as_tensor(x) for x in run.region(body, given(state), body.nodes)]  # type: ignore[arg-type]
        going_on = tuple([found[i] for i in kept])
        return (going_on, tuple([found[i] for i in rows])) if rows else going_on

    state = tuple([values[i] for i in kept])
    lists: list[list[Any]] = [[] for _ in rows]
    if rows:
        state = _recorded.callee(followed.loop_with_rows)(goes_on, turn, state, lists)
    else:
        state = _recorded.callee(followed.loop)(goes_on, turn, state)
    whole = given(state)
    for i, items in zip(rows, lists):
        whole[i] = _recorded.callee(followed.stacked)(items) if items else values[i].empty()
    return whole


def _initial(value: Any) -> Any:
    return value if isinstance(value, Unmade) else as_tensor(value)


_WHILE = Definition("While", lambda: None, evaluate=_loop)


def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    shape_invariants: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
    maximum_iterations: Any = None,
    return_same_structure: bool = False,
) -> Any:
    """Repeats `body` while `cond` holds; gives the loop variables after the last turn.

    Args:
        cond: a function of the loop variables that gives a scalar bool tensor.
        body: a function of the loop variables that gives the next ones, in the same structure, with the same dtypes and shapes.
        loop_vars: tensors, TensorArrays, and lists, tuples and dicts of them.
        shape_invariants: in the same structure, shapes for variables whose shape changes: None for a size that does.
        maximum_iterations: so many turns at most.
        back_prop: whether gradients go through the loop.
        return_same_structure: a list or tuple of one variable stays one; otherwise that variable alone is given.
        parallel_iterations, swap_memory: taken for TensorFlow's sake; the program is planned as a whole.

    Gradient: through the loop, of every order; what a turn needs is kept as rows

    Errors:   ArgumentError for another structure, DTypeError for another dtype, ShapeError for a shape that changes without an
              invariant; each names the variable, and the line that built what does not fit

    >>> import duograph.graph as tf
    >>> total = tf.while_loop(lambda i, s: i < 5, lambda i, s: (i + 1, s + i), [tf.constant(0), tf.constant(0)])[1]
    >>> with tf.Session() as session:
    ...     session.run(total)
    np.int32(10)
    """
    if not callable(cond) or not callable(body):
        raise ArgumentError("while_loop: cond and body are functions of the loop variables")
    if not isinstance(loop_vars, (list, tuple, dict)):
        loop_vars = [loop_vars]
    if not loop_vars:
        raise ArgumentError("while_loop: there are no loop variables")
    if maximum_iterations is not None:
        return _bounded(cond, body, loop_vars, shape_invariants, maximum_iterations, back_prop, name, return_same_structure)
    built = _Loop(loop_vars, shape_invariants)
    with built.graph.as_default(), built.graph.name_scope(name or "while"):
        made = built.build(cond, body, back_prop)
    return made[0] if len(loop_vars) == 1 and not return_same_structure and isinstance(made, (list, tuple)) else made


def _bounded(
    cond: Any, body: Any, loop_vars: Any, invariants: Any, most: Any, back_prop: bool, name: str | None, same: bool
) -> Any:
    """The loop with one more variable, that counts turns."""
    from .math import logical_and

    def call(function: Any, variables: Any) -> Any:
        return function(**variables) if isinstance(variables, dict) else function(*variables)

    def given(result: Any) -> Any:
        return result if isinstance(result, (list, tuple, dict)) else [result]

    _, found = while_loop(
        lambda turn, variables: logical_and(turn < most, call(cond, variables)),
        lambda turn, variables: (turn + 1, _structured(given(call(body, variables)), variables)),
        [convert_to_tensor(0), loop_vars],
        None if invariants is None else [TensorShape([]), invariants],
        back_prop=back_prop,
        name=name,
    )
    return found[0] if len(loop_vars) == 1 and not same and isinstance(found, (list, tuple)) else found


def _structured(result: Any, like: Any) -> Any:
    return type(like)(result) if type(like) in (list, tuple) and type(result) in (list, tuple) else result


class _Loop:
    """A loop while it is built."""

    def __init__(self, loop_vars: Any, invariants: Any) -> None:
        self.originals: list[Any] = []
        self.structure = structure_of(loop_vars, self.originals, _is_leaf)
        first = next((x for x in self.originals if isinstance(x, (Tensor, TensorArray))), None)
        self.graph = get_default_graph() if first is None else first.graph
        with self.graph.as_default():
            self.initial = [_flow(x) for x in self.originals]
        self.types = [self.type(x, t) for x, t in zip(self.originals, self.initial)]
        if invariants is not None:
            shapes: list[Any] = []
            structure_of(invariants, shapes, lambda x: isinstance(x, TensorShape) or x is None or _of_sizes(x))
            if len(shapes) != len(self.types):
                raise ArgumentError(f"while_loop: {len(shapes)} shape_invariants for {len(self.types)} loop variables")
            for i, shape in enumerate(shapes):
                if not isinstance(self.originals[i], TensorArray):
                    self.types[i] = self.invariant(i, shape)

    @staticmethod
    def type(original: Any, tensor: Tensor) -> PartialType:
        return PartialType(tensor.dtype, None) if isinstance(original, TensorArray) else tensor.type

    def invariant(self, number: int, shape: Any) -> PartialType:
        have, wanted = self.initial[number], TensorShape(shape)
        if not wanted.is_compatible_with(have.shape):
            raise ShapeError(
                f"while_loop: loop variable {number} has shape {have.shape}, its invariant is {wanted}", [have.node.built_at]
            )
        return PartialType(have.dtype, wanted.sizes)

    def variables(self, region: OpenRegion) -> Any:
        """The loop variables as the inside sees them."""
        made = []
        for i, (type, original) in enumerate(zip(self.types, self.originals)):
            tensor = self.graph.add(_INPUT, (), {}, [type], f"variable_{i}").output
            region.inputs.append(tensor)
            made.append(_like(tensor, original))
        return filled(self.structure, made)

    def call(self, function: Any, variables: Any) -> Any:
        return function(**variables) if isinstance(variables, dict) else function(*variables)

    def build(self, cond: Any, body: Any, back_prop: bool) -> Any:
        graph = self.graph
        with graph.region("cond", "tf.while_loop") as tested:
            test = convert_to_tensor(self.call(cond, self.variables(tested)))
        if test.dtype.kind != "b" or test.type.sizes not in (None, (), (1,)):
            raise DTypeError(f"while_loop: cond gives {test.type!r}, it must be a scalar bool", [test.node.built_at])
        with graph.region("body", "tf.while_loop") as inside:
            result = self.call(body, self.variables(inside))
            if isinstance(result, Operation):
                raise ArgumentError("while_loop: body gives an operation, not the next loop variables", [result.built_at])
            outputs = self.results(result)
        self.check(outputs)
        rows = written_by_turn(inside, tested, self.originals, self.initial, outputs)
        ends = [rows.get(i, output) for i, output in enumerate(outputs)]
        regions = (close(tested, [test]), close(inside, ends))
        captures = tuple(dict.fromkeys((*captures_of(tested, [test]), *captures_of(inside, ends))))
        types = [
            PartialType(t.dtype, o.type.sizes) if isinstance(v, TensorArray) else t
            for t, o, v in zip(self.types, outputs, self.originals)
        ]
        graph.check_inputs("while_loop", self.initial)
        attrs = {
            "variables": [Slot(i) for i in range(len(self.initial))],
            "rows": tuple(rows),
            "captures": captures,
            "back_prop": back_prop,
        }
        node = graph.add(_WHILE, tuple(self.initial), attrs, types, f"{graph.get_name_scope()}/", regions)
        return filled(self.structure, [_like(x, original) for x, original in zip(node.outputs, self.originals)])

    def results(self, result: Any) -> list[Tensor]:
        """What the body gives, in the structure of the loop variables."""
        one = isinstance(self.structure, (list, tuple)) and len(self.structure) == 1
        if one and not (isinstance(result, (list, tuple)) and len(result) == 1):
            result = [result]
        leaves: list[Any] = []
        structure = structure_of(result, leaves, _is_leaf)
        if len(leaves) != len(self.originals):
            raise ArgumentError(
                f"while_loop: the body gives {len(leaves)} values for {len(self.originals)} loop variables",
                hint="it must give the next value of each, in the same structure",
            )
        if isinstance(self.structure, dict) != isinstance(structure, dict):
            raise ArgumentError("while_loop: the body gives another structure than that of the loop variables")
        for i, (leaf, original) in enumerate(zip(leaves, self.originals)):
            if isinstance(leaf, TensorArray) != isinstance(original, TensorArray):
                raise ArgumentError(f"while_loop: loop variable {i} is a TensorArray on one side of a turn and none on the other")
        return [
            leaf.flow
            if isinstance(leaf, TensorArray)
            else convert_to_tensor(leaf, None if isinstance(leaf, Tensor) else type.dtype)
            for leaf, type in zip(leaves, self.types)
        ]

    def check(self, outputs: Sequence[Tensor]) -> None:
        """Whether the next loop variables have the dtypes and shapes of the variables."""
        for i, (type, output) in enumerate(zip(self.types, outputs)):
            if output.dtype is not type.dtype:
                raise DTypeError(
                    f"while_loop: loop variable {i} is {type.dtype.name} and {output.dtype.name} after a turn",
                    [self.initial[i].node.built_at, output.node.built_at],
                    hint=f"tf.cast(…, tf.{type.dtype.name})",
                )
            if not isinstance(self.originals[i], TensorArray) and not _covers(type.sizes, output.type.sizes):
                raise ShapeError(
                    f"while_loop: the shape of loop variable {i} changes: {TensorShape(type.sizes)}, after a turn {output.shape}",
                    [self.initial[i].node.built_at, output.node.built_at],
                    hint="say what may change: shape_invariants=[tf.TensorShape([None, …]), …], or set_shape in the body",
                )


def _of_sizes(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(x is None or isinstance(x, int) for x in value)


def _covers(wide: Any, narrow: Any) -> bool:
    """Whether every shape that `narrow` allows is allowed by `wide`."""
    if wide is None:
        return True
    if narrow is None or len(wide) != len(narrow):
        return False
    return all(a is None or a == b for a, b in zip(wide, narrow))
