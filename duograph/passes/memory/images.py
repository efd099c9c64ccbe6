"""Images that go through several kernels one by one: what these write for each other is then one image, and stays in cache.

A kernel over all images writes more than a cache holds before the next one reads it. Where kernels that follow each other keep
images apart, and read little beside them, the program runs all of them on the first image, then on the next one
(`ImagesStep`); on some images at a time where one is little work. Each kernel is made for so many, and its operands move from
turn to turn; what no other step uses has room for one turn. No element is computed in another way, so no bit is another one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import replace

from duograph.codegen.kernel import ContractionKernel
from duograph.ir.dim import Expr

from ..fusion.groups import Buffer
from ..fusion.schedule import ImagesStep, KernelStep, Schedule, Step, touched
from .image_parts import Part, Use, images_of, is_around, part_of

_LARGE = 24 << 20  # bytes that the kernels write for each other: of less, much stays in the caches by itself
_WORK = 4 << 20  # bytes that a kernel touches in a turn, on average: threads wait for each other between kernels
_OPERATIONS = 10  # that take as long as a byte


def by_images(plan: Schedule, apart: Set[int]) -> Schedule:
    """The schedule whose kernels run image by image where that pays. `apart`: steps (by id) that run together in another way."""
    steps: list[Step] = []
    run: list[KernelStep] = []
    uses = Counter(touched(plan.steps))
    for step in plan.steps:
        if isinstance(step, KernelStep) and id(step) not in apart and not any(b.owner.kind == "input" for b in step.writes):
            run.append(step)
            continue
        steps += [*_Run(run, uses).steps(), step]
        run = []
    steps += _Run(run, uses).steps()
    return replace(plan, steps=tuple(steps)) if len(steps) != len(plan.steps) else plan


class _Run:
    """Kernels that follow each other, some of which may run image by image.

    images   of the first convolution of several, 1 if there is none
    parts    the kernels (by the id of their step) that keep images apart, on one of them
    holders  memory that holds all images, one behind the other
    """

    def __init__(self, run: Sequence[KernelStep], uses: Counter[Buffer]) -> None:
        """`uses`: of each buffer, in the program."""
        self.run, self.uses = run, uses
        self.images = next((images for step in run if (images := images_of(step.kernel)) > 1), 1)
        self.parts: dict[int, Part] = {}
        self.holders: set[Buffer] = set()

    def steps(self) -> list[Step]:
        """The kernels, those that run image by image as one step."""
        if self.images == 1:
            return [*self.run]
        self._find()
        made: list[Step] = []
        group: list[KernelStep] = []
        for step in self.run:
            if self._is_apart(step):
                made += [*self._together(group), step]
                group = []
            else:
                group.append(step)
        return made + self._together(group)

    def _find(self) -> None:
        """What convolutions take and give holds images, and what is made of that, or of which that is made."""
        for step in self.run:
            if images_of(step.kernel) == self.images:
                self._add(step)
        for steps in (self.run, self.run[::-1], self.run):
            for step in steps:
                if id(step) not in self.parts and self._meets_images(step):
                    self._add(step)

    def _meets_images(self, step: KernelStep) -> bool:
        return any(buffer.owner in self.holders for buffer in step.buffers)

    def _add(self, step: KernelStep) -> None:
        part = part_of(step.kernel, self.images, self.images)
        if part is None or not all(part.moves(i) for i, operand in enumerate(step.kernel.operands) if operand.role != "in"):
            return
        if all(self._is_whole(step, operand, use) for operand, use in part.uses.items()):
            self.parts[id(step)] = part
            self.holders.update(step.buffers[operand].owner for operand in part.uses if part.moves(operand))

    def _is_whole(self, step: KernelStep, operand: int, use: Use) -> bool:
        """Whether an operand is the same for all images, or has one behind the other, of which only one is used at a time."""
        if use.step == 0:
            return True
        buffer = step.buffers[operand]
        size, start = buffer.owner.bytes, buffer.offset
        if not isinstance(start, int) or size != use.step * self.images * buffer.dtype.itemsize:
            return False
        return is_around(step.kernel, operand) or (start + use.low >= 0 and start + use.high < use.step)

    def _is_apart(self, step: KernelStep) -> bool:
        """Whether a kernel that meets images does not keep them apart, or reads more beside an image than of it."""
        part = self.parts.get(id(step))
        if part is None:
            return self._meets_images(step)
        own: Expr = 0
        beside: Expr = 0
        for operand, buffer in enumerate(step.buffers):
            if part.moves(operand):
                own = own + buffer.owner.bytes
            elif buffer.owner in self.holders:
                return True
            else:
                beside = beside + buffer.owner.bytes
        halves = 2 if isinstance(step.kernel, ContractionKernel) and step.kernel.pairs else 1  # as they are kept
        return not (isinstance(own, int) and isinstance(beside, int) and beside * self.images <= own * halves)

    def _together(self, group: Sequence[KernelStep]) -> list[Step]:
        """Those kernels on images as one step, if that pays, behind the others."""
        chosen = [step for step in group if id(step) in self.parts]
        others: list[Step] = [step for step in group if id(step) not in self.parts]
        inside = Counter(buffer.owner for step in chosen for buffer in step.buffers)
        own = {buffer for buffer, times in inside.items() if self._is_own(buffer, times)}
        turns = self._turns(chosen)
        parts = [part for step in chosen if (part := part_of(step.kernel, self.images, turns)) is not None]
        large = sum(_known(buffer.bytes) for buffer in own) >= _LARGE
        if turns == 1 or len(parts) < max(len(chosen), 2) or not large or _overwrites(group, chosen):
            return [*group]
        return [*others, _in_turns(list(zip(chosen, parts)), own, turns)]

    def _is_own(self, buffer: Buffer, inside: int) -> bool:
        """Whether nobody else uses the memory of images that is used so often."""
        return buffer in self.holders and buffer.kind == "temp" and self.uses[buffer] == inside

    def _turns(self, chosen: Sequence[KernelStep]) -> int:
        """As many as leave enough work for each kernel."""
        work = sum(_known(step.bytes) + _known(step.flops) // _OPERATIONS for step in chosen)
        turns = self.images
        while turns > 1 and (self.images % turns or work < turns * len(chosen) * _WORK):
            turns -= 1
        return turns


def _in_turns(chosen: Sequence[tuple[KernelStep, Part]], own: Set[Buffer], turns: int) -> ImagesStep:
    small: dict[Buffer, Buffer] = {}  # memory for one turn
    moving: dict[tuple[Buffer, Expr], tuple[Buffer, int]] = {}
    steps = []
    for step, part in chosen:
        buffers = list(step.buffers)
        for operand, buffer in enumerate(step.buffers):
            owner, size = buffer.owner, part.uses[operand].step if part.moves(operand) else 0
            if size and owner in own:
                memory = small.setdefault(owner, Buffer("temp", owner.index, owner.dtype, (size,), owner.name))
                buffers[operand] = memory.view(buffer.offset)
            elif size:
                place = (owner.part(buffer.offset), size * owner.dtype.itemsize)
                buffers[operand], _ = moving.setdefault((owner, buffer.offset), place)
        flops, moved = _known(step.flops) // turns, _known(step.bytes) // turns
        steps.append(step._replace(kernel=part.kernel, buffers=tuple(buffers), flops=flops, bytes=moved))
    return ImagesStep(turns, tuple(steps), tuple(moving.values()))


def _known(size: Expr) -> int:
    return size if isinstance(size, int) else 0


def _overwrites(group: Sequence[KernelStep], chosen: Sequence[KernelStep]) -> bool:
    """Whether one of the others writes what is used before it."""
    among, used = {id(step) for step in chosen}, set[Buffer]()
    for step in group:
        if id(step) in among:
            used.update(buffer.owner for buffer in step.buffers)
        elif any(buffer.owner in used for buffer in step.writes):
            return True
    return False
