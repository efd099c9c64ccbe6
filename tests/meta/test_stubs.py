"""The type stubs that the wheel ships list every operator and method, and are valid Python."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

import duograph as dg
from duograph.ops.definition import REGISTRY

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ast.Module]:
    spec = importlib.util.spec_from_file_location("make_stubs", ROOT / "tools" / "make_stubs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    output = tmp_path_factory.mktemp("stubs")
    module.main(ROOT / "duograph", output)
    return {path.stem: ast.parse(path.read_text()) for path in output.glob("*.pyi")}


def test_functions(stubs: dict[str, ast.Module]) -> None:
    listed = {node.name for node in stubs["__init__"].body if isinstance(node, ast.FunctionDef)}
    creation = set(dg._LAZY["tensors.creation"])
    for definition in REGISTRY.values():
        if definition.public and definition.is_ours:
            for name in (definition.name, *definition.aliases):
                assert name in listed | creation, name


def test_functional(stubs: dict[str, ast.Module]) -> None:
    listed = {node.name for node in stubs["functional"].body if isinstance(node, ast.FunctionDef)}
    assert set(dir(dg.nn.functional)) <= listed


@pytest.mark.parametrize("space", ["special"])
def test_namespaces(stubs: dict[str, ast.Module], space: str) -> None:
    assert set(dir(getattr(dg, space))) == {node.name for node in stubs[space].body if isinstance(node, ast.FunctionDef)}


def test_methods(stubs: dict[str, ast.Module]) -> None:
    tensor = next(n for n in stubs["_core"].body if isinstance(n, ast.ClassDef) and n.name == "Tensor")
    listed = {node.name for node in tensor.body if isinstance(node, ast.FunctionDef)}
    for definition in REGISTRY.values():
        if definition.is_ours and definition.method:
            names = [definition.method] if isinstance(definition.method, str) else [definition.name, *definition.aliases]
            assert listed.issuperset(names), names
    exp = next(n for n in tensor.body if isinstance(n, ast.FunctionDef) and n.name == "exp")
    assert ast.unparse(exp.args) == "self" and ast.get_docstring(exp)
