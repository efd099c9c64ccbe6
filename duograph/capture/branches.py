"""Branches on a tensor's value: both sides are captured, and each run takes one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import CaptureError, Error
from duograph.ir.builder import close_regions, current
from duograph.ir.graph import Value
from duograph.ir.types import TensorType
from duograph.ops.tracing import to_bool, wrap

from .control import UNBOUND, Thunk, Variables
from .merge import adopt, common_type, is_synthetic, leaves, rebuild, refuse, same, same_structure, type_of
from .recorder import refill
from .regions import Region, gradients, graph_of, live_nodes, zeros
from .sharing import Join

if TYPE_CHECKING:
    from .builder import CaptureBuilder
    from .cells import Cell
    from .recorder import Recorder

_WHERE = ("where the condition holds", "elsewhere")


def truth(tensor: Any) -> Value:
    """The truth of a tensor with one element, as `bool` takes it."""
    builder = current()
    value = builder.read(tensor)
    if value.type.size != 1:
        raise CaptureError(
            f"bool: a tensor of shape {tuple(tensor.shape)} has no single truth value",
            hint="use any() or all()",
            location=user_location(),
        )
    if value.shape:
        value = builder.read(wrap(value).reshape(()))
    return to_bool(value)


def negation(tensor: Any) -> Any:
    """`not` of a tensor: stands for a Python bool."""
    made = current().emit("logical_not", [truth(tensor)], {}, [TensorType(core.bool, (), weak=True)])
    return wrap(made[0])


class Outside:
    """What code in a region must leave alone: watched from the start of a region to its end."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.before = self._marks()

    def _marks(self) -> tuple[int, int, int]:
        gradients = sum(kind == "write" for kind, _, _ in self.recorder.gradients_written)
        return len(self.recorder.calls), len(self.recorder.undo), gradients

    def check(self, region: Region) -> None:
        """Refuse what would happen once, at capture, instead of when the branch or loop runs."""
        gradients = any(alias.leaf.grad is not None for alias in region.aliases.values())
        if gradients or self._marks() != self.before:
            raise CaptureError(
                "static: a branch or loop that a tensor's value steers changes something outside of the function, "
                "prints, or sets gradients",
                hint="assign to a local variable inside, and do this after it",
                location=user_location(),
            )


def branch(
    recorder: Recorder,
    test: Any,
    then: Thunk,
    otherwise: Thunk,
    variables: Variables,
) -> None:
    """`if` on a tensor: the variables afterwards are what the side taken gives them."""
    get, set_, names, live, loads = variables
    before = get()
    choice = _Choice(recorder, truth(test))
    containers = Containers((*loads(), *before))
    found: list[Any] = []
    contents: list[list[Any]] = []
    errors: list[Exception | None] = []
    for run in (then, otherwise):
        try:
            found.append(choice.side(run, get))
            errors.append(None)
        except (Error, NameError):
            raise
        except Exception as error:
            errors.append(error)
        finally:
            set_(before)
            contents.append(containers.take_back())
    if any(errors):
        _raise_where(recorder, choice.predicate, then, otherwise, errors)
        return
    kept = [name for name in names if name in live]
    pairs = [tuple(after[names.index(name)] for after in found) for name in kept]
    changed = containers.changed(*contents)
    pairs += [(contents[0][i], contents[1][i]) for i in changed]
    results = choice.merge([*kept, *(f"a {type(containers.known[i]).__name__}" for i in changed)], pairs)
    containers.give([(i, value) for i, value in zip(changed, results[len(kept) :])])
    merged = dict(zip(kept, results))
    set_(tuple(merged.get(name, UNBOUND) for name in names))


class Containers:
    """Lists and dicts that code may change: what a side does to them is taken back, and given to them after the branch."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.known = list({id(x): x for x in values if type(x) in (list, dict)}.values())
        self.saved = [x.copy() for x in self.known]

    def take_back(self) -> list[Any]:
        """Restore all; gives what they held."""
        held = [x.copy() for x in self.known]
        self.give(list(enumerate(self.saved)))
        return held

    def give(self, contents: Sequence[tuple[int, Any]]) -> None:
        for i, items in contents:
            refill(self.known[i], items)

    def changed(self, *contents: list[Any]) -> list[int]:
        """The containers that some side changed."""

        def same_items(a: Any, b: Any) -> bool:
            pairs = zip(a.values(), b.values()) if isinstance(a, dict) else zip(a, b)
            return len(a) == len(b) and all(x is y for x, y in pairs) and (type(a) is list or list(a) == list(b))

        return [i for i, old in enumerate(self.saved) if not all(same_items(held[i], old) for held in contents)]


def _raise_where(recorder: Recorder, predicate: Value, then: Thunk, otherwise: Thunk, errors: Sequence[Exception | None]) -> None:
    """One side raises: each run that takes it raises, and the other side is what goes on."""
    first, second = errors
    if first is not None and second is not None:
        raise first
    builder: Any = current()
    error = first or second
    assert error is not None
    if builder.regions:
        raise CaptureError(
            f"static: {type(error).__name__} is raised inside a branch or loop that a tensor's value steers",
            hint="gather the condition in a variable and raise after the branch or loop",
            location=user_location(),
        ) from error
    recorder.calls.append((_Raiser(error, first is not None), (wrap(predicate),)))
    (otherwise if first is not None else then)()


class _Raiser:
    """Raises when a run took the way on which the function raises."""

    def __init__(self, error: Exception, when: bool) -> None:
        self.error = error
        self.when = when

    def __call__(self, taken: Any) -> None:
        if taken.item() is self.when:
            try:
                again = type(self.error)(*self.error.args)
            except Exception:
                again = self.error
            raise again.with_traceback(self.error.__traceback__)


def choose(recorder: Recorder, test: Any, then: Thunk, otherwise: Thunk) -> Any:
    """A conditional expression on a tensor."""
    choice = _Choice(recorder, truth(test))
    pair = tuple(choice.side(run, run, evaluate=True) for run in (then, otherwise))
    return choice.merge(["the expression"], [pair])[0]


def check(recorder: Recorder, test: Any, message: Thunk | None) -> None:
    """`assert` on a tensor: checked after each run, which raises."""
    builder: Any = current()
    if builder.regions:
        raise CaptureError(
            "static: an assert on a tensor inside a branch or loop that a tensor's value steers",
            hint="gather the condition in a variable and assert it after the branch or loop",
            location=user_location(),
        )
    text = None if message is None else message()
    recorder.calls.append((_raise_unless, (wrap(truth(test)), text)))


def _raise_unless(holds: Any, message: Any) -> None:
    if not holds.item():
        raise AssertionError(*(() if message is None else (message,)))


class _Choice:
    """Both sides of one branch."""

    def __init__(self, recorder: Recorder, predicate: Value) -> None:
        builder: Any = current()
        self.builder: CaptureBuilder = builder
        self.recorder = recorder
        self.predicate = predicate
        self.regions: list[Region] = []
        self.values: list[tuple[Any, Any]] = []  # of each result: what it is on both sides
        self.lenders: list[tuple[str, list[Cell]]] = []  # of each result: whose memory it is on one side

    def side(self, run: Thunk, get: Thunk, evaluate: bool = False) -> Any:
        """Capture one side; gives the variables at its end."""
        region = Region(self.builder)
        self.regions.append(region)
        outside = Outside(self.recorder)
        with region.open():
            if evaluate:
                result = run()
            else:
                run()
                result = get()
            outside.check(region)
        return result

    def merge(self, names: Sequence[str], pairs: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The variables after the branch."""
        outs: tuple[list[Any], list[Any]] = ([], [])
        plans: list[tuple[Any, list[Any]]] = []  # per variable: its structure, and leaves (None: the next result)
        for name, (a, b) in zip(names, pairs):
            plans.append(self._plan(name, a, b, outs))
        join = None
        if self.builder.aliases.exact and outs[0]:
            join = Join(self.builder, self.predicate, self.regions, list(zip(*self.values)))
        count = len(outs[0])
        cells = self._cells(outs)
        if join is not None:
            for out, more in zip(outs, join.outs()):
                out += more
        made = select(self.builder, self.predicate, self.regions, outs) if outs[0] else []
        results = iter(made)
        merged = []
        for like, kept in plans:
            queue = iter(kept)

            def take(queue: Any = queue) -> Any:
                row = next(queue)
                return next(results) if row is None else row[0]

            merged.append(rebuild(like, take))
        for cell in cells:
            self.builder.note_cell(cell)
            cell.value = self.builder.read(next(results))
            cell.version += 1
        if join is not None:
            join.bind(made[:count], made[count + len(cells) :])
            return merged
        borrowed = self.builder.borrowed
        for tensor, (path, lenders) in zip(made, self.lenders):
            borrowed.note(tensor, path, lenders)
        for region, values in zip(self.regions, outs):
            borrowed.note_together(region, values, [(path, t) for t, (path, _) in zip(made, self.lenders)])
        return merged

    def _plan(self, name: str, a: Any, b: Any, outs: tuple[list[Any], list[Any]]) -> tuple[Any, list[Any]]:
        hidden = [side is UNBOUND or (side is None and is_synthetic(name)) for side in (a, b)]
        if all(hidden):
            return None, [(UNBOUND if a is UNBOUND else a,)]
        if any(hidden):
            if not is_synthetic(name):
                hint = f"assign {name} before the branch, or on both sides of it"
                raise refuse(name, "is assigned on one side of a branch only", (_WHERE[0], a), (_WHERE[1], b), hint)
            whole = b if hidden[0] else a
            rows = [(leaf, leaf) for leaf in leaves(whole, name)]
            rows = [(None if hidden[0] else x, None if hidden[1] else y) for x, y in rows]  # type: ignore[misc]
        else:
            if not same_structure(a, b):
                raise refuse(name, "is built differently on the two sides of a branch", (_WHERE[0], a), (_WHERE[1], b), "")
            whole = a
            rows = list(zip(leaves(a, name), leaves(b, name)))
        kept = [self._leaf(name, x, y, outs) for x, y in rows]
        return whole, kept

    def _leaf(self, name: str, x: Any, y: Any, outs: tuple[list[Any], list[Any]]) -> Any:
        """None if the leaf is a result of the branch, else (its value,)."""
        path = (x or y).path
        values = [UNBOUND if leaf is None else leaf.value for leaf in (x, y)]
        if same(*values):
            return (values[0],)
        with self.regions[0].open(at_end=True):
            first = type_of(values[0])
        with self.regions[1].open(at_end=True):
            second = type_of(values[1])
        type_ = first if values[1] is UNBOUND else second if values[0] is UNBOUND else None
        if type_ is None and first is not None and second is not None:
            type_ = common_type(first, second)
        if type_ is None:
            hint = (
                "make both sides give the same dtype and shape"
                if first and second
                else "let Python decide it, or compute it with where"
            )
            what = "differs between the two sides of a branch that a tensor's value decides"
            raise refuse(path, what, (_WHERE[0], values[0]), (_WHERE[1], values[1]), hint)
        self.values.append((values[0], values[1]))
        borrowed = self.builder.borrowed
        lenders = [c for region, x in zip(self.regions, values) for c in borrowed.lenders(region, (x,))]
        self.lenders.append((path, lenders))
        for region, value, out in zip(self.regions, values, outs):
            with region.open(at_end=True):
                out.append(adopt(value, type_))
        return None

    def _cells(self, outs: tuple[list[Any], list[Any]]) -> list[Cell]:
        """Storages that either side wrote: their contents are results too."""
        written: dict[int, Cell] = {}
        for region in self.regions:
            for key, (cell, _) in region.written.items():
                written.setdefault(key, cell)
        for key, cell in written.items():
            for region, out in zip(self.regions, outs):
                out.append(wrap(region.written[key][1] if key in region.written else cell.value))
        return list(written.values())


def select(builder: CaptureBuilder, predicate: Value, regions: Sequence[Region], outs: Sequence[Sequence[Any]]) -> list[Any]:
    """The results of a branch, with its place on the tape."""
    values: list[list[Value]] = []
    for region, side in zip(regions, outs):
        with region.open(at_end=True):
            side = [region.localize(t) for t in side]
            values.append([builder.read(t) for t in side])
    graphs = [
        graph_of(builder, live_nodes(region.nodes, results, effects=True), results) for region, results in zip(regions, values)
    ]
    closed, outer = close_regions(graphs)
    types = [value.type for value in values[0]]
    made = [wrap(value) for value in builder.emit("cond", [predicate, *outer], {}, types, tuple(closed))]
    if not core.is_grad_enabled():
        return made
    inputs: dict[int, Any] = {}
    for region in regions:
        for key, alias in region.aliases.items():
            inputs[key] = alias.outer
    used = any(t.requires_grad for side in outs for t in side if t.dtype.is_floating_point)
    if not inputs or not used:
        return made
    node = _ChoiceGradient(builder, predicate, regions, outs, list(inputs.values()))
    floats = [i for i, t in enumerate(made) if t.dtype.is_floating_point and not builder.read(t).type.weak]
    node.positions = floats
    for i, tensor in zip(floats, core.record_python([made[i] for i in floats], node.inputs, "branch", node.apply)):
        made[i] = tensor
    return made


class _ChoiceGradient:
    """The gradient of a branch: a branch on the same condition, whose sides run their own tapes."""

    def __init__(
        self,
        builder: CaptureBuilder,
        predicate: Value,
        regions: Sequence[Region],
        outs: Sequence[Sequence[Any]],
        inputs: list[Any],
    ) -> None:
        self.builder = builder
        self.predicate = predicate
        self.regions = regions
        self.outs = outs
        self.inputs = inputs
        self.positions: list[int] = []

    def apply(self, grads: Sequence[Any]) -> tuple[Any, ...]:
        presence = self.builder.presence
        sides = [self._side(region, outs, grads) for region, outs in zip(self.regions, self.outs)]
        wanted = [i for i in range(len(self.inputs)) if any(side[i] is not None for side in sides)]
        results: list[Any] = [None] * len(self.inputs)
        if not wanted:
            return tuple(results)
        # Those that one side does not give, or not always: with whether there is a gradient.
        partial = [i for i in wanted if any(side[i] is None or presence.of(side[i]) is not None for side in sides)]
        outs: list[list[Any]] = []
        for region, side in zip(self.regions, sides):
            with region.open():
                flags = [self._flag(side[i]) for i in partial]
                outs.append([*(zeros(self.inputs[i]) if side[i] is None else side[i] for i in wanted), *flags])
        made = select(self.builder, self.predicate, self.regions, outs)
        for i, tensor in zip(wanted, made):
            results[i] = tensor
        incoming = presence.any(grads)
        for i, flag in zip(partial, made[len(wanted) :]):
            presence.mark(results[i], presence.both(self.builder.read(flag), incoming))
        presence.follow(grads, [results[i] for i in wanted if i not in partial])
        return tuple(results)

    def _flag(self, grad: Any) -> Any:
        condition = None if grad is None else self.builder.presence.of(grad)
        return wrap(self.builder.constant(grad is not None, core.bool) if condition is None else condition)

    def _side(self, region: Region, outs: Sequence[Any], grads: Sequence[Any]) -> list[Any]:
        with region.open():
            pairs = [
                (region.localize(outs[i]), region.localize(g))
                for i, g in zip(self.positions, grads)
                if g is not None and outs[i].requires_grad
            ]
            aliases = [region.aliases.get(id(t)) for t in self.inputs]
            leaves_ = [alias.leaf for alias in aliases if alias is not None]
            found = iter(gradients([o for o, _ in pairs], leaves_, [g for _, g in pairs]))
            return [None if alias is None else next(found) for alias in aliases]
