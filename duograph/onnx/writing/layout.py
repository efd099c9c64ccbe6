"""Statements laid out as ruff's formatter lays them out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

_WIDTH = 88


class Group:
    """Brackets with items between them: a call, a subscript, a list (`literal`)."""

    def __init__(self, start: str, items: Sequence[Layout], end: str = ")", literal: bool = False) -> None:
        self.start = start
        self.items = list(items)
        self.end = end
        self.literal = literal

    def __str__(self) -> str:
        inner = ", ".join(map(str, self.items))
        lonely = self.literal and self.end == ")" and len(self.items) == 1
        return f"{self.start}{inner}{',' if lonely else ''}{self.end}"


Layout: TypeAlias = "str | Group"


def statement(before: str, value: Layout, indent: int, comment: str = "", after: str = "") -> list[str]:
    """The lines of `before value after`; the comment behind them, or above where it does not fit."""
    space = " " * indent
    flat = f"{space}{before}{value}{after}"
    if comment and len(flat) + len(comment) + 4 <= _WIDTH and "\n" not in flat:
        return [f"{flat}  # {comment}"]
    lines = [f"{space}# {comment}"] if comment else []
    return lines + _laid(before, value, indent, after)


def _laid(before: str, value: Layout, indent: int, after: str) -> list[str]:
    space = " " * indent
    flat = f"{space}{before}{value}{after}"
    if len(flat) <= _WIDTH:
        return [flat]
    if isinstance(value, str):
        if " " not in value or not before.endswith("= "):
            return [flat]
        inner = [f"{space}    {value}"]
        if len(inner[0]) > _WIDTH and value.count(" ") == 2:  # two operands
            left, sign, right = value.split(" ")
            inner = [f"{space}    {left}", f"{space}    {sign} {right}"]
        return [f"{space}{before}(", *inner, f"{space}){after}"]
    lines = [f"{space}{before}{value.start}"]
    listed = ", ".join(map(str, value.items))
    if not value.literal and indent + 4 + len(listed) <= _WIDTH:
        lines.append(f"{space}    {listed}")
    else:
        for item in value.items:
            lines += _laid("", item, indent + 4, ",")
    return [*lines, f"{space}{value.end}{after}"]


def quoted(text: str) -> str:
    """A text as a literal, in double quotes where that takes no more escapes."""
    found = repr(text)
    if found[0] == '"':
        return found
    inner = found[1:-1].replace("\\'", "'")
    return f'"{inner}"' if '"' not in inner else found


def literal(value: object) -> Layout:
    """A number, text or list as Python writes it."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))):
        return f'float("{value}")'
    if isinstance(value, (list, tuple)):
        start, end = ("[", "]") if isinstance(value, list) else ("(", ")")
        return Group(start, [literal(item) for item in value], end, literal=True)
    return repr(value)


def remark(text: str) -> str:
    """A text of the model's as a comment: one line that can be printed."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())[:120].rstrip()
