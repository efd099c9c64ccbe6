"""One block in one file outside of the package gives an operator everything that the package's own have."""

from __future__ import annotations

import ast
import importlib.util
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import duograph as dg
from duograph.ops.definition import REGISTRY, Definition

sys.path.insert(0, str(Path(__file__).parent.parent / "ops"))
sys.path.insert(0, str(Path(__file__).parent.parent / "func"))
sys.path.insert(0, str(Path(__file__).parent.parent / "errors"))
import test_forward_mode_of_operators as forward_mode
import test_names_of_operators as names
import test_symbolic_sizes as sizes
import test_vmap_of_operators as mapped

ROOT = Path(__file__).parent.parent.parent

FILE = '''"""Swings, outside of the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duograph as dg
from duograph.ops.definition import ELEMENTWISE, op
from duograph.ops.dtypes import float_promote
from duograph.ops.samples import unary

if TYPE_CHECKING:
    from duograph import Tensor
    from duograph.ops.definition import Number


@op(
    kind=ELEMENTWISE,
    dtypes=float_promote,
    reference=lambda np, x, rate=1.0: x * np.sin(rate * x),
    samples=unary(special=()),
    inplace=True,
    functional=True,
    aliases=("pendulate",),
)
def outside_swing(x: Tensor, rate: Number = 1.0) -> Tensor:
    """x * sin(rate * x).

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept
    Gradient: derived
    Errors:   DTypeError
    Source:   this test

    >>> dg.outside_swing(tensor([0.0]))
    tensor([0.])
    """
    return x * dg.sin(x * rate)
'''


def tool(name: str) -> ModuleType:
    return loaded(name, ROOT / "tools" / f"{name}.py")


def loaded(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("outside")
    (made / "outside_swings.py").write_text(FILE, encoding="utf-8")
    loaded("outside_swings", made / "outside_swings.py")
    yield made
    for form in [d for d in REGISTRY.values() if d.function.__module__ == "outside_swings"]:
        del REGISTRY[form.name]
        for bound in (form.name, *form.aliases):
            dg.__dict__.pop(bound, None)
            dg.nn.functional.__dict__.pop(bound, None)
            if bound in dg.Tensor.__dict__:
                delattr(dg.Tensor, bound)


@pytest.fixture
def definition(folder: Path) -> Definition:
    return REGISTRY["outside_swing"]


def test_gradients_of_every_order(definition: Definition) -> None:
    x = dg.tensor([0.3, -2.0], dtype=dg.float64, requires_grad=True)
    given, found = x, x.outside_swing(2.0)
    for order in range(1, 5):
        (found,) = dg.autograd.grad(found.sum(), given, create_graph=True)
        phase = [2 * v + order * math.pi / 2 for v in x.tolist()]
        last = [2 * v + (order - 1) * math.pi / 2 for v in x.tolist()]
        expected = [
            2**order * v * math.sin(p) + order * 2 ** (order - 1) * math.sin(q) for v, p, q in zip(x.tolist(), phase, last)
        ]
        assert found.tolist() == pytest.approx(expected, rel=1e-12)


def test_static_functions(definition: Definition) -> None:
    def forms(x: Any) -> Any:
        out = dg.empty(2)
        dg.outside_swing(x, 0.5, out=out)
        y = x.clone().outside_swing_(0.5) + dg.nn.functional.pendulate(x.clone(), 0.5, inplace=True)
        x = x.detach().requires_grad_()
        (slope,) = dg.autograd.grad(x.pendulate().sum(), x)
        return out, y, slope

    x = dg.tensor([1.0, -2.0])
    static = dg.static(forms, strict=True)
    for a, b in zip(forms(x), static(x), strict=True):
        assert a.tolist() == b.tolist()
    assert "outside_swing" in str(dg.static(dg.outside_swing).explain(x))
    recorded = dg.jit.trace(dg.outside_swing, x)
    assert recorded(x).tolist() == dg.outside_swing(x).tolist()


def test_mapped_and_pushed(definition: Definition) -> None:
    mapped.compare(definition, None)
    rows = dg.tensor([[1.0, -2.0], [0.5, 3.0]])
    assert dg.vmap(dg.outside_swing)(rows).tolist() == dg.outside_swing(rows).tolist()
    forward_mode.test_as_the_gradient_says(definition)
    forward_mode.test_all_samples_in_every_order(definition)
    forward_mode.test_as_finite_differences_say(definition)
    forward_mode.test_written_in_place(definition)


def test_sizes_that_change_and_errors(definition: Definition) -> None:
    sizes.test_sizes_that_change(definition, "float32")
    sizes.test_gradients_at_sizes_that_change(definition)
    assert not names.unnamed(definition)
    with pytest.raises(dg.errors.ArgumentError, match=r"^outside_swing_: rate must be a number"):
        dg.ones(2).outside_swing_(dg.ones(3))


def test_reference_page(definition: Definition, tmp_path: Path) -> None:
    tool("make_docs").main(tmp_path)
    page = (tmp_path / "outside_swings.md").read_text(encoding="utf-8")
    assert page.startswith("# Swings, outside of the package.") and "x * sin(rate * x)." in page
    for place in ("duograph.outside_swing", "duograph.nn.functional.pendulate", "Tensor.outside_swing_", "Tensor.pendulate"):
        assert f"`{place}`" in page
    assert "[outside_swing](outside_swings.md#outside_swing)" in (tmp_path / "index.md").read_text(encoding="utf-8")


def test_stubs(folder: Path) -> None:
    stubs = tool("make_stubs")
    found = stubs.tables(stubs.read_blocks(folder))
    every = {"outside_swing", "pendulate", "outside_swing_", "pendulate_"}
    assert set(found.functions) == set(found.functional) == set(found.methods) == every
    text = stubs.stub("outside_swing", found.functions["outside_swing"], False)
    (made,) = ast.parse(text).body
    assert isinstance(made, ast.FunctionDef) and "x * sin(rate * x)." in (ast.get_docstring(made) or "")
    assert ast.unparse(made.args) == "x: Tensor, rate: float | Tensor=1.0"
