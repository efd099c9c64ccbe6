"""Checkpoints on disk: one safetensors file each, and a small text that says which is the latest."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from duograph.errors import FileError
from duograph.serialization import load

from ..plans import array_of

__all__ = [
    "CheckpointState",
    "NewCheckpointReader",
    "checkpoint_exists",
    "checkpoints_iterator",
    "get_checkpoint_mtimes",
    "get_checkpoint_state",
    "latest_checkpoint",
    "list_variables",
    "load_checkpoint",
    "load_variable",
    "remove_checkpoint",
    "update_checkpoint_state",
]

_LINE = re.compile(r'^\s*(\w+)\s*:\s*("(?:[^"\\]|\\.)*"|[^\s]+)\s*$')


class CheckpointState:
    """What the text `checkpoint` of a directory says.

    model_checkpoint_path             the latest checkpoint
    all_model_checkpoint_paths        those that are kept, the oldest first
    all_model_checkpoint_timestamps   when they were made, in seconds
    """

    def __init__(
        self, model_checkpoint_path: str = "", all_model_checkpoint_paths: Sequence[str] = (), timestamps: Sequence[float] = ()
    ) -> None:
        self.model_checkpoint_path = model_checkpoint_path
        self.all_model_checkpoint_paths = list(all_model_checkpoint_paths)
        self.all_model_checkpoint_timestamps = list(timestamps)

    def __repr__(self) -> str:
        return f"<CheckpointState {self.model_checkpoint_path!r}, {len(self.all_model_checkpoint_paths)} kept>"


def _state_file(checkpoint_dir: Any, latest_filename: str | None) -> str:
    return os.path.join(os.fspath(checkpoint_dir), latest_filename or "checkpoint")


def update_checkpoint_state(
    save_dir: Any,
    model_checkpoint_path: str,
    all_model_checkpoint_paths: Sequence[str] | None = None,
    latest_filename: str | None = None,
    all_model_checkpoint_timestamps: Sequence[float] | None = None,
    last_preserved_timestamp: float | None = None,
) -> None:
    """Writes the text that says which checkpoint is the latest. Paths inside of `save_dir` are written as seen from there."""
    folder = os.fspath(save_dir)
    paths = list(all_model_checkpoint_paths or ())
    if model_checkpoint_path not in paths:
        paths.append(model_checkpoint_path)
    lines = [f"model_checkpoint_path: {_quoted(folder, model_checkpoint_path)}"]
    lines += [f"all_model_checkpoint_paths: {_quoted(folder, path)}" for path in paths]
    lines += [f"all_model_checkpoint_timestamps: {when!r}" for when in all_model_checkpoint_timestamps or ()]
    if last_preserved_timestamp is not None:
        lines.append(f"last_preserved_timestamp: {last_preserved_timestamp!r}")
    write_text(_state_file(folder, latest_filename), "\n".join(lines) + "\n")


def _quoted(folder: str, path: str) -> str:
    within = os.path.relpath(path, folder or ".")
    return json.dumps(path if within.startswith("..") else within, ensure_ascii=False)


def write_text(path: str, text: str) -> None:
    """Writes a file under another name, and renames it: there is always a whole one."""
    temporary = f"{path}.{secrets.token_hex(6)}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def get_checkpoint_state(checkpoint_dir: Any, latest_filename: str | None = None) -> CheckpointState | None:
    """What the text `checkpoint` in a directory says; None if there is none.

    Errors:   FileError for a text of another kind
    """
    path = _state_file(checkpoint_dir, latest_filename)
    if not os.path.isfile(path):
        return None
    folder = os.path.dirname(path)
    found: dict[str, list[Any]] = {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            match = _LINE.match(line)
            if match is None and line.strip():
                raise FileError(f"get_checkpoint_state: line {number} of {path} says nothing of checkpoints: {line.strip()!r}")
            if match is not None:
                found.setdefault(match[1], []).append(_read(path, match[2]))
    if not found.get("model_checkpoint_path"):
        raise FileError(f"get_checkpoint_state: {path} does not say which checkpoint is the latest")
    paths = [os.path.join(folder, x) for x in found.get("all_model_checkpoint_paths", [])]
    times = [x for x in found.get("all_model_checkpoint_timestamps", []) if isinstance(x, (int, float))]
    return CheckpointState(os.path.join(folder, found["model_checkpoint_path"][0]), paths, times)


def _read(path: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise FileError(f"get_checkpoint_state: {path} holds {text!r}, which is no text and no number") from None


def latest_checkpoint(checkpoint_dir: Any, latest_filename: str | None = None) -> str | None:
    """The path of the latest checkpoint in a directory; None if there is none.

    >>> import duograph.graph as tf
    >>> tf.train.latest_checkpoint("no/such/directory") is None
    True
    """
    state = get_checkpoint_state(checkpoint_dir, latest_filename)
    if state is None or not checkpoint_exists(state.model_checkpoint_path):
        return None
    return state.model_checkpoint_path


def checkpoint_exists(checkpoint_prefix: Any) -> bool:
    """Whether there is a checkpoint of this path."""
    return os.path.isfile(checkpoint_prefix)


def get_checkpoint_mtimes(checkpoint_prefixes: Sequence[str]) -> list[float]:
    """When checkpoints were written, in seconds; those that are not there are left out."""
    return [os.path.getmtime(path) for path in checkpoint_prefixes if checkpoint_exists(path)]


def remove_checkpoint(checkpoint_prefix: Any, checkpoint_format_version: Any = None, meta_graph_suffix: str = "meta") -> None:
    """Deletes a checkpoint, if it is there."""
    if checkpoint_exists(checkpoint_prefix):
        os.unlink(checkpoint_prefix)


def checkpoints_iterator(
    checkpoint_dir: Any,
    min_interval_secs: float = 0,
    timeout: float | None = None,
    timeout_fn: Any = None,
) -> Iterator[str]:
    """Each new checkpoint of a directory, as it comes; ends after `timeout` seconds without one, if `timeout_fn()` is true."""
    last: str | None = None
    while True:
        end = None if timeout is None else time.monotonic() + timeout
        found = latest_checkpoint(checkpoint_dir)
        while found is None or found == last:
            if end is not None and time.monotonic() >= end:
                if timeout_fn is None or timeout_fn():
                    return
                end = time.monotonic() + (timeout or 0)
            time.sleep(0.05)
            found = latest_checkpoint(checkpoint_dir)
        start, last = time.monotonic(), found
        yield found
        time.sleep(max(0.0, min_interval_secs - (time.monotonic() - start)))


def loaded(function: str, path: Any) -> dict[str, Any]:
    """The tensors of a checkpoint by name. FileError if it is not there, or holds something else."""
    name = os.fspath(path)
    if os.path.isdir(name):
        raise FileError(f"{function}: {name!r} is a directory", hint="tf.train.latest_checkpoint(directory)")
    if not os.path.isfile(name):
        raise FileError(f"{function}: there is no checkpoint {name!r}", hint=_others(name))
    found = load(name)
    if not isinstance(found, dict) or not all(isinstance(key, str) and hasattr(x, "dtype") for key, x in found.items()):
        raise FileError(f"{function}: {name!r} is no checkpoint: it does not hold tensors by name")
    return found


def _others(path: str) -> str | None:
    folder, name = os.path.split(path)
    if not os.path.isdir(folder or "."):
        return f"there is no directory {folder!r} either"
    near = get_close_matches(name, os.listdir(folder or "."), 3, 0.4)
    return f"beside it there is {', '.join(repr(x) for x in near)}" if near else None


class NewCheckpointReader:
    """The tensors of a checkpoint by name. Any safetensors file of named tensors is one.

    Errors:   FileError if the file is not there, or of another kind, and for a name that it does not hold
    """

    def __init__(self, filepattern: Any) -> None:
        self.path = os.fspath(filepattern)
        self._tensors = loaded("NewCheckpointReader", filepattern)

    def has_tensor(self, tensor_str: str) -> bool:
        """Whether there is a tensor of this name."""
        return tensor_str in self._tensors

    def get_tensor(self, tensor_str: str) -> Any:
        """A tensor as a NumPy array."""
        if tensor_str not in self._tensors:
            raise FileError(f"checkpoint {self.path!r} holds no {tensor_str!r}", hint=like(tensor_str, self._tensors))
        return array_of(self._tensors[tensor_str])

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """The shapes by name."""
        return {name: [int(size) for size in tensor.shape] for name, tensor in self._tensors.items()}

    def get_variable_to_dtype_map(self) -> dict[str, Any]:
        """The dtypes by name."""
        return {name: tensor.dtype for name, tensor in self._tensors.items()}

    def debug_string(self) -> bytes:
        """A line for each tensor: name, dtype, shape."""
        lines = [f"{name} (DT_{x.dtype.name.upper()}) {[int(n) for n in x.shape]}" for name, x in self._tensors.items()]
        return "\n".join(lines).encode()


def like(name: str, names: Any) -> str | None:
    """A hint: names that are nearly this one."""
    near = get_close_matches(name, list(names), 3)
    return f"it holds {', '.join(repr(x) for x in near)}" if near else None


def load_checkpoint(ckpt_dir_or_file: Any) -> NewCheckpointReader:
    """The reader of a checkpoint, or of the latest one in a directory."""
    path = os.fspath(ckpt_dir_or_file)
    if os.path.isdir(path):
        found = latest_checkpoint(path)
        if found is None:
            raise FileError(f"load_checkpoint: there is no checkpoint in {path!r}")
        path = found
    return NewCheckpointReader(path)


def list_variables(ckpt_dir_or_file: Any) -> list[tuple[str, list[int]]]:
    """Names and shapes of what a checkpoint holds, or the latest one in a directory, by name."""
    return sorted(load_checkpoint(ckpt_dir_or_file).get_variable_to_shape_map().items())


def load_variable(ckpt_dir_or_file: Any, name: str) -> Any:
    """One variable of a checkpoint, as a NumPy array; "w:0" is the same as "w"."""
    return load_checkpoint(ckpt_dir_or_file).get_tensor(name[:-2] if name.endswith(":0") else name)
