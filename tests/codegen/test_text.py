"""What the text builder writes: nothing twice in one block, nothing across blocks, no load for another."""

from __future__ import annotations

import pytest

from duograph.codegen.llvm import Function, Module
from duograph.codegen.target import get_target


def function() -> Function:
    return Function(Module(), "f", [("i64", "n"), ("ptr", "p")])


def test_what_a_block_has_computed_is_not_computed_again() -> None:
    f = function()
    assert f.mul("%n", 3) == f.mul("%n", 3)
    assert f.umin("%n", 5) == f.umin("%n", 5)
    assert f.add("%n", 3) != f.mul("%n", 3)
    assert f.text().count("= mul") == 1


def test_loads_are_read_each_time() -> None:
    f = function()
    first = f.load("i64", "%p")
    f.store("i64", 0, "%p")
    assert f.load("i64", "%p") != first
    assert f.op("load volatile i32, ptr %p") != f.op("load volatile i32, ptr %p")


@pytest.mark.parametrize("kind", ["loop", "when"])
def test_values_of_a_block_that_may_not_run_are_not_used_behind_it(kind: str) -> None:
    f = function()
    with f.loop(0, "%n") if kind == "loop" else f.when(f.icmp("ne", "%n", 0)):
        inside = f.mul("%n", 3)
        f.store("i64", inside, "%p")
    behind = f.mul("%n", 3)
    f.store("i64", behind, "%p")
    assert inside != behind
    f.module.add(f)
    assert get_target().emit_object(f.module.text())  # a value that does not reach its use is an error here


def test_a_condition_is_asked_once_and_what_was_known_stays_known() -> None:
    f = function()
    size = f.mul("%n", 3)
    for _ in range(2):
        f.leave_if(f.icmp("ugt", size, 100), lambda: f.store("i64", 1, "%p"))
    assert f.mul("%n", 3) == size
    assert f.text().count("br i1") == 1
    with f.loop(0, "%n"):
        f.leave_if(f.icmp("ugt", size, 100), lambda: f.store("i64", 1, "%p"))
    assert f.text().count("br i1") == 3


def test_a_cut_begins_a_block() -> None:
    f = function()
    before = f.mul("%n", 3)
    f.cut(f.icmp("eq", "%n", 0))
    assert f.mul("%n", 3) != before
    f.module.add(f)
    assert get_target().emit_object(f.module.text())
