"""Graphs of single operators for the entry cache: an operator, or its gradient, on operands known by rank and layout.

Sizes are symbols except where the key says that a size is 1; so one graph serves every size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ShapeError
from duograph.ir.builder import Builder
from duograph.ir.dim import INFINITY, Dim, symbol
from duograph.ir.graph import Graph, Value
from duograph.ir.types import TensorType

from .definition import ELEMENTWISE, SIZE, SIZES, TENSOR_LIST, Definition, bind, flatten_operands
from .gradient import operand_gradients, output_tangents
from .tracing import dtype_of, emit, in_place_value, trace, update_values, value_of, wrap

if TYPE_CHECKING:
    from duograph._core import DType, Tensor
    from duograph.ir.dim import Expr

    # (dtype code, weak, rank, ones, layout, zero_d), see `core.Op`; None: the operand is absent
    Spec = tuple[int, int, int, tuple[bool, ...], Any, bool]


def _dtype(code: int) -> DType:
    found: DType = core.dtype_from_code(code)
    return found


class _Operands:
    """Makes graph inputs of operand specs. Sizes of elementwise operators share one symbol per aligned dimension."""

    def __init__(self, builder: Builder, shared: bool) -> None:
        self.builder = builder
        self.shared = shared
        self.count = 0

    def shape(self, spec: Spec) -> tuple[Expr, ...]:
        _, _, rank, ones, _, _ = spec
        prefix = "n" if self.shared else f"n{self.count}_"
        # Shared symbols count from the right, so that operands of lower rank align.
        return tuple(1 if ones[d] else symbol(f"{prefix}{rank - 1 - d if self.shared else d}") for d in range(rank))

    def strides(self, spec: Spec) -> tuple[Expr, ...] | None:
        layout = spec[4]
        if layout == "C":
            return None
        return tuple(
            0 if one or kind == 0 else 1 if kind == 1 else symbol(f"t{self.count}_{d}", -INFINITY)
            for d, (kind, one) in enumerate(zip(layout, spec[3]))
        )

    def tensor(self, spec: Spec, name: str = "", kind: str = "tensor", shape: tuple[Expr, ...] | None = None) -> Value:
        made = self.shape(spec) if shape is None else tuple(1 if one else size for one, size in zip(spec[3], shape))
        value = self.builder.input(TensorType(_dtype(spec[0]), made), name, kind, self.strides(spec))
        self.count += 1
        return value

    def number(self, spec: Spec, name: str = "") -> Value:
        return self.builder.input(TensorType(_dtype(spec[0]), (), weak=bool(spec[1])), name, "number")


def _operand_names(definition: Definition, attrs: Sequence[Any]) -> list[str]:
    """A name for each flattened operand."""
    names: list[str] = []
    attr = 0
    for name, kind, _ in definition.params:
        if kind == TENSOR_LIST:
            names.extend(f"{name}{i}" for i in range(attrs[attr]))
            attr += 1
        elif kind <= 3:
            names.append(name)
        else:
            attr += 1
    return names


def _is_number(definition: Definition, spec: Spec) -> bool:
    return bool(spec[1])


def _size_symbols(definition: Definition, builder: Builder, attrs: Sequence[Any]) -> list[Any]:
    """A symbol for each integer register; positions known to be -1 have a register too."""
    made: list[Any] = []
    attr = 0
    for name, kind, _ in definition.params:
        if kind < TENSOR_LIST or kind == 3:
            continue
        value = attrs[attr]
        attr += 1
        if kind == SIZES:
            first = len(made)
            low = -INFINITY if definition.function.__annotations__.get(name) == "Integers" else 0
            made.extend(builder.size(f"s{first + i}", low) for i in range(value[0]))
        elif kind == SIZE and value is not None:
            made.append(builder.size(f"s{len(made)}"))
    return made


def _bound(
    definition: Definition,
    builder: Builder,
    operands: Sequence[Spec | None],
    attrs: Sequence[Any],
    made: _Operands,
    cells: set[int],
) -> tuple[list[Any], list[Value | None]]:
    """Arguments in parameter order as traced tensors, and the graph inputs of the flattened operands."""
    names = _operand_names(definition, attrs)
    inputs: list[Value | None] = [None] * len(operands)
    for i, spec in enumerate(operands):
        if spec is not None and not _is_number(definition, spec):
            inputs[i] = made.tensor(spec, names[i], "cell" if i in cells else "tensor")
    for i, spec in enumerate(operands):
        if spec is not None and _is_number(definition, spec):
            inputs[i] = made.number(spec, names[i])
    tensors = _as_operands(inputs, operands)
    return bind(definition, tensors, attrs, _size_symbols(definition, builder, attrs)), inputs


def _as_operands(inputs: Sequence[Value | None], specs: Sequence[Spec | None]) -> list[Tensor | None]:
    """The traced tensors of inputs. 0-d tensors that the core gave the rank of the others are 0-d again, for promotion."""
    joint = any(spec is not None and not spec[1] and not spec[5] for spec in specs)
    made: list[Tensor | None] = []
    for value, spec in zip(inputs, specs):
        tensor = None if value is None else wrap(value)
        if joint and tensor is not None and spec is not None and spec[5] and spec[2] and not spec[1]:
            tensor = emit("reshape", [tensor], tensor.dtype, ())
        made.append(tensor)
    return made


def _written(definition: Definition, attrs: Sequence[Any]) -> set[int]:
    """The flattened operands that an operator writes."""
    if definition.base is not None:
        return {0}
    written: set[int] = set()
    operand = attr = 0
    for name, kind, _ in definition.params:
        count = 1 if kind <= 3 else 0
        if kind == TENSOR_LIST or kind > 3:
            if kind == TENSOR_LIST:
                count = attrs[attr]
            attr += 1
        if name in definition.writes:
            written.update(range(operand, operand + count))
        operand += count
    return written


def forward_graph(op: Any, operands: Sequence[Spec | None], attrs: Sequence[Any], n_sizes: int) -> Graph:
    """The graph of one operator. Inputs: the tensor operands in order, then the numbers; sizes: the integer registers."""
    definition: Definition = op.definition
    with Builder(definition.name) as builder:
        made = _Operands(builder, definition.kind == ELEMENTWISE)
        args, inputs = _bound(definition, builder, operands, attrs, made, _written(definition, attrs))
        if definition.base is not None:
            cell = inputs[0]
            assert cell is not None
            value = in_place_value(definition, args)
            if value.type.shape != cell.type.shape:  # the 0-d target of higher rank in the joint view
                value = builder.emit("reshape", [value], {}, [TensorType(value.type.dtype, cell.type.shape)])[0]
            return builder.finish([builder.assign(cell, value)])
        if definition.writes:
            cells = {id(t._traced): t._traced for t in flatten_operands(definition, args) if t is not None}
            return builder.finish(
                [builder.assign(cells[id(target._traced)], value) for target, value in update_values(definition, args)]
            )
        result = trace(definition, args)
        outputs = [value_of(r) for r in (result if isinstance(result, tuple) else (result,))]
        if definition.kind == ELEMENTWISE:
            outputs = [_joint(builder, v, operands, inputs) for v in outputs]
        return builder.finish(outputs)


def _joint(builder: Builder, value: Value, operands: Sequence[Spec | None], inputs: Sequence[Value | None]) -> Value:
    """An elementwise result in the shape of the joint view (0-d operands may have been given ones).

    Errors: ShapeError for an operator that is no elementwise one: the core makes its results in that shape.
    """
    joint: list[Expr] = [1] * max((spec[2] for spec in operands if spec is not None), default=0)
    for operand in inputs:
        for d, size in enumerate(reversed(operand.type.shape) if operand is not None else (), 1):
            if not (isinstance(size, int) and size == 1):
                joint[-d] = builder.resolve(size)
    have = tuple(builder.resolve(size) for size in value.type.shape)
    shape = (1,) * (len(joint) - len(have)) + have
    if shape != tuple(joint):
        raise ShapeError(
            f"{builder.name}: an elementwise operator's result has the operands' broadcast shape, not {have}",
            hint="define it with another kind, as COMPOSITION",
        )
    if shape == have:
        return value
    return builder.emit("reshape", [value], {}, [TensorType(value.type.dtype, shape)])[0]


def gradient_graph(
    op: Any,
    operands: Sequence[Spec | None],
    out_operands: Sequence[Spec],
    grad_operands: Sequence[Spec | None],
    attrs: Sequence[Any],
    n_sizes: int,
    needs: int | Sequence[bool],
) -> Graph:
    """The graph of an operator's gradient. Inputs: tensor operands, outputs, present gradients of outputs, then numbers.

    Outputs: one gradient for each operand that `needs` names, in the operand's shape and dtype.
    """
    return _gradient(op, operands, out_operands, grad_operands, attrs, _wanted(needs, len(operands)))[0]


def tangent_graph(
    op: Any,
    operands: Sequence[Spec | None],
    out_operands: Sequence[Spec],
    tangent_operands: Sequence[Spec | None],
    attrs: Sequence[Any],
) -> tuple[Graph, list[int]]:
    """The graph of an operator's tangent. Inputs: tensor operands, outputs, present tangents of operands, then numbers.

    Outputs: the tangents of the outputs that are floats and depend on those operands, and which these are.
    """
    definition: Definition = op.definition.base or op.definition
    types = _out_types(definition, operands, attrs)
    before = core.set_grad_enabled(False), core.set_tracing(True)
    try:
        with Builder(f"{definition.name} tangent") as builder:
            made = _Operands(builder, definition.kind == ELEMENTWISE)
            inputs = _tensor_inputs(definition, operands, attrs, made)
            outs = [_like(made, spec, t, "out") for spec, t in zip(out_operands, types)]
            given = [
                None if spec is None or value is None else _like(made, spec, value.type, "t")
                for spec, value in zip(tangent_operands, inputs)
            ]
            _add_numbers(definition, operands, attrs, made, inputs)
            tensors = _as_operands([*inputs, *given], [*operands, *tangent_operands])
            args = bind(definition, tensors[: len(operands)], attrs, _size_symbols(definition, builder, attrs))
            shaped = [_shaped(o, t) for o, t in zip(outs, types)]
            found = output_tangents(definition, tensors[len(operands) :], shaped, args)
            wanted = [i for i, t in enumerate(found) if t is not None]
            return builder.finish([_result(builder, found[i], outs[i]) for i in wanted]), wanted
    finally:
        core.set_tracing(before[1])
        core.set_grad_enabled(before[0])


def _wanted(needs: int | Sequence[bool], count: int) -> Sequence[bool]:
    """The core's bit mask as a list."""
    return [bool(needs >> i & 1) for i in range(count)] if isinstance(needs, int) else needs


def _out_types(definition: Definition, operands: Sequence[Spec | None], attrs: Sequence[Any]) -> list[TensorType]:
    """Types of the outputs in terms of the operands' sizes."""
    with Builder("shapes") as builder:
        args, _ = _bound(definition, builder, operands, attrs, _Operands(builder, definition.kind == ELEMENTWISE), set())
        result = trace(definition, args)
        types = [value_of(r).type for r in (result if isinstance(result, tuple) else (result,))]
        return [TensorType(t.dtype, tuple(builder.resolve(s) for s in t.shape)) for t in types]


def _gradient(
    op: Any,
    operands: Sequence[Spec | None],
    out_operands: Sequence[Spec] | None,
    grad_operands: Sequence[Spec | None] | None,
    attrs: Sequence[Any],
    needs: Sequence[bool],
) -> tuple[Graph, list[Value | None], list[Value]]:
    definition: Definition = op.definition.base or op.definition
    types = _out_types(definition, operands, attrs)
    if out_operands is None:
        out_operands = [_contiguous_spec(t) for t in types]
    if grad_operands is None:
        grad_operands = [spec if _dtype(spec[0]).is_floating_point else None for spec in out_operands]
    grad_mode = core.set_grad_enabled(False)
    tracing = core.set_tracing(True)
    try:
        with Builder(f"{definition.name} gradient") as builder:
            made = _Operands(builder, definition.kind == ELEMENTWISE)
            inputs = _tensor_inputs(definition, operands, attrs, made)
            outs = [_like(made, spec, t, "out") for spec, t in zip(out_operands, types)]
            grads = [None if spec is None else _like(made, spec, t, "g") for spec, t in zip(grad_operands, types)]
            _add_numbers(definition, operands, attrs, made, inputs)
            tensors = _as_operands(inputs, operands)
            args = bind(definition, tensors, attrs, _size_symbols(definition, builder, attrs))
            found = operand_gradients(
                definition,
                [None if g is None else _shaped(g, t) for g, t in zip(grads, types)],
                [_shaped(o, t) for o, t in zip(outs, types)],
                args,
                needs,
            )
            results = [_result(builder, g, value) for g, value, needed in zip(found, inputs, needs) if needed]
            return builder.finish(results), inputs, outs
    finally:
        core.set_tracing(tracing)
        core.set_grad_enabled(grad_mode)


def _tensor_inputs(
    definition: Definition, operands: Sequence[Spec | None], attrs: Sequence[Any], made: _Operands
) -> list[Value | None]:
    """Inputs for the tensors among the operands."""
    names = _operand_names(definition, attrs)
    return [None if spec is None or spec[1] else made.tensor(spec, name) for spec, name in zip(operands, names)]


def _add_numbers(
    definition: Definition, operands: Sequence[Spec | None], attrs: Sequence[Any], made: _Operands, inputs: list[Value | None]
) -> None:
    """The same for the numbers."""
    names = _operand_names(definition, attrs)
    for i, spec in enumerate(operands):
        if spec is not None and spec[1]:
            inputs[i] = made.number(spec, names[i])


def _contiguous_spec(type: TensorType) -> Spec:
    ones = tuple(isinstance(size, int) and size == 1 for size in type.shape)
    return (type.dtype.code, 0, len(ones), ones, "C", not ones)


def _like(made: _Operands, spec: Spec, type: TensorType, name: str) -> Value:
    """An input with the sizes that the forward shape rule says it has."""
    known = type.shape if len(type.shape) == spec[2] else None
    return made.tensor(spec, name, shape=known)


def _shaped(value: Value, type: TensorType) -> Tensor:
    """An output or its gradient in the rank that the operator gave it."""
    if len(value.type.shape) == len(type.shape):
        return wrap(value)
    return emit("reshape", [value], dtype_of(value), type.shape)


def _result(builder: Builder, gradient: Tensor | None, operand: Value | None) -> Value:
    """A gradient in its operand's shape; zeros if there is none."""
    assert operand is not None
    shape = operand.type.shape
    if gradient is None:
        return builder.constant(0, operand.type.dtype, shape)
    value = value_of(gradient)
    have = value.type.shape
    if have == shape:
        return value
    if len(have) == len(shape):
        for a, b in zip(have, shape):
            if isinstance(a, Dim) or isinstance(b, Dim):
                builder.unify(b, a)
    return builder.emit("reshape", [value], {}, [TensorType(value.type.dtype, shape)])[0]


def gradient_needs(
    op: Any, operands: Sequence[Spec | None], attrs: Sequence[Any], needs: int | Sequence[bool]
) -> tuple[int, int]:
    """Hook of the core: bit masks of the flattened operands and of the outputs whose values the gradient reads."""
    graph, inputs, outs = _gradient(op, operands, None, None, attrs, _wanted(needs, len(operands)))
    used: set[Value] = set(graph.outputs)
    for node in reversed(graph.nodes):
        if any(value in used for value in node.outputs):
            used.update(node.inputs)
    return (
        sum(1 << i for i, value in enumerate(inputs) if value is not None and value in used),
        sum(1 << i for i, value in enumerate(outs) if value in used),
    )
