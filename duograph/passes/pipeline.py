"""The passes in order, and the driver that runs them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from duograph.config import config
from duograph.ir.graph import Graph
from duograph.ir.verify import verify

from .cleanup import merge_common
from .contract_fma import contract_fma
from .drop_dead import drop_dead
from .expand import expand
from .fold import fold_constants
from .hoist import hoist
from .lay_out_loops import lay_out_loops
from .reductions import split_reductions
from .select_branches import select_branches
from .simplify import simplify


class Options(NamedTuple):
    """How to compile a graph.

    strict  no pass may change floating-point results (dynamic mode, and static mode on request)
    fuse    share kernels between operators; off only in tests and reports
    verify  check the graph after each pass
    budget  bytes the program may allocate, or (a float) a share of what it would; None: no limit
    """

    strict: bool = True
    fuse: bool = True
    verify: bool = False
    budget: int | float | None = None


Pass = tuple[str, Callable[[Graph, Options], Graph]]

LOWER: tuple[Pass, ...] = (
    ("expand", lambda graph, options: expand(graph)),
    ("split_reductions", lambda graph, options: split_reductions(graph)),
)
TIDY: tuple[Pass, ...] = (  # until nothing changes
    ("fold_constants", lambda graph, options: fold_constants(graph)),
    ("simplify", lambda graph, options: simplify(graph, options.strict)),
    ("select_branches", lambda graph, options: select_branches(graph)),
    ("merge_common", lambda graph, options: merge_common(graph)),
    ("hoist", lambda graph, options: hoist(graph)),
    ("drop_dead", lambda graph, options: drop_dead(graph)),
)
CONTRACT: tuple[Pass, ...] = (
    ("contract_fma", lambda graph, options: graph if options.strict else contract_fma(graph)),
    ("lay_out_loops", lambda graph, options: lay_out_loops(graph)),
    ("drop_dead", lambda graph, options: drop_dead(graph)),
)
PIPELINE = (LOWER, TIDY, CONTRACT)
MAX_ROUNDS = 16

Trace = Callable[[str, Graph], None]


class _Dump:
    """Writes each graph it sees to a file of its own in the folder of the setting `dump`."""

    def __init__(self, name: str) -> None:
        self.name = "".join(c if c.isalnum() else "_" for c in name)
        self.number = 0

    def __call__(self, name: str, graph: Graph) -> None:
        os.makedirs(config.dump, exist_ok=True)
        path = os.path.join(config.dump, f"{self.name}.{id(self):x}.{self.number:02}.{name}.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write(str(graph))
        self.number += 1


def optimise(graph: Graph, options: Options, trace: Trace | None = None) -> Graph:
    """Run all passes; `trace` sees the graph after each pass that changed it."""
    checking = options.verify or config.verify
    if trace is None and config.dump:
        trace = _Dump(graph.name)
    if checking and not graph.equal:  # sizes that are equal are written as one by the first pass
        verify(graph)

    def run(passes: tuple[Pass, ...], graph: Graph) -> Graph:
        for name, function in passes:
            after = function(graph, options)
            if after is graph:
                continue
            graph = after
            if checking:
                verify(graph)
            if trace is not None:
                trace(name, graph)
        return graph

    graph = run(LOWER, graph)
    for _ in range(MAX_ROUNDS):
        after = run(TIDY, graph)
        if after is graph:
            break
        graph = after
    return run(CONTRACT, graph)
