"""`tf.gfile`: files and folders of this machine."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator
from typing import IO, Any

from duograph.errors import FileError

__all__ = [
    "Copy",
    "DeleteRecursively",
    "Exists",
    "FastGFile",
    "GFile",
    "Glob",
    "IsDirectory",
    "ListDirectory",
    "MakeDirs",
    "MkDir",
    "Open",
    "Remove",
    "Rename",
    "Walk",
]


def GFile(name: Any, mode: str = "r") -> IO[Any]:
    """A file that is open: "r", "w", "a", with "b" for bytes."""
    encoding = None if "b" in mode else "utf-8"
    return open(name, mode, encoding=encoding)


FastGFile = Open = GFile


def Exists(filename: Any) -> bool:
    """Whether there is such a file or folder."""
    return os.path.exists(filename)


def IsDirectory(dirname: Any) -> bool:
    """Whether it is a folder."""
    return os.path.isdir(dirname)


def MkDir(dirname: Any) -> None:
    """Makes a folder."""
    os.mkdir(dirname)


def MakeDirs(dirname: Any) -> None:
    """Makes a folder and those above it, where they are not there yet."""
    os.makedirs(dirname, exist_ok=True)


def ListDirectory(dirname: Any) -> list[str]:
    """The names in a folder."""
    return sorted(os.listdir(dirname))


def Glob(filename: Any) -> list[str]:
    """The paths that fit a pattern."""
    return sorted(glob.glob(filename))


def Remove(filename: Any) -> None:
    """Deletes a file."""
    os.remove(filename)


def DeleteRecursively(dirname: Any) -> None:
    """Deletes a folder with all that is in it."""
    shutil.rmtree(dirname)


def Copy(oldpath: Any, newpath: Any, overwrite: bool = False) -> None:
    """Copies a file. FileError if there is one already and `overwrite` is False."""
    if not overwrite and os.path.exists(newpath):
        raise FileError(f"gfile.Copy: {newpath} is there already", hint="overwrite=True")
    shutil.copyfile(oldpath, newpath)


def Rename(oldname: Any, newname: Any, overwrite: bool = False) -> None:
    """Gives a file another name. FileError if there is one already and `overwrite` is False."""
    if not overwrite and os.path.exists(newname):
        raise FileError(f"gfile.Rename: {newname} is there already", hint="overwrite=True")
    os.replace(oldname, newname)


def Walk(top: Any) -> Iterator[tuple[str, list[str], list[str]]]:
    """(folder, folders in it, files in it) for a folder and all below it."""
    return os.walk(top)
