"""The verifier: what must hold of every graph, checked after each pass in tests."""

from __future__ import annotations

from duograph.errors import InternalError

from .dim import Dim
from .graph import Graph, Node, Value
from .late import late_symbol, late_symbols, mentions
from .primitives import PRIMITIVES
from .substitution import symbols
from .types import TensorType


def verify(graph: Graph) -> None:
    """Raise `InternalError` naming the first node that breaks a rule: definition before use, types, shapes, regions."""
    _verify_graph(graph, set(), top=True)
    _verify_late(graph)


def _fail(node: Node | None, rule: str) -> None:
    if node is None:
        raise InternalError(f"invalid graph: {rule}")
    operands = ", ".join(str(value.type) for value in node.inputs)
    results = ", ".join(str(value.type) for value in node.outputs)
    raise InternalError(f"invalid graph: {node.op}({operands}) → {results}: {rule}")


def _verify_graph(graph: Graph, outer: set[Value], top: bool = False) -> None:
    defined = set(outer)
    defined.update(graph.inputs)
    if len(graph.arguments) != len(graph.inputs):
        _fail(None, "inputs and arguments differ in number")
    cells = {value for value, argument in zip(graph.inputs, graph.arguments) if argument.kind == "cell"}
    for node in graph.nodes:
        for value in node.inputs:
            if value not in defined:
                _fail(node, f"operand {value!r} is read before it is defined")
        _verify_node(node, defined, cells, top)
        for value in node.outputs:
            if value in defined:
                _fail(node, f"{value!r} is defined twice")
            if value.node is not node:
                _fail(node, "an output belongs to another node")
            defined.add(value)
    for value in graph.outputs:
        if value not in defined:
            _fail(None, f"result {value!r} is not defined")


def _verify_node(node: Node, defined: set[Value], cells: set[Value], top: bool) -> None:
    row = PRIMITIVES.get(node.op)
    if row is None:
        if len(node.regions) != 1:
            _fail(node, "a composite has one region")
        body = node.regions[0]
        _verify_graph(body, defined)
        _same_types(node, body.outputs, node.outputs, "the body's results")
        return
    if row.arity >= 0 and len(node.inputs) != row.arity:
        _fail(node, f"takes {row.arity} operands")
    if node.op in ("cond", "while_loop"):
        _verify_control(node)
    elif node.op == "assign":
        if not top or node.inputs[0] not in cells:
            _fail(node, "writes something that is not a mutable input")
        _same_types(node, node.inputs[1:], node.inputs[:1], "the written value")
    elif row.kind == "rows":
        _verify_rows(node)
    elif row.kind == "elementwise":
        _verify_elementwise(node, row.result)
    elif node.op in _SHAPE_RULES:
        expected = _SHAPE_RULES[node.op](node)
        if expected is not None and not _equal(expected, node.output.shape):
            _fail(node, f"the shape should be {expected}")


def _equal(left: tuple[int | Dim, ...], right: tuple[int | Dim, ...]) -> bool:
    return len(left) == len(right) and all(a == b for a, b in zip(left, right))


def _verify_late(graph: Graph) -> None:
    """Each late size has one node that makes it, before it is spoken of, and does not leave its region."""
    late: set[Dim] = set()
    early = {symbol for value in graph.inputs for size in value.shape for symbol in symbols(size)} | set(graph.sizes)
    for node in graph.walk():
        made = late_symbol(node)
        if made is None:
            continue
        if not made.is_symbol or made in late or made in early:
            _fail(node, f"the late size {made} belongs to another node, to an input or is none")
        late.add(made)
    if late:
        _verify_late_order(graph, late)


def _verify_late_order(graph: Graph, unknown: set[Dim]) -> None:
    unknown = set(unknown)
    for node in graph.nodes:
        for region in node.regions:
            _verify_late_order(region, unknown)
            inner = set(late_symbols(region))
            used = {symbol for value in region.outputs for size in value.shape for symbol in symbols(size)}
            if node.op in ("cond", "while_loop") and inner & used:
                _fail(node, f"the late size {min(map(str, inner & used))} leaves its region")
            if node.op not in ("cond", "while_loop"):
                unknown -= inner
        early = (mentions(node) & unknown).difference(*map(late_symbols, node.regions))
        if early:
            _fail(node, f"the late size {min(map(str, early))} is used before it is known")
        made = late_symbol(node)
        if made is not None:
            unknown.discard(made)


def _same_types(node: Node, found: tuple[Value, ...], expected: tuple[Value, ...], what: str) -> None:
    def parts(value: Value) -> tuple[int, tuple[int | Dim, ...]]:
        type: TensorType = value.type
        return type.dtype.code, type.shape

    if [parts(value) for value in found] != [parts(value) for value in expected]:
        _fail(node, f"{what} have types {[str(value.type) for value in found]}")


def _verify_elementwise(node: Node, result: str) -> None:
    shape = node.output.shape
    for value in node.inputs:
        if not _equal(value.shape, shape):
            _fail(node, "operands of an elementwise node have its shape")
    dtypes = [value.dtype.name for value in node.inputs]
    values = dtypes[1:] if node.op == "where" else dtypes
    if node.op == "where" and dtypes[0] != "bool":
        _fail(node, "the condition is bool")
    if len(set(values)) != 1:
        _fail(node, "operands have one dtype")
    if result != "any" and node.output.dtype.name != ("bool" if result == "bool" else values[0]):
        _fail(node, "the dtype of the result is wrong")


def _verify_control(node: Node) -> None:
    if len(node.regions) != 2:
        _fail(node, "has two regions")
    first, second = node.regions
    operands = node.inputs[1:] if node.op == "cond" else node.inputs
    for region in node.regions:
        _same_types(node, operands, region.inputs, "the regions' operands")
        _verify_graph(region, set())
    test = node.inputs[0] if node.op == "cond" else first.outputs[0]
    if test.dtype.name != "bool" or test.shape != ():
        _fail(node, "the condition is a bool of shape ()")
    if node.op == "cond":
        _same_types(node, first.outputs, node.outputs, "the first region's results")
        _same_types(node, second.outputs, node.outputs, "the last region's results")
    else:
        _verify_loop(node, second.outputs)


def _verify_loop(node: Node, results: tuple[Value, ...]) -> None:
    carried, stacked = node.attrs["carried"], node.attrs.get("stacked") or 0
    if len(node.outputs) != carried + stacked or len(results) != carried + stacked:
        _fail(node, f"{carried} carried values and {stacked} stacks are {carried + stacked} results")
    _same_types(node, node.inputs[:carried], node.outputs[:carried], "the carried values")
    _same_types(node, results[:carried], node.outputs[:carried], "the next carried values")
    for row, stack in zip(results[carried:], node.outputs[carried:]):
        trips = node.attrs.get("trips")
        first = node.outputs[carried].shape[0] if trips is None and stack.shape else trips
        if stack.dtype.code != row.dtype.code or not _equal(stack.shape, (first, *row.shape)):  # type: ignore[arg-type]
            _fail(node, f"rows of type {row.type} are stacked")


def _size_of_shape(node: Node) -> tuple[int | Dim, ...]:
    if node.inputs[0].shape or node.inputs[0].dtype.name != "int64" or node.output.dtype.name != "int64":
        _fail(node, "a size is an int64 of shape ()")
    return ()


def _nonzero_shape(node: Node) -> tuple[int | Dim, ...]:
    if len(node.inputs[0].shape) != 1 or node.inputs[0].dtype.name != "bool" or node.output.dtype.name != "int64":
        _fail(node, "finds the positions, int64, in one row of bools")
    return node.output.shape[:1]


def _box_shape(node: Node) -> tuple[int | Dim, ...]:
    if node.output.dtype.name != "int64" or node.attrs.get("keep") not in (True, False):
        _fail(node, "a box has a number, an int64 of shape (), and is kept or not")
    return ()


def _unbox_shape(node: Node) -> tuple[int | Dim, ...]:
    if node.inputs[0].shape or node.inputs[0].dtype.name != "int64":
        _fail(node, "the number of a box is an int64 of shape ()")
    return node.output.shape


def _reduce_shape(node: Node) -> tuple[int | Dim, ...]:
    dims = node.attrs["dims"]
    return tuple(size for d, size in enumerate(node.inputs[0].shape) if d not in dims)


def _permute_shape(node: Node) -> tuple[int | Dim, ...]:
    shape = node.inputs[0].shape
    if sorted(node.attrs["dims"]) != list(range(len(shape))):
        _fail(node, "dims is not a permutation")
    return tuple(shape[d] for d in node.attrs["dims"])


def _broadcast_shape(node: Node) -> tuple[int | Dim, ...] | None:
    shape, target = node.inputs[0].shape, node.output.shape
    for size, wanted in zip(reversed(shape), reversed(target)):
        if size != 1 and size != wanted:
            _fail(node, f"{shape} does not broadcast to {target}")
    if len(shape) > len(target):
        _fail(node, "a broadcast does not lower the rank")
    return None


def _pad_shape(node: Node) -> tuple[int | Dim, ...]:
    low, high = node.attrs["low"], node.attrs["high"]
    return tuple(a + size + b for a, size, b in zip(low, node.inputs[0].shape, high))


def _affine_shape(node: Node) -> tuple[int | Dim, ...]:
    rank = len(node.inputs[0].shape)
    if len(node.attrs["offsets"]) != rank or len(node.attrs["coefficients"]) != rank * len(node.output.shape):
        _fail(node, "an offset for each dim of the operand, and a coefficient for each of those and each of the result")
    return node.output.shape


def _concat_shape(node: Node) -> tuple[int | Dim, ...]:
    shape = list(node.inputs[0].shape)
    for value in node.inputs[1:]:
        shape[node.attrs["dim"]] = shape[node.attrs["dim"]] + value.shape[node.attrs["dim"]]
    return tuple(shape)


def _contraction_shape(node: Node) -> tuple[int | Dim, ...]:
    sizes: dict[str, int | Dim] = {}
    for letters, value in zip((node.attrs["a"], node.attrs["b"]), node.inputs):
        if len(letters) != len(value.shape):
            _fail(node, f"{letters!r} does not name the dims of {value.type}")
        for letter, size in zip(letters, value.shape):
            if sizes.setdefault(letter, size) != size:
                _fail(node, f"sizes of {letter!r} differ: {sizes[letter]} and {size}")
    return tuple(sizes[letter] for letter in node.attrs["out"])


def _window_sums_shape(node: Node) -> tuple[int | Dim, ...]:
    x, weight = (value.shape for value in node.inputs)
    if x[1] != weight[0] or x[2] != weight[2]:
        _fail(node, f"kernels {weight} do not fit {x}")
    return (x[0], *weight[:2], *node.output.shape[3:])


def _window_taps_shape(node: Node) -> tuple[int | Dim, ...]:
    x, given = (value.shape for value in node.inputs)
    if x[:2] != given[:2]:
        _fail(node, f"{given} does not fit {x}")
    return (*given[1:3], *node.output.shape[2:])


def _take_shape(node: Node) -> tuple[int | Dim, ...]:
    shape, dim = node.inputs[0].shape, node.attrs["dim"]
    return (*shape[:dim], *node.inputs[1].shape, *shape[dim + 1 :])


def _row_shape(node: Node) -> tuple[int | Dim, ...]:
    if not node.inputs[0].shape:
        _fail(node, "takes a row of something that has rows")
    _verify_position(node)
    return node.inputs[0].shape[1:]


def _row_update_shape(node: Node) -> tuple[int | Dim, ...]:
    if not node.inputs[0].shape or not _equal(node.inputs[0].shape[1:], node.inputs[2].shape):
        _fail(node, "the third operand is a row of the first")
    if len({value.dtype.code for value in (node.inputs[0], node.inputs[2], node.output)}) != 1:
        _fail(node, "the row and the array have one dtype")
    _verify_position(node)
    return node.inputs[0].shape


def _verify_position(node: Node) -> None:
    if node.inputs[1].shape or node.inputs[1].dtype.name != "int64":
        _fail(node, "the position of a row is an int64 of shape ()")


def _verify_rows(node: Node) -> None:
    """Rows are scanned, sorted or searched along a dim; nothing else changes but, where some are selected, their number."""
    operand, dim = node.inputs[-1], node.attrs["dim"]
    if not 0 <= dim < len(operand.shape):
        _fail(node, f"there is no dim {dim}")
    for value in (*node.inputs, *node.outputs):
        shape = tuple(size for d, size in enumerate(value.shape) if d != dim)
        if not _equal(shape, tuple(size for d, size in enumerate(operand.shape) if d != dim)):
            _fail(node, "operands and results differ in more than their rows")
    if node.op == "scan" and len({value.shape for value in (*node.inputs, *node.outputs)}) != 1:
        _fail(node, "a scan keeps the shape")


def _target_shape(node: Node) -> tuple[int | Dim, ...]:
    return node.inputs[0].shape


_SHAPE_RULES = {
    "reduce": _reduce_shape,
    "permute": _permute_shape,
    "broadcast": _broadcast_shape,
    "flip": _target_shape,
    "pad": _pad_shape,
    "concat": _concat_shape,
    "affine": _affine_shape,
    "contraction": _contraction_shape,
    "window_sums": _window_sums_shape,
    "window_taps": _window_taps_shape,
    "gather": lambda node: node.inputs[1].shape,
    "take": _take_shape,
    "row": _row_shape,
    "row_update": _row_update_shape,
    "scatter": _target_shape,
    "scatter_add": _target_shape,
    "scatter_reduce": _target_shape,
    "take_add": _target_shape,
    "take_put": _target_shape,
    "slice_update": _target_shape,
    "size_of": _size_of_shape,
    "nonzero": _nonzero_shape,
    "box": _box_shape,
    "unbox": _unbox_shape,
}
