"""What ONNX's operators mean: a table of Python functions of duograph tensors, by domain, name and version.

`@operator("Softmax", since=13)` adds a row. Positional parameters are the node's inputs in order (None where one is left out),
keyword-only ones its attributes under ONNX's names. How an input is annotated says what the function is given:

    Tensor    a tensor; sizes that are known become one
    Numbers   a list of whole numbers: Python's, or sizes of a capture, which behave as such
    Bounds    these, or tensors without dimensions where a capture cannot know the numbers
    Number    one of these
    Operand   a tensor, or a Python number for a constant without dimensions
    Any       the value as it is: a tensor, whole numbers as a NumPy array, a list for a sequence, None for an empty optional

Attributes are numbers, texts, lists of them, NumPy arrays for tensors and callables for graphs. Three keywords are not of the
node: `outputs` (how many outputs are asked for), `opset` (the model's version of the operator's domain) and `dtypes` (what the
model says of the outputs' dtypes, None where it says nothing).
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from duograph import _core as core

Tensor: TypeAlias = core.Tensor
Numbers: TypeAlias = list[int]
Bounds: TypeAlias = list[Any]
Number: TypeAlias = int
Operand: TypeAlias = Any
Function = TypeVar("Function", bound=Callable[..., Any])

TENSOR, NUMBERS, BOUNDS, NUMBER, OPERAND, ANY = range(6)
_KINDS = {"Tensor": TENSOR, "Numbers": NUMBERS, "Bounds": BOUNDS, "Number": NUMBER, "Operand": OPERAND}
_SAID = ("inputs", "rest", "required", "attributes", "asked", "given")
_GIVEN = ("outputs", "opset", "dtypes")
_rows: dict[tuple[str, str], list[Operator]] = {}
_loaded: set[str] = set()


class Operator:
    """One meaning of an operator, from one version of its domain to another.

    inputs      the kinds of its positional parameters; `rest` that of all further ones, None if there are none
    required    how many inputs it must have at least
    attributes  the names of its attributes; `asked` those that have no default; `given` the keywords that are not of the node
    """

    def __init__(self, domain: str, name: str, since: int, until: int | None, function: Callable[..., Any]) -> None:
        self.domain = domain
        self.name = name
        self.since = since
        self.until = until
        self.function = function

    def __getattr__(self, name: str) -> Any:
        """What the signature says is read when it is first asked for: most operators of the table are in no model."""
        if name not in _SAID:
            raise AttributeError(name)
        self._read()
        return self.__dict__[name]

    def _read(self) -> None:
        self.inputs: list[int] = []
        self.rest: int | None = None
        self.required = 0
        self.attributes: set[str] = set()
        self.asked: set[str] = set()
        self.given: set[str] = set()
        for parameter in inspect.signature(self.function).parameters.values():
            self._take(parameter)

    def _take(self, parameter: inspect.Parameter) -> None:
        kind = _KINDS.get(str(parameter.annotation).removesuffix(" | None"), ANY)
        if parameter.kind is parameter.VAR_POSITIONAL:
            self.rest = kind
        elif parameter.kind is parameter.KEYWORD_ONLY:
            if parameter.name in _GIVEN:
                self.given.add(parameter.name)
                return
            self.attributes.add(parameter.name)
            if parameter.default is parameter.empty:
                self.asked.add(parameter.name)
        else:
            self.inputs.append(kind)
            self.required += parameter.default is parameter.empty

    def kind(self, position: int) -> int | None:
        """What the function wants in the place of an input; None where there is no such input."""
        return self.inputs[position] if position < len(self.inputs) else self.rest

    def __repr__(self) -> str:
        return f"<{self.domain or 'ai.onnx'}.{self.name} since {self.since}>"


def operator(name: str, *, since: int = 1, until: int | None = None, domain: str = "") -> Callable[[Function], Function]:
    """Decorator: the function is what the operator means from version `since` of its domain on, to version `until`."""

    def decorate(function: Function) -> Function:
        rows = _rows.setdefault((domain, name), [])
        rows.append(Operator(domain, name, since, until, function))
        rows.sort(key=lambda row: -row.since)
        return function

    return decorate


def find(domain: str, name: str, opset: int) -> Operator | None:
    """The newest meaning that a version of the domain has; None if the table has none."""
    if not _loaded:
        load_families()
    for row in _rows.get((domain, name), ()):
        if row.since <= opset and (row.until is None or opset <= row.until):
            return row
    return None


def load_families() -> None:
    """Import all modules beside this one, which fill the table."""
    package = importlib.import_module(__package__ or "")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name not in _loaded:
            importlib.import_module(f"{__package__}.{module.name}")
            _loaded.add(module.name)


def known() -> dict[tuple[str, str], list[Operator]]:
    """The whole table: rows by (domain, name), the newest first."""
    load_families()
    return _rows
