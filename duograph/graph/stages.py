"""Runs with calls of Python functions: what each call needs is a program of its own, and so is what comes behind the last.

What changes something or draws random numbers happens once: what it gave is handed to the programs behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph.tensors.creation import from_numpy

from .elements import Operation, Tensor
from .host import run_function
from .resolving import needed

if TYPE_CHECKING:
    from .plans import Plan
    from .state import State


class Stage(NamedTuple):
    """A program, and the call that takes the first of its results; the rest is handed on."""

    plan: Plan
    call: Operation


class Stages:
    """The programs before the last one of a run, each with the call behind it."""

    def __init__(self, state: State, calls: Sequence[Operation], feeds: Sequence[Tensor]) -> None:
        from .plans import Plan

        self.feeds = list(feeds)
        self.done: set[Operation] = set()
        self.stages: list[Stage] = []
        for call in calls:
            wanted = [*call.inputs, *call.control_inputs]
            acting = [
                n
                for n in needed(wanted, dict.fromkeys(self.feeds), done=self.done)
                if n.definition.stateful and n.op != "VariableV2"
            ]
            given = [x for node in acting for x in node.outputs if x not in self.feeds]
            plan = Plan(state, (), [*wanted, *given], self.feeds, self.done)
            self.stages.append(Stage(plan, call))
            self.done = {*self.done, *acting, call}
            self.feeds = [*self.feeds, *given, *call.outputs]

    def run(self, arguments: Sequence[Any]) -> list[Any]:
        """The values for `feeds`, from those of what the user feeds."""
        values = list(arguments)
        for plan, call in self.stages:
            known = dict(zip(plan.feeds, values))
            known.update(zip(plan.tensors, plan.results(values)))
            made = run_function(call, [known[x].detach().numpy() for x in call.inputs])
            values += [known[x] for x in plan.handed_on(len(call.inputs) + len(call.control_inputs))]
            values += [from_numpy(x) for x in made]
        return values
