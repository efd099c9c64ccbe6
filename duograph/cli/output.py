"""What commands print: tables for people, JSON for scripts, and errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, NoReturn

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
WRONG_USE, FAILED = 2, 1


class UsageError(Exception):
    """Something that a command was given cannot be used: the command ends with exit code 2."""


def console() -> Console:
    """Where tables go: standard output as it is now."""
    return Console(width=None if sys.stdout.isatty() else 140, soft_wrap=False)


def show_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, default=_plain))


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under their columns' names."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if x is None else _text(x) for x in row))
    console().print(table)


def show_pairs(title: str, pairs: Mapping[str, Any]) -> None:
    """Print names and values."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, show_header=False)
    for name, value in pairs.items():
        table.add_row(_text(name), "" if value is None else _text(value))
    console().print(table)


def fail(message: str, as_json: bool, code: int = WRONG_USE) -> NoReturn:
    """End with an exit code and a message on standard error (or as JSON)."""
    if as_json:
        show_json({"error": message})
    else:
        Console(stderr=True, highlight=False).print(f"[red]duograph:[/red] {_escaped(message)}")
    raise typer.Exit(code)


def human(count: float, unit: str = "") -> str:
    """A count with a prefix: 1.2 M."""
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= size:
            return f"{count / size:.3g} {prefix}{unit}"
    return f"{count:.3g} {unit}".rstrip()


def duration(seconds: float) -> str:
    """Seconds in the unit that fits."""
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return _escaped(", ".join(map(str, value)))
    return _escaped(str(value))


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return str(value)
