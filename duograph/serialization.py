"""`save` and `load`: nested dicts, lists and tuples of tensors and plain values, as one safetensors file.

A flat dict of tensors is written as any safetensors reader expects it. Anything nested is flattened to named tensors
("state.0.exp_avg") and its structure goes as JSON into the file's metadata. Nothing is ever unpickled: a file can hold
only data, and every size in it is checked against the file before memory is asked for.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

from . import _core as core
from .errors import ArgumentError, Error, FileError
from .tensors.device import check_device

Tensor = core.Tensor
Path = str | os.PathLike[str]

_STRUCTURE = "duograph.structure"
_MAX_HEADER = 100_000_000
_MAX_DEPTH = 200
_CODES = {
    core.bool: "BOOL",
    core.uint8: "U8",
    core.int8: "I8",
    core.int16: "I16",
    core.int32: "I32",
    core.int64: "I64",
    core.uint16: "U16",
    core.uint32: "U32",
    core.uint64: "U64",
    core.float16: "F16",
    core.bfloat16: "BF16",
    core.float32: "F32",
    core.float64: "F64",
}
_DTYPES = {code: dtype for dtype, code in _CODES.items()}


class SaveError(Error, TypeError, ValueError):
    """An object that `save` does not write."""


# Writing ------------------------------------------------------------------------------------------------------------------


def save(obj: Any, f: Path | IO[bytes]) -> None:
    """Writes tensors and plain values to a safetensors file.

    Args:
        obj: a tensor, or dicts, lists and tuples (nested as you like) of tensors, numbers, strings, bools and None; the keys
            of dicts are strings, numbers, bools or None. `model.state_dict()` and `optimizer.state_dict()` are of this kind.
        f: a path, written to a temporary file first and then renamed, so that a crash leaves the old file whole; or an open
            binary file.

    Errors: SaveError for anything else (modules, functions, arrays), with the way out.
    """
    writer = _Writer()
    structure = writer.pack(obj, "")
    header = writer.header(None if writer.is_flat(obj) else structure)
    if hasattr(f, "write"):
        _write_parts(f, header, writer.ordered())
        return
    path = os.fspath(f)
    temporary = f"{path}.{secrets.token_hex(6)}.tmp"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with open(descriptor, "wb") as file:
            _write_parts(file, header, writer.ordered())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


class _Writer:
    """The tensors of an object under unique names, each memory area once."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.shared = False
        self._names: dict[tuple[Any, ...], str] = {}
        self._open: set[int] = set()

    def pack(self, value: Any, path: str) -> Any:
        """The JSON node that stands for a value."""
        if isinstance(value, Tensor):
            return {"tensor": self._name_of(value, path)}
        if value is None or isinstance(value, (bool, str)):
            return {"value": value if value is None or isinstance(value, bool) else str(value)}
        if isinstance(value, int):
            return {"value": int(value)}
        if isinstance(value, float):
            return {"float": float(value).hex()}
        if isinstance(value, Mapping) or type(value) is list or (isinstance(value, tuple) and not hasattr(value, "_fields")):
            if id(value) in self._open:
                raise SaveError(f"save: {_where(path)} contains itself")
            if len(self._open) >= _MAX_DEPTH:
                raise SaveError(f"save: {_where(path)} is nested more than {_MAX_DEPTH} levels deep")
            self._open.add(id(value))
            node = self._pack_container(value, path)
            self._open.discard(id(value))
            return node
        raise SaveError(f"save: {_where(path)} is a {type(value).__module__}.{type(value).__qualname__}", hint=_way_out(value))

    def _pack_container(self, value: Any, path: str) -> Any:
        start = f"{path}." if path else ""
        if isinstance(value, Mapping):
            items = []
            for key, held in value.items():
                if isinstance(key, float) or not (key is None or isinstance(key, (bool, int, str))):
                    raise SaveError(
                        f"save: {_where(path)} has the key {key!r}, a {type(key).__name__}",
                        hint="keys must be strings, whole numbers, bools or None",
                    )
                items.append([key, self.pack(held, f"{start}{key}")])
            return {"dict": items}
        parts = [self.pack(held, f"{start}{number}") for number, held in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": parts}

    def _name_of(self, tensor: Tensor, path: str) -> str:
        identity = (tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype.name)
        known = self._names.get(identity) if tensor.numel() else None
        if known is not None:
            self.shared = True
            return known
        name = base = path or "tensor"
        number = 1
        while name in self.tensors or name == "__metadata__":
            number += 1
            name = f"{base}#{number}"
        self.tensors[name] = tensor.detach()
        self._names[identity] = name
        return name

    def is_flat(self, obj: Any) -> bool:
        """Whether the object is a dict of distinct tensors by their own names, which needs no structure."""
        return (
            isinstance(obj, Mapping)
            and not self.shared
            and list(obj) == list(self.tensors)
            and all(isinstance(value, Tensor) for value in obj.values())
        )

    def ordered(self) -> list[Tensor]:
        """The tensors in file order: wide elements first, so that all are aligned."""
        return [tensor for _, tensor in sorted(self.tensors.items(), key=lambda item: -item[1].dtype.itemsize)]

    def header(self, structure: Any) -> bytes:
        """The length and the JSON text with which the file begins."""
        offset = 0
        offsets: dict[int, tuple[int, int]] = {}
        for tensor in self.ordered():
            size = tensor.numel() * tensor.dtype.itemsize
            offsets[id(tensor)] = (offset, offset + size)
            offset += size
        header: dict[str, Any] = {}
        if structure is not None:
            header["__metadata__"] = {_STRUCTURE: json.dumps(structure, separators=(",", ":"))}
        for name, tensor in self.tensors.items():
            header[name] = {
                "dtype": _CODES[tensor.dtype],
                "shape": list(tensor.shape),
                "data_offsets": list(offsets[id(tensor)]),
            }
        try:
            text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise SaveError(f"save: a name or string is not valid Unicode: {error.object[error.start : error.end]!r}") from None
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text


def _write_parts(file: Any, header: bytes, tensors: list[Tensor]) -> None:
    file.write(header)
    for tensor in tensors:
        file.write(core.to_bytes(tensor))


def _where(path: str) -> str:
    return f"the value at {path!r}" if path else "the object"


def _way_out(value: object) -> str:
    if hasattr(value, "state_dict"):
        return "save its state_dict(), and load it with load_state_dict() into a fresh one"
    if hasattr(value, "__array__"):
        return "convert it: duograph.from_numpy(array), or .item() of a scalar"
    if isinstance(value, (bytes, bytearray)):
        return "convert it: duograph.tensor(list(data), dtype=duograph.uint8)"
    if isinstance(value, (set, frozenset)):
        return "make it a list"
    if isinstance(value, tuple):
        return "make it a plain tuple, or a dict: value._asdict()"
    return "files hold tensors, numbers, strings, bools, None, and dicts, lists and tuples of them"


# Reading ------------------------------------------------------------------------------------------------------------------


class _Entry(NamedTuple):
    name: str
    dtype: core.DType
    shape: tuple[int, ...]
    begin: int
    end: int


def load(f: Path | IO[bytes], map_location: Any = None) -> Any:
    """Reads what `save` wrote, or any other safetensors file (a dict of tensors).

    Args:
        f: a path, or an open binary file that can seek.
        map_location: the device to load to; only the CPU so far.

    Errors: FileError for a file that is damaged, truncated or of another kind; nothing in a file is ever executed.
    """
    check_device("load", map_location)
    with _opened(f) as (file, name):
        start = file.tell()
        size = file.seek(0, os.SEEK_END) - start
        file.seek(start)
        entries, structure, data_start = _read_header(file, name, size)
        tensors = {}
        for entry in entries:
            file.seek(start + data_start + entry.begin)
            tensors[entry.name] = _read_tensor(file, name, entry)
    if structure is None:
        return tensors
    try:
        return _unpack(structure, tensors, name)
    except RecursionError:
        raise FileError(f"load: {name}: the structure is nested too deeply") from None


@contextmanager
def _opened(f: Path | IO[bytes]) -> Iterator[tuple[IO[bytes], str]]:
    if hasattr(f, "read"):
        yield f, getattr(f, "name", None) or "the file"  # type: ignore[misc]
        return
    if not isinstance(f, (str, os.PathLike)):
        raise ArgumentError(f"load: expected a path or an open binary file, got {type(f).__name__}")
    with open(f, "rb") as file:
        yield file, os.fspath(f)


def _read_header(file: IO[bytes], name: str, size: int) -> tuple[list[_Entry], Any, int]:
    start = file.read(9)
    if not isinstance(start, bytes):
        raise ArgumentError(f"load: {name} is open as text", hint='open it with mode "rb"')
    head, is_header = start[:8], start[8:] == b"{"
    if not is_header and (head[:4] == b"PK\x03\x04" or head[:1] == b"\x80"):
        raise FileError(
            f"load: {name} is a pickle, as PyTorch writes it: reading one can run any code that its author put into it",
            hint="convert it where PyTorch is and the file is trusted: "
            'safetensors.torch.save_file(torch.load("model.pt", weights_only=True), "model.safetensors")',
        )
    if head[:6] == b"\x93NUMPY":
        raise FileError(f"load: {name} is a NumPy array", hint="read it with duograph.from_numpy(numpy.load(path))")
    if len(head) < 8:
        raise FileError(f"load: {name} is truncated: it has {size} bytes, a safetensors file has at least 10")
    length = int.from_bytes(head, "little")
    if length > _MAX_HEADER or length + 8 > size:
        raise FileError(
            f"load: {name} is damaged, truncated or no safetensors file: "
            f"it announces a header of {length} bytes and has {size - 8} after the first 8"
        )
    text = start[8:] + file.read(max(0, length - 1)) if length else b""
    try:
        header = json.loads(text.decode(), object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise FileError(f"load: {name} is damaged or no safetensors file: its header is not JSON ({reason})") from None
    if not isinstance(header, dict):
        raise FileError(f"load: {name} is damaged: its header is a {type(header).__name__}, not an object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise FileError(f"load: {name} is damaged: its metadata is a {type(metadata).__name__}, not an object")
    entries = [_entry(name, key, value) for key, value in header.items()]
    _check_layout(name, entries, size - 8 - length)
    return entries, _structure(name, metadata.get(_STRUCTURE)), 8 + length


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name appears twice")
    return result


def _structure(name: str, text: object) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)  # type: ignore[arg-type]
    except (ValueError, TypeError, RecursionError):
        raise FileError(f"load: {name} is damaged: the structure in its metadata is not JSON") from None


def _entry(name: str, key: str, value: Any) -> _Entry:
    fields = value if isinstance(value, dict) else {}
    dtype = _DTYPES.get(fields["dtype"]) if isinstance(fields.get("dtype"), str) else None
    shape: Any = fields.get("shape")
    offsets: Any = fields.get("data_offsets")
    if dtype is None:
        raise FileError(
            f"load: {name}: tensor {key!r} has the unknown dtype {fields.get('dtype')!r}; known are {', '.join(_DTYPES)}"
        )
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise FileError(f"load: {name} is damaged: tensor {key!r} has shape {shape!r} and data_offsets {offsets!r}")
    count = 1
    for size in shape:
        count *= size
    begin, end = offsets
    if end - begin != count * dtype.itemsize:
        raise FileError(
            f"load: {name} is damaged: tensor {key!r}, {dtype.name}{shape}, takes {count * dtype.itemsize} bytes, "
            f"its data_offsets {offsets} hold {end - begin}"
        )
    return _Entry(key, dtype, tuple(shape), begin, end)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 2**63 for size in value)


def _check_layout(name: str, entries: list[_Entry], available: int) -> None:
    """The tensors must fill the data without gaps and overlaps."""
    end = 0
    for entry in sorted(entries, key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != end:
            raise FileError(f"load: {name} is damaged: tensor {entry.name!r} begins at byte {entry.begin}, expected {end}")
        end = entry.end
    if end > available:
        raise FileError(f"load: {name} is truncated: its tensors take {end} bytes, only {available} are there")
    if end < available:
        raise FileError(f"load: {name} is damaged: {available - end} bytes follow its last tensor")


def _read_tensor(file: IO[bytes], name: str, entry: _Entry) -> Tensor:
    wanted = entry.end - entry.begin
    data = file.read(wanted)
    if len(data) != wanted:
        raise FileError(f"load: {name} is truncated: tensor {entry.name!r} has {len(data)} of its {wanted} bytes")
    return core.from_buffer(data, entry.dtype, entry.shape)


def _unpack(node: Any, tensors: dict[str, Tensor], name: str) -> Any:
    if isinstance(node, dict) and len(node) == 1:
        ((kind, content),) = node.items()
        if kind == "tensor" and isinstance(content, str) and content in tensors:
            return tensors[content]
        if kind == "value" and (content is None or isinstance(content, (bool, int, str))):
            return content
        if kind == "float" and isinstance(content, str):
            return _float(content, name)
        if kind == "list" and isinstance(content, list):
            return [_unpack(part, tensors, name) for part in content]
        if kind == "tuple" and isinstance(content, list):
            return tuple([_unpack(part, tensors, name) for part in content])
        if kind == "dict" and isinstance(content, list) and all(_is_item(item) for item in content):
            return {key: _unpack(part, tensors, name) for key, part in content}
    raise FileError(f"load: {name} is damaged: the structure in its metadata has the node {str(node)[:80]}")


def _is_item(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 2 and (item[0] is None or isinstance(item[0], (bool, int, str)))


def _float(text: str, name: str) -> float:
    try:
        return float.fromhex(text)
    except (ValueError, OverflowError):
        raise FileError(f"load: {name} is damaged: {text[:40]!r} is not a number") from None
