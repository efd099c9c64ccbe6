"""`compare`: one call in both modes, operator by operator, and the first place where their results part."""

from __future__ import annotations

import difflib
import math
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from duograph import _core as core
from duograph._forks import capture_lock
from duograph._recorded import state
from duograph._stack import Location, user_location
from duograph.errors import ArgumentError
from duograph.ir.builder import active
from duograph.ir.graph import Value

from ..memory.joined import Care, LookAgain
from ..session import Captured, Session
from ..static import Handler, make_static
from ..values.tree import dataclass_fields
from .report import Protection
from .words import spec_text

TOLERANCES = {"float64": 1e-9, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}


@dataclass(frozen=True)
class Gap:
    """How far apart two results are: the greatest difference over the greatest magnitude, and where it is."""

    relative: float
    tolerance: float
    text: str = ""

    @property
    def ok(self) -> bool:
        return self.relative <= self.tolerance


@dataclass(frozen=True)
class Compared:
    """One operator's result in both modes."""

    operator: str
    location: Location | None
    result: str
    gap: Gap

    def __str__(self) -> str:
        return f"{self.operator}, {self.result}" + ("" if self.location is None else f", at {self.location}")


@dataclass
class Comparison:
    """What `compare` found; `print` it, or ask `.ok`.

    `first` is the first operator whose results differ beyond the tolerance, in the order of the program; `results` are the
    function's results, what it wrote, and gradients; `operators` all operators that could be compared one by one.
    """

    name: str
    operators: list[Compared] = field(default_factory=list)
    results: list[tuple[str, Gap]] = field(default_factory=list)
    uncompared: list[Location] = field(default_factory=list)
    failure: str = ""

    @property
    def first(self) -> Compared | None:
        return next((found for found in self.operators if not found.gap.ok), None)

    @property
    def ok(self) -> bool:
        """Whether both modes agree."""
        return not self.failure and self.first is None and all(gap.ok for _, gap in self.results)

    @property
    def largest(self) -> float:
        """The greatest relative difference of any operator or result."""
        return max((gap.relative for gap in (*(c.gap for c in self.operators), *(gap for _, gap in self.results))), default=0.0)

    def __str__(self) -> str:
        if self.ok:
            text = f"{self.name}: dynamic and static agree: {len(self.operators)} operators, {len(self.results)} results, "
            return text + self._farthest()
        lines = [f"{self.name}: dynamic and static differ"]
        if self.failure:
            lines.append(f"  {self.failure}")
        if self.first is not None:
            lines += [f"  first in {self.first}", f"    {self.first.gap.text}"]
        wrong = [(name, gap) for name, gap in self.results if not gap.ok]
        lines += [f"  {name}: {gap.text}" for name, gap in wrong]
        if wrong and self.first is None:
            lines.append("  each operator alone agrees: the difference comes from running them fused" + self._elsewhere())
        return "\n".join(lines)

    __repr__ = __str__

    def _farthest(self) -> str:
        if self.largest == 0:
            return "equal to the last bit"
        worst = max(self.operators, key=lambda found: found.gap.relative, default=None)
        text = f"at most {self.largest:.2g} apart (relative)"
        if worst is not None and worst.gap.relative == self.largest:
            text += f"\n  farthest in {worst}"
        return text

    def _elsewhere(self) -> str:
        if not self.uncompared:
            return ""
        lines = "".join(f"\n    {location}" for location in self.uncompared)
        return f", or from what is inside branches and loops:{lines}"


@dataclass
class Event:
    """One operator's results in one mode."""

    operator: str
    location: Location | None
    results: list[Any]

    @property
    def key(self) -> tuple[str, str, int]:
        where = self.location
        return (self.operator.rstrip("_"), "" if where is None else where.file, 0 if where is None else where.line)


class Watch:
    """Sees every operator the user's code calls, and every gradient the tape computes, in either mode."""

    def __init__(self, builder: Any = None) -> None:
        self.builder = builder  # of the capture; None while the dynamic graph runs
        self.events: list[Event] = []
        self.inside: dict[Location, None] = {}  # lines in branches and loops, whose operators run any number of times
        self.depth = 0

    def traced(self, name: str, result: Any, builder: Any) -> None:
        """A capture went through an operator."""
        if self.builder is not builder or self.depth:
            return
        location = user_location()
        if builder.regions:
            if location is not None:
                self.inside[location] = None
            return
        made = result if isinstance(result, tuple) else (result,)
        values = [builder.read(x) for x in made if isinstance(x, core.Tensor)]
        self.events.append(Event(name, location, values))

    def ran(self, name: str, results: tuple[Any, ...]) -> None:
        """The core ran an operator."""
        if not self.depth and not active():
            self.events.append(Event(name, user_location(), [copy(x) for x in results]))

    def gradient(self, name: str, compute: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
        """The tape computes the gradients of one operator by calling others."""
        mine = self.builder is not None if active() else self.builder is None
        if not mine or self.depth:
            return compute()
        self.depth += 1
        try:
            found = compute()
        finally:
            self.depth -= 1
        results = [x for x in found if isinstance(x, core.Tensor)]
        if self.builder is None:
            self.events.append(Event(f"{name} backward", user_location(), [copy(x) for x in results]))
        elif not self.builder.regions:
            values = [self.builder.read(x) for x in results]
            self.events.append(Event(f"{name} backward", user_location(), values))
        return found


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Operators of this thread tell the watch."""
    outer = state.watch
    state.watch = watch
    try:
        if watch.builder is None:
            core.set_watcher(watch.ran)
        yield
    finally:
        if watch.builder is None:
            core.set_watcher(None)
        state.watch = outer


def compare(function: Callable[..., Any], *args: Any, tolerance: float | None = None, **kwargs: Any) -> Comparison:
    """Run one call in both modes and find the first operator whose results differ.

    The call runs dynamically, then as a static program, then as a static program that also hands out every operator's
    result. Random operators, and Python's and NumPy's own generators, start alike each time. Afterwards everything is as
    before: parameters, gradients, buffers, attributes, generators. (What the function prints appears three times.) Inside
    branches and loops that a tensor's value steers, only what comes out of them is compared.

    Args:
        function: what `dg.static` takes, or a static function.
        tolerance: of the greatest difference relative to the greatest magnitude in the tensor; 0 asks for the same bits.
            Left out: by dtype (1e-4 for float32, 1e-9 for float64), 0 for what is not floating-point.

    Errors:   CaptureError, with the line, if the function cannot be captured; what the function raises dynamically

    >>> import duograph as dg
    >>> report = dg.compare(lambda x: (x * 2).tanh(), dg.ones(3))
    >>> report.ok
    True
    """
    strict = False
    if isinstance(function, core.StaticFunction):
        strict, function = function.handler.strict, function.handler.target
    elif not callable(function):
        raise ArgumentError(f"compare: expected a function or a Module, got {type(function).__name__}")
    with capture_lock:
        return _Runs(function, strict, tolerance, args, kwargs).compare()


class _Runs:
    """The runs of one comparison."""

    def __init__(
        self, target: Callable[..., Any], strict: bool, tolerance: float | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.target, self.strict, self.tolerance = target, strict, tolerance
        self.args, self.kwargs = args, kwargs

    def compare(self) -> Comparison:
        handler = Handler(self.target, self.strict)
        notes = self.capture(handler.__name__)
        self.steered = list(notes.inside)
        found = Comparison(handler.__name__, uncompared=self.steered)
        watch = Watch()
        dynamic = self.run(self.dynamic, watch)
        try:
            static = self.run(self.static(self.captured))
            events = self.intermediate(notes)
        except Exception as error:
            found.failure = f"the static program raised {type(error).__name__}: {error}"
            return found
        for key in dict.fromkeys((*dynamic, *static)):
            pairs = _pairs(key, dynamic.get(key), static.get(key))
            found.results += [(name, self.gap(a, b)) for name, a, b in pairs]
        found.operators = list(self.paired(watch.events, events))
        return found

    # ---- the runs

    def run(self, function: Callable[..., Any], watch: Watch | None = None) -> dict[str, Any]:
        """What one run gives and leaves behind, copied; then everything is as before."""
        protection = Protection(self.session, self.captured)
        gradients = [(g, copy(g)) for _, g in protection.gradients if g is not None]
        python = _generators()
        core.set_rng_state(*protection.random)
        try:
            if watch is None:
                result = function(*self.args, **self.kwargs)
            else:
                with watching(watch):
                    result = function(*self.args, **self.kwargs)
            return self.left(protection, result)
        finally:
            protection.restore()
            for gradient, saved in gradients:
                with_no_grad(gradient.detach().copy_, saved)
            _restore_generators(python)

    def capture(self, name: str) -> Watch:
        """Capture the function; gives what the capture went through."""
        care = Care()
        while True:
            self.session = Session(self.target, name, True, care=care)
            notes = Watch(self.session.builder)
            try:
                with watching(notes):
                    self.captured = self.session.capture(self.args, self.kwargs)
                return notes
            except LookAgain as found:
                care = found.care(care)

    def dynamic(self, *args: Any, **kwargs: Any) -> Any:
        core.set_dynamic_mode(True)
        try:
            return self.target(*args, **kwargs)
        finally:
            core.set_dynamic_mode(False)

    def static(self, captured: Captured) -> Any:
        handler = Handler(self.target, self.strict)
        function = make_static(self.target, handler)
        function.add(handler.compile(captured, self.args, self.kwargs)[0], 1)
        return function

    def intermediate(self, notes: Watch) -> list[Event]:
        """Run the static program with the results of all operators as further results."""
        graph = self.captured.graph
        known = {value for node in graph.nodes for value in node.outputs} | set(graph.inputs)
        wanted = dict.fromkeys(value for event in notes.events for value in event.results if value in known)
        outputs = (*graph.outputs, *wanted)
        numbers = {value: len(graph.outputs) + i for i, value in enumerate(wanted)}
        description = dict(self.captured.description)
        extra = ("tuple", [("output", number) for number in numbers.values()])
        description["outputs"] = ("tuple", [description["outputs"], extra])
        description["effects"] = []
        description["frees"] = []
        captured = self.captured._replace(graph=graph.replace(outputs=outputs), description=description, backward=None, tape=None)
        made: dict[Value, Any] = {}

        def call(*args: Any, **kwargs: Any) -> None:
            _, values = self.static(captured)(*args, **kwargs)
            made.update(zip(numbers, map(copy, values)))

        self.run(call)
        return [Event(e.operator, e.location, [made.get(value) for value in e.results]) for e in notes.events]

    def left(self, protection: Protection, result: Any) -> dict[str, Any]:
        """The results of a run by name: what it returned, wrote and differentiated."""
        found: dict[str, Any] = {"result": _copied(result)}
        inputs = self.captured.input_tensors
        names = [value.name or f"tensor {i}" for i, value in enumerate(self.captured.graph.inputs)]
        labels = {id(tensor): name for tensor, name in zip(inputs, names)}
        for i in self.captured.description["writes"]:
            found[f"{names[i]} after the call"] = copy(inputs[i])
        for i, (tensor, _) in enumerate(protection.gradients):
            if tensor.grad is not None:
                found[f"{labels.get(id(tensor), f'tensor {i}')}.grad"] = copy(tensor.grad)
        for i, (_, _, key, current) in enumerate(self.session.recorder.stores.values()):
            found[f"{key if isinstance(key, str) else f'variable {i}'} after the call"] = _copied(current())
        roots = [x for x in _tensors(result) if x.requires_grad and x.grad_fn is not None]
        leaves = [t for t in inputs if t.requires_grad]
        if roots and leaves:
            try:
                gradients = _gradients(roots, leaves)
            except RuntimeError:  # a graph that the function has used up itself
                return found
            found.update({f"gradient of {labels[id(t)]}": copy(g) for t, g in zip(leaves, gradients) if g is not None})
        return found

    # ---- gaps

    def paired(self, dynamic: Sequence[Event], static: Sequence[Event]) -> Iterator[Compared]:
        """Operators that ran in both modes, in the order of the program."""
        steered = {(where.file, where.line) for where in self.steered}
        dynamic, static = ([e for e in events if e.key[1:] not in steered] for events in (dynamic, static))
        matcher = difflib.SequenceMatcher(None, [e.key for e in dynamic], [e.key for e in static], autojunk=False)
        for start, other, count in matcher.get_matching_blocks():
            for mine, theirs in zip(dynamic[start : start + count], static[other : other + count]):
                for a, b in zip(mine.results, theirs.results):
                    if b is not None and a.shape == b.shape and a.dtype is b.dtype:
                        result = spec_text(a.dtype, tuple(a.shape))
                        yield Compared(mine.operator, theirs.location, result, self.gap(a, b))

    def gap(self, a: Any, b: Any) -> Gap:
        """How far apart the dynamic result `a` and the static result `b` are."""
        if isinstance(a, core.Tensor) and isinstance(b, core.Tensor):
            if a.dtype is not b.dtype or a.shape != b.shape:
                was, now = spec_text(a.dtype, tuple(a.shape)), spec_text(b.dtype, tuple(b.shape))
                return Gap(math.inf, 0.0, f"dynamic {was}, static {now}")
            default = TOLERANCES.get(a.dtype.name, 0.0)
            return tensor_gap(a, b, default if self.tolerance is None else self.tolerance)
        if type(a) is float and type(b) is float:
            tolerance = TOLERANCES["float64"] if self.tolerance is None else self.tolerance
            same = a == b or (a != a and b != b)
            relative = 0.0 if same else abs(a - b) / max(abs(a), abs(b))
            return Gap(relative if relative == relative else math.inf, tolerance, f"dynamic {a!r}, static {b!r}")
        same = type(a) is type(b) and (a is b or _equal(a, b))
        return Gap(0.0 if same else math.inf, 0.0, f"dynamic {a!r}, static {b!r}")


def tensor_gap(a: Any, b: Any, tolerance: float) -> Gap:
    """The gap of two tensors of one shape and dtype."""
    import numpy as np

    wide = complex if a.dtype.name.startswith("complex") else float
    x, y = (np.asarray(t.to(core.float64) if wide is float else t, wide) for t in (a, b))
    if not x.size:
        return Gap(0.0, tolerance)
    with np.errstate(all="ignore"):
        apart = np.asarray(np.abs(x - y))
        apart[(x == y) | (np.isnan(x) & np.isnan(y))] = 0.0
        apart[np.isnan(apart)] = math.inf
        finite = np.abs(x[np.isfinite(x)])
        scale = float(finite.max()) if finite.size else 0.0
        at = np.unravel_index(int(apart.argmax()), apart.shape)
        greatest = float(apart[at])
        relative = greatest / scale if scale and greatest < math.inf else greatest
    place = f" at [{', '.join(map(str, at))}]" if x.ndim else ""
    text = f"largest difference {greatest:.3g}{place}: dynamic {x[at]:.9g}, static {y[at]:.9g}"
    return Gap(relative, tolerance, f"{text} (relative {relative:.2g}, tolerance {tolerance:g})")


# ---- copies


def with_no_grad(function: Callable[..., Any], *args: Any) -> Any:
    old = core.set_grad_enabled(False)
    try:
        return function(*args)
    finally:
        core.set_grad_enabled(old)


def copy(tensor: Any) -> Any:
    """The tensor as it is now."""
    return with_no_grad(tensor.detach().clone)


def _copied(value: Any) -> Any:
    """A result with copies of its tensors, in lists and dicts."""
    if isinstance(value, core.Tensor):
        return copy(value)
    if isinstance(value, (list, tuple)):
        return [_copied(item) for item in value]
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    fields = dataclass_fields(value)
    return value if fields is None else {name: _copied(getattr(value, name)) for name in fields}


def _tensors(value: Any) -> list[Any]:
    if isinstance(value, core.Tensor):
        return [value]
    fields = dataclass_fields(value)
    items: Any = () if fields is None else [getattr(value, name) for name in fields]
    if isinstance(value, (list, tuple)):
        items = value
    elif isinstance(value, dict):
        items = value.values()
    return [tensor for item in items for tensor in _tensors(item)]


def _ones_like(tensor: Any) -> Any:
    return core.zeros(tuple(tensor.shape), tensor.dtype) + 1


def _gradients(roots: list[Any], leaves: list[Any]) -> Any:
    seeds = tuple(with_no_grad(_ones_like, x) for x in roots)
    return core.grad(tuple(roots), tuple(leaves), seeds, create_graph=False, allow_unused=True)


def _pairs(name: str, a: Any, b: Any) -> Iterator[tuple[str, Any, Any]]:
    """The leaves of two results of one form, with names."""
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b)):
            yield from _pairs(f"{name}[{i}]", x, y)
    elif isinstance(a, dict) and isinstance(b, dict) and list(a) == list(b):
        for key in a:
            yield from _pairs(f"{name}[{key!r}]", a[key], b[key])
    else:
        yield name, a, b


def _equal(a: Any, b: Any) -> bool:
    try:
        return bool(a == b)
    except Exception:
        return False


def _generators() -> tuple[Any, Any]:
    numpy: Any = sys.modules.get("numpy.random")
    return random.getstate(), None if numpy is None else numpy.get_state()


def _restore_generators(saved: tuple[Any, Any]) -> None:
    random.setstate(saved[0])
    if saved[1] is not None:
        numpy: Any = sys.modules["numpy.random"]
        numpy.set_state(saved[1])
