"""ONNX's backend test suite on `duograph.onnx.backend`: what passes, and why the rest does not.

    python tools/conformance.py [--group node] [--match REGEX] [--quiet]

Prints a line per group, the count of all cases, the count without those of texts and of `ai.onnx.*` domains, and each failure
with its reason.
"""

from __future__ import annotations

import argparse
import collections
import re
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

from duograph.onnx import backend

GROUPS = ("node", "simple", "pytorch-converted", "pytorch-operator")
_TEXT = onnx.TensorProto.STRING


class Outcome(NamedTuple):
    """How one case ended: `reason` is empty if it passed; `outside` if it is of texts or of another domain."""

    group: str
    name: str
    outside: bool
    reason: str


def items(group: str) -> Iterator[tuple[str, Any, Any]]:
    """(name, case, model) of a group's cases, in order."""
    for case in sorted(load_model_tests(kind=group), key=lambda case: case.name):
        model = case.model
        if model is None:
            model = onnx.load(f"{case.model_dir}/model.onnx")
        yield case.name, case, model


def is_outside(model: Any) -> bool:
    """Whether a case is of texts or of one of the `ai.onnx.*` domains."""
    if any(node.domain.startswith("ai.onnx.") for node in model.graph.node):
        return True
    values = [*model.graph.input, *model.graph.output]
    return any(_holds_text(value.type) for value in values) or any(t.data_type == _TEXT for t in model.graph.initializer)


def _holds_text(kind: Any) -> bool:
    which = kind.WhichOneof("value")
    if which == "tensor_type":
        return bool(kind.tensor_type.elem_type == _TEXT)
    return which in ("sequence_type", "optional_type") and _holds_text(getattr(kind, which).elem_type)


def run(group: str, pattern: str = "") -> Iterator[Outcome]:
    """Run the cases of a group whose names match."""
    for name, case, model in items(group):
        if not re.search(pattern, name):
            continue
        reason = ""
        try:
            _run_case(case, model)
        except Exception as error:
            reason = f"{type(error).__name__}: {' | '.join(str(error).split(chr(10)))}"[:300]
        yield Outcome(group, name, is_outside(model), reason)


def _run_case(case: Any, model: Any) -> None:
    prepared = backend.prepare(model)
    for inputs, expected in case.data_sets if case.data_sets is not None else _stored(case.model_dir, model):
        given = [_array(x) for x in inputs]
        results = prepared.run(given)
        Runner.assert_similar_outputs(list(_elements(map(_array, expected))), list(_elements(results)), case.rtol, case.atol)


def _elements(values: Iterable[Any]) -> Iterator[Any]:
    """Outputs; of a sequence its length and its elements, as the suite's runner asks elements without dimensions for theirs."""
    for value in values:
        if isinstance(value, (list, tuple)):
            yield np.array(len(value))
            yield from _elements(value)
        else:
            yield value


def _array(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    if isinstance(value, list):
        return [_array(x) for x in value]
    return value


def _stored(folder: str, model: Any) -> Iterator[tuple[list[Any], list[Any]]]:
    """The data sets that lie beside a model."""
    import glob

    for data in sorted(glob.glob(f"{folder}/test_data_set*")):
        inputs = [_read(f"{data}/input_{i}.pb", value.type) for i, value in enumerate(_inputs(folder, data, model))]
        outputs = [_read(f"{data}/output_{i}.pb", value.type) for i, value in enumerate(model.graph.output)]
        yield inputs, outputs


def _inputs(folder: str, data: str, model: Any) -> list[Any]:
    import glob

    return list(model.graph.input)[: len(glob.glob(f"{data}/input_*.pb"))]


def _read(path: str, kind: Any) -> Any:
    with open(path, "rb") as file:
        content = file.read()
    which = kind.WhichOneof("value")
    if which == "sequence_type":
        return onnx.numpy_helper.to_list(onnx.SequenceProto.FromString(content))
    if which == "optional_type":
        return onnx.numpy_helper.to_optional(onnx.OptionalProto.FromString(content))
    return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(content))


def report(outcomes: list[Outcome]) -> str:
    """Counts by group, both totals, and the failures."""
    lines = []
    for group, found in _by_group(outcomes).items():
        lines.append(f"{group:20} {_share(found)}")
    inside = [x for x in outcomes if not x.outside]
    lines.append(f"{'all cases':20} {_share(outcomes)}")
    lines.append(f"{'without text, ai.onnx.*':20} {_share(inside)}")
    lines += [f"  {x.group}/{x.name}{' (text or ai.onnx.*)' if x.outside else ''}: {x.reason}" for x in outcomes if x.reason]
    return "\n".join(lines)


def _by_group(outcomes: list[Outcome]) -> dict[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = collections.defaultdict(list)
    for outcome in outcomes:
        found[outcome.group].append(outcome)
    return found


def _share(outcomes: list[Outcome]) -> str:
    passed = sum(not x.reason for x in outcomes)
    return f"{passed} of {len(outcomes)} ({100 * passed / max(len(outcomes), 1):.1f} %)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--group", action="append", choices=GROUPS, help="only these groups")
    parser.add_argument("--match", default="", help="only cases whose names match this")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    outcomes = [x for group in options.group or GROUPS for x in run(group, options.match)]
    print(report(outcomes))
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
