"""What commands print: tables for people, JSON for scripts, and errors."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
WRONG_USE, FAILED, INTERRUPTED, NO_READER = 2, 1, 130, 141  # the last two as a shell names what SIGINT and SIGPIPE end


class UsageError(Exception):
    """Something that a command was given cannot be used: the command ends with exit code 2."""


class _Console(Console):
    """Standard output as it is now."""

    def __init__(self) -> None:
        super().__init__(width=None if sys.stdout.isatty() or os.environ.get("COLUMNS") else 140)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


# ---- standard output


def show_json(value: Any) -> None:
    """Print a value as JSON, in which numbers that it does not have (infinite ones, NaN) are null."""
    say(json.dumps(_plain(value), indent=2))


def say(text: str) -> None:
    """Print a line."""
    with _leaving():
        print(text)


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under their columns' names."""
    table = Table(box=SIMPLE_HEAD, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(_text, row))
    _show(title, table)


def show_pairs(title: str, pairs: Mapping[str, Any]) -> None:
    """Print names and values."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, show_header=False)
    for name, value in pairs.items():
        table.add_row(_text(name), _text(value))
    _show(title, table)


def _show(title: str, table: Table) -> None:
    """The table below its title, which is never broken into lines: it may be a path."""
    with _leaving():
        if title:
            _Console().print(Text(printable(title), "bold"), soft_wrap=True)
        _Console().print(table)
        print()


@contextmanager
def _leaving() -> Iterator[None]:
    """What is printed inside has left the process at the end; where nobody reads it any more, the command ends."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(NO_READER) from None
        fail(f"standard output: {error.strerror}", False)


# ---- standard error


def fail(message: str, as_json: bool, code: int = WRONG_USE) -> NoReturn:
    """End with an exit code and a message on standard error (or as JSON)."""
    if as_json:
        show_json({"error": message})
    else:
        text = Text.assemble(("duograph:", "red"), " ", printable(message))
        Console(stderr=True, highlight=False).print(text, soft_wrap=True)
    raise typer.Exit(code)


def progress(text: str, total: int | None = None) -> tuple[Progress, Any]:
    """A bar on standard error, where that is a terminal, and what moves it on; without a total it says that work goes on."""
    console = Console(stderr=True)
    bar = Progress(console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task(text, total=total)
    return bar, lambda: bar.advance(task)


# ---- texts


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


def printable(text: str) -> str:
    """The text without what would steer a terminal: names in files are anybody's."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _text(value: Any) -> Text:
    value = "" if value is None else ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return Text(printable(value))


def _plain(value: Any) -> Any:
    """A value made of what JSON has."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(x) for key, x in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(x) for x in value]
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
