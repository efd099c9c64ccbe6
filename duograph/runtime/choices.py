"""What `dg.tune` has found out: in which way a contraction is made the fastest on this machine.

One file beside the compiled programs has all of it, for one processor, instruction level and state of the generator's
sources. It is read when the first static program is built; where nobody has tuned, there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from duograph import _core as core

from . import cache
from .stamp import processor

if TYPE_CHECKING:
    from duograph.codegen.kernel import ContractionKernel


class Choice(NamedTuple):
    """The fastest way, the one that sizes alone would decide for, and seconds of each that was measured."""

    way: str
    rule: str
    seconds: dict[str, float]


Table = dict[str, Choice]  # by `name_of`

_measuring: list[bool] = []
_tables: dict[tuple[str | None, str], Table] = {}  # of this process, by folder and file


def _file() -> str:
    return cache.key("choices", processor())


def table() -> Table:
    """All that is known, from any process; empty if nobody has tuned."""
    place = cache.folder(), _file()
    found = _tables.get(place)
    if found is None:
        found = _tables[place] = _read(place[1])
    return found


def _read(file: str) -> Table:
    found = cache.load(file)
    if found is None or not isinstance(found[0], dict):
        return {}
    return {name: Choice(*fields) for name, fields in found[0].items()}


def add(new: Table) -> bool:
    """Remember choices; whether processes that come will find them."""
    file, known = _file(), table()
    known |= _read(file) | new  # what others have measured meanwhile, too
    cache.store(file, {name: tuple(choice) for name, choice in known.items()}, b"")
    return new.keys() <= _read(file).keys()


@contextmanager
def measuring() -> Iterator[None]:
    """Programs are built of kernels that can be made in every way. Under the lock of compilation."""
    _measuring.append(True)
    try:
        yield
    finally:
        _measuring.pop()


def is_asked() -> bool:
    """Whether choices decide how contractions are made, or are about to be found."""
    return bool(_measuring) or bool(table())


def forget() -> None:
    """Remove all choices, of this process and those that come."""
    table().clear()
    cache.remove(_file())


def name_of(kernel: ContractionKernel, kept: bool) -> str:
    """What the choice for a contraction depends on besides the machine. `kept`: what is made of the first operand may be."""
    signature: str = import_module("duograph.codegen.contraction.algorithms").signature(kernel)
    return f"{core.get_num_threads()} threads{', kept' if kept else ''}: {signature}"


class Chooser:
    """How a program's contractions are made, by what is known now. Notes what it was asked."""

    def __init__(self, spare: bool = False) -> None:
        """`spare`: leave out what needs memory."""
        costly = import_module("duograph.codegen.contraction.algorithms").WINOGRAD if spare else None
        self.table = {name: choice for name, choice in table().items() if choice.way != costly}
        self.asked: dict[str, ContractionKernel] = {}

    def __call__(self, kernel: ContractionKernel, kept: bool) -> ContractionKernel:
        algorithms = import_module("duograph.codegen.contraction.algorithms")
        made: ContractionKernel = algorithms.by_rule(kernel)
        ways = algorithms.ways(kernel)
        if len(ways) == 1:
            return made
        name = name_of(kernel, kept)
        self.asked[name] = kernel
        choice = self.table.get(name)
        if choice is not None and choice.way in ways:
            made = algorithms.made_as(kernel, choice.way)
        return made

    def others(self, names: list[str]) -> list[tuple[str, str]]:
        """Of these contractions those that are not made as their sizes would decide, and how they are."""
        found = ((name, self.table[name]) for name in names if name in self.table)
        return [(name, choice.way) for name, choice in found if choice.way != choice.rule]
