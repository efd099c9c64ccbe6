"""`static`: a function, a method, a Module or a whole training step as a static program that replays without Python."""

from __future__ import annotations

import copyreg
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

from duograph import _core as core
from duograph._collection import paused_collection
from duograph._forks import capture_lock
from duograph._recorded import state
from duograph.config import config
from duograph.errors import ArgumentError, CaptureError, GradError, OutOfMemoryError

from .again import Again, places_of
from .budget import read_budget
from .control.inner import LeadsBack
from .conversion.convert import callee
from .function import make_static as make_static
from .memory.borrowed import MayAlternate
from .memory.joined import Care, LookAgain
from .outside.watched import TupleHistory
from .reports.failures import Lines, raise_failure
from .reports.signatures import Reasons, Signatures, signatures, warn
from .session import Captured, Session
from .values.declared import Declared
from .values.size_history import Plan, SizeHistory
from .values.sizes import Unsettled, known_sizes
from .values.tree import tensors_again

if TYPE_CHECKING:
    from .reports.report import Report

F = TypeVar("F", bound=Callable[..., Any])


class Handler:
    """What a static function does when no capture fits: make one. Its public attributes show on the function."""

    differentiable = True  # captures have a program for the gradient of the call, too

    def __init__(
        self, target: Callable[..., Any], strict: bool, sizes: Mapping[str, Any] | None = None, budget: int | str | None = None
    ) -> None:
        self.target = target
        self.options = (strict, sizes, budget)
        self.strict = strict
        self.budget = read_budget(budget)
        self.single_path = False  # refuse where a tensor's value decides, instead of capturing both ways
        self.captures = 0
        self.reasons = Reasons()
        self.compilations = 0
        self.function: Any = None  # the core's StaticFunction around this
        self.__name__ = getattr(target, "__name__", type(target).__name__)
        declared = Declared(self.__name__, target, sizes)
        if self.budget is not None:
            declared.require_bounds()
        self.sizes = SizeHistory(declared)
        self.tuples = TupleHistory()
        self.__qualname__ = getattr(target, "__qualname__", self.__name__)
        self.__doc__ = getattr(target, "__doc__", None)
        self.__module__ = getattr(target, "__module__", "")

    def inline(self, *args: Any, **kwargs: Any) -> Any:
        """Inside another capture, and in dynamic mode: the Python itself."""
        if state.recorder is not None:
            return callee(state.recorder, self.target)(*args, **kwargs)
        return self.target(*args, **kwargs)

    def miss(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Hook of the core: no capture fits this call. Makes one, as a `core.StaticEntry`."""
        with capture_lock:
            entry = self.function.find(*args, **kwargs)
            if entry is not None:  # another thread was faster
                return entry
            reason = self.reasons.why(self.__name__, self.function.entries, args, kwargs, self.captures)
            with paused_collection():
                entry, _ = self.capture(args, kwargs)
            entry.description["reason"] = reason
            self.function.add(entry, config.capture_limit)
            return entry

    def capture(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, list[Any]]:
        """(the entry for this call, the build results of its programs)."""
        plan = self.plan(args, kwargs)
        care = Care(find=True, in_order=self.strict)
        fault = ""  # of ours, that made a capture with symbols fail
        loose: Exception | None = None  # why sums of gradients are not in dynamic mode's order
        while True:
            session = Session(self.target, self.__name__, self.differentiable, self.single_path, plan, care)
            sizes = session.recorder.sizes
            sizes.strict, session.recorder.tuples = self.strict, self.tuples
            try:
                captured = session.capture(args, kwargs)
                if plan and sizes.pinned:
                    plan = plan.without(sizes.pinned)
                    continue
                made = self.compile(captured, args, kwargs)
                break
            except (LookAgain, MayAlternate) as found:
                if isinstance(found, LeadsBack) and (care.for_order or found.shared):
                    loose = found
                care = found.care(care)
                if care.spans:
                    plan = plan.without(())
            except OutOfMemoryError:  # a budget that is too small for the greatest sizes
                raise
            except Exception as error:
                if care.for_order and (isinstance(error, CaptureError) or (isinstance(error, Unsettled) and not plan)):
                    loose, care = error, care.out_of_order()
                    continue
                if not plan:
                    raise
                if isinstance(error, Unsettled):
                    plan = plan.without(sizes.pinned)
                else:
                    plan = plan.without(())  # a mistake of the program is made again, in the numbers of this call
                    fault = "" if isinstance(error, (CaptureError, GradError)) else f"{type(error).__name__}: {error}"
        if fault:
            warn(
                f"static: {self.__name__} is captured for each size by itself: with a size that changes as a symbol, it failed "
                f"with {fault}\n  hint: this is a fault of duograph, not of your program: please report it"
            )
        if loose is not None:
            warn(
                f"static: the last bits of gradients through {self.__name__} may differ from dynamic mode's, although it is "
                f"strict: variables that may be one another are used in turn, and could not be followed:\n  {loose}"
            )
        self.captures += 1
        return made

    def plan(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Plan:
        """What of a call is to be a symbol. Under a budget only what has an upper bound: a plan's bytes depend on it."""
        plan = self.sizes.plan(self.target, args, kwargs)
        return plan if self.budget is None else plan.bounded()

    def compile(self, captured: Captured, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, list[Any]]:
        from duograph.runtime.build import build

        built = [build(captured.graph, strict=self.strict, fuse=config.fuse, views=False, budget=self.budget)]
        lines = Lines(captured.graph, self.strict, self.budget, captured.checks)
        description = dict(captured.description, program=built[0].program, stored=built[0].stored, tape=None, lines=lines)
        if captured.backward is not None and captured.tape is not None:
            built.append(build(captured.backward.graph, strict=self.strict, fuse=config.fuse, views=False, budget=self.budget))
            places = places_of(captured.backward.outputs, captured.result, captured.same)
            count = len(tensors_again(captured.result))
            again = Again(self.target, len(args), tuple(kwargs), places, count, description["effects"])
            goes_on = Continued(captured.backward.continued, self.strict, self.budget)
            specs = [(tensor.dtype, known_sizes(tensor.shape)) for _, tensor in captured.backward.outputs]
            description["tape"] = (
                f"static {self.__name__}",
                built[1].program,
                again,
                specs,
                *captured.tape[:5],
                goes_on,
                *captured.tape[5:],
            )
        self.compilations += 1
        return core.StaticEntry(description), built

    def failed(self, entry: Any, code: int, status: tuple[int, ...], node: int) -> None:
        """Hook of the core: a run of the program failed."""
        raise_failure(self.__name__, entry, code, status, node)

    def explain(self, *args: Any, time: bool = False, **kwargs: Any) -> Report:
        """What the static program does for these arguments, beside the dynamic graph. Changes nothing.

        Args:
            time: also run every kernel and give its microseconds.
        """
        with capture_lock:
            from .reports.report import explain

            return explain(self, args, kwargs, time)

    def graph(self, *args: Any, **kwargs: Any) -> Any:
        """What is captured, as a `duograph.graph.Graph`: to look at, fetch from the middle of, and change.

        Args:
            args, kwargs: of a call, which is made; left out: the capture that was used last.

        Arguments are placeholders (collection "inputs"), parameters variables that share their memory, results the collection
        "outputs". What the function does besides (writes, calls of Python) is no part of it; gradients go through the function,
        not through this graph.

        Errors:   ArgumentError where nothing is captured yet

        >>> import duograph as dg
        >>> import duograph.graph as tf
        >>> f = dg.static(lambda x: (x * 2).relu())
        >>> graph = f.graph(dg.ones(2))
        >>> [node.type for node in graph.get_operations()][-1]
        'relu'
        """
        from importlib import import_module  # graphs lie above captures

        return import_module("duograph.graph.captured").graph_of(self.function, args, kwargs)

    def save(
        self,
        path: Any,
        *args: Any,
        sizes: Mapping[str, Any] | None = None,
        opset: int | None = None,
        verify_with: Any = None,
        external_data: bool | None = None,
        prints: bool = True,
        **kwargs: Any,
    ) -> None:
        """Writes the program as an ONNX file, which `dg.onnx.load` and every ONNX runtime run.

        Args:
            path: of the file.
            args, kwargs: of a call, which is captured by itself; parameters and buffers become the file's initialisers.
            sizes: which sizes of the arguments stay open, as `static` takes it; left out: those declared there.
            opset: the version of ONNX's operators, 21 if left out.
            verify_with: arguments of a call, which is made; the file keeps them and the results, for `duograph check`.
            external_data: weights in a file of their own, `path + ".data"`; left out: where one file cannot hold them.
            prints: whether `print` and errors that the function raises are nodes of the file (domain `duograph`, with a body
                that does nothing where they are unknown), or left out.

        Errors:   GraphError, with the line, for what no file can do, such as a call of Python
        """
        from importlib import import_module  # files lie above captures

        chosen: dict[str, Any] = {"sizes": sizes, "opset": opset, "verify_with": verify_with}
        chosen |= {"external_data": external_data, "prints": prints}
        import_module("duograph.onnx.exporting.calling").save(self.function, path, *args, **chosen, **kwargs)

    def to_python(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """Writes the program for these arguments as a Python module, an `nn.Module` with a line for each operation, and its
        weights beside it: see `dg.onnx.to_python`."""
        from importlib import import_module  # files lie above captures

        import_module("duograph.onnx.writing.module").to_python(self.function, path, *args, **kwargs)

    def signatures(self) -> Signatures:
        """What is captured, the last used first: the arguments each capture takes, what it assumed, why it was made."""
        return signatures(self.function)

    def clear_captures(self) -> None:
        """Forgets all captures."""
        self.function.clear()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "target":
            raise AttributeError(name)
        return getattr(self.target, name)


class Continued:
    """The gradient's program for inputs of which a sum is there before, compiled when it is first asked for."""

    def __init__(self, graph: Any, strict: bool, budget: int | float | None) -> None:
        self.graph = graph
        self.strict = strict
        self.budget = budget
        self.program: Any = None

    def __call__(self) -> Any:
        with capture_lock:
            if self.program is None:
                from duograph.runtime.build import build

                self.program = build(self.graph, strict=self.strict, fuse=config.fuse, views=False, budget=self.budget).program
                self.graph = None
            return self.program


@overload
def static(
    target: F, /, *, strict: bool = False, sizes: Mapping[str, Any] | None = None, memory_budget: int | str | None = None
) -> F: ...
@overload
def static(
    target: None = None,
    /,
    *,
    strict: bool = False,
    sizes: Mapping[str, Any] | None = None,
    memory_budget: int | str | None = None,
) -> Callable[[F], F]: ...
def static(
    target: Any = None,
    /,
    *,
    strict: bool = False,
    sizes: Mapping[str, Any] | None = None,
    memory_budget: int | str | None = None,
) -> Any:
    """Make a function, method, Module or training step static: captured at the first call, then run by the core.

    The program is fused and memory-planned, and replayed for every call it fits. A size that is seen with a second
    value is a symbol from then on: further values capture nothing, unless one makes Python or an operator do something
    else. A changed global, closure variable, attribute or `train()`/`eval()` captures again; a changed learning rate or
    number argument does not. Gradients written by `backward()`, optimiser state and Module buffers end up as in dynamic mode.

    Args:
        target: what to make static; left out: `static` is a decorator with options.
        strict: the dynamic graph's very bits (by default a product may fuse with the sum it goes to).
        sizes: what is known of the arguments' sizes beforehand, by argument name: for each dimension a `Dim` (it
            changes), a number (it is always that) or None (find out); for a whole number among the arguments a `Dim`.
        memory_budget: bytes, as a number or a text like "256MB" or "1.5GB", or "30%" of what it would need otherwise:
            the most the program may allocate for intermediate values and results, gradients left in `.grad` among them.
            Arguments, parameters and optimiser state are there before it and do not count. Values that would not fit
            are computed again when they are needed, with the same bits, turns of loops too; `explain()` says what was
            done. Sizes that `sizes` names are symbols: the budget holds at the greatest of each (`Dim` with `max`).
            Every other size is captured by itself. For a function whose gradient is taken outside, each of its two
            programs stays within the budget. What a loop of unknown length keeps for its gradient grows as it runs and
            does not count.

    Errors:   CaptureError, with the line, where Python asks for a tensor's value or for a random number;
              OutOfMemoryError, at the call, for a budget that is too small: it names the smallest that would do

    >>> import duograph as dg
    >>> @dg.static
    ... def line(w, x, b):
    ...     return w * x + b
    >>> line(dg.tensor([2.0]), dg.tensor([3.0]), dg.tensor([1.0]))
    tensor([7.])
    """
    if target is None:
        return lambda function: static(function, strict=strict, sizes=sizes, memory_budget=memory_budget)
    if isinstance(target, (staticmethod, classmethod)):
        return type(target)(static(target.__func__, strict=strict, sizes=sizes, memory_budget=memory_budget))
    if isinstance(target, core.StaticFunction):
        target = target.__wrapped__
    if isinstance(target, type):
        if any(c.__name__ == "Module" and c.__module__ == "duograph.nn.module" for c in target.__mro__):
            forward = static(target.forward, strict=strict, sizes=sizes, memory_budget=memory_budget)  # type: ignore[attr-defined]
            target.forward = forward  # type: ignore[attr-defined]
            return target
        raise ArgumentError(f"static: {target.__name__} is a class", hint="make its methods static, or an instance")
    if not callable(target):
        raise ArgumentError(f"static: expected a function or a Module, got {type(target).__name__}")
    return make_static(target, Handler(target, strict, sizes, memory_budget))


def _as_copied(function: Any) -> Any:
    """How copies and pickles make a static function anew: by name in its module, or around a copy of what it runs."""
    handler = function.handler
    found: Any = sys.modules.get(handler.__module__ or "")
    for name in handler.__qualname__.split("."):
        found = getattr(found, name, None)
    if found is function:
        return handler.__qualname__
    return _again, (handler.target, handler.options, handler.single_path)


def _again(target: Callable[..., Any], options: tuple[Any, ...], single_path: bool) -> Any:
    handler = Handler(target, *options)
    handler.single_path = single_path
    return make_static(target, handler)


copyreg.pickle(core.StaticFunction, _as_copied)


class dynamic_mode:
    """Inside, static functions run their Python line by line (under pdb, say), with the same results. Also a decorator.

    The environment variable DUOGRAPH_DYNAMIC=1 does the same for the whole program.
    """

    def __enter__(self) -> dynamic_mode:
        core.set_dynamic_mode(True)
        return self

    def __exit__(self, *exc: object) -> None:
        core.set_dynamic_mode(False)

    def __call__(self, function: F) -> F:
        import functools

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with dynamic_mode():
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]
