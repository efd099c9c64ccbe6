"""What `dg.tune` found: each contraction that can be made in several ways, and how long each takes."""

from __future__ import annotations

from dataclasses import dataclass, field

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


@dataclass
class Tuned:
    """One contraction: the way that its sizes alone decide for, the one it is made in now, and seconds of each.

    `times`: how many kernels of the program are this contraction. `is_new`: measured now, not known from before.
    """

    expression: str
    sizes: str
    location: str
    rule: str
    way: str
    seconds: dict[str, float] = field(default_factory=dict)
    times: int = 1
    is_new: bool = True

    @property
    def gain(self) -> float:
        """How many times faster it is than without tuning."""
        return self.seconds[self.rule] / self.seconds[self.way]


@dataclass
class TuneReport:
    """The result of `dg.tune`; `print` it, or read `report.contractions`."""

    name: str
    threads: int
    contractions: list[Tuned] = field(default_factory=list)
    unknown: int = 0  # contractions whose sizes only a run knows
    unmeasured: int = 0  # contractions that Winograd's way is for, which was not asked for
    folder: str | None = None  # where the choices are kept; None: in this process alone

    def __str__(self) -> str:
        changed = sum(each.way != each.rule for each in self.contractions)
        many = len(self.contractions)
        lines = [f"{self.name}: {changed} of {many} contractions {'is' if changed == 1 else 'are'} made in another way now"]
        where = self.folder or "this process alone"
        lines.append(f"on {self.threads} thread{'s' if self.threads > 1 else ''}; the choices are kept in {where}")
        if self.unknown:
            lines.append(f"{self.unknown} more have sizes that only a run knows: they are left as they are")
        if self.unmeasured:
            lines.append(f"winograd=True would measure one more way, with larger rounding errors, for {self.unmeasured} of them")
        return "\n".join([*lines, "", *self._table()]) if many else "\n".join(lines)

    def _table(self) -> list[str]:
        rows = [("contraction", "", "before", "now", "")]
        for each in self.contractions:
            often = f"× {each.times}" if each.times > 1 else ""
            before = f"{each.rule} {_time(each.seconds[each.rule])}"
            now = "the same" if each.way == each.rule else f"{each.way} {_time(each.seconds[each.way])}"
            gain = "" if each.way == each.rule else f"{each.gain:.2f} times as fast"
            rows.append((f"{each.sizes}  {each.location}".rstrip(), often, before, now, gain))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return ["  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in rows]

    __repr__ = __str__


def _time(seconds: float) -> str:
    unit, name = next(((unit, name) for unit, name in _UNITS if seconds >= unit), _UNITS[-1])
    return f"{seconds / unit:.3g} {name}"
