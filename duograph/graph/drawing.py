"""A graph as a picture: operations in layers, scopes and the insides of branches and loops as frames around them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from duograph.errors import ArgumentError, FileError

from .elements import Operation
from .overlay import Overlay

if TYPE_CHECKING:
    from duograph.capture.reports.report import Report

    from .building import Graph, OpenRegion

MOST = 400  # operations that a picture shows; beyond that scopes are drawn as one box each
_WIDTH, _HEIGHT = 1.9, 0.5  # of a box, in inches
_ROW, _GAP, _MARGIN = 0.5, 0.3, 0.22  # between layers, between boxes of a layer, inside of a frame
_COLOURS = {
    "Placeholder": "#dbeafe",
    "VariableV2": "#fde68a",
    "Const": "#f3f4f6",
    "Gradient": "#fbcfe8",
    "While": "#ddd6fe",
    "If": "#ddd6fe",
}
_SCOPE, _REGION, _PLAIN = "#9ca3af", "#7c3aed", "#ffffff"


def load_libraries() -> tuple[Any, Any]:
    """networkx and matplotlib, or an error that names the extra which has them."""
    try:
        import matplotlib
        import networkx  # type: ignore[import-untyped]
    except ImportError as error:
        raise ArgumentError(f"draw: {error.name} is not installed", hint='pip install "duograph[draw]"') from None
    return networkx, matplotlib


class Box:
    """What is drawn as one box: an operation, or a whole scope in a large graph."""

    def __init__(self, key: str, title: str, kind: str, frames: tuple[tuple[str, str], ...]) -> None:
        self.key = key
        self.title = title
        self.kind = kind
        self.frames = frames  # (kind, path) of the scopes and regions around it, outermost first
        self.x = self.y = 0.0


def frames_of(node: Operation) -> tuple[tuple[str, str], ...]:
    """The scopes that an operation's name says, and the regions it lies in, outermost first."""
    parts = node.name.split("/")[:-1]
    found = [("scope", "/".join(parts[: i + 1])) for i in range(len(parts))]
    region: OpenRegion | None = node.region
    inside = []
    while region is not None:
        inside.append(("region", f"{id(region)}:{region.owner} {region.name}"))
        region = region.outer
    return (*found, *reversed(inside))


def boxes_of(nodes: Sequence[Operation]) -> tuple[dict[Operation, Box], list[Box]]:
    """The box of each operation, and all boxes; in a large graph an outermost scope is one box."""
    whole = len(nodes) > MOST
    made: dict[str, Box] = {}
    of: dict[Operation, Box] = {}
    for node in nodes:
        head, slash, _ = node.name.partition("/")
        if whole and slash:
            box = made.setdefault(head, Box(head, f"{head}/…", "scope", ()))
        else:
            box = made[node.name] = Box(node.name, node.name.rpartition("/")[2], node.op, frames_of(node))
        of[node] = box
    return of, list(made.values())


def edges_of(nodes: Sequence[Operation], of: Mapping[Operation, Box]) -> Iterator[tuple[Box, Box, bool]]:
    """(from, to, whether it only says the order)."""
    for node in nodes:
        ends = [x for region in node.regions for x in region.outputs]
        reads = [x.node for x in (*node.inputs, *node.attrs.get("captures", ()), *ends)]
        for source, control in [*((n, False) for n in reads), *((n, True) for n in node.control_inputs)]:
            if source in of and of[source] is not of[node]:
                yield of[source], of[node], control


Edges = Sequence[tuple[Box, Box, bool]]


class Block:
    """A box, or a frame with all that is in it, and its place: the upper left corner, width and height in inches."""

    def __init__(
        self, content: Box | tuple[str, str], inside: Sequence[Block] = (), width: float = _WIDTH, height: float = _HEIGHT
    ) -> None:
        self.content = content
        self.inside = list(inside)
        self.width = width
        self.height = height
        self.x = self.y = 0.0

    def boxes(self) -> Iterator[Box]:
        """The boxes in it."""
        if isinstance(self.content, Box):
            yield self.content
        for block in self.inside:
            yield from block.boxes()

    def put(self, x: float, y: float) -> None:
        """Move it, with all that is in it, so far."""
        self.x, self.y = self.x + x, self.y + y
        if isinstance(self.content, Box):
            self.content.x, self.content.y = self.x + _WIDTH / 2, self.y + _HEIGHT / 2
        for block in self.inside:
            block.put(x, y)


def lay_out(boxes: Sequence[Box], edges: Edges, networkx: Any) -> Block:
    """Give each box its place: a layer below what it reads, inside of its frames. y grows downwards."""
    return _arranged(("", ""), list(boxes), edges, 0, networkx)


def _arranged(frame: tuple[str, str], boxes: Sequence[Box], edges: Edges, depth: int, networkx: Any) -> Block:
    """The frame with its boxes, and the frames in it, in layers."""
    groups: dict[Any, list[Box]] = {}
    for box in boxes:
        groups.setdefault(box.frames[depth] if len(box.frames) > depth else box, []).append(box)
    blocks = []
    for key, members in groups.items():
        own = set(members)
        within = [e for e in edges if e[0] in own and e[1] in own]
        blocks.append(Block(key) if isinstance(key, Box) else _arranged(key, members, within, depth + 1, networkx))
    number = {box: i for i, block in enumerate(blocks) for box in block.boxes()}
    graph = networkx.DiGraph()
    graph.add_nodes_from(range(len(blocks)))
    graph.add_edges_from({(number[a], number[b]) for a, b, _ in edges if number[a] != number[b]})
    layers = _layers(graph, networkx)
    sizes = _stack([[blocks[i] for i in layer] for layer in layers])
    return Block(frame, blocks, *sizes)


def _layers(graph: Any, networkx: Any) -> list[list[int]]:
    """The numbers of blocks by layer, each near to those that it reads. Blocks that read each other share a layer."""
    condensed = networkx.condensation(graph)
    members = networkx.get_node_attributes(condensed, "members")
    layers = [[i for c in layer for i in sorted(members[c])] for layer in networkx.topological_generations(condensed)]
    place = {i: float(k) for layer in layers for k, i in enumerate(layer)}
    for near in (graph.predecessors, graph.successors, graph.predecessors):
        for layer in layers:
            middle = {i: _mean([place[n] for n in near(i)], place[i]) for i in layer}
            layer.sort(key=middle.__getitem__)
            for k, i in enumerate(layer):
                place[i] = k - (len(layer) - 1) / 2
    return layers


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _stack(layers: Sequence[Sequence[Block]]) -> tuple[float, float]:
    """Put blocks side by side in layers, and layers below each other; (width, height) of all with a margin."""
    widths = [sum(b.width for b in layer) + _GAP * (len(layer) - 1) for layer in layers]
    whole = max(widths, default=0.0)
    y = _MARGIN
    for layer, width in zip(layers, widths):
        x, high = _MARGIN + (whole - width) / 2, max(b.height for b in layer)
        for block in layer:
            block.put(x, y + (high - block.height) / 2)
            x += block.width + _GAP
        y += high + _ROW
    return whole + 2 * _MARGIN, y - _ROW + _MARGIN if layers else 2 * _MARGIN


def figure(graph: Graph, run: Report | None = None) -> Any:
    """The picture as a figure of matplotlib; with the kernels of a run laid over it, if its report is given."""
    overlay = None if run is None else Overlay(run)
    networkx, _ = load_libraries()
    from matplotlib.figure import Figure

    nodes = graph.get_operations()
    of, boxes = boxes_of(nodes)
    edges = list(dict.fromkeys(edges_of(nodes, of)))
    whole = lay_out(boxes, edges, networkx)
    width, height = whole.width, whole.height
    if overlay is not None:
        width, height = max(width, overlay.width), height + overlay.height
    made = Figure(figsize=(min(width, 200), min(height, 200)))
    axes = made.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    for block in whole.inside:
        _draw_frames(axes, block)
    for source, target, control in edges:
        _draw_edge(axes, source, target, control)
    for box in boxes:
        _draw_box(axes, box)
    if overlay is not None:
        names: dict[Box, list[str]] = {}
        for node, box in of.items():
            names.setdefault(box, []).append(node.name)
        for box in boxes:
            overlay.mark(axes, box, names[box], _WIDTH, _HEIGHT)
        overlay.list_kernels(axes, _MARGIN, whole.height)
    return made


def _rounded(axes: Any, x: float, y: float, width: float, height: float, **how: Any) -> None:
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.08", linewidth=0.8, **how))


def _draw_frames(axes: Any, block: Block) -> None:
    if isinstance(block.content, Box):
        return
    kind, path = block.content
    colour = _REGION if kind == "region" else _SCOPE
    title = path.partition(":")[2] if kind == "region" else path.rpartition("/")[2]
    _rounded(axes, block.x, block.y, block.width, block.height, fill=False, edgecolor=colour)
    axes.text(block.x + 0.06, block.y + 0.04, title, fontsize=6, color=colour, va="top")
    for inner in block.inside:
        _draw_frames(axes, inner)


def _draw_edge(axes: Any, source: Box, target: Box, control: bool) -> None:
    start, end = (source.x, source.y + _HEIGHT / 2), (target.x, target.y - _HEIGHT / 2)
    how = {"arrowstyle": "-|>", "linewidth": 0.6, "color": "#6b7280", "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=end, xytext=start, arrowprops=how | {"linestyle": "--" if control else "-"})


def _draw_box(axes: Any, box: Box) -> None:
    colour = _COLOURS.get(box.kind, _PLAIN)
    _rounded(axes, box.x - _WIDTH / 2, box.y - _HEIGHT / 2, _WIDTH, _HEIGHT, facecolor=colour, edgecolor="#374151")
    text = box.title if box.kind in box.title or box.kind == "scope" else f"{box.title}\n{box.kind}"
    axes.text(box.x, box.y, text, ha="center", va="center", fontsize=7)


def draw(graph: Graph, path: Any, run: Report | None = None) -> None:
    """See `Graph.draw`."""
    import os
    import tempfile

    target = os.fspath(path)
    ending = os.path.splitext(target)[1][1:].lower()
    if ending not in ("svg", "png", "pdf"):
        raise FileError(f"draw: {target!r} ends neither in .svg nor in .png or .pdf")
    made = figure(graph, run)
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(target)), suffix=f".{ending}")
    os.close(handle)
    try:
        made.savefig(temporary, format=ending)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def svg(graph: Graph) -> str:
    """The picture as the text of an SVG."""
    text = io.StringIO()
    figure(graph).savefig(text, format="svg")
    return text.getvalue()
