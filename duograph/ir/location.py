"""Where in the user's program a node comes from."""

from __future__ import annotations

from typing import NamedTuple


class Location(NamedTuple):
    """A line of user code: file, line number, the function it is in, and its source text ("" if not at hand)."""

    file: str
    line: int
    function: str = ""
    text: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}"
        if self.function:
            where += f" in {self.function}"
        return f"{where}:    {self.text}" if self.text else where
