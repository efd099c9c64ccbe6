"""Every error of an operator begins with the name by which the user called it, whatever it calls itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import duograph as dg
from duograph.errors import Error
from duograph.ir.builder import Builder
from duograph.ir.types import TensorType
from duograph.ops.definition import REGISTRY, Definition
from duograph.ops.tracing import wrap

sys.path.insert(0, str(Path(__file__).parent.parent / "ops"))
import operator_harness as harness

F = dg.nn.functional


def names_of(definition: Definition) -> set[str]:
    return {definition.name, *definition.aliases, (definition.space or "").rpartition(".")[2]}


def sample(definition: Definition) -> list[Any] | None:
    """The arguments of the first sample call, tensors of one dtype."""
    dtype = "float32" if definition.samples(harness.Maker("float32")) else "int64"
    calls = harness.calls(definition, dtype)
    return list(harness.tensors(calls[0], dtype).args) if calls and not calls[0].kwargs else None


def wrong(given: Any) -> Iterator[Any]:
    """What may not fit in an argument's place: other shapes, dtypes, kinds, sizes."""
    if isinstance(given, dg.Tensor):
        shape, dtype = tuple(given.shape), given.dtype
        yield from ((tuple(s + 7 for s in shape) + (7,), dtype), ((), dtype), ((0,) * len(shape), dtype))
        yield from ((shape, dg.bool), (shape, dg.int64 if dtype.is_floating_point else dg.float32))
        yield from ([1.0], None)
    elif isinstance(given, (int, float)) and not isinstance(given, bool):
        yield from (99, -99)
    yield "x"


def traced(builder: Builder, value: Any) -> Any:
    """A tensor that is an input of a graph under way, so that nothing is compiled; of a shape and a dtype, or as another one."""
    if isinstance(value, dg.Tensor):
        value = (tuple(value.shape), value.dtype)
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], dg.DType):
        return wrap(builder.input(TensorType(value[1], value[0])))
    return type(value)(traced(builder, x) for x in value) if isinstance(value, (list, tuple)) else value


def unnamed(definition: Definition) -> list[str]:
    """The messages for wrong arguments that do not begin with the operator's name."""
    found = []
    given = sample(definition)
    for position, argument in enumerate(given or ()):
        for other in wrong(argument):
            with Builder("probe") as builder:
                args = [traced(builder, other if i == position else x) for i, x in enumerate(given)]
                try:
                    definition.exported(*args)
                except dg.errors.CaptureError:
                    pass  # it reads values
                except Error as error:
                    if error.message.partition(":")[0] not in names_of(definition):
                        found.append(f"{position} {other}: {error.message}")
                except Exception as error:
                    if "a concrete tensor" in str(error):
                        continue  # made by a function that runs as Python in dynamic mode
                    found.append(f"{position} {other}: {type(error).__name__}: {error}")
    return found


def test_errors_bear_the_name_of_the_operator() -> None:
    everything = [d for d in REGISTRY.values() if d.samples is not None and (d.public or d.functional or d.space)]
    found = {definition.name: unnamed(definition) for definition in everything}
    assert not {name: messages for name, messages in found.items() if messages}
    assert len(found) > 500


@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
@pytest.mark.parametrize(
    "call, message",
    [
        (lambda a: dg.mm(a, a), "mm: inner sizes differ: a.shape[-1] = 3, b.shape[-2] = 2"),
        (lambda a: dg.mm(a, a.T.double()), "mm: operands must have one dtype, got float32, float64"),
        (lambda a: a.mv(dg.ones(2)), "mv: inner sizes differ: a.shape[-1] = 3, b.shape[-1] = 2"),
        (lambda a: dg.dot(a[0], a[:, 0]), "dot: inner sizes differ: a.shape[-1] = 3, b.shape[-1] = 2"),
        (lambda a: dg.bmm(a[None], a[None]), "bmm: inner sizes differ: a.shape[-1] = 3, b.shape[-2] = 2"),
        (lambda a: a @ a, "matmul: inner sizes differ"),
        (lambda a: dg.addmm(a, a, a[0]), "addmm: operand 1 must have 2 dimensions"),
        (lambda a: a.addmm_(a, a[0]), "addmm_: operand 1 must have 2 dimensions"),
        (lambda a: a.add_(a.T), "add_: shapes do not broadcast"),
        (lambda a: dg.add(a, a.T, out=a), "add: shapes do not broadcast"),
        (lambda a: dg.chain_matmul(a, a), "chain_matmul: inner sizes differ"),
        (lambda a: F.softmin(a, 7), "softmin: dim 7 is out of range"),
        (lambda a: dg.var_mean(a.long()), "var_mean: needs a floating-point dtype"),
        (lambda a: F.lp_pool2d(a, 2, 2), "lp_pool2d: x must have 3 or 4 dimensions"),
        (lambda a: dg.scatter(a, 0, dg.zeros(1, 3).long(), a[0]), "scatter: source has 1 dimensions, index 2"),
        (lambda a: a.scatter(0, dg.zeros(1, 2).long(), a), "scatter: size 0 of source is 2, of index 1"),
        (lambda a: dg.trapezoid(a[0, 0]), "trapezoid: a 0-d tensor has no dimension 0"),
    ],
)
def test_names(call, message, static) -> None:
    with pytest.raises(Error) as raised:
        (dg.static(call) if static else call)(dg.ones(2, 3))
    assert raised.value.message.startswith(message)


def test_a_source_that_is_too_large() -> None:
    with pytest.raises(dg.errors.ShapeError, match=r"hint: the part that the index has places for is source\[:1, :2\]"):
        dg.zeros(2, 3).scatter_add_(0, dg.zeros(1, 2).long(), dg.ones(2, 3))


def test_errors_of_functions_of_the_user_keep_their_names() -> None:
    def distance(a, b):
        return dg.mm(a, b)

    with pytest.raises(dg.errors.ShapeError) as raised:
        F.triplet_margin_with_distance_loss(dg.ones(2, 3), dg.ones(2, 3), dg.ones(2, 3), distance_function=distance)
    assert raised.value.message.startswith("mm: inner sizes differ")


def test_one_class_without_a_dimension() -> None:
    for loss in ("multi_margin_loss", "multilabel_margin_loss"):
        ours, theirs = (getattr(m.nn.functional, loss)(m.tensor(0.5), m.tensor(0)) for m in (dg, torch))
        assert ours.item() == theirs.item()
    assert dg.index_fill(dg.ones(()), 0, dg.tensor([0]), 5.0).item() == 5
