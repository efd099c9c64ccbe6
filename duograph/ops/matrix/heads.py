"""Attention of several heads: projections in, attention of each head, projection out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ArgumentError, DimensionError, DTypeError, ShapeError

from ..definition import function
from ..elementwise.choice import where
from ..shapes.creation import full
from ..shapes.joining import cat
from ..shapes.padding import pad
from .attention import attend, attend_dropped
from .contractions import linear

if TYPE_CHECKING:
    from duograph._core import Tensor

_NAME = "multi_head_attention_forward"


def _check_ranks(query: Any, key: Any, value: Any, key_padding_mask: Any, attn_mask: Any) -> bool:
    """Whether there is a batch."""
    rank = query.dim()
    if rank not in (2, 3):
        raise DimensionError(f"{_NAME}: query must have 3 dimensions, or 2 without a batch, got {rank}")
    for what, x, wanted in (
        ("key", key, (rank,)),
        ("value", value, (rank,)),
        ("key_padding_mask", key_padding_mask, (rank - 1,)),
        ("attn_mask", attn_mask, (2, 3)),
    ):
        if x is not None and x.dim() not in wanted:
            counts = " or ".join(map(str, wanted))
            raise DimensionError(f"{_NAME}: {what} must have {counts} dimensions beside a query of {rank}, got {x.dim()}")
    for what, x in (("key_padding_mask", key_padding_mask), ("attn_mask", attn_mask)):
        if x is not None and x.dtype is not core.bool and not x.dtype.is_floating_point:
            raise DTypeError(f"{_NAME}: {what} must be bool or a float, got {x.dtype.name}")
    return bool(rank == 3)


def _check_sizes(query: Any, key: Any, value: Any, embed_dim: int, num_heads: int, separate: bool) -> None:
    width = query.shape[-1]
    if width != embed_dim:
        raise ShapeError(f"{_NAME}: query has {width} features, the layer is made for {embed_dim}")
    if num_heads < 1 or width % num_heads:
        raise ShapeError(f"{_NAME}: {width} features do not fall into {num_heads} heads")
    if query.shape[1] != key.shape[1]:
        raise ShapeError(f"{_NAME}: query has a batch of {query.shape[1]}, key one of {key.shape[1]}")
    if key.shape[:2] != value.shape[:2] or (not separate and key.shape != value.shape):
        raise ShapeError(f"{_NAME}: key has shape {tuple(key.shape)}, value {tuple(value.shape)}")


def _projected(query: Any, key: Any, value: Any, weight: Any, bias: Any, separate: Any) -> tuple[Any, ...]:
    """The three projections, those of the same tensor in one product; `separate`: weights of each."""
    width = query.shape[-1]
    if separate is not None:
        biases = (None,) * 3 if bias is None else bias.chunk(3)
        return tuple(linear(x, one, shift) for x, one, shift in zip((query, key, value), separate, biases))
    if query is key and key is value:
        return tuple(linear(query, weight, bias).chunk(3, -1))
    first, rest = (None, None) if bias is None else (bias[:width], bias[width:])
    projected = linear(query, weight[:width], first)
    if key is value:
        return (projected, *linear(key, weight[width:], rest).chunk(2, -1))
    parts = weight[width:].chunk(2)
    biases = (None, None) if rest is None else rest.chunk(2)
    return (projected, *(linear(x, part, shift) for x, part, shift in zip((key, value), parts, biases)))


def _split(projected: Any, num_heads: int, extra: Any, given: Any, zeros: bool) -> tuple[tuple[Any, ...], int]:
    """Queries, keys and values by heads; and how many keys were added behind the given ones.

    Args:
        extra: a further key and value, or None twice; given: keys and values to take instead; zeros: adds a key of zeros.
    """
    q, k, v = projected
    batch, width = q.shape[1:]
    further = int(zeros)
    if (extra[0] is None) != (extra[1] is None):
        raise ArgumentError(f"{_NAME}: bias_k and bias_v must both be given, or neither")
    if extra[0] is not None:
        if any(one is not None for one in given):
            raise ArgumentError(f"{_NAME}: bias_k and bias_v are not added to a static key or value")
        k, v = (cat([x, one.expand(1, batch, width)]) for x, one in zip((k, v), extra))
        further += 1
    names = ("static_k", "static_v")
    parts = [
        _heads(x, num_heads) if one is None else _given(name, one, batch, num_heads, width // num_heads)
        for x, name, one in zip((k, v), names, given)
    ]
    if zeros:
        parts = [cat([x, full((batch, num_heads, 1, x.shape[-1]), 0.0, x.dtype)], 2) for x in parts]
    return (_heads(q, num_heads), *parts), further


def _heads(x: Any, num_heads: int) -> Any:
    """[length, batch, features] as [batch, heads, length, features of one]."""
    return x.unflatten(-1, (num_heads, x.shape[-1] // num_heads)).permute(1, 2, 0, 3)


def _given(name: str, x: Any, batch: Any, num_heads: int, width: Any) -> Any:
    """A static key or value as [batch, heads, length, features of one]."""
    if x.dim() != 3 or x.shape[0] != batch * num_heads or x.shape[2] != width:
        raise ShapeError(f"{_NAME}: {name} must have shape [{batch * num_heads}, s, {width}], got {tuple(x.shape)}")
    return x.unflatten(0, (batch, num_heads))


def _joined_mask(attn_mask: Any, key_padding_mask: Any, shape: tuple[Any, ...], further: int, dtype: Any) -> Any:
    """What attention takes: bool where a key may be seen, or floats to add.

    Args:
        shape: batch, heads, queries, keys; further: keys that were added behind them, which all may see.
    """
    batch, heads, queries, keys = shape
    parts = []
    if attn_mask is not None:
        wanted = (queries, keys) if attn_mask.dim() == 2 else (batch * heads, queries, keys)
        if tuple(attn_mask.shape) != wanted:
            raise ShapeError(f"{_NAME}: attn_mask must have shape {wanted}, got {tuple(attn_mask.shape)}")
        parts.append(attn_mask if attn_mask.dim() == 2 else attn_mask.unflatten(0, (batch, heads)))
    if key_padding_mask is not None:
        if tuple(key_padding_mask.shape) != (batch, keys):
            raise ShapeError(f"{_NAME}: key_padding_mask must have shape {(batch, keys)}, got {tuple(key_padding_mask.shape)}")
        parts.append(key_padding_mask[:, None, None])
    if not parts:
        return None
    bools = all(part.dtype is core.bool for part in parts)
    made: Any = None
    for part in parts:
        if not bools and part.dtype is core.bool:
            part = where(part, -math.inf, full((), 0.0, dtype))
        part = part.to(dtype) if not bools else part
        made = part if made is None else made | part if bools else made + part
    made = pad(made, (0, further)) if further else made
    return ~made if bools else made


@function(
    functional=True,
    method=False,
    tolerance=4.0,
    samples=lambda m: (
        [
            (m(3, 2, 4), m(3, 2, 4), m(3, 2, 4), 4, 2, m(12, 4), m(12), None, None, False, 0.0, m(4, 4), m(4)),
            (m(3, 4), m(5, 4), m(5, 4), 4, 1, m(12, 4), None, m(1, 1, 4), m(1, 1, 4), True, 0.0, m(4, 4), None),
        ]
        if m.is_float
        else []
    ),
)
def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """What `nn.MultiheadAttention` computes (with `batch_first=False`): the result and, if `need_weights`, the weights.

    A query that may see no key gives NaN with `need_weights`, else zeros before the last projection, as in PyTorch.

    Shapes:   query [l, n, e] (or [l, e]), key and value [s, n, *], attn_mask [l, s] or [n * num_heads, l, s],
              key_padding_mask [n, s] → [l, n, e], [n, l, s] (or [n, num_heads, l, s] unless averaged)
    Dtypes:   floats; masks bool (True: not to be seen) or floats
    Gradient: to all but masks of bools
    Errors:   DimensionError, ShapeError if sizes do not fit; ArgumentError for is_causal=True without a mask; DTypeError
    Source:   Vaswani et al. 2017; torch.nn.functional.multi_head_attention_forward

    >>> x, w = dg.ones(1, 2), dg.eye(2)
    >>> dg.nn.functional.multi_head_attention_forward(
    ...     x, x, x, 2, 1, dg.cat([w, w, w]), None, None, None, False, 0.0, w, None)[0]
    tensor([[1., 1.]])
    """
    batched = _check_ranks(query, key, value, key_padding_mask, attn_mask)
    if is_causal and attn_mask is None:
        raise ArgumentError(f"{_NAME}: is_causal=True says that attn_mask is the causal one, and needs it")
    if in_proj_weight is None and not use_separate_proj_weight:
        raise ArgumentError(f"{_NAME}: in_proj_weight is needed unless use_separate_proj_weight=True")
    if not batched:
        query, key, value = _unsqueezed(query, key, value)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    _check_sizes(query, key, value, embed_dim_to_check, num_heads, use_separate_proj_weight)
    length, batch, width = query.shape
    weights_of_each = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else None
    projected = _projected(query, key, value, in_proj_weight, in_proj_bias, weights_of_each)
    given = static_k, static_v
    (q, k, v), further = _split(projected, num_heads, (bias_k, bias_v), given, add_zero_attn)
    if is_causal and key_padding_mask is None and not need_weights:
        attn_mask = None
    else:
        is_causal = False
    mask = _joined_mask(attn_mask, key_padding_mask, (batch, num_heads, length, k.shape[2] - further), further, q.dtype)
    scale = 1.0 / math.sqrt(width // num_heads)
    summed, weights = _attended((q, k, v, mask, scale), dropout_p if training else 0.0, is_causal, not need_weights)
    made = linear(summed.permute(2, 0, 1, 3).reshape((length, batch, width)), out_proj_weight, out_proj_bias)
    made = made if batched else made.squeeze(1)
    if not need_weights:
        return made, None
    weights = weights.mean(1) if average_attn_weights else weights
    return made, weights if batched else weights.squeeze(0)


def _unsqueezed(query: Any, key: Any, value: Any) -> tuple[Any, Any, Any]:
    """With a batch of one; what was one tensor stays one."""
    first = query.unsqueeze(1)
    second = first if key is query else key.unsqueeze(1)
    return first, second, second if value is key else value.unsqueeze(1)


def _attended(args: tuple[Any, ...], p: float, is_causal: bool, safe: bool) -> tuple[Any, Any]:
    """The sums of values and the weights that they were made with; these only unless `safe`."""
    if p == 0:
        return attend(*args, is_causal, safe)
    if p == 1:
        found, weights = attend(*args, is_causal, safe)
        return found * 0.0, weights * 0.0
    found, weights, kept = attend_dropped(*args, p, is_causal, safe)
    return found, None if safe else where(kept, weights * (1.0 / (1.0 - p)), 0.0)
