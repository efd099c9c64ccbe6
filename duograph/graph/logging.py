"""`tf.logging`: messages of a program, by importance, through Python's logging."""

from __future__ import annotations

import logging as python_logging
from typing import Any

__all__ = [
    "DEBUG",
    "ERROR",
    "FATAL",
    "INFO",
    "WARN",
    "debug",
    "error",
    "fatal",
    "get_verbosity",
    "info",
    "log",
    "set_verbosity",
    "warn",
    "warning",
]

DEBUG, INFO, WARN, ERROR, FATAL = 10, 20, 30, 40, 50
_LOGGER = python_logging.getLogger("duograph.graph")


def _with_handler() -> python_logging.Logger:
    if not _LOGGER.handlers and not python_logging.getLogger().handlers:
        handler = python_logging.StreamHandler()
        handler.setFormatter(python_logging.Formatter("%(levelname)s:%(name)s:%(message)s"))
        _LOGGER.addHandler(handler)
    return _LOGGER


def log(level: int, msg: str, *args: Any, **kwargs: Any) -> None:
    """Logs a message of some importance: `msg % args`."""
    _with_handler().log(level, msg, *args, **kwargs)


def debug(msg: str, *args: Any, **kwargs: Any) -> None:
    """Logs what only helps to find faults."""
    log(DEBUG, msg, *args, **kwargs)


def info(msg: str, *args: Any, **kwargs: Any) -> None:
    """Logs what happens."""
    log(INFO, msg, *args, **kwargs)


def warning(msg: str, *args: Any, **kwargs: Any) -> None:
    """Logs what may be wrong."""
    log(WARN, msg, *args, **kwargs)


warn = warning


def error(msg: str, *args: Any, **kwargs: Any) -> None:
    """Logs what is wrong."""
    log(ERROR, msg, *args, **kwargs)


def fatal(msg: str, *args: Any, **kwargs: Any) -> None:
    """Logs what the program does not survive."""
    log(FATAL, msg, *args, **kwargs)


def set_verbosity(v: int) -> None:
    """Messages of less importance are not shown."""
    _LOGGER.setLevel(v)


def get_verbosity() -> int:
    """The importance from which on messages are shown."""
    return _LOGGER.getEffectiveLevel()
