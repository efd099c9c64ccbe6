"""Finding the forward operator behind the first gradient that is not finite."""

from __future__ import annotations

from _thread import _local
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from duograph import _core as core
from duograph._stack import Location, user_location
from duograph.errors import CaptureError, GradError

from .modes import decorated

F = TypeVar("F", bound=Callable[..., Any])

_REMEMBERED = 4096  # forward results that were not finite


class _Origin(NamedTuple):
    """A forward result that is not finite."""

    operator: str
    what: str
    location: Location | None


def _fault(tensor: Any) -> str:
    """ "NaN" or "Inf" if the tensor holds one, else nothing."""
    if not isinstance(tensor, core.Tensor) or not tensor.dtype.is_floating_point or tensor._traced is not None:
        return ""
    from duograph.ops.definition import REGISTRY

    plain = tensor.detach()
    if bool(REGISTRY["isfinite"].op(plain).all()):
        return ""
    return "NaN" if bool(REGISTRY["isnan"].op(plain).any()) else "Inf"


class _Detector:
    """Sees each operator and each step of backward in one thread."""

    def __init__(self) -> None:
        self._origins: OrderedDict[int, _Origin] = OrderedDict()  # by the tape node's sequence

    def forward(self, name: str, results: tuple[Any, ...]) -> None:
        """An operator has run."""
        for result in results:
            node = result.grad_fn
            if node is None:
                continue
            what = _fault(result)
            if what:
                self._origins.setdefault(node.sequence, _Origin(name, what, node.location or user_location()))
                if len(self._origins) > _REMEMBERED:
                    self._origins.popitem(last=False)

    def backward(self, node: Any, grads: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        """The gradient of an operator has been computed."""
        at, what = next(((i, w) for i, r in enumerate(results) if (w := _quietly(_fault, r))), (0, ""))
        if not what:
            return
        lines = [] if node.location is None else [f"computed at {node.location}"]
        arrived = next((w for g in grads if (w := _quietly(_fault, g))), "")
        if arrived:
            lines.append(f"the gradient that arrived there held {arrived} already: it was given so, or its parts add up to it")
        origin = self._origin(node)
        if origin is not None:
            where = "" if origin.location is None else f", at {origin.location}"
            lines.append(f"in forward, {origin.operator} gave {origin.what} first{where}")
        raise GradError(f"backward: the gradient of {node.name()} is the first with {what} (gradient {at} of its inputs)", lines)

    def _origin(self, node: Any) -> _Origin | None:
        """The earliest forward result that is not finite among what led to a node."""
        found: list[int] = []
        seen = {node}
        stack = [node]
        while stack:
            current = stack.pop()
            if current.sequence in self._origins:
                found.append(current.sequence)
            for parent in current.parents:
                if parent is not None and not isinstance(parent, core.Tensor) and parent not in seen:
                    seen.add(parent)
                    stack.append(parent)
        return self._origins[min(found)] if found else None


def _quietly(function: Callable[..., Any], *args: Any) -> Any:
    """Without being watched, recorded or packed."""
    grad, hooks = core.set_grad_enabled(False), core.set_saved_hooks(None)
    try:
        return function(*args)
    finally:
        core.set_saved_hooks(hooks)
        core.set_grad_enabled(grad)


class _State(_local):
    """What this thread has entered."""

    def __init__(self) -> None:
        self.modes: list[tuple[bool, bool]] = []  # (on, check_nan), innermost last
        self.detector: _Detector | None = None


_state = _State()


def _enter(on: bool, check_nan: bool) -> None:
    if core.tracing():
        raise CaptureError(
            "detect_anomaly: values cannot be looked at while a static graph is captured",
            hint="use it around the call: static functions then run as dynamic ones",
        )
    _state.modes.append((on, check_nan))
    _apply()
    if on:
        core.set_dynamic_mode(True)


def _leave() -> None:
    on, _ = _state.modes.pop()
    if on:
        core.set_dynamic_mode(False)
    _apply()


def _apply() -> None:
    on, check = _state.modes[-1] if _state.modes else (False, False)
    if not _state.modes:
        _state.detector = None
    elif on and check and _state.detector is None:
        _state.detector = _Detector()
    detector = _state.detector if on and check else None
    core.set_watcher(None if detector is None else detector.forward)
    core.set_backward_observer(None if detector is None else detector.backward)


class set_detect_anomaly:
    """Switches the search on or off in this thread, at once; as a context manager, until its end. See `detect_anomaly`."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = list(_state.modes)
        while _state.modes:
            _leave()
        if mode:
            _enter(True, check_nan)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        while _state.modes:
            _leave()
        for on, check_nan in self._before:
            _enter(on, check_nan)


class detect_anomaly:
    """Inside, backward stops at the first NaN or Inf and names the forward operator and line whose gradient it is.

    If a forward result held NaN or Inf before, the first operator that made one is named with its line too. Static
    functions run as dynamic ones inside. Everything runs several times slower: it is for finding a fault.

    Args:
        check_nan: False looks at no values.

    Errors:   GradError at the first gradient that is not finite; CaptureError inside of a static function

    >>> import duograph as dg
    >>> x = dg.tensor([0.0, 4.0], requires_grad=True)
    >>> with dg.autograd.detect_anomaly():
    ...     (x.sqrt() * 0).sum().backward()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    duograph.errors.GradError: backward: the gradient of sqrt is the first with NaN (gradient 0 of its inputs)...
    """

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = check_nan

    def __enter__(self) -> None:
        _enter(True, self._check_nan)

    def __exit__(self, *exc: object) -> None:
        _leave()

    def __call__(self, function: F) -> F:
        check = self._check_nan
        return decorated(function, lambda: detect_anomaly(check))


def is_anomaly_enabled() -> bool:
    """Whether gradients that are not finite are looked for in this thread."""
    return bool(_state.modes) and _state.modes[-1][0]


def is_anomaly_check_nan_enabled() -> bool:
    """Whether values are looked at."""
    return bool(_state.modes) and _state.modes[-1][1]
