"""Composites that ONNX has an operator for: what networks are made of."""

from __future__ import annotations

import math
from typing import Any

from duograph.ir.dim import product
from duograph.ir.graph import Node, Operand, Value

from .reductions import reduced
from .table import standard
from .writer import Writer, is_number


def operand(node: Node, name: str) -> Value | None:
    """The tensor that a parameter was given; None for none."""
    given = node.call.get(name)
    if isinstance(given, Operand) and given.number is not None:
        return node.inputs[given.number]
    return None


def names_of(w: Writer, node: Node, *parameters: str) -> list[str]:
    """The names of the tensors that parameters were given; one left out is empty, those at the end are left away."""
    values = [operand(node, name) for name in parameters]
    names = ["" if value is None else w.use(value) for value in values]
    while names and not names[-1]:
        names.pop()
    return names


def _same_dtypes(node: Node, *parameters: str) -> bool:
    """Whether what is given and what comes out is of one floating-point dtype."""
    dtypes = {value.dtype.name for name in parameters if (value := operand(node, name)) is not None}
    return dtypes == {node.outputs[0].dtype.name} and node.outputs[0].dtype.kind == "f"


_PLAIN = {
    "relu": ("Relu", 13), "sigmoid": ("Sigmoid", 13), "softsign": ("Softsign", 1), "mish": ("Mish", 18),
    "hardswish": ("HardSwish", 14),
}  # fmt: skip


@standard(*_PLAIN)
def plain(w: Writer, node: Node) -> str | None:
    name, since = _PLAIN[node.op]
    if w.model.opset < since or not _same_dtypes(node, "x"):
        return None
    return w.emit(name, names_of(w, node, "x"))


@standard("relu6", "hardtanh")
def clipped(w: Writer, node: Node) -> str | None:
    low, high = node.call.get("min_val", 0), node.call.get("max_val", 6)
    if not _same_dtypes(node, "x") or not is_number(low) or not is_number(high):
        return None
    dtype = node.outputs[0].dtype
    return w.emit("Clip", [*names_of(w, node, "x"), w.number(low, dtype), w.number(high, dtype)])


_WITH_NUMBERS: dict[str, tuple[str, dict[str, str], dict[str, float]]] = {
    "leaky_relu": ("LeakyRelu", {"negative_slope": "alpha"}, {}),
    "elu": ("Elu", {"alpha": "alpha"}, {}),
    "celu": ("Celu", {"alpha": "alpha"}, {}),
    "selu": ("Selu", {}, {}),
    "hardsigmoid": ("HardSigmoid", {}, {"alpha": 1 / 6, "beta": 0.5}),
}


@standard(*_WITH_NUMBERS)
def with_numbers(w: Writer, node: Node) -> str | None:
    name, parameters, attributes = _WITH_NUMBERS[node.op]
    given = {to: node.call.get(of) for of, to in parameters.items()}
    if not _same_dtypes(node, "x") or not all(map(is_number, given.values())):
        return None
    if node.outputs[0].dtype.name != "float32" and name == "Celu":
        return None
    numbers: dict[str, Any] = {key: float(value) for key, value in given.items() if value is not None}
    return w.emit(name, names_of(w, node, "x"), "", **numbers, **attributes)


@standard("gelu")
def gelu(w: Writer, node: Node) -> str | None:
    if w.model.opset < 20 or not _same_dtypes(node, "x"):
        return None
    return w.emit("Gelu", names_of(w, node, "x"), approximate=node.attrs["approximate"])


@standard("softplus")
def softplus(w: Writer, node: Node) -> str | None:
    if not _same_dtypes(node, "x") or node.call["beta"] != 1 or node.call["threshold"] != 20:
        return None
    return w.emit("Softplus", names_of(w, node, "x"))


@standard("softmax", "log_softmax")
def softmax(w: Writer, node: Node) -> str | None:
    dim = node.call.get("dim")
    if not _same_dtypes(node, "x") or not isinstance(dim, int) or not node.outputs[0].shape:
        return None
    return w.emit("Softmax" if node.op == "softmax" else "LogSoftmax", names_of(w, node, "x"), axis=dim)


@standard("matmul")
def matmul(w: Writer, node: Node) -> str | None:
    a, b = operand(node, "a"), operand(node, "b")
    if a is None or b is None or not _same_dtypes(node, "a", "b") or 0 in (len(a.shape), len(b.shape)):
        return None
    return w.emit("MatMul", [w.use(a), w.use(b)])


@standard("linear")
def linear(w: Writer, node: Node) -> str | None:
    x, weight, bias = (operand(node, name) for name in ("x", "weight", "bias"))
    if x is None or weight is None or not _same_dtypes(node, "x", "weight", "bias") or len(weight.shape) != 2:
        return None
    if len(x.shape) == 2:
        return w.emit("Gemm", names_of(w, node, "x", "weight", "bias"), transB=1)
    made = w.emit("MatMul", [w.use(x), w.emit("Transpose", [w.use(weight)], perm=[1, 0])])
    return made if bias is None else w.emit("Add", [made, w.use(bias)])


@standard("addmm")
def addmm(w: Writer, node: Node) -> str | None:
    alpha, beta = node.call["alpha"], node.call["beta"]
    values = [operand(node, name) for name in ("a", "b", "x")]
    if any(x is None for x in values) or not _same_dtypes(node, "a", "b", "x") or not is_number(alpha) or not is_number(beta):
        return None
    names = names_of(w, node, "a", "b", "x")
    return w.emit("Gemm", names, alpha=float(alpha), beta=float(beta))


def _each(value: Any, count: int) -> list[int] | None:
    """One whole number for each spatial dimension."""
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    if type(value) is int:
        return [value] * count
    if isinstance(value, tuple) and len(value) == count and all(type(x) is int for x in value):
        return list(value)
    return None


def _taps(node: Node) -> dict[str, Any]:
    """The attribute that says again how large kernels are: some readers do not look at the weight."""
    weight = operand(node, "weight")
    sizes = [] if weight is None else list(weight.shape[2:])
    return {"kernel_shape": sizes} if sizes and all(type(size) is int for size in sizes) else {}


@standard("conv1d", "conv2d", "conv3d")
def convolution(w: Writer, node: Node) -> str | None:
    x, count = operand(node, "x"), int(node.op[4])
    numbers = [_each(node.call[key], count) for key in ("stride", "padding", "dilation")]
    if x is None or len(x.shape) != count + 2 or None in numbers or not _same_dtypes(node, "x", "weight", "bias"):
        return None
    stride, padding, dilation = numbers
    assert padding is not None
    names = names_of(w, node, "x", "weight", "bias")
    pads = [*padding, *padding]
    return w.emit("Conv", names, strides=stride, pads=pads, dilations=dilation, group=node.call["groups"], **_taps(node))


@standard("conv_transpose")
def transposed(w: Writer, node: Node) -> str | None:
    x = operand(node, "x")
    count = len(node.outputs[0].shape) - 2
    numbers = [_each(node.call[key], count) for key in ("stride", "padding", "dilation", "output_padding")]
    if x is None or len(x.shape) != count + 2 or None in numbers or not _same_dtypes(node, "x", "weight", "bias"):
        return None
    stride, padding, dilation, further = numbers
    assert padding is not None
    names = names_of(w, node, "x", "weight", "bias")
    return w.emit(
        "ConvTranspose", names, strides=stride, pads=[*padding, *padding], dilations=dilation, output_padding=further,
        group=node.call["groups"], **_taps(node),
    )  # fmt: skip


@standard("max_pool", "max_windows", "max_pool_places", "mean_pool", "mean_windows")
def pools(w: Writer, node: Node) -> str | None:
    x = operand(node, "x")
    kernel = node.call["kernel"]
    if x is None or not isinstance(kernel, tuple) or len(x.shape) != len(kernel) + 2 or not _same_dtypes(node, "x"):
        return None
    keys = ("kernel", "stride", "padding", *(("dilation",) if "dilation" in node.call else ()))
    numbers = [_each(node.call[key], len(kernel)) for key in keys]
    if (
        None in numbers
        or node.call.get("divisor") is not None
        or node.call["ceil_mode"]
        or node.outputs[0].dtype.name == "bfloat16"
    ):
        return None
    padding = numbers[2]
    assert padding is not None
    shared: dict[str, Any] = {"kernel_shape": numbers[0], "strides": numbers[1], "pads": [*padding, *padding]}
    if "dilation" in node.call:
        made = w.emit("MaxPool", names_of(w, node, "x"), dilations=numbers[3], **shared)
    else:
        counted = int(bool(node.call["count_include_pad"]))
        made = w.emit("AveragePool", names_of(w, node, "x"), count_include_pad=counted, **shared)
    return made


@standard("adaptive_mean", "adaptive_max")
def adaptive(w: Writer, node: Node) -> str | None:
    x, size = operand(node, "x"), node.call["size"]
    if x is None or not isinstance(size, tuple) or any(n != 1 for n in size) or len(x.shape) != len(size) + 2:
        return None
    if not _same_dtypes(node, "x"):
        return None
    return w.emit("GlobalAveragePool" if node.op == "adaptive_mean" else "GlobalMaxPool", [w.use(x)])


@standard("batch_norm_by")
def batch_norm(w: Writer, node: Node) -> str | None:
    x = operand(node, "x")
    values = [operand(node, name) for name in ("weight", "bias", "running_mean", "running_var")]
    if x is None or None in values or not is_number(node.call["eps"]) or len(x.shape) < 2:
        return None
    if not _same_dtypes(node, "x", "weight", "bias", "running_mean", "running_var"):
        return None
    names = names_of(w, node, "x", "weight", "bias", "running_mean", "running_var")
    return w.emit("BatchNormalization", names, epsilon=float(node.call["eps"]))


@standard("layer_norm")
def layer_norm(w: Writer, node: Node) -> str | None:
    if w.model.opset < 17 or not _same_dtypes(node, "x", "weight", "bias") or not is_number(node.call["eps"]):
        return None
    x, weight = operand(node, "x"), operand(node, "weight")
    axes = node.call["normalized_shape"]
    if x is None or weight is None or not isinstance(axes, (int, tuple)):
        return None
    rank = len(weight.shape)
    names = names_of(w, node, "x", "weight", "bias")
    return w.emit("LayerNormalization", names, axis=-rank, epsilon=float(node.call["eps"]))


@standard("group_standardised")
def group_norm(w: Writer, node: Node) -> str | None:
    values = [operand(node, name) for name in ("x", "weight", "bias")]
    groups, eps = node.call["num_groups"], node.call["eps"]
    if w.model.opset < 21 or None in values or not is_number(eps) or type(groups) is not int:
        return None
    if not _same_dtypes(node, "x", "weight", "bias") or node.outputs[0].dtype.name == "float64":
        return None
    names = names_of(w, node, "x", "weight", "bias")
    return w.emit("GroupNormalization", names, num_groups=groups, epsilon=float(eps))


@standard("mean")
def mean(w: Writer, node: Node) -> str | None:
    x, dim = operand(node, "x"), node.call["dim"]
    if x is None or not _same_dtypes(node, "x") or node.call["dtype"] is not None:
        return None
    rank = len(x.shape)
    dims = list(range(rank)) if dim is None or dim == () else list(dim) if isinstance(dim, tuple) else [dim]
    if not rank or not all(type(d) is int for d in dims):
        return None
    dims = sorted(d % rank for d in dims)
    if dims == list(range(2, rank)) and rank > 3 and node.call["keepdim"] and x.dtype.name != "bfloat16":
        return w.emit("GlobalAveragePool", [w.use(x)])
    return reduced(w, "mean", w.use(x), dims, bool(node.call["keepdim"]))


@standard("prelu")
def prelu(w: Writer, node: Node) -> str | None:
    x, weight = operand(node, "x"), operand(node, "weight")
    if x is None or weight is None or not _same_dtypes(node, "x", "weight"):
        return None
    slope = w.use(weight)
    if product(tuple(weight.shape)) != 1:
        slope = w.emit("Reshape", [slope, w.numbers([-1, *(1,) * (len(x.shape) - 2)])])
    return w.emit("PRelu", [w.use(x), slope])


@standard("embedding")
def embedding(w: Writer, node: Node) -> str | None:
    x, weight = operand(node, "x"), operand(node, "weight")
    if x is None or weight is None or len(weight.shape) != 2:
        return None
    return w.emit("Gather", [w.use(weight), w.use(x)], axis=0)


@standard("clamp")
def clamp(w: Writer, node: Node) -> str | None:
    x, low, high = (node.call.get(key) for key in ("x", "min", "max"))
    value = operand(node, "x")
    if value is None or not isinstance(x, Operand) or not all(b is None or is_number(b) for b in (low, high)):
        return None
    if node.outputs[0].dtype is not value.dtype or value.dtype.name in ("bool", "int16", "uint16", "bfloat16"):
        return None
    if value.dtype.is_floating_point:  # a bound that Clip is not given is the largest finite number
        low, high = -math.inf if low is None else low, math.inf if high is None else high
    bounds = ["" if b is None else w.number(b, value.dtype) for b in (low, high)]
    return w.emit("Clip", [w.use(value), *(bounds if bounds[1] else bounds[:1])])
