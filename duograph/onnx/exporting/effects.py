"""Calls of Python that only say something: prints, and errors that are raised. All others are refused."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

from onnx import helper

from duograph import _core as core
from duograph.capture.outside.host_calls import Again, _to_number
from duograph.capture.values.texts import TextWriter
from duograph.ir.graph import Node

from .functions import DOMAIN
from .names import element_type
from .table import exports
from .writer import Writer, refused

_PERCENT = re.compile(r"%(\d*(?:\.\d+)?)([dfegsr])")  # what str.format has, too


@exports("host_call")
def host_call(w: Writer, node: Node) -> None:
    """A print, or an error that is raised: a function of the domain `duograph` that computes nothing, its text an attribute."""
    row = w.model.hosts[node.attrs["number"]]
    function = row[2].__closure__[0].cell_contents
    raises, says = isinstance(function, Again), _print_options(function)
    if node.attrs["results"] or not (raises or says is not None):
        hint = "take the call out of the function, or save what is around it"
        called = getattr(function, "__name__", None) or getattr(function, "name", type(function).__name__)
        raise refused(node, f"this line calls Python ({called}), which a file cannot", hint)
    if not w.model.effects:
        w.set(node.output, w.number(False, core.bool))
        return
    text = _Text(w, node)
    if raises:
        args = row[3][: len(function.error.args)]
        message = text.part(args[0] if len(args) == 1 else ("tuple", args)) if args else ""
        attributes = {"text": f"{type(function.error).__name__}: {message}"}
    else:
        separator, end = says or (" ", "\n")
        attributes = {"text": _literal(separator).join(text.part(part) for part in row[3]), "end": end}
    name = _effect(w, "Raise" if raises else "Print", len(text.operands), attributes)
    w.set(node.output, w.emit(name, text.operands, DOMAIN, **attributes))


def _print_options(function: Any) -> tuple[str, str] | None:
    """What a print puts between its parts and behind them; None for what is no print to where all prints go."""
    if function is print:
        return " ", "\n"
    if not isinstance(function, functools.partial) or function.func is not print or function.args:
        return None
    given = dict(function.keywords)
    given.pop("flush", None)
    separator, end = given.pop("sep", None), given.pop("end", None)
    known = not given and all(x is None or isinstance(x, str) for x in (separator, end))
    return (" " if separator is None else separator, "\n" if end is None else end) if known else None


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


class _Text:
    """A template as `str.format` takes it, in the making; `operands` are the tensors of its fields."""

    def __init__(self, w: Writer, node: Node) -> None:
        self.writer = w
        self.node = node
        self.operands = [w.use(value) for value in node.inputs]

    def part(self, row: Any, inside: bool = False) -> str:
        """One argument of the print, or of the error; `inside`: of a list or tuple in it."""
        kind = row[0]
        if kind == "const":
            return _literal(repr(row[1]) if inside else str(row[1]))
        if kind == "output":
            return "{%d!s}" % row[1]  # noqa: UP031
        if kind in ("tuple", "list"):
            inner = ", ".join(self.part(x, True) for x in row[1])
            return f"({inner})" if kind == "tuple" else f"[{inner}]"
        if kind == "make" and row[1] is _to_number:
            return self.field(row[2][0], "", "")
        if kind == "make" and isinstance(row[1], TextWriter):
            fields = iter(row[2])
            return "".join(_literal(x) if isinstance(x, str) else self.field(next(fields), *x) for x in row[1].frame)
        if kind == "number":
            return self.field(row, "", "")
        raise self.refused()

    def field(self, row: Any, conversion: str, form: str) -> str:
        """A field of the template for one value."""
        if row[0] == "make" and row[1] is _to_number:
            row = row[2][0]
        if row[0] not in ("output", "number"):
            return self.part(row)
        place = row[1] if row[0] == "output" else self.number(row[1])
        if conversion == "%":
            known = _PERCENT.fullmatch(form)
            if known is None:
                raise self.refused()
            conversion, form = ("", known[1] + known[2]) if known[2] not in "sr" else (known[2], known[1])
        return "{%d%s%s}" % (place, conversion and f"!{conversion}", form and f":{form}")  # noqa: UP031

    def number(self, postfix: Sequence[Any]) -> int:
        """The operand that a number of Python's is."""
        name = self.writer.model.scalar(self.writer, postfix)
        if name is None:
            raise self.refused()
        self.operands.append(name)
        return len(self.operands) - 1

    def refused(self) -> Exception:
        return refused(self.node, "this line makes a text of more than tensors and numbers, which a file cannot")


def _effect(w: Writer, kind: str, count: int, attributes: dict[str, str]) -> str:
    """The function that stands for an effect where nobody knows of it."""
    name = f"{kind}{count}"
    no = helper.make_node("Constant", [], ["done"], value=helper.make_tensor("no", element_type(core.bool), [], [False]))
    imports = [helper.make_opsetid("", w.model.opset)]
    made = helper.make_function(DOMAIN, name, [f"x{i}" for i in range(count)], ["done"], [no], imports, list(attributes))
    w.model.functions.setdefault((name, b""), made)
    return name
