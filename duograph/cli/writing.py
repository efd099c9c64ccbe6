"""Files that commands write: under a temporary name first, so that none is ever half written."""

from __future__ import annotations

import os
import secrets
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from .output import UsageError


def target_of(path: str, endings: Iterable[str], sources: Iterable[str] = ()) -> str:
    """The path, if a file of this kind can be written there that is none of those that the command reads."""
    if os.path.splitext(path)[1].lower() not in endings:
        raise UsageError(f"{path!r} does not end in {' or '.join(endings)}")
    folder = os.path.dirname(path)
    if folder and not os.path.isdir(folder):
        raise UsageError(f"there is no folder {folder!r} to write {os.path.basename(path)!r} to")
    if os.path.isdir(path):
        raise UsageError(f"{path!r} is a folder")
    if os.path.exists(path) and any(os.path.exists(source) and os.path.samefile(path, source) for source in sources):
        raise UsageError(f"{path!r} is what the command reads: name another file")
    return path


@contextmanager
def replacing(target: str) -> Iterator[str]:
    """A temporary path beside the target, with its ending; the file there takes the target's place at the end."""
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{secrets.token_hex(6)}{os.path.splitext(name)[1]}")
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror or error}") from None
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def write_arrays(target: str, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Arrays into an .npz file, whatever their names are."""
    with replacing(target) as temporary, zipfile.ZipFile(temporary, "x") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array.astype(str) if array.dtype == object else array, allow_pickle=False)
