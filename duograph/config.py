"""Every setting in one typed table. Each has an environment variable, read once when duograph is imported."""

from __future__ import annotations

import os
from typing import NamedTuple


class Flag(NamedTuple):
    """One setting: its name, its default (which gives its type), a line of help, and the texts it may be."""

    name: str
    default: bool | int | str
    help: str
    choices: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return "DUOGRAPH_" + self.name.upper()

    def read(self) -> bool | int | str:
        """The value from the environment, or the default.

        Errors: ValueError if the variable holds something else than the setting's type or choices.
        """
        text = os.environ.get(self.variable)
        if not text:
            return self.default
        if isinstance(self.default, bool):
            if text.lower() in ("1", "true", "yes", "on"):
                return True
            if text.lower() in ("0", "false", "no", "off"):
                return False
            raise ValueError(f"{self.variable}={text!r}: expected 0 or 1")
        if isinstance(self.default, int):
            try:
                return int(text)
            except ValueError:
                raise ValueError(f"{self.variable}={text!r}: expected a whole number") from None
        if self.choices and text not in self.choices:
            raise ValueError(f"{self.variable}={text!r}: expected one of {', '.join(self.choices)}")
        return text


FLAGS = (
    Flag("isa", "native", "instruction level of generated code", ("x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4", "native")),
    Flag("num_threads", 0, "threads of the core; 0 takes the cores this process may use"),
    Flag("cache", True, "keep compiled kernels on disk"),
    Flag("cache_dir", "", "folder of the kernel cache instead of ~/.cache/duograph; set but empty turns it off"),
    Flag("cache_size", 512, "bound of the kernel cache in MiB"),
    Flag("verify", False, "run the IR verifier after every pass (the tests turn it on)"),
    Flag("dump", "", "folder into which graphs are written after each pass that changed them"),
    Flag("fuse", True, "fuse operators in static programs"),
    Flag("dynamic", False, "run static functions as plain Python, line by line"),
    Flag("capture_limit", 16, "captures kept per static function"),
)


class Config:
    """The current values; attributes may be set while the program runs."""

    isa: str
    num_threads: int
    cache: bool
    cache_dir: str
    cache_size: int
    verify: bool
    dump: str
    fuse: bool
    dynamic: bool
    capture_limit: int

    def __init__(self) -> None:
        for flag in FLAGS:
            setattr(self, flag.name, flag.read())

    def __setattr__(self, name: str, value: bool | int | str) -> None:
        if not any(flag.name == name for flag in FLAGS):
            raise AttributeError(f"duograph has no setting {name!r}; there are {', '.join(flag.name for flag in FLAGS)}")
        object.__setattr__(self, name, value)


config = Config()
