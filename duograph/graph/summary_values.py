"""What summaries hold: histograms, pictures, sound and text, made of NumPy arrays."""

from __future__ import annotations

import io
import struct
import sys
import wave
import zlib
from functools import cache
from typing import Any

import numpy as np

from duograph.errors import DomainError, ShapeError

from .events import dtype_number, proto, shape_proto


def summary_bytes(values: list[Any]) -> bytes:
    """A serialized Summary of these values."""
    made: bytes = proto("summary", "Summary")(value=values).SerializeToString()
    return made


def value_of(tag: str, **content: Any) -> Any:
    """One value of a Summary."""
    return proto("summary", "Summary").Value(tag=tag, **content)


def scalar_values(tag: str, value: Any) -> list[Any]:
    """A number."""
    array = np.asarray(value)
    if array.size != 1:
        raise ShapeError(f"summary.scalar: {tag!r} takes one number, got shape {array.shape}", hint="tf.reduce_mean of it")
    return [
        value_of(tag, simple_value=float(array.reshape(()))),
    ]


# ---- histograms


@cache
def bucket_limits() -> Any:
    """Right ends of buckets: each a tenth wider than the one before, from 1e-12 on, on both sides of zero."""
    limits = []
    value = 1e-12
    while value < 1e20:
        limits.append(value)
        value *= 1.1
    limits.append(sys.float_info.max)
    return np.array([-x for x in reversed(limits)] + [0.0] + limits)


def histogram_values(tag: str, values: Any) -> list[Any]:
    """How the elements are distributed. DomainError for NaN and infinities."""
    array = np.sort(np.asarray(values), axis=None).astype(np.float64)
    if not np.isfinite(array).all():
        found = ", ".join(sorted({str(x) for x in array[~np.isfinite(array)]}))
        raise DomainError(f"summary.histogram: {tag!r} holds {found}", hint="tf.check_numerics says where they come from")
    limits = bucket_limits()
    below = np.searchsorted(array, limits)  # how many elements are less than each limit
    below[-1] = array.size
    counts = np.diff(below, prepend=0)
    # of a run of empty buckets one is written
    kept = (counts > 0) | np.append(counts[1:] > 0, True)
    histogram = proto("summary", "HistogramProto")(
        min=float(array[0]) if array.size else 0.0,
        max=float(array[-1]) if array.size else 0.0,
        num=array.size,
        sum=float(array.sum()),
        sum_squares=float(array @ array),
        bucket_limit=limits[kept].tolist(),
        bucket=counts[kept].astype(float).tolist(),
    )
    return [value_of(tag, histo=histogram)]


# ---- pictures


def image_values(tag: str, images: Any, max_outputs: int) -> list[Any]:
    """The first pictures of a batch [B, H, W, C], as PNG files."""
    array = np.asarray(images)
    if array.ndim != 4 or array.shape[3] not in (1, 3, 4):
        raise ShapeError(
            f"summary.image: {tag!r} takes pictures [batch, height, width, channels] of 1, 3 or 4 channels, got {array.shape}",
            hint="tf.expand_dims adds a dimension",
        )
    made = []
    for i, picture in enumerate(array[:max_outputs]):
        pixels = picture if picture.dtype == np.uint8 else as_pixels(picture)
        height, width, channels = pixels.shape
        image = proto("summary", "Summary").Image(
            height=height, width=width, colorspace=channels, encoded_image_string=png(pixels)
        )
        made.append(value_of(_numbered(f"{tag}/image", i, max_outputs), image=image))
    return made


def _numbered(tag: str, index: int, max_outputs: int) -> str:
    return f"{tag}/{index}" if max_outputs > 1 else tag


def as_pixels(picture: Any) -> Any:
    """Floats as bytes: the largest becomes 255; if some are negative, 0 becomes 128. What is not finite is red."""
    values = picture.astype(np.float64)
    finite = np.isfinite(values).all(axis=-1)
    known = values[finite]
    least, most = (known.min(), known.max()) if known.size else (0.0, 0.0)
    reach, middle = (max(-least, most), 128.0) if least < 0 else (most, 0.0)
    scale = 0.0 if reach < 1e-6 else (127.0 if middle else 255.0) / reach
    with np.errstate(invalid="ignore"):
        pixels = np.where(finite[..., None], values * scale + middle, 0.0).astype(np.uint8)
    pixels[~finite] = np.array([255, 0, 0, 255], np.uint8)[: picture.shape[-1]]
    return pixels


def png(pixels: Any) -> bytes:
    """A PNG file of bytes [H, W, C]."""
    height, width, channels = pixels.shape
    color = {1: 0, 3: 2, 4: 6}[channels]
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each row begins with the number of its filter: none
    rows[:, 1:] = pixels.reshape(height, -1)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows.tobytes())),
        (b"IEND", b""),
    ]
    chunks = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


# ---- sound


def audio_values(tag: str, sound: Any, sample_rate: Any, max_outputs: int) -> list[Any]:
    """The first sounds of a batch [B, frames] or [B, frames, channels] of numbers from -1 to 1, as WAV files."""
    array = np.asarray(sound)
    if array.ndim not in (2, 3):
        raise ShapeError(
            f"summary.audio: {tag!r} takes sounds [batch, frames] or [batch, frames, channels], got shape {array.shape}"
        )
    rate = float(np.asarray(sample_rate))
    if not rate > 0:
        raise DomainError(f"summary.audio: the sample rate of {tag!r} must be positive, got {rate}")
    made = []
    for i, one in enumerate(array.reshape(*array.shape[:2], -1)[:max_outputs]):
        frames, channels = one.shape
        audio = proto("summary", "Summary").Audio(
            sample_rate=rate,
            num_channels=channels,
            length_frames=frames,
            encoded_audio_string=wav(one, int(rate)),
            content_type="audio/wav",
        )
        made.append(value_of(_numbered(f"{tag}/audio", i, max_outputs), audio=audio))
    return made


def wav(sound: Any, rate: int) -> bytes:
    """A WAV file of numbers [frames, channels] from -1 to 1, with 16 bits each."""
    samples = np.clip(np.nan_to_num(sound.astype(np.float64)), -1.0, 1.0)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(sound.shape[1])
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
    return file.getvalue()


# ---- text and tensors


def text_values(tag: str, texts: Any) -> list[Any]:
    """Texts, in a list or nested lists."""
    array = np.asarray(texts, dtype=object)
    data = [x if isinstance(x, bytes) else str(x).encode() for x in array.reshape(-1)]
    tensor = proto("tensor", "TensorProto")(dtype=7, tensor_shape=shape_proto(array.shape), string_val=data)
    return [value_of(tag, tensor=tensor, metadata=_metadata("text"))]


def tensor_values(tag: str, value: Any, metadata: Any = None) -> list[Any]:
    """Any array."""
    array = np.asarray(value)
    if array.dtype == object:
        return text_values(tag, value)
    tensor = proto("tensor", "TensorProto")(
        dtype=dtype_number(array.dtype), tensor_shape=shape_proto(array.shape), tensor_content=array.tobytes()
    )
    return [value_of(tag, tensor=tensor, **({} if metadata is None else {"metadata": metadata}))]


def _metadata(plugin: str) -> Any:
    cls = proto("summary", "SummaryMetadata")
    return cls(plugin_data=cls.PluginData(plugin_name=plugin))
