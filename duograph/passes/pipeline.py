"""The passes in order, and the driver that runs them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from duograph.config import config
from duograph.ir.graph import Graph
from duograph.ir.verify import verify

from .fusion.reductions import split_reductions
from .rewriting.cleanup import merge_common
from .rewriting.contract_fma import contract_fma
from .rewriting.drop_dead import drop_dead
from .rewriting.expand import expand
from .rewriting.few_rows import few_rows
from .rewriting.fold import fold_constants
from .rewriting.hoist import hoist
from .rewriting.join_loops import join_loops
from .rewriting.lay_out_loops import lay_out_loops
from .rewriting.segment_loops import Cut, by_default, segment_loops
from .rewriting.select_branches import select_branches
from .rewriting.share_rows import share_rows
from .rewriting.simplify import simplify
from .rewriting.unrounded import read_unrounded


class Options(NamedTuple):
    """How to compile a graph.

    strict  no pass may change floating-point results (dynamic mode, and static mode on request)
    fuse    share kernels between operators; off only in tests and reports
    verify  check the graph after each pass
    budget  bytes the program may allocate, or (a float) a share of what it would; None: no limit
    cut     at which turns loops are cut, so that rows of earlier turns are computed again
    """

    strict: bool = True
    fuse: bool = True
    verify: bool = False
    budget: int | float | None = None
    cut: Cut = by_default


Pass = tuple[str, Callable[[Graph, Options], Graph]]

LOWER: tuple[Pass, ...] = (
    ("expand", lambda graph, options: expand(graph)),
    ("join_loops", lambda graph, options: join_loops(graph)),
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
    ("few_rows", lambda graph, options: few_rows(graph)),
    ("contract_fma", lambda graph, options: graph if options.strict else contract_fma(graph)),
    ("read_unrounded", lambda graph, options: read_unrounded(graph)),
    ("lay_out_loops", lambda graph, options: lay_out_loops(graph)),
    ("drop_dead", lambda graph, options: drop_dead(graph)),
)
KEEP: tuple[Pass, ...] = (  # what loops keep for their gradients
    ("segment_loops", lambda graph, options: segment_loops(graph, options.cut)),
    ("share_rows", lambda graph, options: share_rows(graph)),
    ("drop_dead", lambda graph, options: drop_dead(graph)),
)
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
    return keep_rows(simplified(graph, options, trace), options, trace)


def simplified(graph: Graph, options: Options, trace: Trace | None = None) -> Graph:
    """Run the passes that do not decide what loops keep for their gradients."""
    trace = _traced(graph, trace)
    unwritten = bool(graph.equal) or any(node.op == "require" and node.attrs["same"] for node in graph.walk())
    if (options.verify or config.verify) and not unwritten:  # sizes that are equal are written as one by the first pass
        verify(graph)
    graph = _run(LOWER, graph, options, trace)
    for _ in range(MAX_ROUNDS):
        after = _run(TIDY, graph, options, trace)
        if after is graph:
            break
        graph = after
    return _run(CONTRACT, graph, options, trace)


def keep_rows(graph: Graph, options: Options, trace: Trace | None = None) -> Graph:
    """Run the passes that decide what loops keep for their gradients."""
    if not any(node.op == "while_loop" for node in graph.nodes):
        return graph
    return _run(KEEP, graph, options, _traced(graph, trace))


def _traced(graph: Graph, trace: Trace | None) -> Trace | None:
    return _Dump(graph.name) if trace is None and config.dump else trace


def _run(passes: tuple[Pass, ...], graph: Graph, options: Options, trace: Trace | None) -> Graph:
    checking = options.verify or config.verify
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
