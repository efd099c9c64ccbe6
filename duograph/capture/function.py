"""A static function: the core's object, around what captures for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from duograph import _core as core
from duograph.config import config

if config.dynamic:
    core.set_dynamic_mode(True, True)


def make_static(target: Callable[..., Any], handler: Any) -> Any:
    function = core.StaticFunction(target, handler)
    handler.function = function
    function.__dict__["__name__"] = handler.__name__
    function.__dict__["__qualname__"] = handler.__qualname__
    function.__dict__["__doc__"] = handler.__doc__
    function.__dict__["__module__"] = handler.__module__
    return function
