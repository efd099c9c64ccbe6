"""What a run makes of a graph, laid over its picture: which operations share a kernel, and where kernels write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from duograph.errors import ArgumentError

if TYPE_CHECKING:
    from duograph.capture.reports.report import KernelLine, Report

    from .drawing import Box

MOST_KERNELS = 60  # that the list below the picture names
_COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#db2777", "#65a30d", "#9333ea", "#475569")
_BADGE, _LINE, _MOST_BADGES = 0.17, 0.2, 8  # inches; badges of a box
_TEXT, _BAR = 7.5, 3.0  # width of a line's text and of the bar that stands for the arena, in inches


class Overlay:
    """The kernels of a run's report, by the operations that they compute."""

    def __init__(self, report: Report) -> None:
        kernels = getattr(getattr(report, "static", None), "kernel_list", None)
        if kernels is None:
            raise ArgumentError(f"draw: run is the report of `session.explain(fetches, feed_dict)`, got {type(report).__name__}")
        self.kernels: Sequence[KernelLine] = kernels
        self.arena = report.arena_bytes if isinstance(report.arena_bytes, int) else 0
        self.by_operation: dict[str, list[int]] = {}
        for number, kernel in enumerate(self.kernels):
            for scope in kernel.scopes:
                self.by_operation.setdefault(scope, []).append(number)

    def kernels_of(self, names: Iterable[str]) -> list[int]:
        """The numbers of the kernels that compute any of these operations, in the order in which they run."""
        return sorted({number for name in names for number in self.by_operation.get(name, ())})

    @property
    def height(self) -> float:
        """Inches that the list of kernels takes below the picture."""
        return _LINE * (min(len(self.kernels), MOST_KERNELS) + 3)

    @property
    def width(self) -> float:
        """Inches that it is wide."""
        return _TEXT + _BAR + 0.4

    def mark(self, axes: Any, box: Box, names: Iterable[str], width: float, height: float) -> None:
        """Badges with the numbers of a box's kernels, along its lower edge."""
        found = self.kernels_of(names)
        for place, number in enumerate(found[:_MOST_BADGES]):
            more = place == _MOST_BADGES - 1 and len(found) > _MOST_BADGES
            _badge(axes, box.x - width / 2 + 0.04 + place * (_BADGE + 0.03), box.y + height / 2 - _BADGE / 2, number, more)

    def list_kernels(self, axes: Any, x: float, y: float) -> None:
        """A line for each kernel: its number, what it computes, where it writes; and the arena as a bar."""
        head = f"{len(self.kernels)} kernels; the bar is the arena of {self.arena:,} bytes".replace(",", " ")
        axes.text(x, y + _LINE / 2, head, fontsize=7, va="center", weight="bold")
        for number, kernel in enumerate(self.kernels[:MOST_KERNELS]):
            top = y + (number + 1.2) * _LINE
            _badge(axes, x, top, number)
            writes = ", ".join(map(str, kernel.writes))
            expression = kernel.expression if len(kernel.expression) <= 80 else f"{kernel.expression[:79]}…"
            text = axes.text(x + 0.25, top + _BADGE / 2, _plain(f"{expression}  →  {writes}"), fontsize=6, va="center")
            text.set_parse_math(False)
            self._bar(axes, x + _TEXT, top, number, kernel)
        if len(self.kernels) > MOST_KERNELS:
            rest = f"… and {len(self.kernels) - MOST_KERNELS} more"
            axes.text(x, y + (MOST_KERNELS + 1.7) * _LINE, rest, fontsize=6, va="center")

    def _bar(self, axes: Any, x: float, y: float, number: int, kernel: KernelLine) -> None:
        """What of the arena the kernel writes."""
        from matplotlib.patches import Rectangle

        if not self.arena:
            return
        axes.add_patch(Rectangle((x, y), _BAR, _BADGE, facecolor="#f3f4f6", edgecolor="none"))
        for place in kernel.writes:
            if place.memory == "arena" and isinstance(place.offset, int) and isinstance(place.bytes, int):
                start, wide = place.offset / self.arena * _BAR, max(place.bytes / self.arena * _BAR, 0.02)
                axes.add_patch(Rectangle((x + start, y), wide, _BADGE, facecolor=colour_of(number), edgecolor="none"))


def colour_of(number: int) -> str:
    """The colour of a kernel."""
    return _COLOURS[number % len(_COLOURS)]


def _badge(axes: Any, x: float, y: float, number: int, more: bool = False) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x, y), _BADGE, _BADGE, facecolor=colour_of(number), edgecolor="none", zorder=3))
    text = "…" if more else str(number)
    axes.text(x + _BADGE / 2, y + _BADGE / 2, text, fontsize=5, color="white", ha="center", va="center", zorder=4)


def _plain(text: str) -> str:
    return " ".join(text.split())
