"""plan_memory: where each temporary of a schedule lies, so that few bytes are alive at once.

A temporary lies in the program's arena or in the memory of a result that is not written yet; where a kernel reads an
element of a dying buffer only to write the same element of a new one, the new one takes the old one's place.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from duograph.codegen.kernel import Address, Gather, LoopKernel
from duograph.ir.dim import Dim, Expr, bounds, ceildiv, known_le, maximum
from duograph.ir.substitution import symbols

from ..fusion.groups import Buffer
from ..fusion.schedule import (
    BoxStep,
    CondStep,
    CopyStep,
    HostStep,
    ImagesStep,
    KernelStep,
    NonzeroStep,
    NumberStep,
    RandomStep,
    SizeStep,
    Step,
    UnboxStep,
    WhileStep,
    boxes_bytes,
    touched,
)

ALIGNMENT = 64
HOSTS = 8  # results tried for each temporary
GUESTS = 32  # temporaries in one result
EXACT_LIMIT = 200  # above this many temporaries places are found in order of time, in one sweep
SMALL = 256  # bytes; so are those of small ones


@dataclass
class Life:
    """From the step that writes a buffer first to the last that uses it."""

    buffer: Buffer
    size: Expr
    first: int
    last: int
    inherits: set[Buffer] = field(default_factory=set)  # buffers this one may replace at `first`


@dataclass
class Plan:
    """Offsets in the arena in bytes, temporaries that lie in a result's memory, and the arena's size.

    Temporaries whose size is known late lie in further arenas, one for each late size: `late` are their sizes, `arenas`
    says which one a temporary is in. `boxes` are the bytes of all boxes together.
    """

    offsets: dict[Buffer, Expr]
    inside: dict[Buffer, Buffer]
    arena: Expr
    lives: list[Life]
    late: list[Expr] = field(default_factory=list)
    arenas: dict[Buffer, int] = field(default_factory=dict)
    boxes: Expr = 0


def results_bytes(plan: Plan) -> Expr:
    """Bytes of a program's results."""
    total: Expr = 0
    for life in plan.lives:
        if life.buffer.kind == "output":
            total = total + life.size
    return total


def most(size: Expr) -> int:
    """The greatest value of a size; OverflowError if it has no bound."""
    high = bounds(size)[1]
    return high if isinstance(high, int) else int(float(high))


def aligned(size: Expr) -> Expr:
    """The size rounded up to whole cache lines."""
    return ceildiv(size, ALIGNMENT) * ALIGNMENT


def room(size: Expr, late: Mapping[Dim, int]) -> Expr:
    """Bytes for a temporary: a late size that does not fit a branch is met in runs that do not take the branch."""
    return maximum(size, 0) if bounds(size)[0] < 0 and _known_after(size, late) >= 0 else size


def plan_memory(steps: Sequence[Step], extra: Mapping[int, Sequence[Buffer]] | None = None, late: Sequence[Dim] = ()) -> Plan:
    """Places for all temporaries of the steps; `extra` are further ones needed only at a step (by its number).

    `late` are the sizes that become known while the program runs, in that order.
    """
    lives = lifetimes(steps, extra or {})
    temporaries = [life for life in lives if life.buffer.kind == "temp"]
    results = [life for life in lives if life.buffer.kind == "output"]
    order = {symbol: number for number, symbol in enumerate(late)}
    for life in temporaries if order else ():
        life.size = room(life.size, order)
    inside = _place_inside(temporaries, results, order)
    rest = [life for life in temporaries if life.buffer not in inside]
    waiting: dict[int, list[Life]] = {}
    for life in rest if order else ():
        after = _known_after(life.size, order)
        if after >= 0:
            waiting.setdefault(after, []).append(life)
    rest = [life for life in rest if not order or _known_after(life.size, order) < 0]
    small = [life for life in rest if isinstance(life.size, int) and life.size <= SMALL]
    large = [life for life in rest if isinstance(life.size, int) and life.size > SMALL]
    place = _place_exactly if len(large) <= EXACT_LIMIT else _place_in_time
    offsets, end = place(large)
    small_offsets, small_end = _place_in_time(small)
    offsets.update({buffer: end + offset for buffer, offset in small_offsets.items()})
    symbolic, arena = _place_symbolic([life for life in rest if not isinstance(life.size, int)], end + small_end)
    plan = Plan({**offsets, **symbolic}, inside, arena, lives, boxes=boxes_bytes(steps))
    for number, (_, members) in enumerate(sorted(waiting.items())):
        places, size = _place_symbolic(members, 0)
        plan.offsets.update(places)
        plan.arenas.update(dict.fromkeys(places, number))
        plan.late.append(size)
    return plan


def _known_after(size: Expr, order: Mapping[Dim, int]) -> int:
    """The number of the last late size that a size needs; -1 if it is known when the program starts."""
    return max((order.get(symbol, -1) for symbol in symbols(size)), default=-1) if isinstance(size, Dim) else -1


# Lifetimes


class _Walk:
    """Numbers the steps, regions inside their step, and notes first and last uses."""

    def __init__(self, extra: Mapping[int, Sequence[Buffer]]) -> None:
        self.extra = extra
        self.clock = 0
        self.lives: dict[Buffer, Life] = {}

    def use(self, buffer: Buffer, start: int | None = None) -> None:
        owner = buffer.owner
        if owner.kind not in ("temp", "output"):
            return
        life = self.lives.get(owner)
        if life is None:
            first = self.clock if start is None else start
            life = self.lives[owner] = Life(owner, aligned(owner.bytes), first, self.clock)
        life.last = self.clock

    def walk(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self.clock += 1
            if isinstance(step, KernelStep):
                self.kernel(step)
            elif isinstance(step, ImagesStep):
                self.images(step)
            elif isinstance(step, CopyStep):
                self.use(step.source)
                self.use(step.target)
            elif isinstance(step, RandomStep):
                self.use(step.buffer)
            elif isinstance(step, CondStep):
                self.use(step.predicate)
                self.branches(step)
            elif isinstance(step, (SizeStep, UnboxStep)):
                self.use(step.source)
            elif isinstance(step, NonzeroStep):
                self.use(step.source)
                self.use(step.target)
            elif isinstance(step, NumberStep):
                self.use(step.target)
            elif isinstance(step, BoxStep):
                continue
            elif isinstance(step, HostStep):
                for buffer in (*step.operands, *step.results):
                    self.use(buffer)
            elif isinstance(step, WhileStep):
                self.loop(step)

    def kernel(self, step: KernelStep) -> None:
        fresh = [b.owner for b in step.writes if b.owner not in self.lives]
        for buffer in step.buffers:
            self.use(buffer)
        for buffer in self.extra.get(id(step), ()):
            self.use(buffer)
        replaceable = _replaceable(step, fresh) if fresh else {}
        for buffer, overlaid in replaceable.items():
            if buffer in self.lives:
                self.lives[buffer].inherits = {old for old in overlaid if old in self.lives}

    def images(self, step: ImagesStep) -> None:
        """What holds all images is alive from the first kernel on the first one to the last on the last."""
        before = set(self.lives)
        for buffer, _ in step.moving:
            self.use(buffer)
        self.walk(step.steps)
        self.clock += 1
        for buffer in (*before.intersection(touched(step.steps)), *(buffer for buffer, _ in step.moving)):
            self.use(buffer)

    def branches(self, step: CondStep) -> None:
        """What either branch writes and somebody reads later is alive through both."""
        start = self.clock
        before = set(self.lives)
        self.walk(step.then)
        self.walk(step.otherwise)
        self.clock += 1
        written = [set(touched(branch)) for branch in (step.then, step.otherwise)]
        for buffer in written[0] & written[1]:
            if buffer in self.lives and buffer not in before:
                self.lives[buffer].first = start
                self.lives[buffer].inherits = set()

    def loop(self, step: WhileStep) -> None:
        """Everything a loop uses that was there before it stays until it ends; its condition too."""
        start = self.clock
        before = set(self.lives)
        own = [step.predicate, *(stack.memory for stack in step.stacks)]
        for buffer in own:
            self.use(buffer, start)
        self.walk(step.condition)
        self.walk(step.body)
        self.clock += 1
        for buffer in own:
            self.use(buffer)
        for buffer in touched((*step.condition, *step.body)):
            if buffer in before:
                self.use(buffer)


def lifetimes(steps: Sequence[Step], extra: Mapping[int, Sequence[Buffer]]) -> list[Life]:
    """The lives of temporaries and results, by first use. Results live to the end."""
    walk = _Walk(extra)
    walk.walk(steps)
    for life in walk.lives.values():
        if life.buffer.kind == "output":
            life.last = walk.clock + 1
    return sorted(walk.lives.values(), key=lambda life: life.first)


def _replaceable(step: KernelStep, written: Sequence[Buffer]) -> dict[Buffer, list[Buffer]]:
    """Operands of a kernel that each of `written` may overlay: each element is read exactly where it is written."""
    kernel = step.kernel
    if not isinstance(kernel, LoopKernel) or _reads_twice(kernel):
        return {}
    loads: dict[int, list[Address]] = {}
    stores: dict[int, list[Address]] = {}
    gathered: set[int] = set()
    for instr in kernel.body:
        if isinstance(instr.attr, Gather):
            gathered.add(instr.attr.address.arg)
        elif isinstance(instr.attr, Address):
            (stores if instr.op == "store" else loads).setdefault(instr.attr.arg, []).append(instr.attr)
    owners = [buffer.owner for buffer in step.buffers]
    uses = Counter(owners)
    read: list[tuple[Buffer, Address]] = []  # what is read at one place only, and which
    for arg, addresses in loads.items():
        buffer, first = step.buffers[arg], addresses[0]
        alone = arg not in stores and arg not in gathered and uses[buffer.owner] == 1 and buffer.base is None
        if alone and not any(load.mask or load.strides != first.strides or load.offset != first.offset for load in addresses):
            read.append((buffer, first))
    found = {}
    for buffer in written:
        targets = stores.get(owners.index(buffer), ())
        if len(targets) == 1:
            size, (target,) = buffer.dtype.itemsize, targets
            same = [old for old, place in read if place.strides == target.strides and place.offset == target.offset]
            found[buffer] = [old.owner for old in same if old.dtype.itemsize == size]
    return found


def _reads_twice(kernel: LoopKernel) -> bool:
    """Whether a kernel goes over its operands again after a reduction, to reduce once more or to store every element."""
    after: set[int] = set()
    for number, instr in enumerate(kernel.body):
        if not after.isdisjoint(instr.inputs):
            if instr.op == "reduce":
                return True
            if instr.op == "store":
                assert isinstance(instr.attr, Address)
                if any(instr.attr.strides[d] != 0 for d in kernel.reduce_dims):
                    return True
            after.add(number)
        elif instr.op == "reduce":
            after.add(number)
    return False


def clash(a: Life, b: Life) -> bool:
    """Whether two buffers must not share memory."""
    if a.last < b.first or b.last < a.first:
        return False
    if a.last == b.first and a.first < b.first:
        return a.buffer not in b.inherits
    if b.last == a.first and b.first < a.first:
        return b.buffer not in a.inherits
    return True


def overlays(a: Life, b: Life) -> bool:
    """Whether one takes the other's place: then they must start at the same address."""
    return (a.last == b.first and a.buffer in b.inherits) or (b.last == a.first and b.buffer in a.inherits)


# Places


def _place_inside(temporaries: Sequence[Life], results: Sequence[Life], order: Mapping[Dim, int]) -> dict[Buffer, Buffer]:
    """Temporaries that fit into the memory of a result before it is written, and where they lie there."""
    inside: dict[Buffer, Buffer] = {}
    known = _Hosts([result for result in results if isinstance(result.size, int)])
    longest = sorted(temporaries, key=lambda life: (life.first - life.last, life.first))
    for life in sorted((life for life in longest if isinstance(life.size, int)), key=lambda life: -_known(life.size)):
        place = known.place(life)
        if place is not None:
            inside[life.buffer] = place
    guests: dict[Buffer, list[Life]] = {}
    symbolic = [result for result in results if not isinstance(result.size, int)][:HOSTS]
    for life in temporaries if symbolic else ():
        if life.buffer in inside:
            continue
        for host in symbolic:
            if host.first < life.last or clash(life, host) or not known_le(life.size, host.size):
                continue
            if order and _known_after(host.size, order) > _known_after(life.size, order):
                continue  # the result has no memory yet
            if not any(clash(life, guest) for guest in guests.get(host.buffer, ())):
                inside[life.buffer] = host.buffer
                guests.setdefault(host.buffer, []).append(life)
                break
    return inside


class _Hosts:
    """Results with what lies in their memory until they are written."""

    def __init__(self, results: Sequence[Life]) -> None:
        self.results = sorted(results, key=lambda life: life.first)
        self.placed = {result.buffer: [(0, _known(result.size), result)] for result in results}
        self.large: dict[int, tuple[list[int], list[Life]]] = {}

    def place(self, life: Life) -> Buffer | None:
        """A place in the result that is written next after a temporary is dead and has room; None if there is none."""
        size = _known(life.size)
        firsts, hosts = self._at_least(size)
        start = bisect_left(firsts, life.last)
        for host in hosts[start : start + HOSTS]:
            placed = self.placed[host.buffer]
            if len(placed) > GUESTS or clash(life, host):
                continue
            offset = 0
            while offset + size <= _known(host.size):
                stop = _obstacle(life, offset, placed)
                if stop is None:
                    insort(placed, (offset, offset + size, life), key=_start)
                    return host.buffer.view(offset // host.buffer.dtype.itemsize)
                offset = stop
        return None

    def _at_least(self, size: int) -> tuple[list[int], list[Life]]:
        """When the results of some size are written, and these."""
        found = self.large.get(size)
        if found is None:
            hosts = [result for result in self.results if _known(result.size) >= size]
            found = self.large[size] = [host.first for host in hosts], hosts
        return found


def _place_exactly(lives: Sequence[Life]) -> tuple[dict[Buffer, Expr], int]:
    """Largest first, each in the place it may take over, or else at the lowest offset where nothing is in its way."""
    placed: list[tuple[int, int, Life]] = []
    offsets: dict[Buffer, Expr] = {}
    end = 0
    for life in sorted(lives, key=lambda life: (-_known(life.size), life.first)):
        size = _known(life.size)
        first, last = life.first, life.last
        near = [entry for entry in placed if entry[2].first <= last and first <= entry[2].last]
        inherited = [start for start, stop, other in near if stop - start == size and overlays(life, other)]
        offset = next((start for start in inherited if _obstacle(life, start, near) is None), -1)
        if offset < 0:
            offset = _lowest(life, near)
        offsets[life.buffer] = offset
        end = max(end, offset + size)
        insort(placed, (offset, offset + size, life), key=_start)
    return offsets, end


def _lowest(life: Life, placed: Sequence[tuple[int, int, Life]]) -> int:
    """The lowest offset where nothing placed, by offset, is in a buffer's way."""
    size, offset = _known(life.size), 0
    while True:
        for start, stop, other in placed:
            if start >= offset + size:
                break
            if stop > offset and (clash(life, other) or (start != offset and overlays(life, other))):
                offset = stop
        again = _obstacle(life, offset, placed)  # what could be replaced where the search began may be in the way now
        if again is None:
            return offset
        offset = again


def _obstacle(life: Life, offset: int, placed: Sequence[tuple[int, int, Life]]) -> int | None:
    """Where the first placed buffer ends that a buffer may not overlap at this offset; None if it may lie there."""
    size = _known(life.size)
    for start, stop, other in placed:
        if start >= offset + size:
            return None
        if stop > offset and (clash(life, other) or (start != offset and overlays(life, other))):
            return stop
    return None


def _start(entry: tuple[int, int, Life]) -> int:
    return entry[0]


def _known(size: Expr) -> int:
    assert isinstance(size, int)
    return size


def _place_in_time(lives: Sequence[Life]) -> tuple[dict[Buffer, Expr], int]:
    """In order of first use, each in the place of one it may take over, or else in the smallest free gap that holds it."""
    offsets: dict[Buffer, Expr] = {}
    free: list[tuple[int, int]] = []  # (offset, size), by offset
    busy: list[tuple[int, int, int, int]] = []  # (last, number, offset, size)
    known = {life.buffer: life for life in lives}
    taken: set[Buffer] = set()  # whose place another has taken over
    order = sorted(lives, key=lambda life: life.first)
    end = 0
    for number, life in enumerate(order):
        while busy and busy[0][0] < life.first:
            _, which, offset, size = heappop(busy)
            if order[which].buffer not in taken:
                _release(free, offset, size)
        size = _known(life.size)
        heirs = [known[old] for old in life.inherits if old in offsets and old not in taken]
        old = next((old for old in heirs if old.last == life.first < life.last and old.size == size), None)
        if old is not None:
            taken.add(old.buffer)
            place = offsets[old.buffer]
            assert isinstance(place, int)
            offset = place
        else:
            offset = _take(free, size)
            if offset < 0 and free and free[-1][0] + free[-1][1] == end:
                offset = free.pop()[0]
            elif offset < 0:
                offset = end
            end = max(end, offset + size)
        offsets[life.buffer] = offset
        heappush(busy, (life.last, number, offset, size))
    return offsets, end


def _take(free: list[tuple[int, int]], size: int) -> int:
    """Take bytes from the smallest gap that has them; their offset, -1 if there is none."""
    best = -1
    for i, gap in enumerate(free):
        if gap[1] >= size and (best < 0 or gap[1] < free[best][1]):
            best = i
    if best < 0:
        return -1
    offset, room = free[best]
    if room > size:
        free[best] = (offset + size, room - size)
    else:
        del free[best]
    return offset


def _release(free: list[tuple[int, int]], offset: int, size: int) -> None:
    """Add a gap, joined with its neighbours."""
    i = bisect_left(free, (offset, 0))
    if i < len(free) and offset + size == free[i][0]:
        size += free.pop(i)[1]
    if i and free[i - 1][0] + free[i - 1][1] == offset:
        free[i - 1] = (free[i - 1][0], free[i - 1][1] + size)
    else:
        free.insert(i, (offset, size))


def _fits(life: Life, slot: tuple[Expr, list[Life]]) -> bool:
    size, members = slot
    return (size == life.size or known_le(life.size, size)) and not any(clash(life, other) for other in members)


def _place_symbolic(lives: Sequence[Life], end: Expr) -> tuple[dict[Buffer, Expr], Expr]:
    """Behind the known ones: slots whose size is an expression, shared by buffers that provably fit and do not clash."""
    slots: list[tuple[Expr, list[Life]]] = []
    for life in lives:
        slot = next((slot for slot in slots if _fits(life, slot)), None)
        if slot is None:
            slots.append((life.size, [life]))
        else:
            slot[1].append(life)
    offsets: dict[Buffer, Expr] = {}
    for size, members in slots:
        for life in members:
            offsets[life.buffer] = end
        end = end + size
    return offsets, end
