"""From a graph to a program the core runs. What was built before, in any process, comes from the object cache."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._collection import paused_collection
from duograph.config import config

from . import cache
from .libraries import load_libraries

if TYPE_CHECKING:
    from duograph.ir.graph import Graph

    from .assemble import Assembled
    from .choices import Chooser
    from .report import PlanReport

Spec = dict[str, Any]


class Built:
    """A program's parts; the program itself and its report are made when they are asked for."""

    def __init__(self, make: _Maker, spec: Spec, code: bytes | memoryview, stored: str | None = None) -> None:
        """`stored`: the name under which the object cache has it."""
        self.spec = spec
        self.code = code
        self.stored = stored
        self._make = make
        self._program: Any = None
        self._report: PlanReport | None = None

    @property
    def program(self) -> Any:
        """The core's program, loaded on first use."""
        if self._program is None:
            load_libraries(self.spec.get("symbols", ()))
            self._program = core.Program(self.spec, self.code)
        return self._program

    @property
    def report(self) -> PlanReport:
        """What the program does, in words and figures."""
        if self._report is None:
            self._report = self._make().report()
        return self._report

    def assembled(self) -> Assembled:
        """The program's parts, its steps among them."""
        return self._make()


class _Maker:
    """Compiles the graph once, when somebody needs more than the cache gave."""

    def __init__(
        self,
        graph: Graph,
        strict: bool,
        fuse: bool,
        optimised: bool,
        views: bool,
        budget: int | float | None,
        chooser: Chooser | None,
    ) -> None:
        self.arguments = (graph, strict, fuse, optimised, views, budget)
        self.made: Assembled | None = None
        self.chooser = chooser

    def __call__(self) -> Assembled:
        if self.made is None:
            from duograph.passes.pipeline import Options

            from .assemble import assemble

            graph, strict, fuse, optimised, views, budget = self.arguments
            with paused_collection():
                self.made = assemble(graph, Options(strict=strict, fuse=fuse, budget=budget), optimised, views, self.chooser)
                if self.chooser is not None:
                    cache.store(self._asked_key, list(self.chooser.asked), b"")
        return self.made

    def key(self, lines: bool) -> str:
        """Everything that decides the program; the user's lines, too, or only which nodes have one."""
        key = self._key
        if self.chooser is not None:
            key = cache.key("chosen", key, self.chooser.others(self.asked() or []))
        return cache.key("lines", key, [str(node.location) for node in self.arguments[0].walk()]) if lines else key

    def asked(self) -> list[str] | None:
        """The contractions that can be made in several ways, as any process found when it compiled the program; None: unknown."""
        if self.made is not None and self.chooser is not None:
            return list(self.chooser.asked)
        found = cache.load(self._asked_key)
        return found[0] if found is not None and isinstance(found[0], list) else None

    @property
    def _asked_key(self) -> str:
        return cache.key("asked", self._key, core.get_num_threads())

    @cached_property
    def _key(self) -> str:
        from duograph.ir.late import late_symbols
        from duograph.ir.substitution import symbols
        from duograph.ir.text import print_graph

        graph = self.arguments[0]
        sizes = [size for value in graph.inputs for size in value.shape]
        sizes += [stride for argument in graph.arguments for stride in argument.strides or ()]
        bounds = {str(symbol): symbol.bounds() for size in (*sizes, *graph.sizes) for symbol in symbols(size)}
        bounds |= {str(symbol): symbol.bounds() for symbol in late_symbols(graph)}
        return cache.key("graph", print_graph(graph, locations=False), bounds, graph.equal, self.arguments[1:])


def build(
    graph: Graph,
    strict: bool = True,
    fuse: bool = True,
    optimised: bool = False,
    views: bool = True,
    cached: bool = True,
    budget: int | float | None = None,
) -> Built:
    """Compile a graph.

    Args:
        strict: no pass changes floating-point results.
        fuse: share kernels between operators.
        optimised: the graph has been through the passes.
        views: a result that is an input or a view of one shares its memory; else only written inputs do.
        cached: look in the object cache first, and keep the result there.
        budget: bytes the program may allocate, or (a float) a share of what it would; None: no limit.
    """
    chooser = None if strict else _chooser(spare=budget is not None)
    make = _Maker(graph, strict, fuse and config.fuse, optimised, views, budget, chooser)
    if not cached or cache.folder() is None:
        made = make()
        return Built(make, made.spec, made.code)
    is_known = chooser is None or make.asked() is not None
    for lines in (False, True) if is_known else ():
        key = make.key(lines)
        found = cache.load(key)
        if found is not None:
            built = Built(make, *found, key)
            try:
                built.program  # noqa: B018  # whatever is wrong with what was on disk shows here
                return built
            except Exception:
                pass
    made = make()
    key = make.key(_names_lines(made.spec))
    cache.store(key, made.spec, made.code)
    return Built(make, made.spec, made.code, key)


def _chooser(spare: bool) -> Chooser | None:
    """How contractions are made, if somebody has tuned."""
    from .choices import Chooser, is_asked

    return Chooser(spare) if is_asked() else None


def _names_lines(spec: Spec) -> bool:
    """Whether messages of a program name lines of the user's: elsewhere it would name the wrong ones."""
    return any(lines for _, *kinds in spec["nodes"] for lines in kinds)
