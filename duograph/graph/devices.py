"""Devices by name: an operation keeps where it was placed, and a device that is not there is refused."""

from __future__ import annotations

import re
from typing import Any

from duograph.errors import DeviceError

_NAME = re.compile(r"^(/job:\w+)?(/replica:\d+)?(/task:\d+)?/?(device:)?(?P<kind>\w+)(:(?P<index>\d+|\*))?$", re.IGNORECASE)


def check_device(name: Any) -> str:
    """The name, if this machine has such a device. DeviceError if not."""
    if name is None or name == "":
        return ""
    found = _NAME.match(str(name))
    if found is None:
        raise DeviceError(f"device: {name!r} is no name of a device", hint='"/cpu:0" or "/device:CPU:0"')
    kind, index = found["kind"].lower(), found["index"]
    if kind != "cpu" or index not in (None, "*", "0"):
        raise DeviceError(
            f"device: there is no {name!r} on this machine", hint='there is "/cpu:0"; leave the device out to run anywhere'
        )
    return str(name)
