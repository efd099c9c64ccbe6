"""The first capture of a function that is known by its content, as any process left it in the object cache.

A model that was read from a file is such a function: the file and the sources of this package decide all that a capture can
find. Where one is recalled, nothing is captured, and what captures (most of this package) is not imported: it is when something
else is asked of the function, and then the capture is made once more, for its lines and names.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._forks import capture_lock, import_late
from duograph.config import config
from duograph.runtime import cache
from duograph.runtime.choices import is_asked
from duograph.runtime.libraries import load_libraries
from duograph.runtime.stamp import package_stamp

if TYPE_CHECKING:
    from .static import Handler

Modes = tuple[bool, bool, core.DType, tuple[Any, ...]]

_KEPT = (
    "grad_mode", "default_dtype", "autocast", "n_positional", "kwnames", "leaves", "inputs", "numbers", "sizes", "outputs",
    "parts", "writes", "effects", "frees", "hosts", "reads", "guards",
)  # fmt: skip
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_REASON = "recalled: another process captured it"


class Unknown(Exception):
    """A part of a capture that belongs to this process."""


class Recalling:
    """A handler, as `static.Handler` is one, that looks into the object cache before it captures for the first time.

    Args:
        name: the function's.
        content: says what decides a capture besides the arguments and this package, or None where nothing is to be recalled.
        tensors: those that the function reads, by names that are the same in every process.
        make: the handler that captures.
    """

    def __init__(
        self, name: str, content: Callable[[], str | None], tensors: Callable[[], Mapping[str, Any]], make: Callable[[], Handler]
    ) -> None:
        self.__name__ = self.__qualname__ = name
        self.__doc__, self.__module__ = None, ""
        self.content, self.tensors, self.make = content, tensors, make
        self.function: Any = None
        self.recalled: Any = None  # the capture that was, as a `core.StaticEntry`
        self.call: tuple[list[Any], Modes] | None = None  # what it is for
        self._handler: Handler | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.handler(), name)

    def handler(self) -> Handler:
        """The handler that captures; it knows of the call that was served without it."""
        with capture_lock:
            made = self._capturing()
            if self.call is not None and not core.tracing():
                self._complete(made, *self.call)
                self.call = None
            return made

    def inline(self, *args: Any, **kwargs: Any) -> Any:
        """See `static.Handler`."""
        with capture_lock:
            made = self._capturing()
        return made.inline(*args, **kwargs)

    def failed(self, entry: Any, code: int, status: tuple[int, ...], node: int) -> None:
        """See `static.Handler`."""
        self.handler().failed(entry, code, status, node)

    def miss(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Hook of the core: no capture fits this call. Recalls one, or makes one."""
        with capture_lock:
            entry = self.function.find(*args, **kwargs)
            if entry is not None:  # another thread was faster
                return entry
            key = self._key(args, kwargs) if self._handler is None and self.call is None else None
            entry = None if key is None else self._recall(key, args)
            if entry is not None:
                self.function.add(entry, config.capture_limit)
                if self.function.find(*args) is entry:
                    return entry
                self.function.clear()
                self.recalled = self.call = None
            made = self.handler().miss(args, kwargs)
            if key is not None and self.handler().captures == 1:
                self._keep(key, made.description)
            return made

    def _capturing(self) -> Handler:
        if self._handler is None:
            made = self.make()
            made.function = self.function
            self._handler = made
        return self._handler

    # ---- what is kept

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        """The key for a call. None where more than its tensors' dtypes and sizes may decide what is captured, such as which of
        them share memory."""
        if kwargs or cache.folder() is None or is_asked() or not all(map(_is_plain, args)):
            return None
        memory = [core.storage_id(x) for x in (*args, *self.tensors().values())]
        if len({*memory}) < len(memory):
            return None
        content = self.content()
        if content is None:
            return None
        given = [(x.dtype.name, tuple(x.shape)) for x in args]
        settings = sorted((name, str(value)) for name, value in vars(config).items())
        return cache.key("capture", package_stamp(), content, given, _modes(), settings)

    def _recall(self, key: str, args: Sequence[Any]) -> Any:
        """The capture that is kept for a call, if its tensors still are what they were then."""
        found = cache.load(key)
        if found is None:
            return None
        try:
            name, rows = found[0]
            program = cache.load(name)
            if program is None:
                return None
            spec, code = program
            tensors = self.tensors()
            description = {part: _read(value, tensors) for part, value in rows.items()}
            if any(row[0] == "tensor" and not _fits(*row[1:]) for row in description["inputs"]):
                return None
            load_libraries(spec.get("symbols", ()))
            description |= {"program": core.Program(spec, code), "tape": None, "reason": _REASON, "stored": name}
            entry = core.StaticEntry(description)
        except Exception:  # whatever is wrong with what was on disk: it is captured anew
            return None
        self.recalled, self.call = entry, ([(x.dtype, tuple(x.shape)) for x in args], _modes())
        return entry

    def _keep(self, key: str, description: Mapping[str, Any]) -> None:
        """Keep a capture, if it is made of nothing but its program, its arguments and the function's own tensors."""
        if description["tape"] is not None or description["stored"] is None or description["writes"] or description["effects"]:
            return
        names = {id(tensor): name for name, tensor in self.tensors().items()}
        try:
            cache.store(key, (description["stored"], {part: _written(description[part], names) for part in _KEPT}), b"")
        except Unknown:
            pass

    # ---- what was left out

    def _complete(self, handler: Handler, specs: Sequence[Any], modes: Modes) -> None:
        """Give the recalled capture what only capturing finds, and the handler what it would remember."""
        from duograph.tensors.creation import zeros

        with _in(modes):
            entry, _ = handler.capture(tuple([zeros(shape, dtype=dtype) for dtype, shape in specs]), {})
        if entry.description["stored"] != self.recalled.description["stored"]:  # the other serves the runs that go on
            self.function.clear()
            self.function.add(entry, config.capture_limit)
        self.recalled.description.update({part: entry.description[part] for part in ("lines", "words")})


def _is_plain(x: Any) -> bool:
    return type(x) is core.Tensor and not x.requires_grad and x._traced is None and x.is_contiguous()


def _fits(tensor: Any, dtype: Any, shape: Any, strides: Any, requires_grad: Any) -> bool:
    """Whether a tensor from outside is of the kind that was captured."""
    if tensor.dtype is not dtype or tuple(tensor.shape) != shape or (requires_grad is False and tensor.requires_grad):
        return False
    return bool(tensor.is_contiguous() if strides is None else tuple(tensor.stride()) == strides)


def _modes() -> Modes:
    return core.is_grad_enabled(), core.is_inference_mode_enabled(), core.get_default_dtype(), tuple(core.autocast())


@contextmanager
def _in(modes: Modes) -> Iterator[None]:
    before = _modes()

    def enter(modes: Modes) -> None:
        core.set_inference_mode(modes[1])
        core.set_grad_enabled(modes[0])
        core.set_default_dtype(modes[2])
        core.set_autocast(modes[3])

    enter(modes)
    try:
        yield
    finally:
        enter(before)


def _written(value: Any, names: Mapping[int, str]) -> Any:
    """A part of a capture without its objects: dicts stand for these."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) in (list, tuple):
        return type(value)([_written(x, names) for x in value])
    if isinstance(value, core.DType):
        return {"dtype": value.name}
    if value is core.Tensor:
        return {"tensors": ""}
    if id(value) in names:
        return {"tensor": names[id(value)]}
    if isinstance(value, FunctionType) and _found(place := f"{value.__module__}:{value.__qualname__}") is value:
        return {"function": place}
    if isinstance(value, CodeType) and getattr(_found(place := _place(value)), "__code__", None) is value:
        return {"code": place}
    raise Unknown


def _read(value: Any, tensors: Mapping[str, Any]) -> Any:
    """What `_written` wrote, of this process."""
    if type(value) in (list, tuple):
        return type(value)([_read(x, tensors) for x in value])
    if type(value) is not dict:
        return value
    ((kind, name),) = value.items()
    if kind in ("function", "code"):
        function = _found(name)
        return function if kind == "function" else function.__code__
    return core.Tensor if kind == "tensors" else tensors[name] if kind == "tensor" else getattr(core, name)


def _place(code: CodeType) -> str:
    """Where the function that has this code would be, if it is one of this package's."""
    file = os.path.relpath(code.co_filename, _PACKAGE)
    return f"duograph.{file.removesuffix('.py').replace(os.sep, '.')}:{code.co_qualname}"


def _found(place: str) -> Any:
    """The function of this package at "module:name"; None if there is none."""
    module, _, name = place.partition(":")
    if not all(part.isidentifier() for part in module.split(".")) or not module.startswith("duograph."):
        return None
    try:
        return getattr(import_late(module), name, None)
    except ImportError:
        return None
