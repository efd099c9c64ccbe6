"""`detach()` and `.data` of what a static function is given, or reads: of that run's tensor, on its memory."""

from __future__ import annotations

import pytest

import duograph as dg

WAYS = [lambda x: x.detach(), lambda x: x.data, lambda x: x.detach().detach()]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_as_a_result(way, requires_grad):
    static = dg.static(lambda x: (way(x), [way(x)], x * 2))
    for k in range(3):
        x = dg.tensor([1.0 + k, 2.0]).requires_grad_(requires_grad)
        first, (second,), _ = static(x)
        assert first.tolist() == second.tolist() == x.tolist()
        assert not first.requires_grad
        first.mul_(3)
        assert x.tolist() == second.tolist() == [3.0 + 3 * k, 6.0]


@pytest.mark.parametrize("way", WAYS)
def test_for_a_callback(way, capsys):
    seen = []

    @dg.host_callback(like="x")
    def look(x):
        seen.append(x.tolist())
        return x * 2

    def function(x):
        print(way(x))
        return look(way(x))

    static = dg.static(function)
    for k in range(3):
        assert static(dg.tensor([1.0, k])).tolist() == [2.0, 2.0 * k]
    assert seen == [[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]
    assert "2." in capsys.readouterr().out.splitlines()[-1]


def test_of_what_is_read_outside():
    class Holder:
        pass

    holder = Holder()
    holder.x = dg.tensor([1.0])
    static = dg.static(lambda: holder.x.detach())
    assert static().tolist() == [1.0]
    holder.x = dg.tensor([2.0])
    assert static().tolist() == [2.0]


def test_left_behind():
    class Holder:
        kept = None

    holder = Holder()

    def keep(x):
        holder.kept = x.detach()
        return x * 2

    static = dg.static(keep)
    for k in range(3):
        x = dg.tensor([1.0, k]).requires_grad_()
        static(x)
        assert holder.kept.tolist() == [1.0, k]


def test_with_another_size():
    static = dg.static(lambda x: x.detach())
    for n in (2, 3, 5):
        x = dg.arange(n)
        assert static(x).tolist() == list(range(n))
