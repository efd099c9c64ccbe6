"""Every operator in a static function at sizes that change: the dynamic graph's bits, or the error of a fixed size."""

from typing import Any

import numpy as np
import operator_harness as harness
import pytest

import duograph as dg
from duograph.ops.definition import ELEMENTWISE
from duograph.ops.samples import Maker

# Sizes in place of those of the samples. 0 and 1 stay; the first sets are large enough to make every size a symbol.
CHANGES = (
    lambda n: n,
    lambda n: n + 2 if n > 1 else n,
    lambda n: 3 * n if n > 1 else n,
    lambda n: 1 if n > 1 else n,
    lambda n: 0 if n > 1 else n,
    lambda n: 2 if n == 3 else n,
)


class Resized(Maker):
    """A maker whose arrays have other sizes."""

    def __init__(self, dtype: str, change: Any) -> None:
        super().__init__(dtype)
        self.change = change

    def __call__(self, *shape: int, low: float = -2.0, high: float = 2.0) -> Any:
        return super().__call__(*map(self.change, shape), low=low, high=high)

    def ints(self, *shape: int, high: int, low: int = 0) -> Any:
        return super().ints(*map(self.change, shape), high=high, low=low)

    def bools(self, *shape: int) -> Any:
        return super().bools(*map(self.change, shape))


def calls(definition, dtype):
    """The sample calls at each change of sizes."""
    rows = []
    for change in CHANGES:
        try:
            made = definition.samples(Resized(dtype, change))
        except IndexError:  # the sample writes into one of its own elements
            continue
        calls = [
            harness.Call(tuple(c[:-1]), c[-1]) if c and isinstance(c[-1], dict) else harness.Call(tuple(c), {}) for c in made
        ]
        rows.append(calls[:2] if definition.kind == ELEMENTWISE else calls)  # they treat sizes alike
    return list(zip(*rows))


def outcome(function, call):
    """What a call gives: its results' bits, or its error."""
    try:
        found = function(*call.args, **call.kwargs)
    except Exception as error:  # also what a fixed size makes the code generator refuse
        return type(error)
    return [
        (tuple(x.shape), x.dtype, harness.array_of(x).tobytes()) if isinstance(x, dg.Tensor) else x for x in harness.flat(found)
    ]


def unchecked(found, call):
    """An index beyond a size that is 1, which is found only where the size is not known to be 1."""
    arrays = [x for x in harness.flat([*call.args, *call.kwargs.values()]) if isinstance(x, np.ndarray)]
    return found is dg.errors.BoundsError and any(1 in x.shape for x in arrays)


@pytest.mark.filterwarnings("ignore:static")
@pytest.mark.parametrize("dtype", ["float32", pytest.param("int64", marks=pytest.mark.long)])
@pytest.mark.parametrize("definition", harness.sampled(), ids=harness.name_of)
def test_sizes_that_change(definition, dtype):
    def plain(*args, **kwargs):
        return definition.exported(*args, **kwargs)

    for sizes in calls(definition, dtype):
        static = dg.static(plain, strict=True)
        for call in sizes:
            given = harness.tensors(call, dtype)
            found = outcome(static, given)
            if found != outcome(plain, given) and not unchecked(found, call):
                shapes = [x.shape for x in harness.flat(list(call.args)) if isinstance(x, np.ndarray)]
                assert found == (fixed := outcome(dg.static(plain, strict=True), given)) or fixed is AssertionError, shapes


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:static")
@pytest.mark.parametrize("definition", [d for d in harness.sampled() if d.differentiable], ids=harness.name_of)
def test_gradients_at_sizes_that_change(definition):
    def plain(*args, **kwargs):
        found = harness.flat(definition.exported(*args, **kwargs))
        return sum((x * x).sum() for x in found if isinstance(x, dg.Tensor) and x.dtype.is_floating_point)

    def gradients(function, call):
        leaves = []

        def leaf(array):
            made = harness.tensor_of(array, "float32")
            if made.dtype.is_floating_point:
                leaves.append(made.requires_grad_())
            return made

        given = harness.tensors(call, "float32", leaf)
        try:
            total = function(*given.args, **given.kwargs)
            if isinstance(total, dg.Tensor) and total.requires_grad:
                total.backward()
        except Exception as error:
            return type(error)
        return [None if x.grad is None else (tuple(x.grad.shape), harness.array_of(x.grad).tobytes()) for x in leaves]

    for sizes in calls(definition, "float32"):
        static = dg.static(plain, strict=True)
        for call in sizes:
            found = gradients(static, call)
            if found != gradients(plain, call) and not unchecked(found, call):
                assert found == (fixed := gradients(dg.static(plain, strict=True), call)) or fixed is AssertionError
