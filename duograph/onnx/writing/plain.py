"""Operators that are one call, or one sign, of duograph."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import UnsupportedError
from ..operators.narrow import is_narrow
from ..reading import dtype_of
from ..structure import Node
from .layout import Group, Layout, literal
from .values import Constant, Shape, Value, starred

if TYPE_CHECKING:
    from .bodies import Scope

_FLOATS = (1, 10, 11, 16)
_UNARY = {
    "Abs": "abs", "Acos": "acos", "Acosh": "acosh", "Asin": "asin", "Asinh": "asinh", "Atan": "atan", "Atanh": "atanh",
    "Ceil": "ceil", "Cos": "cos", "Cosh": "cosh", "Erf": "erf", "Exp": "exp", "Floor": "floor", "IsNaN": "isnan", "Log": "log",
    "Neg": "neg", "Not": "logical_not", "Reciprocal": "reciprocal", "Relu": "relu", "Round": "round", "Sigmoid": "sigmoid",
    "Sign": "sign", "Sin": "sin", "Sinh": "sinh", "Sqrt": "sqrt", "Tan": "tan", "Tanh": "tanh", "Softplus": "softplus",
    "Softsign": "softsign", "HardSwish": "hardswish", "Mish": "mish",
}  # fmt: skip
_SIGNS = {
    "Add": "+", "Sub": "-", "Mul": "*", "Div": "/", "Equal": "==", "Greater": ">", "GreaterOrEqual": ">=", "Less": "<",
    "LessOrEqual": "<=", "MatMul": "@",
}  # fmt: skip
_LOGIC = {"And": "logical_and", "Or": "logical_or", "Xor": "logical_xor"}
_KEEP_DTYPE = {
    *_UNARY, "Add", "Sub", "Mul", "Div", "MatMul", "Gemm", "Conv", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Concat",
    "Split", "Slice", "Softmax", "LogSoftmax", "BatchNormalization", "LayerNormalization", "GlobalAveragePool", "AveragePool",
    "MaxPool", "ReduceMean", "ReduceSum", "ReduceMax", "Clip", "Pow", "Flatten", "Identity", "Gelu", "Elu", "LeakyRelu", "Expand",
    "Gather", "Pad", "Resize", "ConvTranspose", "InstanceNormalization", "GroupNormalization", "RMSNormalization", "LSTM", "GRU",
} - {"IsNaN", "Not"}  # fmt: skip


def expression(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    """The node as plain code; None where it is the operator's own function that says it."""
    rule = None if node.domain else _RULES.get(node.op)
    if rule is None or any(value is not None and value.loose and not isinstance(value, Constant) for value in inputs[:1]):
        return None
    return rule(scope, node, inputs)


def gives_floats(scope: Scope, node: Node) -> bool:
    """Whether the node's outputs are known to be floats."""
    if node.dtypes and node.dtypes[0] is not None:
        return node.dtypes[0] in _FLOATS
    if node.op in ("Cast", "Constant", "ConstantOfShape"):
        return node.attributes.get("to") in _FLOATS
    return node.op in _KEEP_DTYPE and any(_floats(scope, name) for name in node.inputs if name)


def gives_narrow(node: Node) -> bool:
    """Whether the outputs may be of a type that no dtype stands for."""
    return node.op in ("CastLike", "QuantizeLinear") or is_narrow(node.attributes.get("to", 0) or 0)


def keyword_of(node: Node, name: str) -> str:
    """An attribute's name as the name of an argument."""
    if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name) or name in ("self", "outputs", "dtypes"):
        raise UnsupportedError(f"onnx: {node}: the attribute {name!r} has no name in Python")
    return name


def _floats(scope: Scope, name: str) -> bool:
    value = scope.values.get(name)
    return value.data.dtype.is_floating_point if isinstance(value, Constant) else name in scope.floats


# ---- elementwise


def _unary(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout:
    (x,) = inputs
    assert x is not None
    return Group(f"dg.{_UNARY[node.op]}(", [scope.tensor(x)])


def _logic(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    if node.opset < 7:
        return None
    return Group(f"dg.{_LOGIC[node.op]}(", [scope.tensor(x) for x in inputs if x is not None])


def _operand(scope: Scope, value: Value, plain: bool) -> str:
    """A number for a constant without dimensions, where the other side is a tensor."""
    if plain and isinstance(value, Constant) and value.small and value.scalar:
        return str(literal(value.array.tolist()))
    return scope.simple(value)


def _sign(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    a, b = inputs
    assert a is not None and b is not None
    if (node.opset < 7 and node.op != "MatMul") or (b.loose and not isinstance(b, Constant)):
        return None
    if node.op == "Div" and not any(_floats(scope, name) for name in node.inputs):
        return None
    if isinstance(a, Constant) and isinstance(b, Constant):
        return None
    plain = node.op != "MatMul"
    left = _operand(scope, a, plain and not isinstance(b, Constant))
    right = _operand(scope, b, plain and not isinstance(a, Constant))
    return f"{left} {_SIGNS[node.op]} {right}"


def _power(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    x, exponent = inputs
    if node.opset < 7 or not _floats(scope, node.inputs[0]) or not isinstance(exponent, Constant) or not exponent.scalar:
        return None
    number = exponent.array.tolist() if exponent.small else None
    assert x is not None
    base = scope.tensor(x)
    return None if number is None or not isinstance(base, str) or number < 0 else f"{base}**{number!r}"


def _clip(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    bounds: list[Any] = [node.attributes.get("min"), node.attributes.get("max")]
    for i, value in enumerate(inputs[1:3] if node.opset >= 11 else ()):
        if value is not None and not (isinstance(value, Constant) and value.small and value.scalar):
            return None
        bounds[i] = value.array.tolist() if isinstance(value, Constant) else None
    if bounds == [None, None] or inputs[0] is None:
        return None
    return Group("dg.clamp(", [scope.tensor(inputs[0]), *[literal(bound) for bound in bounds]])


def _where(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    condition, a, b = inputs
    assert condition is not None and a is not None and b is not None
    if any(value.loose and not isinstance(value, Constant) for value in (a, b)):
        return None
    return Group("dg.where(", [scope.tensor(condition), _operand(scope, a, True), _operand(scope, b, True)])


def _cast(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    to = node.attributes["to"]
    if is_narrow(to) or node.opset < 6 or inputs[0] is None:
        return None
    return Group(f"{scope.simple(inputs[0])}.to(", [f"dg.{dtype_of(to, 'Cast').name}"])


# ---- networks


def _list(name: str, numbers: Sequence[int]) -> Group:
    return Group(f"{name}=(", [str(number) for number in numbers], literal=True)


def _conv(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    weight, given = inputs[1], node.attributes
    plain = given.get("auto_pad", "NOTSET") in ("NOTSET", "")
    if not isinstance(weight, Constant) or not 3 <= weight.array.ndim <= 5 or not plain:
        return None
    rank = weight.array.ndim - 2
    pads = given.get("pads") or [0] * 2 * rank
    if pads[:rank] != pads[rank:]:
        return None
    items = [scope.tensor(value) for value in inputs if value is not None]
    windows = (("stride", given.get("strides"), 1), ("padding", pads[:rank], 0), ("dilation", given.get("dilations"), 1))
    for name, numbers, usual in windows:
        if numbers and any(number != usual for number in numbers):
            items.append(_list(name, numbers))
    if given.get("group", 1) != 1:
        items.append(f"groups={given['group']}")
    return Group(f"F.conv{rank}d(", items)


def _pool(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    given, (x,) = node.attributes, inputs
    kernel = given["kernel_shape"]
    rank = len(kernel)
    pads, dilations = given.get("pads") or [0] * 2 * rank, given.get("dilations") or [1] * rank
    plain = given.get("auto_pad", "NOTSET") in ("NOTSET", "") and pads[:rank] == pads[rank:] and len(node.outputs) == 1
    if not plain or x is None or not 1 <= rank <= 3 or any(2 * p > k for p, k in zip(pads, kernel)):
        return None
    average = node.op == "AveragePool"
    if average and (rank != 2 or any(d != 1 for d in dilations)):
        return None
    sizes = Group("(", [str(k) for k in kernel], literal=True)
    items: list[Layout] = [scope.tensor(x), sizes, _list("stride", given.get("strides") or [1] * rank)]
    if any(pads):
        items.append(_list("padding", pads[:rank]))
    if any(d != 1 for d in dilations):
        items.append(_list("dilation", dilations))
    if given.get("ceil_mode", 0):
        items.append("ceil_mode=True")
    if average and not given.get("count_include_pad", 0):
        items.append("count_include_pad=False")
    return Group(f"F.{'avg' if average else 'max'}_pool{rank}d(", items)


def _gemm(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    given = node.attributes
    a, b, c = (*inputs, None)[:3]
    if node.opset < 7 or given.get("alpha", 1.0) != 1.0 or given.get("beta", 1.0) != 1.0 or given.get("transA", 0):
        return None
    if a is None or not isinstance(b, Constant) or not b.data.dtype.is_floating_point or b.array.ndim != 2:
        return None
    rows = b.array.shape[0 if given.get("transB", 0) else 1]
    if c is not None and not (isinstance(c, Constant) and c.array.shape == (rows,)):
        return None
    weight = scope.tensor(b)
    items: list[Layout] = [scope.tensor(a), weight if given.get("transB", 0) else f"{weight}.t()"]
    return Group("F.linear(", items if c is None else [*items, scope.tensor(c)])


def _batch_norm(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    if node.opset < 7 or node.attributes.get("training_mode", 0) or any(node.outputs[1:]) or None in inputs:
        return None
    x, scale, bias, mean, var = (scope.tensor(value) for value in inputs if value is not None)
    items = [x, mean, var, scale, bias, f"eps={literal(node.attributes.get('epsilon', 1e-5))}"]
    return Group("F.batch_norm(", items)


def _layer_norm(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    given = [value for value in inputs if value is not None]
    scale = given[1]
    if node.attributes.get("axis", -1) != -1 or any(node.outputs[1:]):
        return None
    if not isinstance(scale, Constant) or any(not isinstance(v, Constant) or v.array.ndim != 1 for v in given[1:]):
        return None
    size = Group("(", [str(scale.array.shape[0])], literal=True)
    items = [scope.tensor(given[0]), size, *[scope.tensor(value) for value in given[1:]]]
    return Group("F.layer_norm(", [*items, f"eps={literal(node.attributes.get('epsilon', 1e-5))}"])


def _global_pool(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    (x,) = inputs
    if x is None or not isinstance(text := scope.tensor(x), str):
        return None
    return Group("dg.mean(", [text, f"tuple(range(2, {text}.ndim))", "keepdim=True"])


def _softmax(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    if node.opset < 13 or inputs[0] is None:
        return None
    name = "softmax" if node.op == "Softmax" else "log_softmax"
    return Group(f"dg.{name}(", [scope.tensor(inputs[0]), str(node.attributes.get("axis", -1))])


def _gelu(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    assert inputs[0] is not None
    how = node.attributes.get("approximate", "none")
    return Group("dg.gelu(", [scope.tensor(inputs[0]), *([f"approximate={literal(how)}"] if how != "none" else [])])


# ---- movement


def _numbers(node: Node, inputs: Sequence[Value | None], place: int, name: str) -> list[Any] | None:
    if name in node.attributes:
        found: list[Any] = node.attributes[name]
        return found
    value = inputs[place] if place < len(inputs) else None
    return None if value is None else value.numbers()


def _reshape(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    sizes, x = _numbers(node, inputs, 1, "shape"), inputs[0]
    if x is not None and len(inputs) > 1 and isinstance(inputs[1], Shape):
        return Group(f"{scope.simple(x)}.reshape(", [inputs[1].text])
    zero = node.attributes.get("allowzero", 0)
    if not sizes or x is None or (starred(sizes) and 0 in sizes and not zero):
        return None
    text = scope.simple(x)
    return Group(f"{text}.reshape(", [str(s) if s != 0 or zero else f"{text}.shape[{i}]" for i, s in enumerate(sizes)])


def _transpose(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    order, x = node.attributes.get("perm"), inputs[0]
    return None if not order or x is None else Group(f"{scope.simple(x)}.permute(", [*map(str, order)])


def _squeeze(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    axes, x = _numbers(node, inputs, 1, "axes"), inputs[0]
    if axes is None or len(axes) != 1 or type(axes[0]) is not int or x is None:
        return None
    return Group(f"{scope.simple(x)}.{node.op.lower()}(", [str(axes[0])])


def _flatten(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    if node.attributes.get("axis", 1) != 1 or inputs[0] is None:
        return None
    return Group("dg.flatten(", [scope.tensor(inputs[0]), "1"])


def _concat(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    if node.opset < 4 or any(value is None or (value.loose and not isinstance(value, Constant)) for value in inputs):
        return None
    items = Group("(", [scope.tensor(value) for value in inputs if value is not None], literal=True)
    return Group("dg.cat(", [items, str(node.attributes["axis"])])


def _slice(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    lists = [_numbers(node, inputs, i, name) for i, name in enumerate(("starts", "ends", "axes", "steps"), 1)]
    starts, ends, axes, steps = lists
    if not starts or not ends or axes is None or len(axes) != 1 or (len(inputs) > 4 and steps is None) or inputs[0] is None:
        return None
    start, end, step, axis = starts[0], ends[0], (steps or [1])[0], axes[0]
    if type(step) is not int or step < 1 or type(axis) is not int or not -1 <= axis <= 5:
        return None
    first = "" if start == 0 else str(start)
    last = "" if type(end) is int and end >= 1 << 30 else str(end)
    if " " in first + last:
        return None
    part = f"{first}:{last}" + (f":{step}" if step != 1 else "")
    before = ["..."] if axis == -1 else [":"] * axis
    return Group(f"{scope.simple(inputs[0])}[", [*before, part], "]")


def _mean(scope: Scope, node: Node, inputs: Sequence[Value | None]) -> Layout | None:
    axes, x = _numbers(node, inputs, 1, "axes"), inputs[0]
    if not axes or x is None or not _floats(scope, node.inputs[0]) or any(type(axis) is not int for axis in axes):
        return None
    name = {"ReduceMean": "mean", "ReduceSum": "sum"}[node.op]
    keep = ["keepdim=True"] if node.attributes.get("keepdims", 1) else []
    return Group(f"dg.{name}(", [scope.tensor(x), Group("(", [*map(str, axes)], literal=True), *keep])


_Rule = Callable[["Scope", Node, Sequence["Value | None"]], "Layout | None"]
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(_UNARY, _unary), **dict.fromkeys(_SIGNS, _sign), **dict.fromkeys(_LOGIC, _logic), "Pow": _power,
    "Clip": _clip, "Where": _where, "Cast": _cast, "Conv": _conv, "MaxPool": _pool, "AveragePool": _pool, "Gemm": _gemm,
    "BatchNormalization": _batch_norm, "LayerNormalization": _layer_norm, "GlobalAveragePool": _global_pool,
    "Softmax": _softmax, "LogSoftmax": _softmax, "Gelu": _gelu, "Reshape": _reshape, "Transpose": _transpose,
    "Squeeze": _squeeze, "Unsqueeze": _squeeze, "Flatten": _flatten, "Concat": _concat, "Slice": _slice, "ReduceMean": _mean,
    "ReduceSum": _mean,
}  # fmt: skip
