"""Operators of `com.microsoft` that language models are made of: positions as rotations, shared keys, packed weights."""

from __future__ import annotations

import math
from typing import Any

import duograph as dg
from duograph.nn import functional

from .definition import Number, Tensor, operator

_DOMAIN = "com.microsoft"


def _rotated(x: Tensor, cosines: Tensor, sines: Tensor, interleaved: int) -> Tensor:
    """x [batch, heads, length, size], turned by angles [batch, length, size / 2 or less]; what is beyond stays."""
    half = cosines.shape[-1]
    c, s = cosines.unsqueeze(1).to(x.dtype), sines.unsqueeze(1).to(x.dtype)
    turned, rest = x[..., : 2 * half], x[..., 2 * half :]
    a, b = (turned[..., ::2], turned[..., 1::2]) if interleaved else (turned[..., :half], turned[..., half:])
    first, second = a * c - b * s, a * s + b * c
    made = dg.stack((first, second), -1).flatten(-2) if interleaved else dg.cat((first, second), -1)
    return made if 2 * half == x.shape[-1] else dg.cat((made, rest), -1)


@operator("RotaryEmbedding", domain=_DOMAIN)
def rotary_embedding(
    x: Tensor, places: Tensor, cosines: Tensor, sines: Tensor, *, interleaved: int = 0, is_packed_batching: int = 0,
    num_heads: int = 0, rotary_embedding_dim: int = 0, scale: float = 1.0,
) -> Tensor:  # fmt: skip
    if is_packed_batching or scale != 1.0:
        raise NotImplementedError("packed batches and scales other than 1 are not known")
    size = x.shape[-1] // num_heads if num_heads and x.ndim == 3 else 2 * cosines.shape[1]
    heads = x.reshape(x.shape[0], x.shape[1], -1, size).transpose(1, 2) if x.ndim == 3 else x
    at = places.reshape(1, 1) + dg.arange(heads.shape[2]) if places.ndim == 1 else places
    made = _rotated(heads, cosines[at], sines[at], interleaved)
    return made.transpose(1, 2).reshape(x.shape) if x.ndim == 3 else made


@operator("GroupQueryAttention", domain=_DOMAIN)
def group_query_attention(
    query: Tensor, key: Any, value: Any, past_key: Tensor | None, past_value: Tensor | None, lasts: Tensor,
    total: Number, cosines: Any = None, sines: Any = None, places: Tensor | None = None,
    added: Tensor | None = None, *, num_heads: int, kv_num_heads: int, do_rotary: int = 0, local_window_size: int = -1,
    rotary_interleaved: int = 0, scale: float = 0.0, smooth_softmax: int = 0, softcap: float = 0.0,
) -> Any:  # fmt: skip
    """Causal attention whose keys are shared by several heads; `lasts` is the last place of each row's keys.

    The results for the next call hold the keys of each row one after the other, without a gap.
    """
    if softcap or smooth_softmax > 0:
        raise NotImplementedError("softcap and smooth_softmax are not known")
    batch, length = query.shape[:2]
    if key is None:
        size = query.shape[-1] // (num_heads + 2 * kv_num_heads)
        query, key, value = dg.split(query, [num_heads * size, kv_num_heads * size, kv_num_heads * size], -1)
    counts = (num_heads, kv_num_heads, kv_num_heads)
    q, k, v = [x.reshape(batch, length, n, -1).transpose(1, 2) for x, n in zip((query, key, value), counts)]
    before = dg.zeros(batch, 1, dtype=dg.int64)
    if past_key is not None:
        before = dg.clamp(lasts.to(dg.int64).reshape(-1, 1) + 1 - length, 0)
    at = before + dg.arange(length)  # [batch, length]
    if do_rotary:
        turned = at if places is None else places
        q, k = [_rotated(x, cosines[turned], sines[turned], rotary_interleaved) for x in (q, k)]
    if past_key is not None:
        k, v = [_appended(old, new, before, total) for old, new in ((past_key, k), (past_value, v))]
    columns = dg.arange(k.shape[2])
    seen = columns <= at.unsqueeze(-1)
    if local_window_size > 0:
        seen = seen & (columns > at.unsqueeze(-1) - local_window_size)
    mask: Tensor = seen.unsqueeze(1)
    if added is not None:
        mask = dg.where(mask, added, -math.inf)
    factor = scale or 1 / math.sqrt(int(q.shape[-1]))
    made = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=factor, enable_gqa=True)
    return made.transpose(1, 2).reshape(batch, length, -1), k, v


def _appended(old: Any, new: Tensor, before: Tensor, total: Any) -> Tensor:
    """Rows of which each has `before` old values, [batch, 1], and then the new ones."""
    count = total if total > old.shape[2] else old.shape[2]
    places = dg.arange(count)
    source = dg.where(places < before, places, places - before + old.shape[2])
    source = dg.clamp(source, None, old.shape[2] + new.shape[2] - 1).reshape(-1, 1, count, 1)
    return dg.gather(dg.cat((old, new), 2), 2, source.expand(new.shape[0], new.shape[1], count, new.shape[3]))


@operator("MatMulNBits", domain=_DOMAIN)
def matmul_of_packed(
    x: Tensor, packed: Tensor, scales: Tensor, zeros: Tensor | None = None, groups: Tensor | None = None,
    bias: Tensor | None = None, *, K: int, N: int, bits: int = 4, block_size: int, accuracy_level: int = 0,
) -> Tensor:  # fmt: skip
    """A product with a matrix [N, K] of numbers of few bits, which have a scale per block of a row."""
    if groups is not None:
        raise NotImplementedError("blocks of columns in another order are not known")
    blocks = -(-K // block_size)
    whole = _unpacked(packed.reshape(N, -1), bits).reshape(N, blocks, block_size).to(x.dtype)
    points: Any = float(1 << (bits - 1))
    if zeros is not None:
        rows = zeros.reshape(N, -1)
        points = rows if zeros.dtype.is_floating_point else _unpacked(rows, bits)[:, :blocks]
        points = points.reshape(N, blocks, 1).to(x.dtype)
    weights = ((whole - points) * scales.reshape(N, blocks, 1).to(x.dtype)).reshape(N, -1)
    return functional.linear(x, dg.narrow(weights, 1, 0, K), bias)


def _unpacked(x: Tensor, bits: int) -> Tensor:
    """The numbers in bytes, the low bits first."""
    if bits not in (2, 4, 8):
        raise NotImplementedError(f"numbers of {bits} bits are not known")
    parts = [(x >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    return dg.stack(parts, -1).flatten(-2)
