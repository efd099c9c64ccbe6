"""Running an operator on traced tensors: type and shape rules, and the IR nodes that come out.

A traced tensor has no memory but an `ir.Value`. Operator bodies are the same Python either way; here their innermost
calls become nodes of the thread's current `ir.Builder`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import local
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._recorded import state
from duograph.errors import DTypeError, Error, InternalError, ShapeError
from duograph.ir.builder import active, current
from duograph.ir.dim import Dim
from duograph.ir.graph import Node, Operand, Value
from duograph.ir.primitives import PRIMITIVES
from duograph.ir.types import TensorType

from .arguments import FAULTS, mistake, rename
from .definition import ATTR, CONTRACTION, OPTIONAL_TENSOR, REGISTRY, SIZE, SIZES, TENSOR, TENSOR_LIST, VIEW, Definition, spread
from .dtypes import DIMENSIONED, WEAK, ZERO_DIMENSIONAL, OperandType, Signature, weak_dtype
from .python_numbers import PYTHON_RAISES, bounded, python_raises
from .sizes_of_values import with_sizes

if TYPE_CHECKING:
    from duograph._core import DType, Tensor
    from duograph.ir.dim import Expr

    Shape = tuple[Expr, ...]


class _State(local):
    """The operators being traced, outermost first."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.lowered: DType | None = None  # of the operands of a sum of products, which are converted to compute with


_STATE = _State()


def lowered_from() -> DType | None:
    """The dtype whose values the operands of sums of products hold, where that is not their own."""
    return _STATE.lowered


def user_operator(fallback: str = "") -> str:
    """The operator the user called, while its body is being traced."""
    return _STATE.names[0] if _STATE.names else fallback


def in_operator() -> bool:
    """Whether an operator's body is being traced."""
    return bool(_STATE.names)


@contextmanager
def as_user() -> Iterator[None]:
    """What is called here is traced like the user's calls, whatever operator is being traced; nobody watches."""
    names, _STATE.names = _STATE.names, []
    watch, state.watch = state.watch, None
    try:
        yield
    finally:
        _STATE.names = names
        state.watch = watch


# Values and tensors


def wrap(value: Value) -> Tensor:
    """The traced tensor of a value."""
    shape = value.type.shape
    return core.traced(value, dtype_of(value), len(shape), shape)


def dtype_of(value: Value) -> DType:
    """A value's dtype, which in graphs of this package is one of the core's."""
    dtype: Any = value.type.dtype
    found: DType = dtype
    return found


def value_of(x: Any) -> Value:
    """The value of an operand: a tensor (traced or concrete), a number, a size, or a value already."""
    builder = current()
    if isinstance(x, core.Tensor):
        return builder.read(x)
    if isinstance(x, Value):
        return x
    if isinstance(x, Dim):
        return builder.emit("size", [], {"value": x}, [TensorType(core.int64, (), weak=True)])[0]
    return builder.number(x)


def is_weak(x: Any) -> bool:
    """Whether an operand is a Python number, or stands for one."""
    if not isinstance(x, core.Tensor):
        return True
    value = x._traced
    return value is not None and value.type.weak


def emit(name: str, inputs: Sequence[Any], dtype: DType, shape: Shape, **attrs: Any) -> Tensor:
    """Append a node with one output to the current graph; inputs are operands, the result is a traced tensor."""
    values = [value_of(x) for x in inputs]
    return wrap(current().emit(name, values, attrs, [TensorType(dtype, tuple(shape))])[0])


def constant(value: float, dtype: DType, shape: Shape = ()) -> Tensor:
    """A constant of any shape."""
    return wrap(current().constant(value, dtype, tuple(shape)))


def cast_value(value: Value, dtype: DType) -> Value:
    """The value converted to a dtype."""
    if value.type.dtype is dtype and not value.type.weak:
        return value
    return current().emit("cast", [value], {}, [TensorType(dtype, value.type.shape)])[0]


def operand_type(x: Any) -> OperandType:
    """What the dtype rules want to know about an operand."""
    if isinstance(x, core.Tensor):
        value = x._traced
        if value is None:
            return OperandType(x.dtype, DIMENSIONED if x.ndim else ZERO_DIMENSIONAL)
        kind = value.type
        return OperandType(dtype_of(value), WEAK if kind.weak else DIMENSIONED if kind.shape else ZERO_DIMENSIONAL)
    if isinstance(x, Dim):
        return OperandType(core.int64, WEAK)
    return OperandType(dtype_of(current().number(x)) if active() else weak_dtype(x), WEAK)


def describe(name: str, x: Any) -> str:
    """An operand in an error message: `a: float32[8, 64]`."""
    if isinstance(x, core.Tensor):
        return f"{name}: {x.dtype.name}[{', '.join(map(str, x.shape))}]"
    return f"{name}: {x!r}"


# Shapes


def broadcast_shapes(name: str, operands: Sequence[tuple[str, Shape]]) -> Shape:
    """The shape that operands stretch to together; sizes are compared from the right, and 1 repeats."""
    rank = 0
    for _, shape in operands:
        rank = max(rank, len(shape))
    result: list[Expr] = [1] * rank
    for _, shape in operands:
        for d in range(1, len(shape) + 1):
            size, seen = shape[-d], result[-d]
            if size is seen or size == seen or (isinstance(size, int) and size == 1):
                continue
            if isinstance(seen, int) and seen == 1:
                result[-d] = size
            elif isinstance(size, int) and isinstance(seen, int):
                texts = [f"{who}.shape = ({', '.join(map(str, s))}{',' if len(s) == 1 else ''})" for who, s in operands]
                raise ShapeError(
                    f"{name}: shapes do not broadcast: {', '.join(texts)}",
                    hint=f"sizes {seen} and {size} of dimension {-d} must be equal, or one of them 1",
                )
            else:
                result[-d] = current().unify(seen, size)
    return tuple(result)


def require_equal(name: str, left: Expr, right: Expr, message: str) -> Expr:
    """The size that two sizes have in common; a ShapeError with `message` if they are known to differ."""
    if left is right or left == right:
        return left
    if isinstance(left, int) and isinstance(right, int):
        raise ShapeError(f"{name}: {message}")
    return current().unify(left, right)


def require(relation: str, left: Expr, right: Expr, error: type[Error], message: str, hint: str | None = None) -> None:
    """Check a relation ("eq", "ne", "lt", "le") of sizes: at once if both are known, when the program runs otherwise."""
    if isinstance(left, int) and isinstance(right, int):
        if not {"eq": left == right, "ne": left != right, "lt": left < right, "le": left <= right}[relation]:
            raise error(message, hint=hint)
        return
    current().check(relation, left, right, 0)


# Operators


def trace_op(op: Any, args: Sequence[Any]) -> Any:
    """Hook of the core: an operator was called with traced tensors (or while a graph is being recorded)."""
    result = _trace_op(op.definition, args if _STATE.names else with_sizes(op.definition, args))
    if state.watch is not None and not _STATE.names:
        state.watch.traced(op.name, result, current())
    return result


def _trace_op(definition: Definition, args: Sequence[Any]) -> Any:
    if definition.base is not None:
        return _trace_in_place(definition, args)
    if definition.writes:
        updates = current().updated(args, update_values(definition, args))
        for target, value in updates:
            current().write(target, value)
        return tuple(target for target, _ in updates)
    result = trace(definition, args)
    if _STATE.names:
        return result
    return _user_results(definition, args, result)


def _user_results(definition: Definition, args: Sequence[Any], result: Any) -> Any:
    """Let the builder see the results of an operator that the user called."""
    tensors = [x for x in args if isinstance(x, core.Tensor)]
    many = isinstance(result, tuple)
    before = [r._traced for r in (result if many else (result,))]
    after = current().results(definition.op, tensors, before)
    if all(a is b for a, b in zip(before, after)):
        return result
    wrapped = tuple(wrap(value) for value in after)
    return wrapped if many else wrapped[0]


def trace(definition: Definition, args: Sequence[Any]) -> Any:
    """Run an operator on arguments in parameter order; the results are traced tensors, nothing is recorded on the tape."""
    grad_mode = core.set_grad_enabled(False)
    tracing = core.set_tracing(True)
    try:
        if definition.kind == VIEW or definition.lowers or definition.primitive or _STATE.names:
            return evaluate(definition, args)
        return _trace_composite(definition, args)
    except Error as error:
        if not _STATE.names and (definition.public or definition.functional or definition.space):
            rename(error, definition.name)
        raise
    except FAULTS:
        if _STATE.names:
            raise
        plain = [name for name, kind, _ in definition.params if kind not in (SIZE, SIZES)]
        found = mistake(definition.function, spread(definition, args), {}, definition.name, plain)
        if found is None:
            raise
        raise found from None
    finally:
        core.set_tracing(tracing)
        core.set_grad_enabled(grad_mode)


def evaluate(definition: Definition, args: Sequence[Any]) -> Any:
    """Run an operator's meaning as it is, under whatever grad mode there is: conversions, body, conversion back."""
    if definition.primitive:
        return _elementwise(definition, args)
    if definition.lowers:
        _STATE.names.append(definition.name)
        try:
            signature_of(definition, args)  # for its errors: the body makes its own types
            return definition.function(*spread(definition, args))
        finally:
            _STATE.names.pop()
    args, result_dtype = _convert_operands(definition, args)
    _STATE.names.append(definition.name)
    before = _STATE.lowered
    if result_dtype is not None:
        _STATE.lowered = result_dtype[1] if definition.kind == CONTRACTION else None
    try:
        result = definition.function(*spread(definition, args))
    finally:
        _STATE.names.pop()
        _STATE.lowered = before
    return result if result_dtype is None else _convert_results(result, *result_dtype)


def _trace_composite(definition: Definition, args: Sequence[Any]) -> Any:
    """A composition becomes one node of its name whose region is the body."""
    builder = current()
    attrs = {
        name: value
        for (name, kind, _), value in zip(definition.params, args)
        if kind == ATTR and isinstance(value, (bool, int, float, str, tuple))
    }
    args = [_traced_argument(kind, value) for (_, kind, _), value in zip(definition.params, args)]
    given = {name: value for (name, _, _), value in zip(definition.params, args)}
    name = definition.name
    with builder.composite(name + "_" if name in PRIMITIVES else name, attrs) as results:
        result = evaluate(definition, args)
        if result is None:
            return None
        many = isinstance(result, tuple)
        results.extend(value_of(r) for r in (result if many else (result,)))
    node = results[0].node if results else None
    if node is not None:
        node.call = {name: _called(node, value) for name, value in given.items()}
    outputs = tuple(wrap(value) for value in results)
    return outputs if many else outputs[0]


def _called(node: Node, value: Any) -> Any:
    """What a node remembers of an argument of its operator."""
    if isinstance(value, core.Tensor):
        return Operand(node.inputs.index(value._traced) if value._traced in node.inputs else None)
    return tuple(_called(node, x) for x in value) if isinstance(value, (list, tuple)) else value


def _traced_argument(kind: int, value: Any) -> Any:
    """The argument with concrete tensors read into the graph, outside of the composite's region."""
    if kind == TENSOR_LIST:
        return [_traced_argument(TENSOR, x) for x in value]
    if kind in (TENSOR, OPTIONAL_TENSOR) and isinstance(value, core.Tensor):
        return wrap(current().read(value))
    return value


# dtypes of operands and results


def signature_of(definition: Definition, args: Sequence[Any]) -> Signature | None:
    """What the dtype rule of an operator says about these arguments; None without a rule."""
    rule = definition.dtypes
    if rule is None:
        return None
    types: list[OperandType] = []
    for (name, kind, _), value in zip(definition.params, args):
        if value is None or (rule.names is not None and name not in rule.names):
            continue
        if kind == TENSOR_LIST:
            types.extend(operand_type(x) for x in value)
        elif kind in (TENSOR, OPTIONAL_TENSOR):
            types.append(operand_type(value))
    return rule.decide(user_operator(definition.name), types) if types else None


def _convert_operands(definition: Definition, args: Sequence[Any]) -> tuple[Sequence[Any], tuple[DType, DType] | None]:
    """Tensor operands in the rule's compute dtype, and what the results are to be converted from and to."""
    signature = signature_of(definition, args)
    if signature is None:
        return args, None
    assert definition.dtypes is not None
    names, compute = definition.dtypes.names, signature.compute
    converted = [
        value if names is not None and name not in names else _convert(kind, value, compute)
        for (name, kind, _), value in zip(definition.params, args)
    ]
    return converted, None if signature.result is compute else (compute, signature.result)


def _convert(kind: int, value: Any, dtype: DType) -> Any:
    if kind == TENSOR_LIST:
        return [convert(x, dtype) for x in value]
    return convert(value, dtype) if kind in (TENSOR, OPTIONAL_TENSOR) and value is not None else value


def convert(x: Any, dtype: DType) -> Any:
    """A tensor operand in a dtype, recorded on the tape; Python numbers stay as they are."""
    if is_weak(x) or x.dtype is dtype:
        return x
    return REGISTRY["cast"].op(x, dtype)


def _convert_results(result: Any, compute: DType, dtype: DType) -> Any:
    if isinstance(result, tuple):
        return tuple(convert(r, dtype) if r.dtype is compute else r for r in result)
    if not isinstance(result, core.Tensor):  # of numbers alone: the body has computed it in Python
        return wrap(cast_value(value_of(result), dtype))
    return convert(result, dtype) if result.dtype is compute else result


# Scalar primitives

# What a primitive means where its own arithmetic would be none: bool has `or` and `and`, whole numbers are round.
_BOOL_FORMS = {"add": "logical_or", "mul": "logical_and", "maximum": "logical_or", "minimum": "logical_and", "sign": "copy"}
_BOOL_FORMS |= {"bit_and": "logical_and", "bit_or": "logical_or", "bit_xor": "logical_xor", "bit_not": "logical_not"}
_WHOLE_FORMS = {"floor": "copy", "ceil": "copy", "round": "copy", "trunc": "copy"}


def _elementwise(definition: Definition, args: Sequence[Any]) -> Tensor:
    """One scalar primitive: conversions and broadcasts made explicit, computed in the compute dtype, rounded once."""
    name = user_operator(definition.name)
    assert definition.dtypes is not None and definition.primitive is not None
    rule_names = definition.dtypes.names
    _STATE.names.append(definition.name)
    try:
        signature = signature_of(definition, args)
    finally:
        _STATE.names.pop()
    assert signature is not None
    compute, result = signature.compute, signature.result
    values = [value_of(x) for x in args]
    # Python numbers stay Python numbers inside a body, and so do tensors that stand for one.
    weak = all(v.type.weak for v in values)
    if weak and compute.kind == "f":
        compute, result = core.float64, core.float64 if result.kind == "f" else result
    shape = broadcast_shapes(name, [(p[0], v.type.shape) for p, v in zip(definition.params, values)])
    builder = current()
    converted = []
    for (param, _, _), value in zip(definition.params, values):
        if rule_names is None or param in rule_names:
            value = to_bool(value) if compute is core.bool else cast_value(value, compute)
        elif value.type.dtype.kind != "b":
            raise DTypeError(f"{name}: {param} must be bool, got {value.type.dtype.name}", hint=f"compare {param} with something")
        converted.append(builder.broadcast(value, shape))
    produced = core.bool if result is core.bool else compute
    primitive = definition.primitive
    if compute.kind != "f":
        primitive = _WHOLE_FORMS.get(primitive, primitive)
        if compute.kind == "b":
            primitive = _BOOL_FORMS.get(primitive, primitive)
    raises = weak and compute.kind == "f" and primitive in PYTHON_RAISES and not _STATE.names
    operands = [converted[0], python_raises(primitive, *converted)] if raises else converted
    output = builder.emit(primitive, operands, {}, [TensorType(produced, shape, weak)])[0]
    if raises and primitive == "pow":
        output = bounded(output, *converted)
    return wrap(output if weak else cast_value(output, result))


def to_bool(value: Value) -> Value:
    """value != 0."""
    if value.type.dtype.kind == "b":
        return cast_value(value, core.bool)
    builder = current()
    zero = builder.constant(0, value.type.dtype, value.type.shape)
    return builder.emit("ne", [value, zero], {}, [TensorType(core.bool, value.type.shape)])[0]


# In-place forms


def _trace_in_place(definition: Definition, args: Sequence[Any]) -> Tensor:
    """Compute the new value out of place, then let the builder write it into the target."""
    assert definition.base is not None
    target: Tensor = args[0]
    builder = current()
    if _STATE.names:
        raise InternalError(f"{definition.name}: in-place operators are not used inside operator bodies")
    value = in_place_value(definition, args)
    builder.write(target, value)
    return target


def in_place_value(definition: Definition, args: Sequence[Any]) -> Value:
    """What an in-place form writes: the base operator's result in the target's dtype and shape."""
    base, target = definition.base, args[0]
    assert base is not None
    try:
        result = trace(base, args[1:] if definition.receives else args)
    except Error as error:
        rename(error, base.name if definition.receives else definition.name)
        raise
    if result.dtype is not target.dtype:
        order = "buif"
        if order.index(result.dtype.kind) > order.index(target.dtype.kind) and not (
            result.dtype.kind in "ui" and target.dtype.kind in "ui"
        ):
            raise DTypeError(
                f"{definition.name}: the result is {result.dtype.name} and cannot be written into a {target.dtype.name} tensor",
                hint=f"use {base.name} and keep its result",
            )
        result = wrap(cast_value(value_of(result), target.dtype))
    if tuple(result.shape) != tuple(target.shape):
        fits = len(result.shape) == len(target.shape)
        for have, want in zip(result.shape, target.shape):
            if isinstance(have, Dim) or isinstance(want, Dim):
                current().unify(want, have)
            else:
                fits = fits and have == want
        if not fits:
            raise ShapeError(
                f"{definition.name}: the result has shape {tuple(result.shape)}, the tensor written to has {tuple(target.shape)}",
                operands=[describe(p[0], x) for p, x in zip(definition.params, args) if isinstance(x, core.Tensor)],
            )
    return value_of(result)


def update_values(definition: Definition, args: Sequence[Any]) -> list[tuple[Tensor, Value]]:
    """The tensors that a multi-tensor update writes, each with its new value in its own dtype and shape."""
    lists = [value for (name, _, _), value in zip(definition.params, args) if name in definition.writes]
    grad_mode = core.set_grad_enabled(False)
    tracing = core.set_tracing(True)
    try:
        results = evaluate(definition, args)
    finally:
        core.set_tracing(tracing)
        core.set_grad_enabled(grad_mode)
    return [
        (target, cast_value(value_of(new), target.dtype))
        for targets, news in zip(lists, results, strict=True)
        for target, new in zip(targets, news, strict=True)
    ]
