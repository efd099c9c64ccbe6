"""Variables that a loop swaps in other shapes: nobody writes the memory of one before its last reader."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

import duograph as dg
from duograph import _core as core
from duograph.ir import Builder, TensorType, Value
from duograph.ir.verify import verify
from duograph.runtime.build import build

SIZE = 20
INDEX, BOOL = TensorType(core.int64), TensorType(core.bool)
FLAT, SQUARE = TensorType(core.float32, (SIZE * SIZE,)), TensorType(core.float32, (SIZE, SIZE))
ROW = TensorType(core.float32, (1, SIZE))
Body = Callable[..., Sequence[Value]]


def counted(b: Builder, turns: int, initial: Sequence[Value], body: Body) -> list[Value]:
    """What a loop of so many turns makes of the initial values."""
    types = [INDEX, *(value.type for value in initial)]
    with b.region(types) as test:
        test.outputs = b.emit("lt", [test.inputs[0], b.constant(turns, core.int64)], {}, [BOOL])
    with b.region(types) as region:
        following = b.emit("add", [region.inputs[0], b.constant(1, core.int64)], {}, [INDEX])
        region.outputs = [*following, *body(*region.inputs[1:])]
    return b.while_loop(test, region, [b.constant(0, core.int64), *initial])[1:]


@pytest.mark.parametrize("updated", [False, True])
def test_an_inner_loop_in_another_shape(updated: bool) -> None:
    """The inner loop starts with `y`, in whose place it would lie only if `x` were not read after that."""
    with Builder() as b:
        start = [b.input(FLAT, "x"), b.input(SQUARE, "y")]
        row = b.input(ROW, "row")

        def outer(x: Value, y: Value) -> Sequence[Value]:
            (negative,) = b.emit("neg", [x], {}, [FLAT])
            (power,) = counted(b, 2, [y], lambda z: b.emit("contraction", [z, z], {"a": "mk", "b": "kn", "out": "mn"}, [SQUARE]))
            if updated:
                (power,) = b.emit("slice_update", [power, row], {"starts": (0, 0), "steps": (1, 1)}, [SQUARE])
            return [*b.emit("reshape", [power], {}, [FLAT]), *b.emit("reshape", [negative], {}, [SQUARE])]

        graph = b.finish(counted(b, 3, start, outer))
    verify(graph)
    shapes = ((SIZE * SIZE,), (SIZE, SIZE), (1, SIZE))
    x, y, first = (np.random.default_rng(0).uniform(-0.3, 0.3, shape).astype(np.float32) for shape in shapes)
    found = build(graph, cached=False).program.run([dg.from_numpy(a.copy()) for a in (x, y, first)], [], [])
    for _ in range(3):
        power = y @ y @ (y @ y)
        if updated:
            power[:1] = first
        x, y = power.reshape(-1), -x.reshape(SIZE, SIZE)
    for result, expected in zip(found, (x, y), strict=True):
        np.testing.assert_allclose(result.numpy(), expected, rtol=1e-4, atol=1e-5)
