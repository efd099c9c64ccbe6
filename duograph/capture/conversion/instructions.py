"""Functions without source (of `exec`, of the interactive interpreter) in a capture, by their instructions.

A function whose source is in no file cannot be rewritten. Its instructions are carried out one by one instead: reads,
writes and calls go to the recorder as those of converted code do, so they follow the same rules. One path is
captured: where a tensor's value decides which, the function is refused with its line.
"""

from __future__ import annotations

import dis
import functools
import inspect
import sys
import types
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph._recorded import state
from duograph._stack import Location
from duograph.errors import CaptureError

from ..control.control import deciding
from ..outside.journal import CONTAINERS, is_array
from ..outside.outer import is_used_up, refuse_iterator
from .steps import MADE, STEPS, is_jump

if TYPE_CHECKING:
    from .convert import Sites

_VERSION = (3, 11)  # whose instructions these are
_SKIPPED = frozenset(("NOP", "RESUME", "PRECALL", "CACHE", "MAKE_CELL", "COPY_FREE_VARS", "EXTENDED_ARG"))
_ELSEWHERE = _SKIPPED | {"RETURN_VALUE", "YIELD_VALUE"}
_UNSUITED = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_AROUND = "write it in a file, whose source dg.static can read"


class Handled(NamedTuple):
    """Instructions from `start` up to `end`: an exception there goes on at `target`."""

    start: int
    end: int
    target: int
    depth: int
    lasti: bool


class Code:
    """The instructions of one code object."""

    def __init__(self, code: types.CodeType) -> None:
        self.code = code
        self.steps = [i for i in dis.get_instructions(code) if i.opname not in _SKIPPED or i.is_jump_target]
        self.places = {step.offset: number for number, step in enumerate(self.steps)}
        self.lines: list[int] = []
        line = code.co_firstlineno
        for step in self.steps:
            line = step.starts_line or (step.positions.lineno if step.positions else None) or line
            self.lines.append(line)
        self.handled = [Handled(*entry) for entry in dis._parse_exception_table(code)]  # type: ignore[attr-defined]
        self._callers: dict[int, Callable[..., Any]] = {}

    def place(self, offset: int) -> int:
        """The first kept instruction at or after an offset."""
        found = self.places.get(offset)
        return next(n for n, step in enumerate(self.steps) if step.offset >= offset) if found is None else found

    def location(self, number: int) -> Location:
        return Location(self.code.co_filename, self.lines[number], self.code.co_qualname)

    def caller(self, number: int) -> Callable[..., Any]:
        """Calls a function from a frame that is the user's line, for tracebacks and the program's own lines."""
        line = self.lines[number]
        made = self._callers.get(line)
        if made is None:
            module = compile("lambda function, *args: function(*args)", self.code.co_filename, "eval")
            inner = next(c for c in module.co_consts if isinstance(c, types.CodeType))
            inner = inner.replace(co_firstlineno=line, co_name=self.code.co_name, co_qualname=self.code.co_qualname)
            made = self._callers[line] = types.FunctionType(inner, {"__builtins__": __builtins__})
        return made

    def refuse(self, number: int, what: str, hint: str = _AROUND) -> CaptureError:
        name = self.code.co_name
        return CaptureError(f"static: {name} has no source, and {what}", hint=hint, location=self.location(number))

    def check(self) -> None:
        """Refuses what is not carried out here."""
        if sys.version_info[:2] != _VERSION:
            raise self.refuse(0, "its instructions are those of another Python than 3.11")
        if self.code.co_flags & _UNSUITED:
            raise self.refuse(0, "it is async")
        for entry in self.handled:
            first = self.place(entry.target)
            names = [step.opname for step in self.steps[first : first + 2]]
            if names != ["PUSH_EXC_INFO", "WITH_EXCEPT_START"] and names[0] != "COPY":
                raise self.refuse(self.place(entry.start), "it has a try statement, which is not followed there")
        for number, step in enumerate(self.steps):
            if step.opname not in STEPS and step.opname not in _ELSEWHERE and not is_jump(step.opname):
                raise self.refuse(number, f"its instruction {step.opname} is not followed there")


@functools.cache
def _code(code: types.CodeType) -> Code:
    made = Code(code)
    made.check()
    return made


def step_by_step(function: types.FunctionType) -> Any:
    """A function without source as one that carries out its instructions in the capture's sight."""

    def run(*args: Any, **kwargs: Any) -> Any:
        if state.recorder is None:
            return function(*args, **kwargs)
        frame = Frame(_code(function.__code__), function, bound(function, args, kwargs))
        steps = frame.run()
        if function.__code__.co_flags & inspect.CO_GENERATOR:
            return steps
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        raise AssertionError("a function that is no generator gave something on the way")

    run.__name__, run.__qualname__, run.__module__ = function.__name__, function.__qualname__, function.__module__
    return run


def bound(function: types.FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The local variables at the start of a call."""
    code = function.__code__
    plain = not code.co_kwonlyargcount and not code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    if plain and not kwargs and len(args) == code.co_argcount:
        return dict(zip(code.co_varnames, args))
    try:
        given = inspect.signature(function, follow_wrapped=False).bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{function.__name__}() got {error}") from None
    given.apply_defaults()
    return dict(given.arguments)


class Frame:
    """One call."""

    def __init__(self, code: Code, function: types.FunctionType, variables: dict[str, Any]) -> None:
        from .convert import Sites

        self.code = code
        self.globals = function.__globals__
        self.variables = variables
        own = MADE.get(function, frozenset())
        names = code.code
        self.cells = {
            name: types.CellType(variables[name]) if name in variables else types.CellType() for name in names.co_cellvars
        }
        outer = dict(zip(names.co_freevars, function.__closure__ or ()))
        self.cells |= outer
        self.own = own | {id(self.cells[name]) for name in names.co_cellvars}
        self.outside = {name: i for i, name in enumerate(n for n, cell in outer.items() if id(cell) not in own)}
        rows: list[tuple[str, Any, str]] = [("cell", outer[name], name) for name in self.outside]
        self.numbers = {name: len(rows) + i for i, name in enumerate(names.co_names)}
        self.sites: Sites = Sites([*rows, *(("item", self.globals, name) for name in names.co_names)])
        self.stack: list[Any] = []
        self.names: tuple[str, ...] = ()  # of the arguments of the next call that have names
        self.at = 0

    # ---- the stack

    def pop(self) -> Any:
        """A value that is used whole."""
        value = self.stack.pop()
        recorder = state.recorder
        if recorder is not None and id(value) in recorder.external:
            if isinstance(value, CONTAINERS) or is_array(value):
                recorder.look(value)
            elif is_used_up(value):
                raise refuse_iterator("")
        return value

    def many(self, count: int) -> list[Any]:
        taken = [self.pop() for _ in range(count)]
        taken.reverse()
        return taken

    # ---- running

    def run(self) -> Generator[Any, Any, Any]:
        steps = self.code.steps
        while True:
            number = self.at
            step = steps[number]
            self.at += 1
            if step.opname == "RETURN_VALUE":
                return self.pop()
            if step.opname == "YIELD_VALUE":
                self.stack.append((yield self.pop()))
                continue
            if step.opname in _SKIPPED:
                continue
            try:
                self.code.caller(number)(self.do, step)
            except CaptureError:
                raise
            except Exception as error:
                self.handle(step.offset, error)

    def do(self, step: dis.Instruction) -> None:
        if is_jump(step.opname):
            self.jump(step)
        else:
            STEPS[step.opname](self, step)

    def handle(self, offset: int, error: Exception) -> None:
        """Go on where an exception is looked at, or raise it."""
        for entry in self.code.handled:
            if entry.start <= offset < entry.end:
                del self.stack[entry.depth :]
                self.stack += [offset, error] if entry.lasti else [error]
                self.at = self.code.place(entry.target)
                return
        raise error

    def jump(self, step: dis.Instruction) -> None:
        name = step.opname
        if "_IF_" in name:
            keeps = name.endswith("_OR_POP")
            value = self.stack[-1] if keeps else self.stack.pop()
            if "NONE" in name:
                taken = (value is None) is ("NOT_NONE" not in name)
            else:
                taken = self.truth(value) is ("TRUE" in name)
            if not taken:
                if keeps:
                    self.stack.pop()
                return
        self.at = self.code.place(step.argval)

    def truth(self, value: Any) -> bool:
        value = deciding(value)
        if isinstance(value, core.Tensor):
            spec = f"{value.dtype.name}[{', '.join(map(str, value.shape))}]"
            what = f"only one path through it is captured: the truth of a tensor ({spec}) decides here which"
            raise self.code.refuse(self.at - 1, what, f"{_AROUND} and capture both ways; or use dg.where")
        return bool(value)

    def call(self, function: Any, args: list[Any], named: dict[str, Any]) -> Any:
        if function is super and not args:
            args = [self.cells["__class__"].cell_contents, self.variables[self.code.code.co_varnames[0]]]
        elif function is locals:
            return dict(self.variables)
        elif function is globals:
            return self.sites.outside(self.globals) or self.globals
        elif function in (eval, exec):
            self.sites.unseen(function.__name__)
        return self.sites.callee(function)(*args, **named)
