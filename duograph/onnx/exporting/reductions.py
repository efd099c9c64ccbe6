"""Primitives that reduce, multiply matrices, scan, sort and search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from duograph import _core as core
from duograph.ir.dim import Expr
from duograph.ir.graph import Node, Value

from .movement import positions
from .table import exports
from .writer import Writer, refused

_KINDS = {"sum": "ReduceSum", "max": "ReduceMax", "min": "ReduceMin", "prod": "ReduceProd", "mean": "ReduceMean"}
_ALIASES = {"maximum": "max", "minimum": "min", "mul": "prod", "add": "sum"}


def reduced(w: Writer, kind: str, name: str, dims: Sequence[int], keepdims: bool = False) -> str:
    """The operator for a reduction; before opset 18 most have the axes as an attribute."""
    if kind == "sum" or w.model.opset >= 18:
        return w.emit(_KINDS[kind], [name, w.numbers(dims)], keepdims=int(keepdims))
    return w.emit(_KINDS[kind], [name], axes=list(dims), keepdims=int(keepdims))


@exports("reduce")
def reduce(w: Writer, node: Node) -> None:
    kind = _ALIASES.get(node.attrs["kind"], node.attrs["kind"])
    value, dims = node.inputs[0], list(node.attrs["dims"])
    name = w.use(value)
    if kind in ("any", "all"):
        made = reduced(w, "max" if kind == "any" else "min", w.cast(name, core.int32), dims) if dims else name
        w.set(node.output, w.cast(made, core.bool))
        return
    if kind in ("argmax", "argmin"):
        w.set(node.output, _extremum(w, node, name, dims))
        return
    if kind not in _KINDS:
        raise refused(node, f"the reduction {kind} has no form in ONNX")
    inner = core.int64 if value.dtype.kind in "biu" and value.dtype.name != "uint64" else node.output.dtype
    if value.dtype is not inner:
        name = w.cast(name, inner)
    made = reduced(w, kind, name, dims) if dims else name
    w.set(node.output, made if inner is node.output.dtype else w.cast(made, node.output.dtype))


def _extremum(w: Writer, node: Node, name: str, dims: list[int]) -> str:
    """The position of the extremum, the first of equals; of several dimensions the position in row-major order."""
    if len(node.inputs[0].shape) > 1 and len(dims) > 1:
        name = w.emit("Reshape", [name, w.numbers([-1])])
        dims = [0]
    if not dims:
        return w.number(0, core.int64)
    return w.emit("ArgMax" if node.attrs["kind"] == "argmax" else "ArgMin", [name], axis=dims[0], keepdims=0)


@exports("contraction")
def contraction(w: Writer, node: Node) -> None:
    a, b, out = node.attrs["a"], node.attrs["b"], node.attrs["out"]
    names = [w.use(value) for value in node.inputs]
    inner = node.output.dtype
    exact = core.float64 if inner.kind in "iu" else inner  # products of whole numbers: few runtimes have them
    names = [x if value.dtype is exact else w.cast(x, exact) for x, value in zip(names, node.inputs)]
    made = matmul(w, a, b, out, names, node.inputs) or w.emit("Einsum", names, equation=f"{a},{b}->{out}")
    w.set(node.output, made if exact is inner else w.cast(made, inner))


def matmul(w: Writer, a: str, b: str, out: str, names: Sequence[str], values: Sequence[Value]) -> str | None:
    """The product as MatMul of transposed operands, where it is one of matrices in shared batches."""
    shared = [x for x in a if x in b and x not in out]
    if len(shared) != 1 or len(set(a)) < len(a) or len(set(b)) < len(b):
        return None
    k = shared[0]
    batch = [x for x in a if x in b and x in out]
    rows, columns = [x for x in a if x not in b], [x for x in b if x not in a]
    plain = not batch and len(columns) == 1
    if len(columns) > 1 or (len(rows) != 1 and not plain) or any(x not in out for x in rows + columns):
        return None
    left = "".join([*batch, *rows, k])
    right = "".join([*batch, k, *columns])
    if "".join([*batch, *rows, *columns]) != out or (len(columns) != 1 and batch):
        return None
    return w.emit("MatMul", [_ordered(w, names[0], a, left), _ordered(w, names[1], b, right)])


def _ordered(w: Writer, name: str, have: str, want: str) -> str:
    return name if have == want else w.emit("Transpose", [name], perm=[have.index(x) for x in want])


@exports("scan")
def scan(w: Writer, node: Node) -> None:
    kind, dim = node.attrs["kind"], node.attrs["dim"]
    value = node.inputs[-1]
    if kind == "sum":
        name = w.use(value)
        inner = node.output.dtype if node.output.dtype.name in ("float32", "float64", "int32", "int64") else core.float32
        if value.dtype is not inner:
            name = w.cast(name, inner)
        made = w.emit("CumSum", [name, w.number(dim, core.int64)])
        w.set(node.output, made if inner is node.output.dtype else w.cast(made, node.output.dtype))
        return
    _turns(w, node, kind, dim)


def _turns(w: Writer, node: Node, kind: str, dim: int) -> None:
    """Products, extrema and linear recurrences of rows: a Scan over the dimension."""
    import onnx
    from onnx import helper

    from .names import element_type

    body = w.inner()
    values = list(node.inputs)
    shape = [size for d, size in enumerate(values[-1].shape) if d != dim]
    kept = len(node.outputs)
    states = [body.fresh("state") for _ in range(kept)]
    count = body.fresh("turn")
    rows = [body.fresh("row") for _ in values]
    results, after = _turn(body, kind, states, rows, count)
    nodes = body.nodes

    def info(name: str, dtype: Any, sized: bool = True) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, element_type(dtype), [None] * len(shape) if sized else [])

    dtypes = [value.dtype for value in node.outputs]
    inputs = [info(count, core.int64, False), *(info(x, t) for x, t in zip(states, dtypes))]
    inputs += [info(x, value.dtype) for x, value in zip(rows, values)]
    outputs = [info(after, core.int64, False), *(info(x, t) for x, t in zip(results, dtypes))]
    copies = [body.emit("Identity", [x]) for x in results]
    outputs += [info(x, t) for x, t in zip(copies, dtypes)]
    graph = helper.make_graph(nodes, f"scan_{kind}", inputs, outputs)
    names = [w.use(value) for value in values]
    start = [w.number(0, core.int64), *(_first(w, kind, i, value, shape) for i, value in enumerate(node.outputs))]
    made = w.emit_several(
        "Scan", [*start, *names], 1 + 2 * kept, body=graph, num_scan_inputs=len(values),
        scan_input_axes=[dim] * len(values), scan_output_axes=[dim] * kept,
    )  # fmt: skip
    for value, name in zip(node.outputs, made[1 + kept :]):
        w.set(value, name)


def _first(w: Writer, kind: str, number: int, value: Value, shape: Sequence[Any]) -> str:
    start = w.number(1 if kind == "prod" else 0, value.dtype)
    return w.emit("Expand", [start, w.shape(shape)])


def _turn(w: Writer, kind: str, states: list[str], rows: list[str], count: str) -> tuple[list[str], str]:
    """What a turn leaves, and the next turn's number."""
    after = w.emit("Add", [count, w.number(1, core.int64)])
    if kind == "prod":
        return [w.emit("Mul", [states[0], rows[0]])], after
    if kind == "linear":
        return [w.emit("Add", [w.emit("Mul", [rows[0], states[0]]), rows[1]])], after
    is_first = w.emit("Equal", [count, w.number(0, core.int64)])
    test = "GreaterOrEqual" if kind in ("max", "maximum") else "LessOrEqual"
    is_nan = w.emit("Not", [w.emit("Equal", [rows[0], rows[0]])])
    better = w.emit("Or", [w.emit(test, [rows[0], states[0]]), w.emit("Or", [is_first, is_nan])])
    made = [w.emit("Where", [better, rows[0], states[0]])]
    return [*made, *(w.emit("Where", [better, count, x]) for x in states[1:])], after


@exports("sort", "select")
def sort(w: Writer, node: Node) -> None:
    dim, first = node.attrs["dim"], node.attrs.get("first", 0)
    if isinstance(first, int) and first < 0:
        _median(w, node, dim)
        return
    size, value = node.outputs[0].shape[dim], node.inputs[0]
    name, inner = w.use(value), value.dtype
    if inner.name not in ("float32", "float64", "int64", "int32"):
        inner = core.int64 if inner.kind in "biu" else core.float32
        name = w.cast(name, inner)
    largest = int(bool(node.attrs["descending"]))
    made = w.emit_several("TopK", [name, w.size(first + size)], 2, axis=dim, largest=largest, sorted=1)
    for result, name in zip(node.outputs, made):
        if first != 0:
            name = w.emit("Slice", [name, w.size(first), w.size(first + size), w.numbers([dim])])
        w.set(result, name if result.dtype.name == "int64" or inner is value.dtype else w.cast(name, result.dtype))


def _median(w: Writer, node: Node, dim: int) -> None:
    """The lower median of what is no NaN: those come last."""
    value = node.inputs[0]
    name = w.use(value)
    if value.dtype.kind == "f":
        is_nan = w.emit("IsNaN", [name])
        given = w.emit("Where", [is_nan, w.number(float("inf"), value.dtype), name])
        count = reduced(w, "sum", w.cast(w.emit("Not", [is_nan]), core.int64), [dim], True)
    else:
        given = w.cast(name, core.int64) if value.dtype.name not in ("int64", "int32") else name
        count = reduced(w, "sum", w.emit("Expand", [w.number(1, core.int64), w.shape(value.shape)]), [dim], True)
    order = w.emit_several("TopK", [given, w.size(value.shape[dim])], 2, axis=dim, largest=0, sorted=1)[1]
    last = w.emit("Max", [w.emit("Sub", [count, w.number(1, core.int64)]), w.number(0, core.int64)])
    middle = w.emit("Div", [last, w.number(2, core.int64)])
    place = w.emit("GatherElements", [order, middle], axis=dim)
    for result, found in zip(node.outputs, (w.emit("GatherElements", [name, place], axis=dim), place)):
        w.set(result, found)


@exports("search")
def search(w: Writer, node: Node) -> None:
    """How many bounds lie before each value: counted."""
    bounds, values = (w.cast(w.use(x), core.int32) if x.dtype.kind == "b" else w.use(x) for x in node.inputs)
    dim, rank = node.attrs["dim"], len(node.output.shape)
    a = w.emit("Unsqueeze", [bounds, w.numbers([dim])])
    b = w.emit("Unsqueeze", [values, w.numbers([dim + 1])])
    before = w.emit("LessOrEqual" if node.attrs["right"] else "Less", [a, b])
    assert rank
    w.set(node.output, reduced(w, "sum", w.cast(before, core.int64), [dim + 1]))


@exports("compress")
def compress(w: Writer, node: Node) -> None:
    x, mask = (w.use(value) for value in node.inputs)
    made = w.emit("Compress", [x, mask], axis=0)
    for size in node.output.shape[:1]:
        w.sizes.setdefault(size, w.emit("Shape", [made]))
    w.set(node.output, made)


@exports("spans")
def spans(w: Writer, node: Node) -> None:
    mask = node.inputs[0]
    places = w.emit("Compress", [positions(w, mask.shape[0], 0, 1), w.use(mask)], axis=0)
    ends = w.emit("Concat", [w.emit("Slice", [places, w.numbers([1]), w.numbers([2**62])]), w.size(mask.shape[0])], axis=0)
    w.set(node.output, w.emit("Sub", [ends, places]))


def _moved(w: Writer, name: str, node: Node, low: Sequence[Expr], span: Sequence[Expr], sizes: Sequence[Expr]) -> str:
    """What a window reads, from `low` in front of the first element on: so many elements of each dimension."""
    rank = len(sizes)
    high = [s - n - a for s, n, a in zip(span, sizes, low)]
    if all(isinstance(x, int) and x == 0 for x in (*low, *high)):
        return name
    return w.emit("Pad", [name, w.shape([0, 0, *low, 0, 0, *high])]) if rank else name


@exports("window_sums")
def window_sums(w: Writer, node: Node) -> None:
    """A convolution in groups: x [n, groups, s, *sizes], weight [groups, m, s, *kernel] → [n, groups, m, *counts]."""
    x, weight = node.inputs
    groups, each, depth = weight.shape[:3]
    stride, dilation = node.attrs["stride"], node.attrs["dilation"]
    kernel, counts, sizes = weight.shape[3:], node.output.shape[3:], x.shape[3:]
    span = [(n - 1) * a + (k - 1) * d + 1 for n, a, k, d in zip(counts, stride, kernel, dilation)]
    given = w.reshape(w.use(x), (x.shape[0], groups * depth, *sizes))
    given = _moved(w, given, node, node.attrs["low"], span, sizes)
    taps = w.reshape(w.use(weight), (groups * each, depth, *kernel))
    made = w.emit("Conv", [given, taps], strides=list(stride), dilations=list(dilation), group=int(groups))
    w.set(node.output, w.reshape(made, node.output.shape))


@exports("window_taps")
def window_taps(w: Writer, node: Node) -> None:
    """The gradient of the kernels: a convolution with what comes in for kernels, over the samples as channels."""
    x, given = node.inputs
    count, groups, each = x.shape[0], given.shape[1], given.shape[2]
    stride, dilation = node.attrs["stride"], node.attrs["dilation"]
    kernel, counts, sizes = node.output.shape[2:], given.shape[3:], x.shape[3:]
    span = [(n - 1) * a + (k - 1) * d + 1 for n, a, k, d in zip(counts, stride, kernel, dilation)]
    rank = len(sizes)
    turned = w.emit("Transpose", [w.use(x)], perm=[1, 0, *range(2, rank + 3)])
    turned = _moved(w, w.reshape(turned, (1, groups * count, *sizes)), node, node.attrs["low"], span, sizes)
    slopes = w.emit("Transpose", [w.use(given)], perm=[1, 2, 0, *range(3, rank + 3)])
    slopes = w.reshape(slopes, (groups * each, count, *counts))
    made = w.emit("Conv", [turned, slopes], strides=list(dilation), dilations=list(stride), group=int(groups))
    w.set(node.output, w.reshape(made, node.output.shape))
