"""The checkers of the generated operator tests catch planted bugs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import duograph as dg
from duograph.ops.definition import ELEMENTWISE, REGISTRY, op
from duograph.ops.dtypes import float_promote
from duograph.ops.samples import unary

sys.path.insert(0, str(Path(__file__).parent.parent / "ops"))
import operator_harness as harness
import test_against_torch
import test_operators


@contextmanager
def planted(body: Callable[..., Any], rule: Callable[..., Any] | None, **options: Any) -> Iterator[Any]:
    """An operator defined outside of the package, for as long as the block lasts."""
    body.__annotations__ = {"x": "Tensor", "return": "Tensor"}
    name = body.__name__
    options = {"reference": lambda np, x: x * np.sin(x), "samples": unary(special=()), **options}
    made = op(kind=ELEMENTWISE, dtypes=float_promote, **options)(body)
    if rule is not None:
        made.vjp(rule)
    try:
        yield REGISTRY[name]
    finally:
        dg.__dict__.pop(name, None)
        dg.nn.functional.__dict__.pop(name, None)
        for form in [d for d in REGISTRY.values() if d is REGISTRY[name] or d.base is REGISTRY[name]]:
            del REGISTRY[form.name]
            for bound in (form.name, *form.aliases):
                if bound in dg.Tensor.__dict__:
                    delattr(dg.Tensor, bound)


def swing(x: Any) -> Any:
    """x * sin(x).

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept
    Gradient: sin(x) + x * cos(x)
    Errors:   none
    Source:   this test

    >>> swing(tensor([0.0]))
    tensor([0.])
    """
    return x * dg.sin(x)


def right(g: Any, out: Any, x: Any) -> Any:
    return g * (dg.sin(x) + x * dg.cos(x))


def check_all(definition: Any) -> None:
    test_operators.test_values(definition)
    test_operators.test_layouts(definition)
    test_operators.test_gradient(definition)
    test_operators.test_second_gradient(definition)
    test_operators.test_static(definition)
    test_operators.test_example(definition)
    test_operators.test_complete(definition)


def torch_swing(torch: Any, x: Any) -> Any:
    return x * torch.sin(x)


@pytest.mark.parametrize("rule", [right, None], ids=["explicit", "derived"])
def test_an_operator_from_outside_gets_everything(rule: Any) -> None:
    """One block, in a file that is not the package's: nothing else names the operator."""
    options = {"torch": torch_swing, "inplace": True, "functional": True, "aliases": ("swinging",)}
    with planted(swing, rule, **options) as definition:
        x = dg.tensor([1.0, -2.0])
        expected = (x * x.sin()).tolist()
        assert dg.swing(x).tolist() == x.swing().tolist() == dg.nn.functional.swing(x).tolist() == expected
        assert dg.swinging(x).tolist() == x.swinging().tolist() == dg.swing(input=x).tolist() == expected
        out = dg.empty(2)
        assert dg.swing(x, out=out) is out and out.tolist() == expected
        for write in (dg.Tensor.swing_, dg.Tensor.swinging_, dg.swing_, lambda y: dg.nn.functional.swing(y, inplace=True)):
            y = x.clone()
            assert write(y) is y and y.tolist() == expected
        assert "swing" in dg.static(dg.swing).explain(x).__str__()
        check_all(definition)
        test_against_torch.test_values(definition)
        test_against_torch.test_gradients(definition)
        test_against_torch.test_out(definition)
        test_against_torch.test_in_place_forms_are_those_of_torch(definition)
        test_operators.test_in_place(REGISTRY["swing_"])


@pytest.mark.parametrize(
    "body, message",
    [
        (lambda x: x * dg.cos(x), "swing"),
        (lambda x: (x * dg.sin(x)).sum(), "shape"),
        (lambda x: (x * dg.sin(x)).to(dg.float64), "PyTorch gives float32"),
        (lambda x: dg.where(x == dg.float32, 0.0, x) if x.dim() == 0 else dg.Tensor.no_such_method(x), "PyTorch gives"),
    ],
    ids=["value", "shape", "dtype", "error"],
)
def test_wrong_beside_torch(body: Callable[[Any], Any], message: str) -> None:
    with (
        planted(lambda_named("swing", body), None, torch=torch_swing) as definition,
        pytest.raises(AssertionError, match=message),
    ):
        test_against_torch.test_values(definition)


def test_wrong_at_special_values_only() -> None:
    def body(x: Any) -> Any:
        return dg.where(x == x, x * dg.sin(x), 0.0)

    with (
        planted(lambda_named("swing", body), None, torch=torch_swing) as definition,
        pytest.raises(AssertionError, match="special"),
    ):
        test_against_torch.test_values(definition)


@pytest.mark.parametrize("factor", [1.0000001, -1.0])
def test_wrong_gradients_beside_torch(factor: float) -> None:
    def rule(g: Any, out: Any, x: Any) -> Any:
        return right(g, out, x) * factor

    with planted(swing, rule, torch=torch_swing) as definition, pytest.raises(AssertionError, match="gradient"):
        test_against_torch.test_gradients(definition)


def test_wrong_second_gradient_beside_torch() -> None:
    def rule(g: Any, out: Any, x: Any) -> Any:
        hidden = x.detach()
        return g * (dg.sin(hidden) + hidden * dg.cos(hidden))

    with planted(swing, rule, torch=torch_swing) as definition, pytest.raises(AssertionError, match="second derivative"):
        test_against_torch.test_gradients(definition)


def test_wrong_value() -> None:
    with (
        planted(lambda_named("swing", lambda x: x * dg.cos(x)), None) as definition,
        pytest.raises(AssertionError, match="swing"),
    ):
        test_operators.test_values(definition)


def test_slightly_wrong_value() -> None:
    body = lambda_named("swing", lambda x: x * dg.sin(x) * 1.00001)
    with planted(body, None) as definition, pytest.raises(AssertionError, match="swing"):
        test_operators.test_values(definition)


def test_wrong_gradient() -> None:
    with planted(swing, lambda g, out, x: g * dg.sin(x)) as definition, pytest.raises(AssertionError, match="gradient"):
        test_operators.test_gradient(definition)


def test_gradient_wrong_in_the_sixth_digit() -> None:
    def rule(g: Any, out: Any, x: Any) -> Any:
        return right(g, out, x) * 1.000001

    with planted(swing, rule) as definition, pytest.raises(AssertionError, match="gradient"):
        test_operators.test_gradient(definition)


def test_gradient_that_is_right_once_only() -> None:
    """A rule that hides its operand from the tape has no second derivative."""

    def rule(g: Any, out: Any, x: Any) -> Any:
        hidden = x.detach()
        return g * (dg.sin(hidden) + hidden * dg.cos(hidden))

    with planted(swing, rule) as definition:
        test_operators.test_gradient(definition)
        with pytest.raises(AssertionError, match="second derivative"):
            test_operators.test_second_gradient(definition)


def test_missing_pieces() -> None:
    bare = lambda_named("swing", swing.__call__)
    bare.__doc__ = "x * sin(x)."
    with planted(bare, right) as definition, pytest.raises(AssertionError, match="lacks"):
        test_operators.test_complete(definition)
    with planted(swing, right, samples=None) as definition, pytest.raises(AssertionError, match="samples"):
        test_operators.test_complete(definition)
    with planted(swing, None, primitive="sin") as definition, pytest.raises(AssertionError, match="gradient"):
        test_operators.test_complete(definition)


def test_wrong_example() -> None:
    wrong = lambda_named("swing", swing.__call__)
    wrong.__doc__ = (swing.__doc__ or "").replace("tensor([0.])\n    ", "tensor([1.])\n    ")
    with planted(wrong, right) as definition, pytest.raises(AssertionError, match="Expected"):
        test_operators.test_example(definition)


def lambda_named(name: str, body: Callable[[Any], Any]) -> Callable[..., Any]:
    def function(x: Any) -> Any:
        return body(x)

    function.__name__ = name
    return function


def test_kinks_are_avoided_not_ignored() -> None:
    """A step function has slope 0 wherever it is smooth, and the finite difference finds such a point."""
    definition = REGISTRY["floor"]
    call = harness.Call((harness.Maker("float64")(200),), {})
    harness.check_gradient(definition, call)
