"""Programs with branches, loops and sizes that only a run knows, written as ONNX."""

import pytest
from round_trip import round_trip

import duograph as dg


def branch(x):
    if x.sum() > 0:
        return x * 2
    return x - 1


def grown(x, count):
    made, turn = x, dg.tensor(0)
    while turn < count:
        made = dg.cat([made, x * turn])
        turn = turn + 1
    return made


def collected(x, count):
    rows, turn = [], dg.tensor(0)
    while turn < count:
        x = x * 1.5
        rows.append(x)
        turn = turn + 1
    return dg.stack(rows)


def nested(x, count):
    i = dg.tensor(0)
    while i < count:
        j = dg.tensor(0)
        while j < i:
            if x.sum() > 0:
                x = x - 0.3
            else:
                x = x + 0.5
            j = j + 1
        i = i + 1
    return x


def left_early(x, count):
    turn = dg.tensor(0)
    while True:
        x, turn = x + 1, turn + 1
        if turn >= count or x.sum() > 100:
            break
    return x


def chosen(x):
    return x[x > 0], x[x > 0].sum(), dg.nonzero(x)


def cut(x, count):
    return x[:count].sum(0), x[count:]


def written(x):
    y = x.clone()
    y[1] = 0
    y[:, 0] += 1
    y[::2] *= 2
    return y


ROWS = dg.tensor([[1.0, -2.0, 3.0], [0.5, 1.5, -1.0], [2.0, 0.25, -0.75]])
COUNT, OTHER = dg.tensor(2), dg.tensor(3)


@pytest.mark.parametrize(
    ("program", "args", "others"),
    [
        (branch, (ROWS,), [(-ROWS,)]),
        (grown, (ROWS, COUNT), [(ROWS, OTHER), (ROWS, dg.tensor(0))]),
        (collected, (ROWS, COUNT), [(ROWS, OTHER)]),
        (nested, (ROWS, OTHER), [(-ROWS, dg.tensor(5))]),
        (left_early, (ROWS, OTHER), [(ROWS, dg.tensor(100))]),
        (chosen, (ROWS,), [(-ROWS,)]),
        (cut, (ROWS, COUNT), [(ROWS, dg.tensor(1))]),
        (written, (ROWS,), [(-ROWS,)]),
    ],
)
def test_programs(program, args, others):
    round_trip(program, args, others)


@pytest.mark.parametrize("program", [branch, grown, collected, nested, left_early, chosen])
def test_programs_are_programs_again(program):
    args = (ROWS, COUNT)[: 1 if program in (branch, chosen) else 2]
    loaded = dg.onnx.load(dg.onnx.export(program, args).model_proto)
    loaded(*args)  # a warning says where no program can be made
    assert loaded.program.captures == 1
