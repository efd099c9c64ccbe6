"""`out=` of functions that pick among operators: into a target, an empty one, several; as in PyTorch."""

import pytest
import torch

import duograph as dg
from duograph.errors import ArgumentError, DTypeError, GradError

LIBRARIES = [pytest.param(torch, id="torch"), pytest.param(dg, id="duograph")]
both = pytest.mark.parametrize("lib", LIBRARIES)

CALLS = {
    "mm": lambda x: (x, x),
    "bmm": lambda x: (x[None], x[None]),
    "mv": lambda x: (x, x[0]),
    "dot": lambda x: (x[0], x[1]),
    "outer": lambda x: (x[0], x[1]),
    "masked_select": lambda x: (x, x > 2),
    "where": lambda x: (x > 2, x, -x),
    "cross": lambda x: (x.new_tensor([1.0, 2, 3]), x.new_tensor([0.0, 1, 2]), 0),
    "var": lambda x: (x, 0),
    "norm": lambda x: (x, 2, 1),
    "nonzero": lambda x: (x > 2,),
    "pow": lambda x: (x, 2),
    "add": lambda x: (x, x),
}
SEVERAL = {"sort": (1,), "topk": (1,), "kthvalue": (1,), "cummax": (0,), "max": (1,), "mode": (0,)}


def given(lib):
    return lib.tensor([[3.0, 1.0], [2.0, 4.0]])


@both
@pytest.mark.parametrize("name", CALLS)
def test_into_one_tensor(lib, name):
    args = CALLS[name](given(lib))
    expected = getattr(lib, name)(*args)
    empty, full = lib.empty(0, dtype=expected.dtype), lib.zeros_like(expected)
    assert getattr(lib, name)(*args, out=empty) is empty and empty.tolist() == expected.tolist()
    assert getattr(lib, name)(*args, out=full) is full and full.tolist() == expected.tolist()
    assert getattr(lib, name)(*args, out=None).tolist() == expected.tolist()


@both
@pytest.mark.parametrize("name", SEVERAL)
def test_into_several_tensors(lib, name):
    expected = getattr(lib, name)(given(lib), *SEVERAL[name])
    out = (lib.empty(0), lib.empty(0, dtype=lib.int64))
    getattr(lib, name)(given(lib), *SEVERAL[name], out=out)
    assert [x.tolist() for x in out] == [x.tolist() for x in expected]


def test_what_out_cannot_be():
    x = given(dg)
    with pytest.raises(ArgumentError, match="mm: out must be a Tensor, or a tuple of them, not int"):
        dg.mm(x, x, out=3)
    with pytest.raises(ArgumentError, match="sort: out= takes as many tensors as there are results, 2, got 1"):
        dg.sort(x, out=dg.empty(0))
    with pytest.raises(DTypeError, match="mm: the result is float32 and cannot be written into a int64 tensor"):
        dg.mm(x, x, out=dg.zeros(2, 2, dtype=dg.int64))
    with pytest.raises(GradError, match="mm: out= is not recorded for gradients"):
        dg.mm(x.requires_grad_(), x, out=dg.zeros(2, 2))


def test_errors_of_the_call_itself_are_its_own():
    with pytest.raises(ArgumentError, match="mm: a must be a Tensor, not int 3"):
        dg.mm(3, given(dg), out=dg.zeros(2, 2))


def test_static_functions_write_into_their_arguments():
    def run(x, out):
        dg.mm(x, x, out=out)
        dg.outer(x[0], x[1], out=out[0:2])

    dynamic, static = dg.zeros(2, 2), dg.zeros(2, 2)
    run(given(dg), dynamic)
    dg.static(run)(given(dg), static)
    assert static.tolist() == dynamic.tolist() != dg.zeros(2, 2).tolist()


def test_empty_targets_take_the_shape_in_static_functions_too():
    def sums(x):
        out, (values, places) = dg.empty(0), (dg.empty(0), dg.empty(0, dtype=dg.int64))
        dg.add(x, 1, out=out)
        dg.max(x, dim=0, out=(values, places))
        return out * 2, values, places

    expected = sums(dg.arange(6.0).reshape(2, 3))
    static = dg.static(sums)
    for found, wanted in zip(static(dg.arange(6.0).reshape(2, 3)), expected):
        assert found.tolist() == wanted.tolist()
    assert static(dg.arange(8.0).reshape(2, 4))[0].shape == (2, 4)
    with pytest.raises(dg.errors.CaptureError, match="outside"):
        dg.static(lambda x, out: dg.add(x, 1, out=out))(dg.ones(3), dg.empty(0))
