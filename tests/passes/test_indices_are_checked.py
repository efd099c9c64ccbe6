"""An index out of range ends a static program whatever it reads: also what a kernel could compute without memory."""

from __future__ import annotations

import pytest

import duograph as dg

TABLES = {
    "numbers": lambda x: dg.arange(3),
    "made of numbers": lambda x: (dg.arange(6).reshape(3, 2) * 2 + 1).flip(0).sum(1),
    "one value": lambda x: dg.zeros(3),
    "stretched": lambda x: x[:1].expand(3),
    "stretched rows": lambda x: x.unsqueeze(0).expand(3, 3) * 2,
    "a sum along another dimension": lambda x: dg.arange(3).unsqueeze(1).expand(3, 4).float().sum(1),
    "numbers by numbers": lambda x: dg.arange(3)[dg.arange(3)],
    "numbers that stand beside": lambda x: dg.arange(3)[dg.arange(3) % 2] + dg.arange(3) * x,
    "beside what is loaded": lambda x: dg.arange(3).unsqueeze(1) * x,
    "read": lambda x: x * 2,
}


@pytest.mark.parametrize("what", TABLES)
def test_indices_are_checked(what: str) -> None:
    table, x = TABLES[what], dg.tensor([1.0, 2.0, 3.0])
    static = dg.static(lambda x, index: table(x)[index])
    for index in ([0, 2], [2, 1, 1]):
        assert dg.equal(static(x, dg.tensor(index)), table(x)[dg.tensor(index)])
    with pytest.raises(IndexError, match="index 3 is out of range for a dimension of size 3"):
        static(x, dg.tensor([0, 3]))
