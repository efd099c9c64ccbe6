"""Tensors made of numbers that only each run of a static function knows."""

from __future__ import annotations

from typing import Any

import pytest

import duograph as dg

RATE = 0.5
DECAY = float("nan")

CASES: dict[str, Any] = {
    "a number from outside": lambda x: x * dg.tensor(RATE),
    "a list with one": lambda x: x * dg.tensor([1.0, RATE]),
    "NaN": lambda x: dg.tensor([1.0, DECAY]),
    "nested, of sizes": lambda x: dg.tensor([[x.shape[0], 1], [2, len(x) * 3]]),
    "a size alone": lambda x: dg.tensor(x.shape[0]),
    "a number of a tensor": lambda x: dg.tensor([x.sum().item(), 2]),
    "a dtype": lambda x: dg.tensor([x.shape[0], RATE], dtype=dg.float64),
    "comparisons": lambda x: dg.tensor([[RATE], [x.sum().item()]]) > dg.tensor((1, RATE)),
    "as_tensor": lambda x: dg.as_tensor([RATE, 1]),
    "elements that are tensors": lambda x: dg.tensor([x.sum(), 2.0]),
}


@pytest.mark.parametrize("strict", [False, True], ids=["", "strict"])
@pytest.mark.parametrize("name", CASES)
def test_as_in_dynamic_mode(name: str, strict: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    function = CASES[name]
    static = dg.static(function, strict=strict)
    for rate in (0.5, 0.25):
        monkeypatch.setitem(globals(), "RATE", rate)
        for x in (dg.tensor([1.0, 2.0]), dg.tensor([3.0, 0.125])):
            result, expected = static(x), function(x)
            assert result.dtype is expected.dtype and result.shape == expected.shape
            assert repr(result) == repr(expected)
    assert static.captures == 1


def test_ragged() -> None:
    with pytest.raises(dg.errors.ShapeError, match="ragged"):
        dg.static(lambda x: dg.tensor([[RATE, 1.0], [2.0]]))(dg.ones(2))
