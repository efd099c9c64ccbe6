"""The object cache on disk: compiled programs by key, for all processes of one user.

A file is found before any graph is built and before llvmlite is imported. Keys cover the generator's sources, LLVM and
the exact CPU. Files appear by renaming, carry their length and a checksum, and lie in a folder that only their owner
may enter; whatever does not check out is a miss. Least recently used files go when the folder grows past its limit.
"""

from __future__ import annotations

import marshal  # reads only what passed the checksum; json takes longer to import than a whole hit
import os
import stat
from typing import Any

from duograph import _core as core

from .stamp import generator_stamp, target_stamp

_MAGIC = b"duograph2\n"
_HEADER = len(_MAGIC) + 24  # then: length of the description, length of the code, checksum, 8 bytes each
_LIMIT = 512 << 20
_SLACK = 64  # the folder is looked through each time it may have grown by this part of its limit
_DAY = 86400.0
_LARGEST = 256 << 20

_GENERATOR = core.digest(generator_stamp().encode())

_folder: str | None = None
_folder_setting: tuple[str | None, str | None] | None = None
_unseen: float | None = None  # bytes stored since the folder was looked through


def folder() -> str | None:
    """The cache's folder, made on first use; None if it is turned off or not ours alone."""
    global _folder, _folder_setting
    setting = (os.environ.get("DUOGRAPH_CACHE_DIR"), os.environ.get("DUOGRAPH_CACHE"))
    if setting != _folder_setting:
        _folder_setting = setting
        _folder = _prepare(*setting)
    return _folder


def _prepare(setting: str | None, switch: str | None) -> str | None:
    if setting in ("", "0") or (switch or "1").lower() in ("0", "false", "no", "off"):
        return None
    path = setting
    if path is None:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        path = os.path.join(home, "duograph")
    try:
        try:
            status = os.stat(path)
        except FileNotFoundError:
            os.makedirs(path, mode=0o700, exist_ok=True)
            status = os.stat(path)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            return None
        if status.st_mode & 0o077:
            os.chmod(path, 0o700)
    except OSError:
        return None
    return path


def key(*parts: Any) -> str:
    """The name under which something made from these parts, here and now, is kept."""
    return core.digest("\0".join([_GENERATOR, target_stamp(), *map(repr, parts)]).encode())


def load(name: str) -> tuple[Any, memoryview] | None:
    """The description and code kept under a key; None if there is nothing valid."""
    place = folder()
    if place is None:
        return None
    try:
        content = _read(os.path.join(place, name))
        return None if content is None else _unpack(name, content)
    except (OSError, ValueError, EOFError, TypeError, RecursionError, MemoryError):
        return None


def _read(path: str) -> bytes | None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or not _HEADER <= status.st_size <= _LARGEST:
            return None
        chunks = []
        left = status.st_size
        while left > 0 and (chunk := os.read(descriptor, left)):
            chunks.append(chunk)
            left -= len(chunk)
        # Time of last use, kept to the day so that a hit rarely writes.
        if status.st_atime - status.st_mtime > _DAY:
            os.utime(descriptor)
        return b"".join(chunks)
    finally:
        os.close(descriptor)


def _checksum(name: str, *content: bytes | memoryview) -> int:
    """Of the name too: one program's file under another's name is no hit."""
    return int(core.digest(name.encode(), *content)[:16], 16)


def _pack(name: str, description: Any, code: bytes | memoryview) -> bytes:
    text = marshal.dumps(description)
    numbers = (len(text), len(code), _checksum(name, text, code))
    return _MAGIC + b"".join(number.to_bytes(8, "little") for number in numbers) + text + code


def _unpack(name: str, content: bytes) -> tuple[Any, memoryview] | None:
    """What a file holds, if it checks out; the code is a part of `content`, not copied."""
    if not content.startswith(_MAGIC):
        return None
    start = len(_MAGIC)
    length, code_length, checksum = (int.from_bytes(content[start + 8 * i : start + 8 * i + 8], "little") for i in range(3))
    body = memoryview(content)[_HEADER:]
    if len(body) != length + code_length or _checksum(name, body) != checksum:
        return None
    return marshal.loads(body[:length]), body[length:]


def store(name: str, description: Any, code: bytes | memoryview) -> None:
    """Keep something under a key. Failing to (a full disk, a folder taken away) is no error."""
    place = folder()
    if place is None:
        return
    from threading import get_ident

    path = os.path.join(place, name)
    scratch = f"{path}.{os.getpid()}.{get_ident()}.tmp"
    content = _pack(name, description, code)
    try:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.rename(scratch, path)
        except BaseException:
            os.unlink(scratch)
            raise
        if _is_due(len(content)):
            trim(place)
    except OSError:
        return


def _is_due(stored: int) -> bool:
    """Whether to look through the folder, which takes long when it is full, after so many more bytes.

    Each process starts at a random count, so that many short ones look as rarely as a long one does.
    """
    global _unseen
    step = _limit() // _SLACK
    if _unseen is None:
        _unseen = int.from_bytes(os.urandom(4), "little") / (1 << 32) * step
    _unseen += stored
    if _unseen < step:
        return False
    _unseen = 0.0
    return True


def _limit() -> int:
    try:
        return int(os.environ["DUOGRAPH_CACHE_SIZE"]) << 20
    except (KeyError, ValueError):
        return _LIMIT


def trim(place: str, limit: int | None = None) -> None:
    """Remove the least recently used files until the folder is within its limit, and what crashed writers left."""
    from time import time

    limit = _limit() if limit is None else limit
    files: list[tuple[float, int, str]] = []
    with os.scandir(place) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if entry.name.endswith(".tmp") and status.st_mtime < time() - 3600:
                _remove(entry.path)
            elif stat.S_ISREG(status.st_mode):
                files.append((max(status.st_mtime, status.st_atime), status.st_size, entry.path))
    total = sum(size for _, size, _ in files)
    if total <= limit:
        return
    for _, size, path in sorted(files):
        _remove(path)
        total -= size
        if total <= limit * 3 // 4:
            return


def remove(name: str) -> None:
    """Keep nothing under a key any more."""
    place = folder()
    if place is not None:
        _remove(os.path.join(place, name))


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
