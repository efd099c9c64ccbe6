"""`require`: relations between sizes known late that are checked where a region runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from duograph import _core as core
from duograph import from_numpy
from duograph.ir import Builder, Graph, TensorType
from duograph.ir.dim import Dim
from duograph.ir.text import parse_graph, print_graph
from duograph.passes.pipeline import Options, optimise
from duograph.runtime.build import build

BOOL, INDEX, F32 = TensorType(core.bool), TensorType(core.int64), core.float32


def require(b: Builder, relation: str, left: Dim | int, right: Dim | int, code: int, same: bool = False) -> None:
    b.emit("require", [], {"relation": relation, "left": left, "right": right, "code": code, "same": same}, [BOOL])


def branch(same: bool) -> Graph:
    """Where the first input holds, the first three of `n` zeros and x [3] are added up; elsewhere there is x."""
    with Builder("branch") as b:
        taken, count = b.input(BOOL, "taken"), b.input(INDEX, "count")
        x = b.input(TensorType(F32, (3,)), "x")
        n = b.size_of(count)
        y = b.broadcast(b.constant(1.5, F32), (n,))
        y = b.emit("add", [y, y], {}, [y.type])[0]
        with b.region([]) as then:
            if same:
                require(b, "eq", 3, n, 7, same=True)
                part = y
            else:
                require(b, "le", 3, n, 8)
                part = b.emit("slice", [y], {"starts": (0,), "steps": (1,)}, [x.type])[0]
            then.outputs = [b.emit("add", [part, x], {}, [x.type])[0]]
        with b.region([]) as otherwise:
            otherwise.outputs = [x]
        return b.finish(b.cond(taken, then, otherwise))


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("fuse", [True, False])
def test_it_is_checked_where_the_region_runs(same: bool, fuse: bool) -> None:
    program = build(branch(same), fuse=fuse).program
    x = np.array([1, 2, 3], np.float32)

    def run(taken: bool, count: int) -> Any:
        return program.run([from_numpy(v) for v in (np.array(taken), np.array(count), x)], [], [])[0].numpy()

    for count in (0, 1, 2, 3, 4, 100):
        np.testing.assert_array_equal(run(False, count), x)
        if count == 3 or (count > 3 and not same):
            np.testing.assert_array_equal(run(True, count), x + 3)
        else:
            with pytest.raises(Exception, match=f"code {7 if same else 8}"):
                run(True, count)


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("fuse", [True, False])
def test_passes_keep_it_in_its_region(same: bool, fuse: bool) -> None:
    graph = branch(same)
    assert print_graph(parse_graph(print_graph(graph))) == print_graph(graph)
    made = optimise(graph, Options(fuse=fuse, verify=True))
    (cond,) = (node for node in made.nodes if node.op == "cond")
    (found,) = (node for node in cond.regions[0].nodes if node.op == "require")
    assert (found.attrs["relation"], found.attrs["left"]) == ("eq" if same else "le", 3)
    assert isinstance(found.attrs["right"], Dim)
    assert not any(node.op == "require" for node in made.nodes)


SPEC: dict[str, Any] = {
    "inputs": [1],
    "regs": [["const", 8], ["mul", 0, 2], ["const", 4], ["le", 0, 4]],
    "slots": [["input", 0], ["output", 0]],
    "steps": [["check", 5, 12], ["copy", 1, 0, 3]],
    "outputs": [[5, [0], None]],
}


def test_the_spec_of_a_program_with_a_check() -> None:
    program = core.Program(SPEC)
    assert program.run([from_numpy(np.arange(4))], [], [])[0].tolist() == [0, 1, 2, 3]
    with pytest.raises(Exception, match="code 12"):
        program.run([from_numpy(np.arange(5))], [], [])
    assert program.profile()[0]["kind"] == "check"


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([["check", 77, 1]], "register 77 is not in"),
        ([["check", 5, 0]], "a check code must be positive"),
        ([["check", 5]], "at least 3 items"),
    ],
)
def test_wrong_specs(steps: list[Any], message: str) -> None:
    with pytest.raises(Exception, match=message):
        core.Program({**SPEC, "steps": steps})
