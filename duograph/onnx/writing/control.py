"""Branches and loops of a model as Python's: a capture makes nodes of them again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import UnsupportedError
from ..reading import dtype_of
from ..structure import Body, Node
from .layout import Group, literal, remark
from .values import Constant, Value

if TYPE_CHECKING:
    from .bodies import Scope

_FEW = 4  # turns that are written out, as the loaded model does


def write(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> bool:
    """Whether the node is a branch or a loop, which has been written."""
    if not any(True for _ in node.bodies()):
        return False
    writer = {"If": _branch, "Loop": _loop, "Scan": _scan}.get(node.op) if not node.domain else None
    if writer is None or node.references or (node.op == "Scan" and node.opset < 9):
        raise UnsupportedError(f"onnx: {node} cannot be written as Python")
    writer(scope, node, inputs)
    return True


def _branch(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> None:
    condition = inputs[0]
    assert condition is not None
    asked = scope.loose(condition) if condition.loose else condition.text
    targets = [scope.names.new(name) for name in node.outputs]
    sides = (("if", node.attributes["then_branch"]), ("else", node.attributes["else_branch"]))
    for word, body in sides:
        if word == "if":
            scope.put("if ", Group(f"{scope.module.calls()}.truth(", [asked]), remark(node.line), ":")
        else:
            scope.put("else:", "")
        inner = scope.inner()
        inner.write(body)
        for target, name in zip(targets, body.outputs):
            value = inner.value(name)
            assert value is not None
            inner.put(f"{target} = ", inner.tensor(value))
        scope.take(inner)
    for name, target in zip(node.outputs, targets):
        scope.values[name] = Value(target)


def _start(scope: Scope, name: str, value: Value) -> str:
    """A variable with the value before the first turn."""
    made = scope.names.new(name)
    scope.put(f"{made} = ", scope.tensor(value))
    return made


def _loop(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> None:
    body: Body = node.attributes["body"]
    most, going = inputs[0], inputs[1] if len(inputs) > 1 else None
    carried = [value for value in inputs[2:] if value is not None]
    variables = [_start(scope, name, value) for name, value in zip(body.inputs[2:], carried)]
    rows = _lists(scope, body, 1 + len(carried))
    count, on = body.inputs[:2]
    turns = _turns(most, going, body)
    inner = scope.inner()
    if turns is not None:
        step = scope.names.new("turn")
        scope.put(f"for {step} in ", f"range({turns})", remark(node.line), ":")
        inner.put(f"{inner.variable(count)} = ", f"dg.tensor({step})")
        inner.put(f"{inner.variable(on)} = ", "dg.tensor(True)")
        _turn(inner, body, (), variables, rows)
    else:
        number, holds = scope.names.new(count), scope.names.new(on)
        scope.put(f"{number} = ", "dg.zeros((), dtype=dg.int64)")
        scope.put(f"{holds} = ", "dg.tensor(True)" if going is None else _whole(scope, going))
        test = holds
        if most is not None:
            limit = scope.names.new("most")
            scope.put(f"{limit} = ", _whole(scope, most))
            test = f"{holds} & ({number} < {limit})"
        scope.put("while ", test, remark(node.line), ":")
        inner.values[count], inner.values[on] = Value(number), Value(holds)
        _turn(inner, body, (number, holds), variables, rows)
    scope.take(inner)
    _finish(scope, node, variables, rows, turns is None or turns == 0)


def _whole(scope: Scope, value: Value) -> Any:
    made = scope.tensor(value)
    return made if isinstance(value, Constant) and value.scalar else f"{made}.reshape(())"


def _lists(scope: Scope, body: Body, first: int) -> list[str]:
    """The lists that turns append their rows to."""
    made = []
    for name in body.outputs[first:]:
        made.append(scope.names.new(f"{name}_rows"))
        scope.put(f"{made[-1]} = ", "[]")
    return made


def _turn(inner: Scope, body: Body, counters: tuple[str, ...], variables: list[str], rows: list[str]) -> None:
    """One turn: the nodes, the rows, then all carried values at once."""
    for name, variable in zip(body.inputs[2:], variables):
        inner.values[name] = Value(variable)
    inner.write(body)
    for name, row in zip(body.outputs[1 + len(variables) :], rows):
        value = inner.value(name)
        assert value is not None
        inner.put("", Group(f"{row}.append(", [inner.tensor(value)]))
    targets, made = [*variables], [inner.value(name) for name in body.outputs[1 : 1 + len(variables)]]
    texts = [str(inner.tensor(value)) for value in made if value is not None]
    if len(counters) == 2:
        going = inner.value(body.outputs[0])
        assert going is not None
        targets += counters
        texts += [f"{counters[0]} + 1", str(_whole(inner, going))]
    _assign_all(inner, targets, texts)


def _assign_all(inner: Scope, targets: list[str], texts: list[str]) -> None:
    """All variables get their values at once, as each may be read for another."""
    pairs = [(target, text) for target, text in zip(targets, texts) if target != text]
    new = {target for target, _ in pairs}
    if not any(other in text for target, text in pairs for other in new - {target}):
        for target, text in pairs:
            inner.put(f"{target} = ", text)
        return
    kept = [inner.names.new(f"next_{target}") for target, _ in pairs]
    for name, (_, text) in zip(kept, pairs):
        inner.put(f"{name} = ", text)
    for name, (target, _) in zip(kept, pairs):
        inner.put(f"{target} = ", name)


def _turns(most: Value | None, going: Value | None, body: Body) -> int | None:
    """How many turns there are, where that is known and small."""
    from ..interpreting import Inner

    if not isinstance(most, Constant) or not (going is None or isinstance(going, Constant)):
        return None
    count = int(most.array.reshape(-1)[0])
    if going is not None and not bool(going.array.reshape(-1)[0]):
        return 0
    keeps = Inner(None, body).keeps_going()  # type: ignore[arg-type]
    return max(count, 0) if count <= _FEW and keeps else None


def _finish(scope: Scope, node: Node, variables: list[str], rows: list[str], maybe_none: bool) -> None:
    """The results; `maybe_none`: there may be no turns."""
    body: Body = node.attributes["body"]
    for name, variable in zip(node.outputs, variables):
        if name:
            scope.values[name] = Value(variable)
    for name, inner, row in zip(node.outputs[len(variables) :], body.outputs[-len(rows) :], rows):
        if name and maybe_none:
            dtype = dtype_of(body.dtypes.get(inner, 1), "Loop: a result without rows").name
            items = [row, f"dg.{dtype}", literal(body.shapes.get(inner, ()))]
            scope.put(f"{scope.variable(name)} = ", Group(f"{scope.module.calls()}.stacked(", items))
        elif name:
            scope.put(f"{scope.variable(name)} = ", Group("dg.stack(", [row]))


def _scan(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> None:
    body: Body = node.attributes["body"]
    count = node.attributes["num_scan_inputs"]
    given = [value for value in inputs if value is not None]
    states, scanned = given[: len(given) - count], given[len(given) - count :]
    names = body.inputs[len(states) :]
    variables = [_start(scope, name, value) for name, value in zip(body.inputs, states)]
    sources = []
    for i, (name, value) in enumerate(zip(names, scanned)):
        text = str(scope.tensor(value))
        axis = (node.attributes.get("scan_input_axes") or [0] * count)[i]
        text = f"{text}.movedim({axis}, 0)" if axis else text
        if (node.attributes.get("scan_input_directions") or [0] * count)[i]:
            text = f"dg.flip({text}, (0,))"
        sources.append(scope.names.new(f"{name}_all"))
        scope.put(f"{sources[-1]} = ", text)
    rows = _lists(scope, body, len(states))
    step = scope.names.new("step")
    scope.put(f"{step} = ", "dg.zeros((), dtype=dg.int64)")
    scope.put("while ", f"{step} < {sources[0]}.shape[0]", remark(node.line), ":")
    inner = scope.inner()
    for name, source in zip(names, sources):
        inner.put(f"{inner.variable(name)} = ", f"dg.index_select({source}, 0, {step}.reshape(1)).squeeze(0)")
    _scan_turn(inner, body, variables, rows)
    inner.put(f"{step} = ", f"{step} + 1")
    scope.take(inner)
    _finish_scan(scope, node, variables, rows)


def _scan_turn(inner: Scope, body: Body, variables: list[str], rows: list[str]) -> None:
    for name, variable in zip(body.inputs, variables):
        inner.values[name] = Value(variable)
    inner.write(body)
    results = [inner.value(name) for name in body.outputs]
    texts = [inner.tensor(value) for value in results if value is not None]
    for row, text in zip(rows, texts[len(variables) :]):
        inner.put("", Group(f"{row}.append(", [text]))
    _assign_all(inner, variables, [str(text) for text in texts[: len(variables)]])


def _finish_scan(scope: Scope, node: Node, variables: list[str], rows: list[str]) -> None:
    _finish(scope, node, variables, rows, True)
    backwards = node.attributes.get("scan_output_directions") or [0] * len(rows)
    axes = node.attributes.get("scan_output_axes") or [0] * len(rows)
    for name, flipped, axis in zip(node.outputs[len(variables) :], backwards, axes):
        value = scope.value(name)
        if value is None:
            continue
        if flipped:
            scope.put(f"{value.text} = ", f"dg.flip({value.text}, (0,))")
        if axis:
            scope.put(f"{value.text} = ", f"{value.text}.movedim(0, {axis})")
