"""`to_python`: the text of a module, and its weights beside it."""

from __future__ import annotations

import keyword
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from duograph import _core as core
from duograph import nn, serialization
from duograph.errors import ArgumentError

from ..errors import UnsupportedError
from ..operators.narrow import is_narrow
from ..reading import Data
from ..steering import steering_inputs
from ..structure import Body, Node
from .bodies import Scope
from .layout import Group, literal, quoted, statement
from .names import TAKEN, Names, class_name, identifier
from .values import Constant, Value


class Module:
    """What the functions of one text share: the weights that they read, the functions they call, the imports.

    model  a loaded model
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.held: dict[str, tuple[str, Any, bool]] = {}  # path in the module, tensor, whether it learns; by the value's name
        self.paths: set[str] = set()
        self.domains: dict[tuple[str, int], str] = {}
        self.methods: dict[int, tuple[str, Body]] = {}
        self.method_names = Names({*dir(nn.Module)})
        self.functions: list[str] = []
        self.imports: set[str] = set()
        self.top = Names()

    # ---- what bodies ask for

    def calls(self) -> str:
        self.imports.add("from duograph.onnx import calls")
        return "calls"

    def numpy(self) -> str:
        self.imports.add("import numpy as np")
        return "np"

    def operators(self, domain: str, opset: int) -> str:
        """The variable for the operators of a domain."""
        self.calls()
        key = (domain, opset)
        if key not in self.domains:
            self.domains[key] = "op" if not self.domains else self.top.new(f"op_{domain}_{opset}")
        return self.domains[key]

    def parameter(self, name: str) -> str:
        """The argument that a function's attribute is."""
        if not name.isidentifier() or not name.isascii():
            raise UnsupportedError(f"onnx: the attribute {name!r} has no name in Python")
        return f"{name}_" if name in TAKEN else name

    def weight(self, value: Constant) -> str | None:
        """The attribute that holds a constant; None for small ones that are no initialisers."""
        place = self.model.places.get(value.key)
        if place is None and (value.small or (value.array.size and value.uniform())):
            return None
        if value.key not in self.held:
            tensor = value.data.tensor() if place is None else getattr(*place)
            learns = place is not None and isinstance(tensor, nn.Parameter)
            self.held[value.key] = (self.path(value.key), tensor, learns)
        return f"self.{self.held[value.key][0]}"

    def held_by(self, name: str) -> str:
        """The attribute that holds an initialiser which may change."""
        if name not in self.held:
            module, leaf = self.model.places[name]
            tensor = getattr(module, leaf)
            self.held[name] = (self.path(name), tensor, isinstance(tensor, nn.Parameter))
        return f"self.{self.held[name][0]}"

    def path(self, name: str) -> str:
        """A free path of attributes, like the name: dots lead into modules, numbers stay with what is before them."""
        parts: list[str] = []
        for part in name.split("."):
            if part.isdigit() and parts:
                parts[-1] += f"_{part}"
            else:
                parts.append(identifier(part))
        parts = [
            f"{part}_" if hasattr(nn.Module, part) or part in _RESERVED or keyword.iskeyword(part) else part for part in parts
        ]
        while self.clashes(made := ".".join(parts)):
            parts = [*parts[:-2], "_".join(parts[-2:])] if len(parts) > 1 else [f"{parts[0]}_"]
        self.paths.add(made)
        return made

    def clashes(self, path: str) -> bool:
        """Whether it is a tensor or a module already, or leads through a tensor."""
        return any(path == other or other.startswith(f"{path}.") or path.startswith(f"{other}.") for other in self.paths)

    def method(self, body: Body, node: Node) -> str:
        """The method that a function of the model's is."""
        found = self.methods.get(id(body))
        if found is None:
            found = self.methods[id(body)] = (self.method_names.new(f"call_{body.name}"), body)
            self.function(found[0], body, node)
        return found[0]

    def function(self, title: str, body: Body, node: Node) -> None:
        attributes = {self.parameter(name): self.default(body, name) for name in sorted({*body.defaults, *_references(body)})}
        scope = Scope(self, Names({*attributes}))
        steering = steering_inputs(body)
        arguments = [f"{scope.variable(name, name in steering)}=None" for name in body.inputs]
        arguments += [f"{name}={value}" for name, value in attributes.items()]
        scope.write(body)
        self.functions += ["", *_define(title, ["self", *arguments]), *scope.lines, *results(scope, body)]

    def default(self, body: Body, name: str) -> str:
        value = body.defaults.get(name)
        if value is not None and not isinstance(value, (int, float, str, list)):
            raise UnsupportedError(f"onnx: function {body.name!r}: the attribute {name!r} cannot be written")
        return str(literal(tuple(value) if isinstance(value, list) else value))

    # ---- the text

    def text(self, weights: str) -> str:
        """The whole file; `weights` is the name of the file beside it."""
        body: Body = self.model.body
        names = Names()
        scope = Scope(self, names)
        for name, (module, leaf) in self.model.places.items():
            scope.values[name] = Constant(_data(getattr(module, leaf)), name)
        for name in (*self.model.settings, *self.model.kept.state, *self.model.kept.slopes):
            scope.values[name] = Value(self.held_by(name))
        arguments = []
        for about in self.model.input_types:
            loose = about.name in self.model.steering
            arguments.append(scope.variable(about.name, loose))
            if is_narrow(about.number):
                raise UnsupportedError(f"onnx: input {about.name!r} is of a type that has no dtype")
            if about.dtype is not None and about.dtype.is_floating_point:
                scope.floats.add(about.name)
        scope.write(body)
        before = ["    @dg.no_grad()"] if self.model.kept else []
        end = ending(scope, self.model)
        forward = [*before, *_define("forward", ["self", *arguments]), *scope.lines, *end]
        lines = [*self.head(), *self.constructor(weights), "", *forward, *self.functions]
        return "\n".join(lines) + "\n"

    def head(self) -> list[str]:
        """Imports and what stands before the class."""
        lines = ["from pathlib import Path", ""]
        if "import numpy as np" in self.imports:
            lines += ["import numpy as np", ""]
        lines += ["import duograph as dg", "from duograph import nn", "from duograph.nn import functional as F"]
        lines += ["from duograph.onnx import calls"] if self.domains or self.imports else []
        if self.domains:
            lines.append("")
            for (domain, opset), name in self.domains.items():
                items = [str(opset), *([quoted(domain)] if domain else [])]
                lines += statement(f"{name} = ", Group("calls.Operators(", items), 0)
        return [*lines, "", "", f"class {class_name(self.model.body.name)}(nn.Module):"]

    def constructor(self, weights: str) -> list[str]:
        lines = ["    def __init__(self):", "        super().__init__()"]
        if self.held:
            lines += statement("weights = ", Group("dg.load(", [f"Path(__file__).with_name({quoted(weights)})"]), 8)
        made: set[str] = set()
        for path, _, learns in self.held.values():
            *outer, leaf = path.split(".")
            for end in range(1, len(outer) + 1):
                inner = ".".join(outer[:end])
                if inner not in made:
                    made.add(inner)
                    lines += statement(f"self.{inner} = ", "nn.Module()", 8)
            holder = ".".join(["self", *outer])
            value = Group("weights[", [quoted(path)], "]")
            if learns:
                lines += statement(f"{holder}.{leaf} = ", Group("nn.Parameter(", [value]), 8)
            else:
                lines += statement("", Group(f"{holder}.register_buffer(", [quoted(leaf), value]), 8)
        return lines


_RESERVED = {*vars(nn.Module()), "training"}


def ending(scope: Scope, model: Any) -> list[str]:
    """What the model leaves behind, and its return statement."""
    kept, body = model.kept, model.body
    if not kept:
        return results(scope, body)
    copied = {name for node in body.nodes if node.op in _VIEWS for name in node.outputs} | {*model.inputs, *model.places}
    for name in kept.all:
        value = scope.value(name)
        if value is not None and (name in copied or isinstance(value, Constant)):
            own = scope.simple(value)
            scope.put(f"{scope.variable(name)} = ", f"{own}.clone()")
    values = {name: scope.simple(value) for name in kept.all if (value := scope.value(name)) is not None}
    for name, after in kept.slopes.items():
        scope.put(f"{scope.module.held_by(name)}.grad = ", values[after])
    for name, after in kept.state.items():
        scope.put("", f"{scope.module.held_by(name)}.copy_({values[after]})")
    return results(scope, body, kept.outputs)


_VIEWS = {"Identity", "Reshape", "Transpose", "Slice", "Squeeze", "Unsqueeze", "Expand", "Flatten", "Split", "Cast", "CastLike"}


def results(scope: Scope, body: Body, names: Sequence[str] | None = None) -> list[str]:
    """The return statement."""
    values = [scope.value(name) for name in (body.outputs if names is None else names)]
    items = ["None" if value is None else scope.tensor(value) for value in values]
    if not items:
        return statement("return ", "None", scope.indent)
    if len(items) == 1:
        return statement("return ", items[0], scope.indent)
    flat = statement("return ", ", ".join(map(str, items)), scope.indent)
    return flat if len(flat[0]) <= 88 else statement("return ", Group("(", items, literal=True), scope.indent)


def _define(name: str, arguments: list[str]) -> list[str]:
    return statement("", Group(f"def {name}(", list(arguments)), 4, after=":")


def _references(body: Body) -> set[str]:
    return {name for node in body.nodes for name in node.references.values()} | {
        name for node in body.nodes for inner in node.bodies() for name in _references(inner)
    }


def _data(tensor: Any) -> Any:
    """A tensor as the constants of a model are kept."""
    bits = tensor.detach()
    return Data((bits.view(core.int16) if tensor.dtype is core.bfloat16 else bits).numpy(), tensor.dtype)


def to_python(model: Any, path: Any, *args: Any, **kwargs: Any) -> None:
    """Write a model as a Python module: a class with one statement per node, and its weights as safetensors beside it.

    Args:
        model: a loaded model; or a static function, a Module or a function, which is exported for the example arguments.
        path: of the text, `something.py`; the weights go to `something.safetensors`.

    The module is an `nn.Module` that runs in dynamic mode, under a debugger too; `dg.static` of it is the graph again.

    Errors:   UnsupportedError, with the node, for what has no Python

    >>> import pathlib, tempfile, onnx
    >>> import duograph as dg
    >>> text = '<ir_version: 8, opset_import: ["" : 18]> double (float[N] x) => (float[N] y) { y = Add(x, x) }'
    >>> path = pathlib.Path(tempfile.mkdtemp(), "double.py")
    >>> dg.onnx.load(onnx.parser.parse_model(text)).to_python(path)
    >>> print(path.read_text().splitlines()[-2].strip())
    y = x + x
    """
    from ..model import Model, load

    target = Path(path)
    if target.suffix != ".py":
        raise ArgumentError(f"to_python: {str(target)!r} is no name of a Python file", hint="model.py")
    if not isinstance(model, Model):
        model = load(_exported(model, args, kwargs))
    elif args or kwargs:
        raise ArgumentError("to_python: a loaded model takes no example arguments")
    if model.narrow:
        raise UnsupportedError(f"to_python: {next(iter(model.narrow))!r} is of a type that has no dtype")
    module = Module(model)
    weights = target.with_suffix(".safetensors")
    text = module.text(weights.name)
    if module.held:
        tensors = {held: tensor.detach() for held, tensor, _ in module.held.values()}
        _replace(weights, lambda place: serialization.save(tensors, place))
    _replace(target, lambda place: place.write_text(text, encoding="utf-8"))


def _exported(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    from ..exporting.calling import export

    made = export(model, args, kwargs=kwargs)
    assert made is not None
    return made.model_proto


def _replace(target: Path, write: Any) -> None:
    """A new file under another name, which takes its place when it is whole."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
