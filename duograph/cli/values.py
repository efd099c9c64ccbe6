"""Inputs of models: from files, or random numbers from a seed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .output import UsageError


def sizes_of(given: Iterable[str]) -> dict[str, int]:
    """`name=number` pairs."""
    found = {}
    for text in given:
        name, equal, number = text.partition("=")
        if not (equal and number.isdigit()):
            raise UsageError(f"--size takes NAME=NUMBER, got {text!r}")
        found[name] = int(number)
    return found


def inputs_for(model: Any, files: Iterable[str], sizes: Mapping[str, int], seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """An array for each input of a loaded model: from `name=file` or files in the order of the inputs, else random."""
    arrays = _from_files(files, model.inputs)
    generator = np.random.default_rng(seed)
    for about in model.input_types:
        if about.name not in arrays:
            arrays[about.name] = _random(about, sizes, generator)
    return {name: arrays[name] for name in model.inputs}


def _from_files(files: Iterable[str], names: Iterable[str]) -> dict[str, np.ndarray[Any, Any]]:
    order, found = list(names), {}
    for text in files:
        name, equal, path = text.partition("=")
        if not equal or not (name in order or os.path.splitext(path)[1]):
            name, path = "", text
        if name and name not in order:
            raise UsageError(f"the model has no input {name!r}; it has {', '.join(order)}")
        loaded = read_arrays(path)
        if len(loaded) == 1 and None in loaded:
            name = name or next((x for x in order if x not in found), "")
            if not name:
                raise UsageError(f"{path} is one input too many: the model has {', '.join(order)}")
            found[name] = loaded[None]
        else:
            unknown = [x for x in loaded if x not in order]
            if unknown:
                raise UsageError(f"{path} holds {unknown[0]!r}, which is no input; the model has {', '.join(order)}")
            found.update({str(key): value for key, value in loaded.items()})
    return found


def read_arrays(path: str) -> dict[str | None, np.ndarray[Any, Any]]:
    """The arrays of a file by name; None for the only one of .npy and .png."""
    ending = os.path.splitext(path)[1].lower()
    try:
        if ending == ".npy":
            return {None: np.load(path, allow_pickle=False)}
        if ending == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return dict(archive)
        if ending == ".png":
            return {None: _image(path)}
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from None
    raise UsageError(f"{path!r} ends in none of .npy, .npz and .png")


def _image(path: str) -> np.ndarray[Any, Any]:
    """A picture as float32 [1, channels, height, width] between 0 and 1."""
    try:
        from matplotlib.image import imread
    except ImportError:
        raise UsageError("pictures are read by matplotlib: pip install matplotlib") from None
    made = np.asarray(imread(path), np.float32)
    made = made[..., None] if made.ndim == 2 else made
    return np.ascontiguousarray(made.transpose(2, 0, 1)[None])


def _random(about: Any, sizes: Mapping[str, int], generator: np.random.Generator) -> np.ndarray[Any, Any]:
    if about.dtype is None:
        raise UsageError(f"input {about.name!r} is no tensor of numbers: give it by a file")
    if about.shape is None:
        raise UsageError(f"the model does not say the rank of input {about.name!r}: give it by a file")
    shape = [size if isinstance(size, int) else sizes.get(size or "", 1) for size in about.shape]
    name = about.dtype.name
    if name == "bool":
        return generator.integers(0, 2, shape).astype(bool)
    if about.dtype.is_floating_point:
        return generator.standard_normal(shape).astype("float32" if name == "bfloat16" else name)
    return generator.integers(0, 2, shape).astype(name)  # indices are never out of bounds then
