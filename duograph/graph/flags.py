"""`tf.flags`: options of a program by name, with defaults, from its command line."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from duograph.errors import ArgumentError

__all__ = [
    "FLAGS",
    "DEFINE_bool",
    "DEFINE_boolean",
    "DEFINE_enum",
    "DEFINE_float",
    "DEFINE_integer",
    "DEFINE_list",
    "DEFINE_string",
]


class Flags:
    """The options: attributes by name. They are read from the command line when one is first asked for.

    >>> import duograph.graph as tf
    >>> tf.flags.DEFINE_integer("rows_of_the_example", 3, "how many rows")
    >>> tf.flags.FLAGS.rows_of_the_example
    3
    """

    def __init__(self) -> None:
        self.__dict__["_parser"] = argparse.ArgumentParser(allow_abbrev=False)
        self.__dict__["_values"] = {}
        self.__dict__["_parsed"] = False

    def _define(self, name: str, default: Any, help: str | None, **how: Any) -> None:
        if name in self._values:
            raise ArgumentError(f"flags: {name!r} is defined twice")
        self._values[name] = default
        self.__dict__["_parsed"] = False
        self._parser.add_argument(
            f"--{name}", f"-{name}", dest=name, default=default, help=(help or "").replace("%", "%%"), **how
        )

    def __call__(self, argv: list[str]) -> list[str]:
        """Reads a command line; gives what is no flag of the program."""
        found, left = self._parser.parse_known_args(argv[1:])
        self._values.update(vars(found))
        self.__dict__["_parsed"] = True
        return [*argv[:1], *left]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if not self._parsed:
            self(sys.argv)
        if name not in self._values:
            raise AttributeError(f"there is no flag {name!r}: tf.flags.DEFINE_string({name!r}, …) makes one")
        return self._values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._values:
            raise AttributeError(f"there is no flag {name!r}")
        if not self._parsed:
            self(sys.argv)
        self._values[name] = value

    def flag_values_dict(self) -> dict[str, Any]:
        """All flags with their values."""
        if not self._parsed:
            self(sys.argv)
        return dict(self._values)


FLAGS = Flags()


def _truth(text: str) -> bool:
    if text.lower() in ("true", "t", "1", "yes"):
        return True
    if text.lower() in ("false", "f", "0", "no"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def DEFINE_string(name: str, default: str | None, help: str | None = None) -> None:
    """A flag that is a text."""
    FLAGS._define(name, default, help, type=str)


def DEFINE_integer(name: str, default: int | None, help: str | None = None) -> None:
    """A flag that is a whole number."""
    FLAGS._define(name, default, help, type=int)


def DEFINE_float(name: str, default: float | None, help: str | None = None) -> None:
    """A flag that is a number."""
    FLAGS._define(name, default, help, type=float)


def DEFINE_boolean(name: str, default: bool | None, help: str | None = None) -> None:
    """A flag that is true or false; given without a value it is true."""
    FLAGS._define(name, default, help, type=_truth, nargs="?", const=True)


DEFINE_bool = DEFINE_boolean


def DEFINE_enum(name: str, default: str | None, enum_values: list[str], help: str | None = None) -> None:
    """A flag that is one of some texts."""
    FLAGS._define(name, default, help, choices=enum_values)


def DEFINE_list(name: str, default: Any, help: str | None = None) -> None:
    """A flag that is a list of texts, with commas between them."""
    items = default.split(",") if isinstance(default, str) else default
    FLAGS._define(name, items, help, type=lambda text: text.split(",") if text else [])
