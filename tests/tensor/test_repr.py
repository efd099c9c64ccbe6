"""How tensors print: the layouts that PyTorch users know."""

from __future__ import annotations

import pytest

import duograph as dg

CASES = [
    ("tensor(20.)", "tensor(20.)"),
    ("tensor(1.5)", "tensor(1.5000)"),
    ("tensor([-1.0, 2.0])", "tensor([-1.,  2.])"),
    ("tensor([1, 20, -300])", "tensor([   1,   20, -300])"),
    ("tensor([True, False])", "tensor([ True, False])"),
    ("tensor([0.1, 0.25, 10.0])", "tensor([ 0.1000,  0.2500, 10.0000])"),
    ("tensor([1e-5, 1.0, 1000.0])", "tensor([1.0000e-05, 1.0000e+00, 1.0000e+03])"),
    ("tensor([1e-5])", "tensor([1.0000e-05])"),
    ("tensor([1e9, 1.0])", "tensor([1.0000e+09, 1.0000e+00])"),
    ("tensor([123456.789])", "tensor([123456.7891])"),
    ("tensor([1.0, 1001.0])", "tensor([1.0000e+00, 1.0010e+03])"),
    ("tensor([0.5, 1001.0])", "tensor([5.0000e-01, 1.0010e+03])"),
    ("tensor([float('nan'), float('inf'), -float('inf'), 1.0])", "tensor([nan, inf, -inf, 1.])"),
    ("tensor([float('nan'), float('-inf'), 1.5])", "tensor([   nan,   -inf, 1.5000])"),
    ("tensor(float('nan'))", "tensor(nan)"),
    ("tensor([float('inf'), 0.0])", "tensor([inf, 0.])"),
    (
        "zeros(2, 3)",
        """\
tensor([[0., 0., 0.],
        [0., 0., 0.]])""",
    ),
    ("tensor([-0.0, 1.5])", "tensor([-0.0000, 1.5000])"),
    ("tensor([])", "tensor([])"),
    ("zeros(0, 3)", "tensor([], size=(0, 3))"),
    ("tensor([], dtype=int64)", "tensor([], dtype=duograph.int64)"),
    ("tensor([1.0, 2.5], dtype=float64)", "tensor([1.0000, 2.5000], dtype=duograph.float64)"),
    ("tensor([1.0, 2.5], dtype=float16)", "tensor([1.0000, 2.5000], dtype=duograph.float16)"),
    ("tensor([1.0, 3.14159], dtype=bfloat16)", "tensor([1.0000, 3.1406], dtype=duograph.bfloat16)"),
    ("tensor([1], dtype=int32)", "tensor([1], dtype=duograph.int32)"),
    ("tensor([255], dtype=uint8)", "tensor([255], dtype=duograph.uint8)"),
    (
        "tensor([[1.5, 2.0], [-3.25, 4.0]])",
        """\
tensor([[ 1.5000,  2.0000],
        [-3.2500,  4.0000]])""",
    ),
    (
        "arange(24).reshape(2, 3, 4)",
        """\
tensor([[[ 0,  1,  2,  3],
         [ 4,  5,  6,  7],
         [ 8,  9, 10, 11]],

        [[12, 13, 14, 15],
         [16, 17, 18, 19],
         [20, 21, 22, 23]]])""",
    ),
    (
        "arange(100)",
        """\
tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,
        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35,
        36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53,
        54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71,
        72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89,
        90, 91, 92, 93, 94, 95, 96, 97, 98, 99])""",
    ),
    ("arange(2000)", "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])"),
    (
        "arange(10000).reshape(100, 100)",
        """\
tensor([[   0,    1,    2,  ...,   97,   98,   99],
        [ 100,  101,  102,  ...,  197,  198,  199],
        [ 200,  201,  202,  ...,  297,  298,  299],
        ...,
        [9700, 9701, 9702,  ..., 9797, 9798, 9799],
        [9800, 9801, 9802,  ..., 9897, 9898, 9899],
        [9900, 9901, 9902,  ..., 9997, 9998, 9999]])""",
    ),
    (
        "arange(3000).reshape(500, 6)",
        """\
tensor([[   0,    1,    2,    3,    4,    5],
        [   6,    7,    8,    9,   10,   11],
        [  12,   13,   14,   15,   16,   17],
        ...,
        [2982, 2983, 2984, 2985, 2986, 2987],
        [2988, 2989, 2990, 2991, 2992, 2993],
        [2994, 2995, 2996, 2997, 2998, 2999]])""",
    ),
    ("tensor([1.0, 2.0], requires_grad=True)", "tensor([1., 2.], requires_grad=True)"),
    (
        "tensor([[True, False], [False, True]])",
        """\
tensor([[ True, False],
        [False,  True]])""",
    ),
    (
        "zeros(2, 1, 2, 2)",
        """\
tensor([[[[0., 0.],
          [0., 0.]]],


        [[[0., 0.],
          [0., 0.]]]])""",
    ),
    (
        "tensor([0.123456789, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], requires_grad=True)",
        """\
tensor([0.1235, 0.2000, 0.3000, 0.4000, 0.5000, 0.6000, 0.7000, 0.8000],
       requires_grad=True)""",
    ),
]


class Names(dict[str, object]):
    """The package's names, also those imported when first asked for."""

    def __missing__(self, name: str) -> object:
        if name == "float":
            raise KeyError(name)
        return getattr(dg, name)


@pytest.mark.parametrize(("expression", "expected"), CASES, ids=[case[0] for case in CASES])
def test_layout(expression: str, expected: str) -> None:
    assert repr(eval(expression, {"float": float}, Names())) == expected


def test_views_print_what_they_show() -> None:
    x = dg.arange(6).reshape(2, 3)
    assert repr(x.t()) == "tensor([[0, 3],\n        [1, 4],\n        [2, 5]])"
    assert repr(dg.arange(4000).reshape(2000, 2)[:, 1]) == "tensor([   1,    3,    5,  ..., 3995, 3997, 3999])"


def test_grad_fn_names_operator_and_line() -> None:
    x = dg.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    text = repr(y)
    assert text.startswith("tensor([2., 4.], grad_fn=<mul")
    assert "test_repr.py:" in text


def test_parameter_says_so() -> None:
    assert repr(dg.nn.Parameter(dg.ones(2))) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"


def test_print_options() -> None:
    try:
        dg.set_printoptions(precision=2)
        assert repr(dg.tensor([1.23456])) == "tensor([1.23])"
        dg.set_printoptions(sci_mode=True)
        assert repr(dg.tensor([1.25])) == "tensor([1.25e+00])"
        dg.set_printoptions(profile="short")
        assert repr(dg.arange(2000)) == "tensor([   0,    1,  ..., 1998, 1999])"
        dg.set_printoptions(profile="full")
        assert "..." not in repr(dg.arange(2000))
        with pytest.raises(ValueError, match="profile must be one of default, short, full, got 'odd'"):
            dg.set_printoptions(profile="odd")
        with pytest.raises(ValueError, match="precision must be an int of at least 0, got -1"):
            dg.set_printoptions(precision=-1)
        with pytest.raises(dg.errors.DomainError, match="at most 1100"):
            dg.set_printoptions(precision=2**40)
    finally:
        dg.set_printoptions(profile="default")


def test_format_of_a_number() -> None:
    c = dg.tensor(300.0)
    assert f"{c}" == "300.0"
    assert f"{c:.2f}" == "300.00"
    assert f"{dg.tensor(7):03d}" == "007"
    x = dg.tensor([1.0, 2.0])
    assert f"{x}" == "tensor([1., 2.])"
    with pytest.raises(dg.Error, match=r"'.2f' formats one number, the tensor is float32\[2\]"):
        f"{x:.2f}"


def test_size() -> None:
    shape = dg.zeros(2, 3).shape
    assert repr(shape) == "duograph.Size([2, 3])"
    assert shape == (2, 3) and isinstance(shape, tuple) and isinstance(shape, dg.Size)
    assert shape.numel() == 6 and dg.Size([]).numel() == 1
    assert isinstance(shape[:1], dg.Size) and shape[1] == 3
    assert shape + (4,) == dg.Size([2, 3, 4]) and isinstance((1,) + shape, tuple)
