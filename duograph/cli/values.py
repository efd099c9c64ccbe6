"""Inputs of models: from files, or random numbers from a seed."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from .output import UsageError

_MOST = 1 << 40  # elements


class Choice(NamedTuple):
    """How inputs are made that no file gives: open sizes by name, the seed, and what whole numbers stay below."""

    sizes: Mapping[str, int] = {}
    seed: int = 0
    high: int = 2  # indices are never out of bounds then


def sizes_of(given: Iterable[str]) -> dict[str, int]:
    """`name=number` pairs."""
    found = {}
    for text in given:
        name, equal, number = text.partition("=")
        if not (equal and number.isascii() and number.isdigit()):
            raise UsageError(f"--size takes NAME=NUMBER, got {text!r}")
        found[name] = int(number)
    return found


def inputs_for(model: Any, files: Iterable[str], choice: Choice) -> dict[str, np.ndarray[Any, Any]]:
    """An array for each input of a loaded model: from `name=file` or files in the order of the inputs, else random.

    Open sizes that the files settle hold for the random ones, too.
    """
    check_sizes(model, choice)
    arrays = _from_files(files, {about.name: about for about in model.input_types}, model.settings)
    sizes = {
        size: given
        for about in model.input_types
        if about.name in arrays and about.shape is not None
        for size, given in zip(about.shape, arrays[about.name].shape)
        if isinstance(size, str)
    }
    choice = choice._replace(sizes=sizes | dict(choice.sizes))
    generator = np.random.default_rng(choice.seed)
    for about in model.input_types:
        if about.name not in arrays:
            arrays[about.name] = _random(about, choice, generator)
        elif about.dtype is not None and about.dtype.name == "bfloat16" and arrays[about.name].dtype == np.float32:
            arrays[about.name] = arrays[about.name].astype(_numpy_dtype("bfloat16"))  # which files of arrays do not have
    return {name: arrays[name] for name in (*model.inputs, *model.settings) if name in arrays}


def check_sizes(model: Any, choice: Choice) -> None:
    """UsageError for a size that the model does not leave open."""
    known = {size for about in model.input_types for size in about.shape or () if isinstance(size, str)}
    for name in choice.sizes:
        if name not in known:
            raise UsageError(f"the model has no open size {name!r}; it has {', '.join(sorted(known)) or 'none'}")


def paths_of(files: Iterable[str]) -> list[str]:
    """The paths in `name=file` or file."""
    return [path for text in files for path in {text, text.partition("=")[2]}]


def _from_files(files: Iterable[str], inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of files, for inputs in order or by name, and for settings by name."""
    order, found = list(inputs), {}
    known = [*inputs, *settings]
    for text in files:
        name, equal, path = text.partition("=")
        if not equal or (name not in known and (os.path.exists(text) or not os.path.splitext(path)[1])):
            name, path = "", text
        if name and name not in known:
            raise UsageError(f"the model has no input {name!r}; it has {', '.join(known) or 'none'}")
        loaded = read_arrays(path)
        if len(loaded) == 1 and None in loaded:
            name = name or next((x for x in order if x not in found), "")
            if not name:
                raise UsageError(f"{path} is one input too many: the model has {', '.join(order) or 'none'}")
            if name in found:
                raise UsageError(f"input {name!r} is given twice")
            picture = path.lower().endswith(".png")
            found[name] = fitted(loaded[None], {**inputs, **settings}[name], path) if picture else loaded[None]
        else:
            unknown = [x for x in loaded if x not in known]
            if unknown:
                raise UsageError(f"{path} holds {unknown[0]!r}, which is no input; the model has {', '.join(known) or 'none'}")
            found.update({str(key): value for key, value in loaded.items()})
    return found


def read_arrays(path: str) -> dict[str | None, np.ndarray[Any, Any]]:
    """The arrays of a file by name; None for the only one of .npy and .png."""
    ending = os.path.splitext(path)[1].lower()
    try:
        if ending == ".npy":
            return {None: _numbers(np.load(path, allow_pickle=False))}
        if ending == ".npz":
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                return {name: _numbers(array) for name, array in archive.items()}
        if ending == ".png":
            return {None: _image(path)}
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except (ValueError, SyntaxError, zipfile.BadZipFile) as error:  # what NumPy and pictures' readers raise
        raise UsageError(f"{path}: {error}") from None
    raise UsageError(f"{path!r} ends in none of .npy, .npz and .png")


def _numbers(array: Any) -> np.ndarray[Any, Any]:
    """The array, if tensors can hold its elements."""
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise ValueError(f"elements of {array.dtype} are no numbers that a model takes")
    return np.asarray(array)


def _image(path: str) -> np.ndarray[Any, Any]:
    """A picture as float32 [height, width, channels] between 0 and 1, without transparency."""
    try:
        from matplotlib.image import imread
    except ImportError:
        raise UsageError("pictures are read by matplotlib: pip install matplotlib") from None
    made = np.asarray(imread(path), np.float32)
    made = made[..., None] if made.ndim == 2 else made
    return made[..., :-1] if made.shape[-1] in (2, 4) else made


def fitted(picture: np.ndarray[Any, Any], about: Any, path: str) -> np.ndarray[Any, Any]:
    """A picture in the layout, channels, size and dtype of an input; whole numbers go from 0 to 255."""
    shape = about.shape or [1, picture.shape[2], None, None]
    if not 2 <= len(shape) <= 4:
        raise UsageError(f"{path}: input {about.name!r} has {len(shape)} dimensions, which is no picture")
    channels_last = len(shape) > 2 and shape[-1] in (1, 3) and shape[-3] not in (1, 3)
    height, width = shape[-3:-1] if channels_last else shape[-2:]
    channels = 1 if len(shape) == 2 else shape[-1] if channels_last else shape[-3]
    if channels == 1 and picture.shape[2] == 3:
        picture = (picture @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]  # as television weighs colours
    elif channels == 3 and picture.shape[2] == 1:
        picture = np.repeat(picture, 3, 2)
    picture = _resized(picture.transpose(2, 0, 1), height, width)
    if about.dtype is not None and not about.dtype.is_floating_point:
        picture = np.rint(picture * 255).astype(about.dtype.name)
    elif about.dtype is not None and about.dtype.name != "bfloat16":
        picture = picture.astype(about.dtype.name)
    picture = picture.transpose(1, 2, 0) if channels_last else picture[0] if len(shape) == 2 else picture
    return np.ascontiguousarray(picture[None] if len(shape) == 4 else picture)


def _resized(picture: np.ndarray[Any, Any], height: Any, width: Any) -> np.ndarray[Any, Any]:
    """A picture [channels, height, width] in another size, where the input says one."""
    wanted = tuple(size if isinstance(size, int) else old for size, old in zip((height, width), picture.shape[1:]))
    if wanted == picture.shape[1:]:
        return picture
    import duograph as dg

    batch = dg.from_numpy(np.ascontiguousarray(picture[None], np.float32))
    made: np.ndarray[Any, Any] = dg.nn.functional.interpolate(batch, wanted, mode="bilinear", antialias=True)[0].numpy()
    return made


def _random(about: Any, choice: Choice, generator: np.random.Generator) -> np.ndarray[Any, Any]:
    if about.dtype is None:
        raise UsageError(f"input {about.name!r} is no tensor of numbers: give it by a file")
    if about.shape is None:
        raise UsageError(f"the model does not say the rank of input {about.name!r}: give it by a file")
    shape = [size if isinstance(size, int) else choice.sizes.get(size or "", 1) for size in about.shape]
    if math.prod(shape) > _MOST:
        raise UsageError(f"input {about.name!r} of the sizes {shape} does not fit into memory")
    name = about.dtype.name
    if name == "bool":
        return generator.integers(0, 2, shape).astype(bool)
    if about.dtype.is_floating_point:
        return generator.standard_normal(shape).astype(_numpy_dtype(name))
    return generator.integers(0, choice.high, shape).astype(name)


def _numpy_dtype(name: str) -> Any:
    """NumPy's dtype of that name; bfloat16 is one of the package that onnx brings."""
    if name != "bfloat16":
        return name
    import ml_dtypes

    return ml_dtypes.bfloat16
