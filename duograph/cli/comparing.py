"""`duograph diff`: what two files have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .checking import difference
from .models import call, load, proto
from .output import show_json, show_table
from .values import inputs_for


def diff(first: str, second: str, sizes: Mapping[str, int], tolerance: float) -> dict[str, Any]:
    """The differences in structure, in initialisers by name, and in what the models compute from the same random inputs."""
    a, b = proto(first), proto(second)
    structure = [*_structure(a.graph, b.graph)]
    weights = [*_weights(a.graph, b.graph)]
    numbers = [*_numbers(first, second, sizes, tolerance)]
    same = not structure and not weights and not any(row["differs"] for row in numbers)
    return {"files": [first, second], "same": same, "structure": structure, "weights": weights, "numbers": numbers}


def _structure(a: Any, b: Any) -> Iterator[str]:
    for kind in ("input", "output"):
        mine, other = ([x.name for x in getattr(graph, kind)] for graph in (a, b))
        if mine != other:
            yield f"{kind}s: {', '.join(mine)} / {', '.join(other)}"
    counts = [Counter(node.op_type for node in graph.node) for graph in (a, b)]
    for name in sorted({*counts[0], *counts[1]}):
        if counts[0][name] != counts[1][name]:
            yield f"{name}: {counts[0][name]} nodes / {counts[1][name]}"
    named = [{node.output[0]: node for node in graph.node if node.output} for graph in (a, b)]
    for output in named[0].keys() & named[1].keys():
        one, two = named[0][output], named[1][output]
        if one.op_type != two.op_type:
            yield f"{output} is made by {one.op_type} / {two.op_type}"
        elif _attributes(one) != _attributes(two):
            yield f"{one.op_type} {output}: other attributes"


def _attributes(node: Any) -> dict[str, bytes]:
    return {attribute.name: attribute.SerializeToString(deterministic=True) for attribute in node.attribute}


def _weights(a: Any, b: Any) -> Iterator[str]:
    from onnx import numpy_helper

    mine, others = ({x.name: x for x in graph.initializer} for graph in (a, b))
    for name in sorted({*mine, *others}):
        if name not in others or name not in mine:
            yield f"{name} is only in the {'first' if name in mine else 'second'}"
            continue
        one, two = mine[name], others[name]
        if (list(one.dims), one.data_type) != (list(two.dims), two.data_type):
            yield f"{name}: {list(one.dims)} of type {one.data_type} / {list(two.dims)} of type {two.data_type}"
        elif not (one.external_data or two.external_data):
            gap = difference(np.asarray(numpy_helper.to_array(one)), np.asarray(numpy_helper.to_array(two)))
            if gap:
                yield f"{name}: largest difference {gap:.3g}"


def _numbers(first: str, second: str, sizes: Mapping[str, int], tolerance: float) -> Iterator[dict[str, Any]]:
    a, b = load(first), load(second)
    if a.inputs != b.inputs:
        return
    inputs = inputs_for(a, (), sizes, 0)
    made, other = call(a, inputs), call(b, inputs)
    for name, theirs in zip(made, other.values()):
        gap = difference(made[name], theirs)
        limit = tolerance * max(1.0, float(np.abs(theirs.astype(np.float64)).max(initial=0.0)))
        yield {"output": name, "largest_difference": gap, "differs": gap > limit}


def show(found: dict[str, Any], as_json: bool) -> None:
    """Print it."""
    if as_json:
        show_json(found)
        return
    lines = [*(("structure", x) for x in found["structure"]), *(("weights", x) for x in found["weights"])]
    lines += [(f"output {x['output']}", f"largest difference {x['largest_difference']:.3g}") for x in found["numbers"]]
    show_table(" / ".join(found["files"]), ("", ""), lines or [("", "no difference")])
