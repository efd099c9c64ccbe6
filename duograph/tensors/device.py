"""Devices by name. There is one so far: the CPU."""

from __future__ import annotations

from .. import _core as core
from ..errors import ArgumentError, DeviceError

_KNOWN = ("cpu", "cuda", "mps", "xpu", "meta")


class device:
    """Where a tensor lives: `device("cpu")`. Others can be named and compared, but nothing can be put on them yet.

    >>> device("cpu")
    device(type='cpu')
    """

    __slots__ = ("index", "type")

    type: str
    index: int | None

    def __init__(self, type: str | device, index: int | None = None) -> None:
        if isinstance(type, device):
            self.type, self.index = type.type, type.index if index is None else index
            return
        if not isinstance(type, str):
            raise ArgumentError(f"device: expected a name like 'cpu', got {type!r}")
        name, colon, number = type.partition(":")
        if colon:
            if not number.isdecimal() or index is not None:
                raise DeviceError(f"device: {type!r} is not a device", hint="write 'cpu', or a type and a number: 'cuda:0'")
            index = int(number)
        if name not in _KNOWN and name not in core.device_names():
            raise DeviceError(f"device: there is no device type {name!r}; known are {', '.join(_KNOWN)}")
        self.type = name
        self.index = index

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return str(self) == other
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        return f"device(type={self.type!r})" if self.index is None else f"device(type={self.type!r}, index={self.index})"

    def __reduce__(self) -> tuple[object, ...]:
        return (device, (str(self),))


CPU = device("cpu")
core.set_device_type(device)


def check_device(owner: str, wanted: object) -> None:
    """Raises unless tensors can be put on the device; None is the default one."""
    if wanted is None or wanted is CPU:
        return
    found = device(wanted)  # type: ignore[arg-type]
    if found.type != "cpu" or found.index not in (None, 0):
        raise DeviceError(f"{owner}: there is no device {str(found)!r}, only 'cpu'", hint="leave the device out, or pass 'cpu'")
