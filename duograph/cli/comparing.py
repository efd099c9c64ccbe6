"""`duograph diff`: what two files have in common."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from duograph.errors import DTypeError, ShapeError

from .checking import allowed, difference
from .models import call, load, source
from .output import show_json, show_table
from .values import Choice, inputs_for


def diff(
    first: str, second: str, files: Sequence[str], choice: Choice, tolerance: float, structure: bool, numbers: bool
) -> dict[str, Any]:
    """The differences in structure, in initialisers by name, and in what the models compute from the same inputs."""
    a, b = source(first), source(second)
    lines = [*_structure(a.model, b.model)] if structure else []
    weights = [*_weights(a, b)] if structure else []
    rows, note = _numbers(first, second, files, choice, tolerance) if numbers else ([], "")
    same = not lines and not weights and not note and not any(row["differs"] for row in rows)
    return {"files": [first, second], "same": same, "structure": lines, "weights": weights, "numbers": rows, "note": note}


# ---- structure


def _structure(a: Any, b: Any) -> Iterator[str]:
    yield from _tables("opset of ", *({x.domain or "ai.onnx": str(x.version) for x in each.opset_import} for each in (a, b)))
    for kind in ("input", "output"):
        mine, other = ([x.name for x in getattr(model.graph, kind)] for model in (a, b))
        if mine != other:
            yield f"{kind}s: {', '.join(mine)} / {', '.join(other)}"
        types = [{x.name: _type(x) for x in getattr(model.graph, kind)} for model in (a, b)]
        yield from (line for line in _tables(f"{kind} ", *types) if " / -" not in line and ": - /" not in line)
    counts = [Counter(node.op_type for node in model.graph.node) for model in (a, b)]
    for name in sorted({*counts[0], *counts[1]}):
        if counts[0][name] != counts[1][name]:
            yield f"{name}: {counts[0][name]} nodes / {counts[1][name]}"
    yield from _nodes(a.graph, b.graph)
    functions = [{f"{x.domain}.{x.name}": f"{len(x.node)} nodes, {_digest(x)}" for x in each.functions} for each in (a, b)]
    yield from _tables("function ", *functions)


def _nodes(a: Any, b: Any) -> Iterator[str]:
    """What of the nodes differs; a node goes by its name, or else by its first output."""
    mine, others = ({_name(node): node for node in graph.node} for graph in (a, b))
    for name, one in mine.items():
        two = others.get(name)
        if two is None:
            yield f"{one.op_type} {name} is only in the first"
        elif (one.op_type, one.domain) != (two.op_type, two.domain):
            yield f"{name} is made by {one.op_type} / {two.op_type}"
        else:
            for kind in ("input", "output"):
                left, right = (", ".join(getattr(node, kind)) for node in (one, two))
                if left != right:
                    yield f"{one.op_type} {name}: {kind}s {left} / {right}"
            yield from _tables(f"{one.op_type} {name}: attribute ", _attributes(one), _attributes(two))
    yield from (f"{two.op_type} {name} is only in the second" for name, two in others.items() if name not in mine)


def _name(node: Any) -> str:
    name: str = node.name or next((output for output in node.output if output), node.op_type)
    return name


def _tables(what: str, a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[str]:
    """Lines for the names whose texts differ, or that one side lacks."""
    for name in dict.fromkeys([*a, *b]):
        if a.get(name) != b.get(name):
            yield f"{what}{name}: {a.get(name, '-')} / {b.get(name, '-')}"


def _attributes(node: Any) -> dict[str, str]:
    """Attributes as short texts: numbers as they are, tensors and graphs by their bytes."""
    from onnx import AttributeProto, helper

    by_bytes = (AttributeProto.TENSOR, AttributeProto.GRAPH, AttributeProto.TENSORS, AttributeProto.GRAPHS)
    found = {}
    for attribute in node.attribute:
        if attribute.type in by_bytes:
            found[attribute.name] = f"{AttributeProto.AttributeType.Name(attribute.type).lower()} {_digest(attribute)}"
        elif attribute.ref_attr_name:
            found[attribute.name] = f"${attribute.ref_attr_name}"
        else:
            text = str(helper.get_attribute_value(attribute))
            found[attribute.name] = text if len(text) < 80 else f"{text[:60]}… {_digest(attribute)}"
    return found


def _digest(proto: Any) -> str:
    """A short text that differs where the bytes do."""
    return hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()[:8]


def _type(value: Any) -> str:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        return str(value.type.WhichOneof("value"))
    sizes = [str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?" for d in tensor.shape.dim]
    return f"{_dtype(tensor.elem_type)}[{', '.join(sizes)}]" if tensor.HasField("shape") else _dtype(tensor.elem_type)


def _dtype(number: int) -> str:
    from onnx import helper

    try:
        return str(helper.tensor_dtype_to_string(number)).removeprefix("TensorProto.").lower()
    except KeyError:
        return f"type {number}"


def _weights(a: Any, b: Any) -> Iterator[str]:
    from duograph.onnx.reading import tensor_data

    mine, others = ({x.name: x for x in each.model.graph.initializer} for each in (a, b))
    for name in sorted({*mine, *others}):
        if name not in others or name not in mine:
            yield f"{name} is only in the {'first' if name in mine else 'second'}"
            continue
        one, two = mine[name], others[name]
        if (list(one.dims), one.data_type) != (list(two.dims), two.data_type):
            yield f"{name}: {_dtype(one.data_type)}{list(one.dims)} / {_dtype(two.data_type)}{list(two.dims)}"
            continue
        x, y = (tensor_data(tensor, each.folder, f"initialiser {name!r}") for tensor, each in ((one, a), (two, b)))
        if x.array.dtype == object:
            if not np.array_equal(x.array, y.array):
                yield f"{name}: other texts"
        elif gap := difference(_numeric(x), _numeric(y)):
            yield f"{name}: largest difference {gap:.3g}"


def _numeric(data: Any) -> np.ndarray[Any, Any]:
    """The elements of an initialiser as numbers; bfloat16 is stored as bits."""
    tensor = data.tensor()
    found: np.ndarray[Any, Any] = tensor.float().numpy() if tensor.dtype.name == "bfloat16" else data.array
    return found


# ---- numbers


def _numbers(
    first: str, second: str, files: Sequence[str], choice: Choice, tolerance: float
) -> tuple[list[dict[str, Any]], str]:  # fmt: skip
    """A row for each output; a note where the models cannot be compared."""
    a, b = load(first), load(second)
    if {*a.inputs} != {*b.inputs}:
        return [], "the models take other inputs: what they compute was not compared"
    inputs = inputs_for(a, files, choice)
    made = call(a, inputs)
    try:
        other = call(b, inputs)
    except (ShapeError, DTypeError) as error:
        return [], f"the second does not take what the first does: {error.message}"
    if len(made) != len(other):
        return [], f"{len(made)} outputs / {len(other)}: what the models compute was not compared"
    if {*made} == {*other}:
        other = {name: other[name] for name in made}
    rows = []
    for name, theirs in zip(made, other.values()):
        gap = difference(made[name], theirs)
        rows.append({"output": name, "largest_difference": gap, "differs": not gap <= allowed(theirs, tolerance)})
    return rows, ""


def show(found: dict[str, Any], as_json: bool) -> None:
    """Print it."""
    if as_json:
        show_json(found)
        return
    lines = [*(("structure", x) for x in found["structure"]), *(("weights", x) for x in found["weights"])]
    lines += [(f"output {x['output']}", f"largest difference {x['largest_difference']:.3g}") for x in found["numbers"]]
    lines += [("", found["note"])] if found["note"] else []
    show_table(" / ".join(found["files"]), ("", ""), lines or [("", "no difference")])
