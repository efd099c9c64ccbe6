"""What programs written for TensorFlow 1, or 2 in the manner of 1, call before anything else: there is nothing to switch."""

from __future__ import annotations

import sys
from typing import Any

__all__ = [
    "disable_control_flow_v2",
    "disable_eager_execution",
    "disable_resource_variables",
    "disable_v2_behavior",
    "disable_v2_tensorshape",
    "enable_control_flow_v2",
    "enable_resource_variables",
    "executing_eagerly",
]


def disable_v2_behavior() -> None:
    """Nothing: there is no other behaviour."""


def disable_eager_execution() -> None:
    """Nothing: operations always are those of a graph."""


def disable_control_flow_v2() -> None:
    """Nothing: there is one kind of branches and loops."""


def enable_control_flow_v2() -> None:
    """Nothing: there is one kind of branches and loops."""


def disable_resource_variables() -> None:
    """Nothing: there is one kind of variables."""


def enable_resource_variables() -> None:
    """Nothing: there is one kind of variables."""


def disable_v2_tensorshape() -> None:
    """Nothing: sizes are Dimensions."""


def executing_eagerly() -> bool:
    """False: use duograph itself to run operations when their line runs."""
    return False


def __getattr__(name: str) -> Any:
    if name == "v1":
        return sys.modules["duograph.graph"]
    raise AttributeError(name)
