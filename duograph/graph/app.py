"""`tf.app`: how programs of TensorFlow 1 begin, and take options from the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NoReturn

from . import flags as flags

__all__ = ["run"]


def run(main: Callable[[list[str]], Any] | None = None, argv: list[str] | None = None) -> NoReturn:
    """Reads the flags, calls `main` with what is left of the command line, and ends the process with what it gives.

    Args:
        main: a function of a list; by default the `main` of the program.
    """
    left = flags.FLAGS(sys.argv if argv is None else argv)
    function = main or sys.modules["__main__"].main
    sys.exit(function(left))
