"""`loss.item()`, `float(loss)` and `x.tolist()` in static functions: numbers that each run fills in."""

from __future__ import annotations

import logging
import math
import struct

import pytest

import duograph as dg
from duograph.errors import CaptureError

log = logging.getLogger("numbers")


def texts(x):
    total = x.sum()
    print(f"step {2} loss {total.item():.4f}", total.item(), "{:.2e}|{}".format(total.item(), float(total)))  # noqa: UP032
    print("%d %.3f %s" % (2, total.item(), x.tolist()), str(total.item()), f"{total.item():>10}|", repr((x > 0).tolist()))  # noqa: UP031
    print(", ".join(f"{value:.1f}" for value in x.tolist()), (x > 0).sum().item(), int((x > 0).sum()))
    log.warning("loss %.4f", total.item())
    return x


def returned(x):
    return x.sum().item(), float(x[0]), (x > 0).sum().item(), (x > 0).any().item(), {"all": x.tolist()}, x[:1].item()


def arithmetic(x):
    k = (x > 0).sum().item()
    scaled = x * x.sum().item() + k / 4
    return scaled, k // 2, k / 2, x.sum().item() ** 2, -x.sum().item(), (x > 0) + k, x.to(dg.float16) * x.sum().item()


def decides(x):
    if x.sum().item() > 3:
        x = x * 2
    while float(x.sum()) < 10:
        x = x + x.max().item()
    return x, isinstance(x.sum().item(), float), dg.is_tensor(x.sum().item()), x.sum().item() < 11, x.sum().item() is None


def counts(x):
    for i in range((x > 0).sum().item()):
        x = x + i
    total = 0.0
    for i in range(3):
        total += (x * i).sum().item()
    return x, x[: (x > 2).sum().item()], total / 3, max(x.sum().item(), 2.5)


def before_writes(x):
    x = x.clone()
    before, whole = x.sum().item(), x.tolist()
    x.add_(1)
    return before, whole, x.sum().item()


def made(x):
    number, whole = x.sum().item(), (x > 0).sum().item()
    return dg.tensor(number), dg.tensor(whole), dg.as_tensor(number), dg.full((2,), number), dg.zeros(whole)


def gradients(x):
    w = x.clone().requires_grad_(True)
    loss = (w * w).sum()
    (loss * loss.item()).backward()
    return w.grad


def plain(value):
    if isinstance(value, dg.Tensor):
        return value.dtype, value.tolist()
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return {k: plain(v) for k, v in value.items()} if isinstance(value, dict) else (type(value), value)


@pytest.mark.parametrize("program", [texts, returned, arithmetic, decides, counts, before_writes, made, gradients])
def test_both_modes_know_the_same_numbers(program, capsys, caplog):
    static = dg.static(program)
    for x in (dg.tensor([1.0, 2.0]), dg.tensor([0.5, 0.25]), dg.tensor([-1.0, 4.0])):
        found = []
        for run in (program, static):
            caplog.clear()
            found.append((plain(run(x)), capsys.readouterr().out, caplog.messages[:]))
        assert found[0] == found[1]
    assert static.captures == 1


class Best:
    loss = math.inf


def test_numbers_are_kept_outside_as_numbers():
    best, history = Best(), []

    @dg.static
    def step(x):
        best.loss = x.sum().item()
        history.append(x.sum().item())
        return x * 2

    for i in range(3):
        step(dg.ones(2) * i)
        assert type(best.loss) is float and best.loss == 2.0 * i
    assert history == [0.0, 2.0, 4.0] and all(type(x) is float for x in history)


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (lambda x: x * ((x > 0).sum().item() in {2, 3}), "looked up here"),
        (lambda x: {2: x}.get((x > 0).sum().item(), -x), "looked up here"),
        (lambda x: x * len(struct.pack("d", x.sum().item())), "float"),
        (lambda x: [x, -x, x * 2][(x > 0).sum().item()], "index"),
        (lambda x: len(str(x.sum().item())), "text with a tensor's values"),
        (lambda x: x.item(), "item"),
        (lambda x: dg.func.vmap(lambda row: row * row.item())(x), "vmap"),
    ],
)
def test_what_needs_the_number_now_is_refused_with_the_line(program, says):
    with pytest.raises(CaptureError, match=says) as raised:
        dg.static(program)(dg.ones(2))
    assert f"{__file__}:" in str(raised.value)
