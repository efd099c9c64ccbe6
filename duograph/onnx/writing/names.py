"""Names of a model as names of Python."""

from __future__ import annotations

import builtins
import keyword
import re

_LONGEST = 40
TAKEN = {"self", "dg", "np", "nn", "op", "F", "Path", "super", "weights", *dir(builtins), *keyword.kwlist, *keyword.softkwlist}


def identifier(name: str, other: str = "x") -> str:
    """What is most like the name among identifiers of ASCII."""
    made = re.sub(r"[^0-9A-Za-z_]+", "_", name).strip("_")
    made = made[-_LONGEST:].strip("_") or other
    return f"{other}_{made}" if made[0].isdigit() else made


class Names:
    """Names in one scope: each is given once."""

    def __init__(self, taken: set[str] | None = None) -> None:
        self.taken = {*TAKEN, *(taken or ())}

    def new(self, name: str, other: str = "x") -> str:
        """A free name that is like this one."""
        first = made = identifier(name, other)
        count = 2
        while made in self.taken:
            made = f"{first}_{count}"
            count += 1
        self.taken.add(made)
        return made


def class_name(name: str) -> str:
    """A class's name, like a graph's."""
    parts = [part for part in re.split(r"[^0-9A-Za-z]+", name) if part]
    made = "".join(part[:1].upper() + part[1:] for part in parts)[:_LONGEST] or "Model"
    made = made if not made[0].isdigit() else f"Model{made}"
    return f"{made}Model" if made in ("Path", "F", "True", "False", "None") or made in dir(builtins) else made
