"""Places inside of a loop or branch, as further outputs of its node on the tape around it.

The gradient of a gradient leads back into what was computed inside. Dynamic mode adds what arrives there to what arrives
by the forward values, and then goes on with the sum. So under `strict` the tape of a loop's gradient ends at such places:
what arrives is handed to the loop's own node, a row for each turn, whose gradient then starts with it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph._stack import user_location
from duograph.ir.graph import Value
from duograph.ir.types import TensorType
from duograph.ops.definition import REGISTRY
from duograph.ops.tracing import wrap

from ..memory.joined import Care, LookAgain
from .one_place import OnePlace, position
from .regions import flip, nothing

if TYPE_CHECKING:
    from ..builder import CaptureBuilder
    from .loop_gradient import Reverse
    from .loop_node import Loop


class Place(NamedTuple):
    """A place on the tape of a region, and on the tape around it what stands for it."""

    tensor: Any
    outer: Any
    forward: bool  # whether rows are in the order of the first loop's turns


Places = dict[Hashable, Place]


class LeadsBack(LookAgain):
    """A gradient of a gradient leads back into a loop or branch whose leaves share gradients."""

    shared = False  # whether there are tensors whose gradients went on to others

    def care(self, before: Care) -> Care:
        """For the next try: they do not."""
        return before._replace(exact=before.exact and not before.for_order, in_order=False, for_order=False)


def _shares(builder: CaptureBuilder) -> bool:
    return builder.aliases.shared.wanted and builder.aliases.exact


def takes_places(builder: CaptureBuilder) -> bool:
    """Whether places inside count: under strict, and not where leaves share gradients."""
    return builder.call_sizes.strict and not _shares(builder)


def check_order(builder: CaptureBuilder) -> None:
    """Before the gradient of a loop or branch: one that is differentiated again is not for leaves that share gradients."""
    if core.is_grad_enabled() and _shares(builder):
        error = LeadsBack(
            "static: a gradient of a gradient goes through a branch or loop, where a variable is another tensor on some ways",
            hint="make it a copy there, by .clone(), or take the second gradient outside of the static function",
            location=user_location(),
        )
        error.shared = bool(builder.aliases.shared.known)
        raise error


def found_in(builder: CaptureBuilder, tensors: Iterable[Any], known: Places) -> list[Any]:
    """Tensors at the places that lead to `tensors` on a region's tape, except the known ones and those of late sizes."""
    nodes = {key[0] for key in known if isinstance(key, tuple)}
    stack = [t.grad_fn for t in tensors if t.grad_fn is not None]
    found: list[Any] = []
    while stack:
        node = stack.pop()
        if node in nodes:
            continue
        nodes.add(node)
        found += [t for t in node.outputs() if t is not None and not builder.is_late(t._traced.type.shape)]
        stack += [x for x in node.inputs if isinstance(x, core.Node)]
    return found


def stands_for(builder: CaptureBuilder, type_: TensorType) -> Any:
    """A tensor of this type that nobody reads, for a place on the tape."""
    value = Value(type_, None, 0, "place")
    builder.handles.add(value)
    if builder.regions:
        builder.regions[-1].own.add(value)
    return wrap(value)


def reached(results: Iterable[Any], places: Places) -> list[Hashable]:
    """The places at which the tape from `results` back ends, in the order in which they are met."""
    found: dict[Hashable, None] = {}

    def meet(item: Any, index: int, place: Hashable) -> bool:
        if place in places:
            found.setdefault(place)
        return place not in places

    walk_back(results, meet)
    return list(found)


def walk_back(results: Iterable[Any], meet: Callable[[Any, int, Hashable], bool]) -> None:
    """Goes along the tape from `results` back: `meet` is given a leaf, or a node and the number of an output, and the place
    that this is, and says whether to go on behind it. A node is gone through once."""
    seen: set[Any] = set()
    stack: list[Any] = []

    def go(item: Any, index: int) -> None:
        is_node = isinstance(item, core.Node)
        if meet(item, index, (item, index) if is_node else id(item)) and is_node and item not in seen:
            seen.add(item)
            stack.append(item)

    for tensor in results:
        if tensor.requires_grad:
            node = tensor.grad_fn
            go(tensor if node is None else node, 0 if node is None else node.output_index)
    while stack:
        for item, index in stack.pop().next_functions:
            if item is not None:
                go(item, index)


class State(NamedTuple):
    """A carried variable of a loop that its gradient reads: one place for what a turn starts with and the one before gave."""

    leaf: Any
    last: Any  # the tensor that a turn ends with, if that is read
    initial: Any
    rows: Any
    final: Any
    last_rows: Any


class Crossing:
    """Where the tape of a loop's gradient, `made`, leads back into the loop, and what stands for it outside."""

    def __init__(self, loop: Loop, made: Loop, results: Sequence[Any]) -> None:
        places = loop.places
        keys = reached(results, places)
        self.forward = loop.forward_order  # the order of the rows of states
        self.states: list[State] = []
        shared = OnePlace(loop).members()
        ends: dict[Hashable, list[int]] = {}
        carried = [i for i, leaf in enumerate(loop.leaves) if leaf is not None]
        for i in carried:
            ends.setdefault(position(loop.local_out(i)), []).append(i)
        taken: set[Hashable] = set()
        for i in carried:
            start, end = position(loop.leaves[i]), position(loop.local_out(i))
            own_end = end in places and len(ends[end]) == 1 and end != start and isinstance(end, tuple)
            if i in shared or start not in places or (start not in keys and not (own_end and end in keys)):
                continue
            last = places[end] if own_end and end in keys else None
            taken.update([start] if last is None else [start, end])
            self.states.append(
                State(
                    loop.leaves[i], None if last is None else last.tensor, loop.initial[i], places[start].outer,
                    loop.finals[i], None if last is None else last.outer,
                )
            )  # fmt: skip
        self.places = [places[key] for key in keys if key not in taken]

    def outside(self) -> list[Any]:
        """The tensors that gradients go to instead."""
        found: list[Any] = []
        for state in self.states:
            found += [state.initial, state.rows, state.final]
            found += [] if state.last is None else [state.last_rows]
        return [*found, *(place.outer for place in self.places)]

    def targets(self) -> list[Any]:
        """The places themselves."""
        found = [state.leaf for state in self.states]
        found += [state.last for state in self.states if state.last is not None]
        return [*found, *(place.tensor for place in self.places)]

    def pairs(self, given: Sequence[Any]) -> list[tuple[Any, Any, bool]]:
        """What is given for `outside()`, as rows at the places: (tensor, rows, whether in the order of the first loop)."""
        rows: list[tuple[Any, Any, bool]] = []
        queue = iter(given)
        for state in self.states:
            next(queue)
            rows.append((state.leaf, next(queue), self.forward))
            next(queue)
            if state.last is not None:
                rows.append((state.last, next(queue), self.forward))
        rows += [(place.tensor, item, place.forward) for place, item in zip(self.places, queue)]
        return [row for row in rows if row[1] is not None]


class Back:
    """What goes back through a `Crossing` in the loop of its gradient: rows for places, and one sum from turn to turn.

    A state's value is one place for the turn before, which gave it, and for the turn that starts with it: what either adds
    goes to one sum. That of the first value, and that of the last, belong to what is around the loop.
    """

    def __init__(self, reverse: Reverse, crossing: Crossing, begun: Sequence[Any]) -> None:
        self.reverse = reverse
        self.builder = reverse.builder
        self.crossing = crossing
        self.begun = list(begun)
        self.sums: list[tuple[Any, Any]] = []  # of each state: of its first value, and of the value that moves on
        self.outs: list[Any] = []
        self.found: list[bool] = []
        self.first = 0

    def _states(self) -> list[tuple[State, Any, Any, Any]]:
        """With what is there before of the first value, the rows and the last one."""
        found, queue = [], iter(self.begun)
        for state in self.crossing.states:
            found.append((state, next(queue), next(queue), next(queue)))
            if state.last is not None:
                next(queue)
        return found

    def begin(self, made: Loop) -> list[tuple[Any, Any]]:
        """What the sums at the places start with in a turn."""
        where, region = REGISTRY["where"].op, self.reverse.region
        pairs: list[tuple[Any, Any]] = []
        again = core.is_grad_enabled()
        first, last = wrap(made.counter) == 0, wrap(self.reverse.loop.counter) == 0
        for state, _, _, final in self._states():
            type_ = self._type(state)
            start, moving = (self.reverse._leaf(region.input(type_, "gradient"), again) for _ in range(2))
            self.sums.append((start, moving))
            pairs.append((state.leaf, where(first, start, moving)))
            if state.last is not None and final is not None:
                pairs.append((state.last, where(last, region.localize(final), nothing(self.builder, type_))))
        return pairs

    def _type(self, state: State) -> TensorType:
        type_: TensorType = state.leaf._traced.type
        return type_

    def end(self, made: Loop, found: Sequence[Any]) -> list[Any]:
        """What the sums are after a turn; gives the rows of it."""
        where, states = REGISTRY["where"].op, self.crossing.states
        first = wrap(made.counter) == 0
        queue = iter(found[len(states) :])
        rows = []
        for (start, _), state, total in zip(self.sums, states, found):
            none = nothing(self.builder, self._type(state))
            last = next(queue) if state.last is not None else None
            self.outs += [where(first, total, start), none if last is None else last]
            rows.append(where(first, none, total))
        rest = list(queue)
        self.found = [g is not None for g in rest]
        return [*rows, *(g for g in rest if g is not None)]

    def carry(self, made: Loop) -> None:
        """The sums go from turn to turn."""
        again = core.is_grad_enabled()
        self.first = len(made.inputs)
        leaves = [leaf for pair in self.sums for leaf in pair]
        initial = []
        for state, begun, _, _ in self._states():
            none = nothing(self.builder, self._type(state))
            initial += [none if begun is None else begun, none]
        made.carry([leaf._traced for leaf in leaves], [leaf if again else None for leaf in leaves], initial, self.outs)

    def results(self, made: Loop, finals: Sequence[Any], stacks: Sequence[Any], incoming: Value | None) -> list[Any]:
        """The gradients of `outside()`, with what was there before."""
        mark = self.reverse._mark
        results: list[Any] = []
        queue = iter(stacks)
        for k, (state, start, rows, final) in enumerate(self._states()):
            first, last = finals[self.first + 2 * k : self.first + 2 * k + 2]
            stack = next(queue)
            results += [mark(first, start, incoming), mark(stack if rows is None else rows + stack, rows, incoming)]
            if state.last is None:
                results.append(final)
                continue
            if final is not None and not self.reverse._always(made):
                last = REGISTRY["where"].op(wrap(self.reverse.loop.turned()), last, final)
            results += [mark(last, final, incoming), None]
        before = self.begun[len(results) :]
        for place, b, is_found in zip(self.crossing.places, before, self.found):
            if not is_found:
                results.append(b)
                continue
            stack = next(queue)
            if place.forward is not made.forward_order:
                stack = flip(stack)
            results.append(mark(stack if b is None else b + stack, b, incoming))
        return results
