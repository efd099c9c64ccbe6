"""Programs that ask whether tensors are equal, or close."""

import pytest
from user_modes import Program, check, make

import duograph as dg


def until_close_program():
    def f(x, y):
        for i in range(20):
            new = (x + y) / 2
            if dg.allclose(new, x, atol=1e-2):
                break
            x = new
        assert not dg.equal(x, y), "same"
        while not x.allclose(y, atol=1e-3):
            x = (x + y) / 2
        sign = 1 if dg.is_nonzero(x[0]) else 2
        return x, i, dg.allclose(x, y), x.equal(y), dg.equal(x, y[:1]), sign

    return Program(f, (make(3, grad=True), make(3, seed=4)), (make(4), make(4)), (dg.zeros(2), dg.zeros(2) + 0.5))


def kmeans_program():
    def f(x, k: int):
        c = x[:k].clone()
        for turn in range(50):
            nearest = ((x[:, None] - c[None]) ** 2).sum(-1).argmin(1)
            member = (nearest[:, None] == dg.arange(k)).float()
            new = (member.T @ x) / member.sum(0).clamp(min=1)[:, None]
            if dg.allclose(new, c):
                break
            c = new
        return c, nearest, turn

    return Program(f, (make(8, 2), 2), (make(9, 2), 3), (make(8, 2, seed=4), 2))


@pytest.mark.parametrize("maker", [until_close_program, kmeans_program], ids=lambda maker: maker.__name__)
def test_modes_agree(maker):
    check(maker, 3)


def test_a_trace_refuses():
    with pytest.raises(dg.errors.CaptureError, match="the truth of a tensor decides"):
        dg.jit.trace(lambda x: x if dg.allclose(x, x * 2) else -x, dg.ones(2))
