"""`backward()` inside branches and loops, and `.grad` as what their sides and turns may change.

A region's tape ends at its aliases. What arrives there goes on along the tape around the region, while nodes still go into
the region, until it reaches leaves. `.grad` of a tensor then counts as two further variables of the statement: the gradient
(zeros where there is none), and whether there is one. See `presence` for what becomes of the second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import CaptureError
from duograph.ir.builder import current
from duograph.ops.tracing import to_bool, wrap

from ..conversion.scopes import HELPER
from .control import Variables

if TYPE_CHECKING:
    from ..outside.recorder import Recorder
    from .regions import Region


def backward(
    recorder: Recorder, tensors: Sequence[Any], grads: Sequence[Any], create_graph: bool, inputs: Sequence[Any] | None
) -> None:
    """What `backward` does where a region is open. The tape stays: the other side, and the gradient, go along it too."""
    builder: Any = current()
    if inputs is not None:
        raise CaptureError(
            "static: backward(inputs=...) inside a branch or loop that a tensor's value steers",
            hint="use dg.autograd.grad, which gives the gradients",
            location=user_location(),
        )
    builder.differentiated.update(t.grad_fn for t in tensors if t.grad_fn is not None)
    outs, seeds = list(tensors), list(grads)
    for region in reversed(builder.regions):
        outs = [region.localize(t) for t in outs]
        if any(t is given and not t.requires_grad for t in outs for given in region.given):
            raise _turn_before()
        core.backward(tuple(outs), tuple(seeds), True, create_graph, None)
        if any(t.requires_grad and t.grad is not None for t in region.given):
            raise _turn_before()
        arrived = [alias for alias in region.aliases.values() if alias.leaf.grad is not None]
        outs, seeds = [alias.outer for alias in arrived], [alias.leaf.grad for alias in arrived]
        for alias in arrived:
            alias.leaf.grad = None
        if not outs:
            return
    accumulate(recorder, lambda: core.backward(tuple(outs), tuple(seeds), True, create_graph, None))


def _turn_before(name: str = "backward()", location: Any = None) -> CaptureError:
    return CaptureError(
        f"static: {name} in a loop that a tensor's value steers goes on into the turn before",
        hint="compute the loss in the turn in which it goes backward: loss = f(x); loss.backward(); or detach what is handed on",
        location=location or user_location(),
    )


def grad(outs: Sequence[Any], ins: Sequence[Any], seeds: Sequence[Any], create_graph: bool, count: int) -> list[Any]:
    """What `autograd.grad` does where a region is open; None for inputs that nothing flows to. The tape stays.

    Those after the first `count` are what these may be on some ways.
    """
    builder: Any = current()
    found: list[Any] = [None] * len(ins)
    wanted = list(range(len(ins)))
    for region in reversed(builder.regions):
        outs = [region.localize(t) for t in outs]
        here = [i for i in wanted if region.has(ins[i])]
        wanted = [i for i in wanted if i not in here]
        aliases = list(region.aliases.values())
        given = [t for t in region.given if t.requires_grad]
        inputs = (*(ins[i] for i in here), *given, *(alias.leaf for alias in aliases))
        if not inputs:
            return found
        grads = core.grad(tuple(outs), inputs, tuple(seeds), True, create_graph, True)
        for i, value in zip(here, grads):
            found[i] = value
        through = [t for t, g in zip(given, grads[len(here) :]) if g is not None]
        if through and any(i < count for i in wanted):
            raise _turn_before("autograd.grad()")
        region.asked.append(([ins[i] for i in here], through, user_location()))
        arrived = [(alias.outer, g) for alias, g in zip(aliases, grads[len(here) + len(given) :]) if g is not None]
        outs, seeds = [outer for outer, _ in arrived], [g for _, g in arrived]
        if not wanted or not outs:
            return found
    grads = core.grad(tuple(outs), tuple(ins[i] for i in wanted), tuple(seeds), True, create_graph, True)
    for i, value in zip(wanted, grads):
        found[i] = value
    return found


def check_asked(region: Region, variables: Sequence[tuple[Any, Any, Any]]) -> None:
    """Gradients with respect to variables of a loop do not go through other variables, as of (leaf, initial, at the end)."""
    asked = [row for row in region.asked if row[0] and row[1]]
    flows = [row for row in variables if row[0].requires_grad]
    if not asked or len(flows) < 2:
        return
    number = {id(leaf): k for k, (leaf, _, _) in enumerate(flows)}
    paths = set(core.result_paths([after for _, _, after in flows]))
    starts = [k for k, (_, initial, _) in enumerate(flows) if initial.requires_grad]
    paths |= {(starts[i], starts[j]) for i, j in core.result_paths([flows[k][1] for k in starts])}
    for wanted, through, location in asked:
        for a in wanted:
            if any((number.get(id(a)), number.get(id(b))) in paths for b in through):
                raise _turn_before("autograd.grad()", location)


def accumulate(recorder: Recorder, run: Callable[[], None]) -> None:
    """Let `run` add to the leaves' gradients: a sum with one that may be absent is a new tensor, there if either is."""
    builder: Any = current()
    held: dict[Any, Any] = {}
    if builder.presence.known:
        for tensor in {id(t): t for kind, t, _ in recorder.gradients_written if kind == "write"}.values():
            if builder.presence.of(tensor.grad) is not None:
                held[tensor] = tensor.grad
                tensor.grad = None
    run()
    for tensor, before in held.items():
        tensor.grad = before if tensor.grad is None else before + tensor.grad


class Written:
    """The tensors whose `.grad` a statement writes, as variables: two for each, a gradient and whether it is there."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.journal = recorder.gradients_written
        self.start = len(self.journal)
        self.tensors: list[Any] = []

    def new(self) -> bool:
        """Whether further tensors were written since the start; they belong to it from now on."""
        known = {id(t) for t in self.tensors}
        found = {id(t): t for kind, t, _ in self.journal[self.start :] if kind == "write" and id(t) not in known}
        self.tensors += found.values()
        return bool(found)

    def take_back(self) -> None:
        """As before the start; only that gradients from outside were looked at stays known."""
        before = {id(t) for kind, t, _ in self.journal[: self.start] if kind == "write"}
        reads = []
        for row in self.journal[self.start :]:
            if row[0] == "write":
                before.add(id(row[1]))
            elif id(row[1]) not in before:
                reads.append(row)
        for kind, tensor, old in self.journal[self.start :][::-1]:
            if kind == "write":
                tensor.grad = old
        self.journal[self.start :] = reads

    def names(self) -> list[str]:
        return [f"{HELPER}{kind}{i}" for i in range(len(self.tensors)) for kind in ("grad", "present")]

    def get(self, fixed: bool = False) -> tuple[Any, ...]:
        """The variables' values now; what is known of their presence as bools, or, where it may change, as tensors."""
        builder: Any = current()
        values: list[Any] = []
        for tensor in self.tensors:
            grad = tensor.grad
            if grad is None:
                shape = tuple(tensor.shape)
                sizes = shape if tensor._traced is None else builder.read(tensor).shape
                values += [
                    wrap(builder.constant(0, tensor.dtype, sizes)),
                    False if fixed else wrap(builder.constant(False, core.bool)),
                ]
                continue
            condition = builder.presence.of(grad)
            values += [grad, True if condition is None else wrap(condition)]
        return tuple(values)

    def set(self, values: Sequence[Any]) -> None:
        """Give the tensors these gradients."""
        builder: Any = current()
        for tensor, grad, present in zip(self.tensors, values[::2], values[1::2]):
            tensor.grad = None if present is False else grad
            if isinstance(present, core.Tensor):
                builder.presence.mark(grad, to_bool(builder.read(present)))


def with_gradients(variables: Variables, written: Written, fixed: bool = False) -> Variables:
    """The variables of a statement, and those that stand for the gradients it writes."""
    count = len(variables.names)

    def get() -> tuple[Any, ...]:
        return (*variables.get(), *written.get(fixed))

    def set_(values: Sequence[Any]) -> None:
        variables.set(tuple(values[:count]))
        written.set(values[count:])

    names = written.names()
    return variables._replace(get=get, set=set_, names=[*variables.names, *names], live=[*variables.live, *names])
