"""Write the `.pyi` files that the wheel ships: `make_stubs.py PACKAGE OUTPUT`.

Operators become functions of `duograph` and methods of `Tensor` when the package runs, where type checkers and editors do
not see them. This reads their blocks, as source, and writes out what they make:
* `special.pyi`: the operators of a namespace of their own, with the general ones that it shows, too;
* `_core.pyi`: the checked-in stub with the operators' methods added to `Tensor`;
* `__init__.pyi`: the package's namespace with the operators' functions;
* `functional.pyi`: `nn.functional`.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import NamedTuple

ANNOTATIONS = {
    "Operand": "Tensor | float",
    "Operand | None": "Tensor | float | None",
    "Number": "float | Tensor",
    "Number | None": "float | Tensor | None",
    "Sizes": "Sequence[int]",
    "Integers": "Sequence[int]",
    "Size": "int",
    "Size | None": "int | None",
    "Dims": "int | Sequence[int] | None",
}


class Block(NamedTuple):
    """One operator: its name, its function as source, and what the decorator says."""

    name: str
    function: ast.FunctionDef
    options: dict[str, ast.expr]

    def flag(self, name: str) -> bool:
        given = self.options.get(name)
        return not (isinstance(given, ast.Constant) and given.value is False)

    def text(self, name: str) -> str | None:
        given = self.options.get(name)
        return given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else None

    @property
    def in_place(self) -> list[str]:
        """The names of the in-place form."""
        given = self.options.get("inplace")
        if not isinstance(given, ast.Constant) or not given.value:
            return []
        first = given.value if isinstance(given.value, str) else self.name + "_"
        return [first, *(alias + "_" for alias in self.names("aliases"))]

    def names(self, name: str) -> list[str]:
        given = self.options.get(name)
        return [e.value for e in given.elts if isinstance(e, ast.Constant)] if isinstance(given, ast.Tuple) else []


def read_blocks(folder: Path) -> list[Block]:
    """Every `@op` and `@function` block of a folder."""
    blocks: list[Block] = []
    for path in sorted(folder.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef):
                continue
            for decorator in node.decorator_list:
                if (
                    isinstance(decorator, ast.Call)
                    and isinstance(decorator.func, ast.Name)
                    and decorator.func.id in ("op", "function")
                ):
                    options = {k.arg: k.value for k in decorator.keywords if k.arg}
                    blocks.append(Block(node.name.rstrip("_") if "over" not in options else node.name, node, options))
    return blocks


def annotation(node: ast.expr | None, variadic: bool = False) -> str:
    text = "Any" if node is None else ast.unparse(node)
    text = ANNOTATIONS.get(text, text)
    return "int | Sequence[int]" if variadic and text in ("int", "Axis") else text


def signature(function: ast.FunctionDef, method: bool) -> str:
    """The parameters and result of a function, the first one as `self` for a method."""
    arguments = function.args
    first_default = len(arguments.args) - len(arguments.defaults)
    parts: list[str] = []
    for i, argument in enumerate(arguments.args):
        if method and i == 0:
            parts.append("self")
            continue
        default = f" = {ast.unparse(arguments.defaults[i - first_default])}" if i >= first_default else ""
        parts.append(f"{argument.arg}: {annotation(argument.annotation)}{default}")
    if arguments.vararg:
        parts.append(f"*{arguments.vararg.arg}: {annotation(arguments.vararg.annotation, variadic=True)}")
    for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults):
        default = "" if value is None else f" = {ast.unparse(value)}"
        parts.append(f"{argument.arg}: {annotation(argument.annotation)}{default}")
    return f"({', '.join(parts)}) -> {annotation(function.returns)}"


def stub(name: str, function: ast.FunctionDef, method: bool, indent: str = "") -> str:
    documentation = ast.get_docstring(function)
    text = f"{indent}def {name}{signature(function, method)}:"
    if not documentation:
        return text + " ..."
    lines = documentation.replace("\\", "\\\\").splitlines()
    quoted = "\n".join(f"{indent}    {line}".rstrip() for line in lines)
    return f'{text}\n{indent}    """{quoted.strip()}\n{indent}    """'


class Tables(NamedTuple):
    """Functions by name: of the namespace, of `nn.functional`, the methods of Tensor, and "special.name" of further ones."""

    functions: dict[str, ast.FunctionDef]
    functional: dict[str, ast.FunctionDef]
    methods: dict[str, ast.FunctionDef]
    spaces: dict[str, ast.FunctionDef]


def tables(blocks: list[Block]) -> Tables:
    made = Tables({}, {}, {}, {})
    for block in blocks:
        over = block.text("over")
        if over:  # takes further arguments than the operator whose calls it takes
            names = {over: [over, over + "_"]}
            for table in made:
                table.update(dict.fromkeys([n for n in names[over] if n in table], block.function))
            continue
        space = block.text("space")
        if space:
            made.spaces[space] = block.function
            continue
        names_here = [block.name, *block.names("aliases")]
        if block.flag("public"):
            made.functions.update(dict.fromkeys([*names_here, *block.in_place], block.function))
        given = block.options.get("functional")
        functional = isinstance(given, ast.Constant) and bool(given.value)
        if functional:
            made.functional.update(dict.fromkeys([*names_here, *block.in_place], block.function))
        bound = block.text("method")
        if block.flag("method") or bound:
            made.methods.update(dict.fromkeys([bound] if bound else names_here, block.function))
        if block.flag("method") or not functional:
            made.methods.update(dict.fromkeys(block.in_place, block.function))
    return made


def core_stub(package: Path, methods: dict[str, ast.FunctionDef]) -> str:
    """The core's stub with methods of Tensor that it does not list itself."""
    source = (package / "_core.pyi").read_text()
    tensor = next(n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == "Tensor")
    listed = {n.name for n in tensor.body if isinstance(n, ast.FunctionDef)}
    lines = source.splitlines()
    fallback = next(n for n in tensor.body if isinstance(n, ast.FunctionDef) and n.name == "__getattr__")
    made = "\n".join(stub(name, methods[name], True, "    ") for name in sorted(methods) if name not in listed)
    # Names of dtypes and of methods shadow builtins inside the class and the module.
    for builtin in ("bool", "float", "int", "tuple"):
        made = _qualified(made, builtin)
    lines[fallback.lineno - 1 : fallback.end_lineno] = made.splitlines()
    return "\n".join(lines) + "\n"


def _qualified(text: str, builtin: str) -> str:
    """Signatures with `builtins.` before a builtin's name."""
    import re

    lines = text.splitlines()
    return "\n".join(
        re.sub(rf"(?<![\w.]){builtin}(?![\w(])", f"builtins.{builtin}", line) if line.lstrip().startswith("def ") else line
        for line in lines
    )


def package_stub(package: Path, functions: dict[str, ast.FunctionDef]) -> str:
    """The package's namespace: its imports, its plain names and the operators."""
    tree = ast.parse((package / "__init__.py").read_text())
    imports: list[ast.stmt] = []
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.If):
            imports += [n for n in node.body if isinstance(n, (ast.Import, ast.ImportFrom))]
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            imports.append(node)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], (ast.Tuple, ast.Name)):
            targets = node.targets[0].elts if isinstance(node.targets[0], ast.Tuple) else [node.targets[0]]
            names += [t.id for t in targets if isinstance(t, ast.Name) and not t.id.startswith("_") and t.id != "TYPE_CHECKING"]
    lines = [
        '"""Generated from the operators\' definitions."""',
        "",
        "import builtins",
        "from collections.abc import Sequence",
        "from typing import Any",
        "",
    ]
    late: list[str] = []
    for node in imports:
        if isinstance(node, ast.ImportFrom) and (
            node.module in ("__future__", "typing") or (node.module == "ops" and node.names[0].name == "*")
        ):
            continue
        if isinstance(node, ast.ImportFrom) and not any(alias.name == "*" for alias in node.names):
            node.names = [ast.alias(a.name, a.asname or a.name) for a in node.names]
        text = ast.unparse(node)
        (late if "creation" in text else lines).append(text)
    made = "\n".join(stub(name, functions[name], False) for name in sorted(functions))
    for builtin in ("bool", "float", "int", "tuple"):
        made = _qualified(made, builtin)
    return "\n".join([*lines, "", "__version__: str", *(f"{name}: DType" for name in names), "", made, "", *late]) + "\n"


def functional_stub(package: Path, functions: dict[str, ast.FunctionDef]) -> str:
    """`nn.functional`: its own functions and the operators'."""
    own = [n for n in ast.parse((package / "nn" / "functional.py").read_text()).body if isinstance(n, ast.FunctionDef)]
    found = {**functions, **{n.name: n for n in own if not n.name.startswith("_")}}
    made = "\n".join(stub(name, found[name], False) for name in sorted(found))
    head = [
        '"""Generated from the operators\' definitions."""',
        "",
        "from collections.abc import Sequence",
        "from typing import Any",
        "",
        "from .. import _core as core",
        "from .._core import DType, Tensor",
    ]
    return "\n".join([*head, "", made]) + "\n"


SPACES = ("special",)


def space_stub(package: Path, space: str, found: Tables) -> str:
    """A namespace of its own: its operators and the general ones that its module lists."""
    tree = ast.parse((package / f"{space}.py").read_text())
    others = next(n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "_OTHERS")
    pairs = [name.split("=") for name in ast.literal_eval(others).split()]
    known = {**found.spaces, **found.functional, **found.functions}
    functions = {pair[0]: known.get(pair[-1]) or known[f"{space}.{pair[-1]}"] for pair in pairs}
    functions |= {name.partition(".")[2]: f for name, f in found.spaces.items() if name.startswith(space + ".")}
    made = "\n".join(stub(name, functions[name], False) for name in sorted(functions))
    head = [
        '"""Generated from the operators\' definitions."""',
        "",
        "from collections.abc import Sequence",
        "from typing import Any",
        "",
        "from ._core import DType, Tensor",
    ]
    return "\n".join([*head, "", made]) + "\n"


def main(package: Path, output: Path) -> None:
    found = tables(read_blocks(package / "ops"))
    functions, functional, methods, _ = found
    output.mkdir(parents=True, exist_ok=True)
    for space in SPACES:
        (output / f"{space}.pyi").write_text(space_stub(package, space, found))
    creation = ast.parse((package / "tensors" / "creation.py").read_text())
    for node in creation.body:  # these take further arguments than the operators they are made of
        if isinstance(node, ast.FunctionDef):
            functions.pop(node.name, None)
    (output / "_core.pyi").write_text(core_stub(package, methods))
    (output / "__init__.pyi").write_text(package_stub(package, functions))
    (output / "functional.pyi").write_text(functional_stub(package, functional))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
