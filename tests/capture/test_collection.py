"""Python's collector does not run while a function is captured, and is as before afterwards."""

from __future__ import annotations

import gc

import pytest

import duograph as dg


def collections_of(call: object, *arguments: object) -> int:
    seen: list[str] = []

    def note(phase: str, info: dict[str, int]) -> None:
        seen.append(phase)

    gc.callbacks.append(note)
    before = gc.get_threshold()
    gc.set_threshold(50, 2, 2)
    try:
        assert callable(call)
        call(*arguments)
        return seen.count("start")
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(note)


def test_no_collection_while_capturing() -> None:
    def many(x: dg.Tensor) -> dg.Tensor:
        kept = [[i] for i in range(2000)]
        for i in range(50):
            x = x * len(kept[i])
        return x

    assert collections_of(many, dg.ones(3)) > 5
    static = dg.static(many)
    assert collections_of(static, dg.ones(3)) < 5
    assert gc.isenabled()


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_as_before_after_a_capture_that_fails(enabled: bool) -> None:
    @dg.static
    def wrong(x: dg.Tensor) -> dg.Tensor:
        assert not gc.isenabled()
        return x @ dg.ones(7, 2)

    (gc.enable if enabled else gc.disable)()
    try:
        with pytest.raises(dg.errors.ShapeError):
            wrong(dg.ones(3, 4))
        assert gc.isenabled() == enabled
    finally:
        gc.enable()
