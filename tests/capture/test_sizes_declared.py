"""`sizes=`, `Dim` and `check_size`: what the user says about sizes beforehand."""

import numpy as np
import pytest

import duograph as dg

BATCH = dg.Dim("batch", min=1, max=64)


def ones(*shape):
    return dg.ones(*shape)


def test_a_named_size_is_a_symbol_from_the_first_call():
    @dg.static(sizes={"x": (BATCH, 3), "y": (BATCH,)})
    def f(x, y):
        return (x.sum(1) * y).sum()

    for n in (1, 2, 9, 64):
        assert f(ones(n, 3), ones(n)).item() == 3 * n
    assert f.captures == 1


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (((65, 3), (65,)), r"f: x.shape\[0\] is 65, outside of batch \(1 to 64\)"),
        (((0, 3), (0,)), r"f: x.shape\[0\] is 0, outside of batch \(1 to 64\)"),
        (((4, 2), (4,)), r"f: x.shape\[1\] is 2, sizes says 3"),
        (((4, 3), (5,)), r"f: x.shape\[0\] is 4 and y.shape\[0\] is 5, but both are batch"),
        (((4, 3, 1), (4,)), r"f: argument x has 3 dimensions, sizes names 2"),
    ],
)
def test_a_call_outside_of_what_sizes_says(shapes, words):
    @dg.static(sizes={"x": (BATCH, 3), "y": (BATCH,)})
    def f(x, y):
        return (x.sum() + y.sum()) * 1.0

    def call():
        f(*(ones(*shape) for shape in shapes))

    for _ in range(2):
        with pytest.raises(ValueError, match=words) as caught:
            call()
        assert "test_sizes_declared.py" in str(caught.value)
        f(ones(4, 3), ones(4))


def test_none_finds_out():
    f = dg.static(lambda x: x.sum(0), sizes={"x": (None, dg.Dim("width"))})
    for n, m in ((2, 3), (2, 5), (2, 9), (7, 4), (8, 8)):
        assert f(ones(n, m)).tolist() == [n] * m
    assert f.captures == 2


def test_modules_and_methods():
    layer = dg.nn.Linear(3, 2)
    f = dg.static(layer, sizes={"x": (dg.Dim("n"), 3)}) if "x" in layer.forward.__code__.co_varnames else None
    if f is not None:
        for n in (2, 3, 4):
            np.testing.assert_array_equal(f(ones(n, 3)).shape, (n, 2))
        assert f.captures == 1


def test_numbers_and_decorated_functions():
    @dg.no_grad()
    def padded(x, count):
        return dg.cat([x, dg.zeros(count)]) * x.shape[0]

    f = dg.static(padded, sizes={"x": (dg.Dim("n", min=2),), "count": dg.Dim("count", min=2, max=9)})
    for n, count in ((2, 3), (5, 2), (4, 9)):
        assert f(ones(n), count).tolist() == [n] * n + [0] * count
    assert f.captures == 1
    assert f.signatures()[0].arguments[0].startswith("x: ")
    with pytest.raises(ValueError, match=r"count is 10, outside of count \(2 to 9\)"):
        f(ones(3), 10)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"z": (None,)}, "names 'z', which is no argument; there is x"),
        ({"x": 3.5}, "must be a tuple"),
        ({"x": ("n",)}, "takes a Dim, a size or None"),
        ({"x": (-1,)}, "takes a Dim, a size or None"),
        ([("x", 3)], "must be a dict"),
        ({"x": (dg.Dim("n", max=3), dg.Dim("n", max=4))}, "one name, two ranges"),
    ],
)
def test_mistakes_in_sizes(sizes, words):
    with pytest.raises(TypeError, match=words):
        dg.static(lambda x: x, sizes=sizes)


def test_dim():
    assert repr(dg.Dim("n")) == "Dim('n')" and repr(BATCH) == "Dim('batch', min=1, max=64)"
    assert dg.Dim("n", max=3) == dg.Dim("n", max=3) != dg.Dim("n")
    assert len({dg.Dim("n"), dg.Dim("n"), dg.Dim("m")}) == 2
    for wrong in (lambda: dg.Dim("a b"), lambda: dg.Dim(3), lambda: dg.Dim("n", min=-1), lambda: dg.Dim("n", min=3, max=2)):
        with pytest.raises(TypeError, match="Dim: "):
            wrong()


def test_check_size():
    @dg.static
    def f(x):
        n = x.shape[0]
        dg.check_size(n % 4 == 0, "the number of rows must be a multiple of 4")
        return x.reshape(n // 4, 4, -1).sum(1)

    for n in (4, 8, 12, 40):
        assert f(ones(n, 3)).tolist() == [[4.0] * 3] * (n // 4)
    assert f.captures == 2
    for _ in range(2):
        with pytest.raises(ValueError, match="the number of rows must be a multiple of 4") as caught:
            f(ones(10, 3))
        assert "dg.check_size(n % 4 == 0" in str(caught.value)
    assert f(ones(44, 3)).shape == (11, 3) and f.captures == 2
    with pytest.raises(TypeError, match="got a Tensor"):
        dg.check_size(ones(1) == 1)


def test_dynamic_mode_checks_sizes_too():
    with pytest.raises(ValueError, match="check_size"):
        dg.check_size(ones(3).shape[0] == 4)
