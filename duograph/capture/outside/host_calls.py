"""Calls into Python that a static program makes while it runs, in program order, on real values.

Each is a `host_call` node. What the function gets is told by templates over the node's operands, as results of the
program are; what Python and the caller's tensors must hold at that moment (attributes, `.grad`, in-place writes so far)
is brought up to date first where the function could see it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph._stack import Location, is_internal, user_location
from duograph.errors import CaptureError
from duograph.ir.graph import Graph, Value
from duograph.ir.types import TensorType
from duograph.ops.tracing import wrap

from ..control.presence import grad_if
from ..values.numbers import is_live
from ..values.texts import LaterText
from ..values.tree import Row, template, tensors_of

if TYPE_CHECKING:
    from ..memory.cells import Cell
    from ..session import Session

_NOTHING = object()


class Diverged(Exception):
    """The captured code ends here, at each run: an error that the program itself raises."""


class HostRow(NamedTuple):
    """One call as the core reads it: see static_entry.h."""

    operands: int
    effects: list[Row]
    function: Callable[..., Any]
    args: list[Row]
    watch: bool


class _Operands:
    """The operands of one call, and templates over them."""

    def __init__(self, calls: HostCalls) -> None:
        self.calls = calls
        self.values: list[Value] = []

    def add(self, value: Value) -> Row:
        if value not in self.values:
            self.values.append(value)
        return ("output", self.values.index(value))

    def tensor(self, tensor: Any) -> Row:
        """The template row of a tensor as it is now."""
        session, builder = self.calls.session, self.calls.session.builder
        concrete = session.results.is_from_before(tensor)
        if concrete and not session.differentiating:  # a gradient's program is run without the call's arguments
            if not self.calls.is_dirty(builder.view_of(tensor).cell):
                return session.results.concrete_row(tensor)
            return self.add(builder.read(tensor))
        builder.kinds.leaves(tensor)
        if tensor._traced is not None and tensor._traced.type.weak:  # stands for a Python number
            return ("make", _to_number, [self.add(builder.read(tensor))])
        return self.add(builder.read(tensor))

    def row(self, value: Any) -> Row:
        if is_live(value) and self.calls.session.differentiating:
            return self.tensor(wrap(self.calls.session.builder.number(value)))
        return template(value, self.tensor)


class HostCalls:
    """The calls of one capture."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.rows: list[HostRow] = []
        self.written: dict[Cell, Value] = {}  # inputs' storages, and what calls have brought to memory
        self.unknown: set[Cell] = set()  # written by calls in branches and loops
        self.flushed: dict[tuple[int, Any], Any] = {}  # stores that Python has seen
        self.applied = 0  # so many of the recorder's calls have been made

    # ---- calling

    def call(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        types: Sequence[TensorType] = (),
        kind: str = "light",
        location: Any = None,
        examples: bool = False,
    ) -> list[Any]:
        """Call `function(*args)` here at each run; the tensors it gives.

        Args:
            types: of the results, which the function gives as a tuple of tensors.
            kind: "light": it looks at its arguments only; "full": it may look at the state of the program; "raise": the
                run ends with it.
            examples: it takes tensors with one more dimension in front as well, and gives such.
        """
        builder = self.session.builder
        if self.session.differentiating and kind == "full":
            kind = "light"  # the run that this belongs to is over
        if kind == "full":
            self._check_not_tried(user_location())
        if kind == "full" and builder.regions:
            self._check_places()
            self._bring_up_to_date_outside()
        operands = _Operands(self)
        effects = [] if kind == "light" else self._due(operands, kind)
        commits = kind == "full" and bool(builder.regions) and self._commit_inside(operands, effects)
        rows = [operands.row(arg) for arg in args]
        located = at_line(function, location or user_location(), kind == "raise")
        attrs = {"number": len(self.rows), "results": len(types), "commits": commits}
        attrs |= {"examples": True} if examples else {}
        self.rows.append(HostRow(len(operands.values), effects, located, rows, kind == "full"))
        made = builder.emit("host_call", operands.values, attrs, types or [TensorType(core.bool)])
        return [wrap(value) for value in made[: len(types)]]

    def raises(self, error: Exception) -> None:
        """The error is raised here at each run, with that run's values in it."""
        if not isinstance(error, Diverged):  # which says that this was done further inside
            self._check_not_tried(raised_at(error) or user_location())
            location = raised_at(error)
            self.call(Again(error), (*error.args, *vars(error).values()), kind="raise", location=location)

    def _check_not_tried(self, location: Any) -> None:
        if self.session.recorder.tried:
            raise CaptureError(
                "static: inside of try, what only each run decides to raise: a static function cannot go on after it",
                hint="test the condition with if, or put try around the call of the static function",
                location=location,
            )

    def _check_places(self) -> None:
        recorder = self.session.recorder
        if len(recorder.log) > recorder.settled:
            raise CaptureError(
                "static: a host callback in a branch or loop that a tensor's value steers and that writes outside the function",
                hint="call it before or after the branch or loop, or write there after it",
                location=user_location(),
            )

    def raises_at_runs(self, error: Exception) -> bool:
        """Whether an error that ends the captured function must be raised by the program: something happens before it."""
        session = self.session
        before = self.rows or session.recorder.stores or session.recorder.calls or self._dirty()
        happens = isinstance(error, Diverged) or bool(before) or any(kind == "write" for kind, _, _ in session.journal)
        if happens:
            self.raises(error)
        return happens

    def _bring_up_to_date_outside(self) -> None:
        """In front of the branches and loops that are open: what was due before them."""
        builder = self.session.builder
        with builder.at_top():
            operands = _Operands(self)
            effects = self._due(operands, "full")
            if effects:
                attrs = {"number": len(self.rows), "results": 0, "commits": False}
                self.rows.append(HostRow(len(operands.values), effects, _nothing, [], False))
                builder.emit("host_call", operands.values, attrs, [TensorType(core.bool)])

    # ---- what is due

    def _due(self, operands: _Operands, kind: str) -> list[Row]:
        """Effects that must have happened when the call is made; writes to inputs are emitted or among them."""
        session, recorder = self.session, self.session.recorder
        effects: list[Row] = []
        if kind == "raise":
            for tensor, cell in self._dirty():
                effects.append(("call", _commit, [session.results.concrete_row(tensor), operands.add(cell.value)]))
        elif not session.builder.regions:
            for _, cell in self._dirty():
                assert cell.input is not None
                session.builder.assign(cell.input, cell.value)
                self.written[cell] = cell.value
                self.unknown.discard(cell)
        for tensor, grad in session.gradients_so_far():
            row = operands.row(grad)
            condition = session.builder.presence.of(grad)
            if condition is not None:
                row = ("make", grad_if, [operands.add(condition), row])
            effects.append(("grad", session.results.concrete_row(tensor), row))
        effects += self._due_calls(operands, kind)
        for identity, (what, holder, key, current) in recorder.stores.items():
            value = current()
            if self.flushed.get(identity, _NOTHING) is value and not tensors_of(value):
                continue
            if kind != "raise":
                self.flushed[identity] = value
                self.session.recorder.keep.append(value)
            row = operands.row(value)
            effects.append((what, holder, row) if what == "setcell" else (what, holder, key, row))
        return effects

    def _due_calls(self, operands: _Operands, kind: str) -> list[Row]:
        recorder = self.session.recorder
        waiting = recorder.calls[self.applied :]
        if kind != "raise":
            if any(tensors_of(list(args)) for _, args in waiting):
                raise CaptureError(
                    "static: a list or dict from outside has got tensors before a host callback, which could look at it",
                    hint="append to it after the callback, or return the tensors",
                    location=user_location(),
                )
            self.applied = len(recorder.calls)
        return [("call", function, [operands.row(a) for a in args]) for function, args in waiting]

    def left(self) -> tuple[list[tuple[Any, Any]], list[Any]]:
        """The recorder's calls and stores that are to be done when the program has run."""
        recorder = self.session.recorder
        stores = []
        for identity, row in recorder.stores.items():
            value = row[3]()
            if self.flushed.get(identity, _NOTHING) is not value or tensors_of(value):
                stores.append(row)
        return recorder.calls[self.applied :], stores

    # ---- writes to inputs

    def is_dirty(self, cell: Cell) -> bool:
        """Whether an input's memory is not what the program has made of it by now."""
        if cell.input is None:
            return False
        return cell in self.unknown or cell.value is not self.written.get(cell, cell.input)

    def _dirty(self) -> list[tuple[Any, Cell]]:
        """The storages of inputs that were written since, each with a tensor on the whole of it."""
        builder = self.session.builder
        cells = dict.fromkeys(view.cell for storage in builder.storages.values() for view in storage.views.values())
        dirty = {cell.input: cell for cell in cells if cell.input is not None and self.is_dirty(cell)}
        return [(tensor, dirty[value]) for value, tensor in builder.tensor_inputs if value in dirty]

    def _commit_inside(self, operands: _Operands, effects: list[Row]) -> bool:
        """In a branch or loop: the call itself writes what has changed."""
        dirty = self._dirty()
        for tensor, cell in dirty:
            effects.append(("call", _commit, [self.session.results.concrete_row(tensor), operands.add(cell.value)]))
            self.unknown.add(cell)
        return bool(dirty)

    # ---- the end

    def description(self, graphs: Sequence[Graph]) -> list[Any]:
        """The rows for the core: of calls that the programs make."""
        used = {n.attrs["number"] for graph in graphs for n in graph.walk() if n.op == "host_call"} if self.rows else set()
        return [tuple(row) if number in used else None for number, row in enumerate(self.rows)]


def speaks_for_itself(value: Any) -> bool:
    """Whether what a value looks like as text depends on nothing else."""
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return all(map(speaks_for_itself, value))
    if isinstance(value, BaseException) and type(value).__module__ == "builtins":
        return all(type(part) in (str, int, float, bool, type(None)) for part in value.args)
    plain = (str, int, float, bool, complex, bytes, type(None), LaterText)
    return isinstance(value, core.Tensor) or type(value) in plain or is_live(value)


_CALLING = "def make(function):\n def call(*args): return function(*args)\n return call"
_RAISING = "def make(function):\n def call(*args): raise function(*args)\n return call"


def at_line(function: Callable[..., Any], location: Any, raises: bool = False) -> Callable[..., Any]:
    """The function (or one that raises what it gives), called in a frame that is the user's line: tracebacks name it."""
    if location is None:
        location = Location("<unknown>", 1, "")
    module = compile(_RAISING if raises else _CALLING, location.file, "exec")
    make = next(c for c in module.co_consts if isinstance(c, CodeType))
    call = next(c for c in make.co_consts if isinstance(c, CodeType))
    named = call.replace(co_firstlineno=location.line, co_name=location.function, co_qualname=location.function)
    code = make.replace(co_consts=tuple(named if c is call else c for c in make.co_consts))
    made: Callable[..., Any] = FunctionType(code, {"__builtins__": __builtins__})(function)
    return made


def raised_at(error: BaseException) -> Any:
    """The user's line that raised an error."""
    found, trace = None, error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if not is_internal(code.co_filename) and not code.co_filename.startswith("<frozen"):
            found = Location(code.co_filename, trace.tb_lineno, code.co_qualname)
        trace = trace.tb_next
    return found


def _nothing() -> None:
    """Called for the effects that come with it."""


def _to_number(tensor: Any) -> Any:
    return tensor.item()


def _commit(target: Any, value: Any) -> None:
    """A tensor holds what the program has made of it by now."""
    target.detach().copy_(value)


class Again:
    """Makes an error of the user's anew for each run that raises it."""

    def __init__(self, error: Exception) -> None:
        self.error = error.with_traceback(None)
        self.names = list(vars(error))

    def __call__(self, *values: Any) -> Exception:
        """The error from its arguments and attributes: what the user's `__init__` does is done."""
        error, count = self.error, len(self.error.args)
        args, attributes = values[:count], dict(zip(self.names, values[count:]))
        try:
            if isinstance(type(error).__init__, FunctionType):
                again: Exception = type(error).__new__(type(error), *args)
                again.args = args
            else:
                again = type(error)(*args)
            again.__dict__.update(attributes)
        except Exception:
            return error
        again.__cause__, again.__suppress_context__ = error.__cause__, error.__suppress_context__
        return again
