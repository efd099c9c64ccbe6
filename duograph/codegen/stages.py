"""What each pass over the reduce dims computes, and which values are kept in scratch between passes."""

from __future__ import annotations

from dataclasses import dataclass, field

from duograph.codegen.analysis import Facts, cost, needs, runs_along
from duograph.codegen.reduction import Reduction

# A value this cheap (in vector instructions, loads included) is computed again instead of kept.
RECOMPUTE_LIMIT = 6


@dataclass
class Stage:
    """``uniform``: once per outer index, first. ``varying``: in the pass, in order; ``restored`` come from scratch."""

    uniform: list[int] = field(default_factory=list)
    varying: list[int] = field(default_factory=list)
    restored: list[int] = field(default_factory=list)
    saved: list[int] = field(default_factory=list)
    reductions: list[Reduction] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.varying or self.reductions)


def plan_stages(facts: Facts, vector_dim: int) -> list[Stage]:
    stages = [Stage() for _ in range(facts.last_stage + 1)]
    reduced = set(facts.reduce_dims)
    wanted: list[set[int]] = [set() for _ in stages]
    saved: set[int] = set()
    restored: list[set[int]] = [set() for _ in stages]

    def again(number: int, limit: int) -> int:
        """Cost of computing a value anew, up to ``limit``."""
        if not facts.deps[number] & reduced:
            return 0
        total = cost(facts, number, vector_dim)
        for i in needs(facts.body[number]):
            if total > limit:
                break
            total += again(i, limit)
        return total

    def want(number: int, stage: int) -> None:
        varies = facts.deps[number] & reduced
        if not varies or number in wanted[stage] or number in restored[stage]:
            return
        if facts.stages[number] < stage and again(number, RECOMPUTE_LIMIT) > RECOMPUTE_LIMIT:
            saved.add(number)
            restored[stage].add(number)
            return
        wanted[stage].add(number)
        for i in needs(facts.body[number]):
            want(i, stage)

    for s in reversed(range(len(stages))):
        for number, instr in enumerate(facts.body):
            if facts.stages[number] != s:
                continue
            if instr.op == "reduce":
                want(instr.inputs[0], s)
                stages[s].reductions.append(
                    Reduction(number, instr.inputs[0], str(instr.attr), facts.operand_dtype(number), instr.dtype)
                )
            elif instr.op == "store" and runs_along(facts, number, reduced):
                wanted[s].add(number)
                want(instr.inputs[0], s)
            elif not facts.deps[number] & reduced:
                stages[s].uniform.append(number)
        for number in [i for i in saved if facts.stages[i] == s]:
            want(number, s)
            stages[s].saved.append(number)
        stages[s].varying = sorted(wanted[s])
        stages[s].restored = sorted(restored[s])
        stages[s].saved.sort()
    return stages
