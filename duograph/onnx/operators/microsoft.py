"""Operators of onnxruntime's own domain, `com.microsoft`, as its optimiser and exporters leave them in files."""

from __future__ import annotations

import math
from typing import Any

import duograph as dg
from duograph.nn import functional

from . import activations
from .definition import Tensor, operator
from .matrix import gemm
from .networks import conv

_DOMAIN = "com.microsoft"


@operator("Gelu", domain=_DOMAIN)
def gelu(x: Tensor) -> Tensor:
    return dg.gelu(x)


@operator("BiasGelu", domain=_DOMAIN)
def bias_gelu(x: Tensor, bias: Tensor) -> Tensor:
    return dg.gelu(x + bias)


@operator("FastGelu", domain=_DOMAIN)
def fast_gelu(x: Tensor, bias: Tensor | None = None) -> Tensor:
    return dg.gelu(x if bias is None else x + bias, approximate="tanh")


@operator("QuickGelu", domain=_DOMAIN)
def quick_gelu(x: Tensor, *, alpha: float = 1.702) -> Tensor:
    return x * dg.sigmoid(x * alpha)


@operator("FusedMatMul", domain=_DOMAIN)
def fused_matmul(
    a: Tensor, b: Tensor, *, alpha: float = 1.0, transA: int = 0, transB: int = 0, transBatchA: int = 0, transBatchB: int = 0
) -> Tensor:
    a = a.movedim(0, -2) if transBatchA else a
    b = b.movedim(0, -2) if transBatchB else b
    made = dg.matmul(a.transpose(-1, -2) if transA else a, b.transpose(-1, -2) if transB else b)
    return made if alpha == 1.0 else made * alpha


_ACTIVATIONS: dict[str, Any] = {
    "": lambda x: x,
    "Clip": dg.clamp,
    "Elu": dg.elu,
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: activations.hard_sigmoid(x, alpha=alpha, beta=beta),
    "HardSwish": lambda x, *_: dg.hardswish(x),
    "LeakyRelu": dg.leaky_relu,
    "Relu": dg.relu,
    "Sigmoid": dg.sigmoid,
    "Softplus": dg.softplus,
    "Softsign": dg.softsign,
    "Tanh": dg.tanh,
    "ThresholdedRelu": lambda x, alpha=1.0: activations.thresholded_relu(x, alpha=alpha),
}
_PARAMETERS = {"Elu": 1, "HardSigmoid": 2, "LeakyRelu": 1, "ThresholdedRelu": 1}  # of those that FusedGemm takes


def _activated(x: Tensor, activation: str, parameters: Any) -> Tensor:
    if activation not in _ACTIVATIONS:
        raise NotImplementedError(f"the activation {activation!r} is not known")
    made: Tensor = _ACTIVATIONS[activation](x, *(parameters or ()))
    return made


@operator("FusedConv", domain=_DOMAIN)
def fused_conv(
    x: Tensor, w: Tensor, b: Tensor | None = None, z: Tensor | None = None, *, activation: str = "",
    activation_params: Any = None, auto_pad: str = "NOTSET", dilations: Any = None, group: int = 1, kernel_shape: Any = None,
    pads: Any = None, strides: Any = None,
) -> Tensor:  # fmt: skip
    made = conv(x, w, b, auto_pad=auto_pad, dilations=dilations, group=group, pads=pads, strides=strides)
    return _activated(made if z is None else made + z, activation, activation_params)


@operator("FusedGemm", domain=_DOMAIN)
def fused_gemm(
    a: Tensor, b: Tensor, c: Tensor | None = None, *, activation: str = "", activation_alpha: float = 0.01,
    activation_beta: float = 0.0, activation_gamma: float = 0.0, alpha: float = 1.0, beta: float = 1.0, transA: int = 0,
    transB: int = 0,
) -> Tensor:  # fmt: skip
    made = gemm(a, b, c, alpha=alpha, beta=beta, transA=transA, transB=transB)
    return _activated(made, activation, (activation_alpha, activation_beta)[: _PARAMETERS.get(activation, 0)])


@operator("SkipLayerNormalization", domain=_DOMAIN)
def skip_layer_normalization(
    x: Tensor, skip: Tensor, gamma: Tensor, beta: Tensor | None = None, bias: Tensor | None = None, *, epsilon: float = 1e-12,
    outputs: int = 1,
) -> Any:  # fmt: skip
    total = x + skip if bias is None else x + skip + bias
    made = functional.layer_norm(total, (x.shape[-1],), gamma, beta, epsilon)
    return made if outputs == 1 else (made, None, None, total)


@operator("SimplifiedLayerNormalization", domain="")
@operator("SimplifiedLayerNormalization", domain=_DOMAIN)
def simplified_layer_normalization(
    x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    return functional.rms_norm(x, tuple(x.shape[axis % x.ndim :]), scale, epsilon)


@operator("SkipSimplifiedLayerNormalization", domain=_DOMAIN)
def skip_simplified_layer_normalization(
    x: Tensor, skip: Tensor, gamma: Tensor, bias: Tensor | None = None, *, epsilon: float = 1e-5, outputs: int = 1
) -> Any:
    total = x + skip if bias is None else x + skip + bias
    made = functional.rms_norm(total, (x.shape[-1],), gamma, epsilon)
    return made if outputs == 1 else (made, None, None, total)


@operator("EmbedLayerNormalization", domain=_DOMAIN)
def embed_layer_normalization(
    ids: Tensor, segments: Tensor | None, words: Tensor, places: Tensor, kinds: Tensor | None, gamma: Tensor, beta: Tensor,
    mask: Tensor | None = None, positions: Tensor | None = None, *, epsilon: float = 1e-12, mask_index_type: int = 0,
    outputs: int = 2,
) -> Any:  # fmt: skip
    at = dg.arange(ids.shape[1]) if positions is None else positions
    total = functional.embedding(ids, words) + functional.embedding(at, places)
    if segments is not None and kinds is not None:
        total = total + functional.embedding(segments, kinds)
    made = functional.layer_norm(total, (words.shape[1],), gamma, beta, epsilon)
    counts = dg.zeros(ids.shape[0], dtype=dg.int32) if mask is None else mask.sum(1).to(dg.int32)
    return (made, counts, total)[: max(outputs, 1)] if outputs > 1 else made


def _heads(x: Tensor, heads: int) -> Tensor:
    return x.reshape(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


@operator("Attention", domain=_DOMAIN)
def attention(
    x: Tensor, weights: Tensor, bias: Tensor | None = None, mask: Tensor | None = None, past: Tensor | None = None,
    added: Tensor | None = None, *, num_heads: int, unidirectional: int = 0, scale: float | None = None,
    mask_filter_value: float = -10000.0, qkv_hidden_sizes: list[int] | None = None, outputs: int = 1,
) -> Any:  # fmt: skip
    made = dg.matmul(x, weights)
    made = made if bias is None else made + bias
    q, k, v = [_heads(part, num_heads) for part in dg.split(made, qkv_hidden_sizes or made.shape[-1] // 3, -1)]
    return _attended(q, k, v, mask, past, added, unidirectional, scale, mask_filter_value, outputs)


@operator("MultiHeadAttention", domain=_DOMAIN)
def multi_head_attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None, mask: Tensor | None = None,
    added: Tensor | None = None, past_key: Tensor | None = None, past_value: Tensor | None = None, *, num_heads: int,
    unidirectional: int = 0, scale: float | None = None, mask_filter_value: float = -10000.0, outputs: int = 1,
) -> Any:  # fmt: skip
    if bias is not None:
        size, width = query.shape[-1], value.shape[-1]
        query, key = query + bias[:size], key + bias[size : 2 * size]
        value = value + bias[2 * size : 2 * size + width]
    q, k, v = [_heads(part, num_heads) for part in (query, key, value)]
    past = None if past_key is None else (past_key, past_value)
    made = _attended(q, k, v, mask, past, added, unidirectional, scale, mask_filter_value, outputs)
    return made if outputs == 1 else (made[0], made[1][0], made[1][1])


def _attended(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, past: Any, added: Tensor | None, causal: int,
    scale: float | None, hidden: float, outputs: int,
) -> Any:  # fmt: skip
    """Attention of all heads, joined again; with the keys and values for the next call where they are asked for."""
    if past is not None:
        k, v = dg.cat((past[0], k), 2), dg.cat((past[1], v), 2)
    extra = added
    if mask is not None:
        if mask.ndim == 1:
            mask = _between(mask, k.shape[0], k.shape[2])
        mask = mask.reshape(mask.shape[0], 1, 1, -1) if mask.ndim == 2 else mask.unsqueeze(1)
        away = (1 - mask.to(q.dtype)) * hidden
        extra = away if extra is None else extra + away
    factor = scale or 1 / math.sqrt(int(q.shape[-1]))
    if causal and (extra is not None or past is not None):
        rows = dg.arange(q.shape[2]).reshape(-1, 1) + (k.shape[2] - q.shape[2])
        later = dg.where(dg.arange(k.shape[2]).reshape(1, -1) > rows, float("-inf"), 0.0).to(q.dtype)
        extra, causal = later if extra is None else extra + later, 0
    made = functional.scaled_dot_product_attention(q, k, v, attn_mask=extra, is_causal=bool(causal), scale=factor)
    made = made.transpose(1, 2).reshape(q.shape[0], q.shape[2], -1)
    return made if outputs == 1 else (made, dg.stack((k, v)))


def _between(bounds: Tensor, batch: int, length: int) -> Tensor:
    """A mask [batch, length] of where keys end; in twice as many numbers, then where they begin.

    In 3 * batch + 2 of them: how many keys there are, then where queries and keys would be if all were in one row.
    """
    places = dg.arange(length).reshape(1, -1)
    kept = places < bounds[:batch].reshape(-1, 1)
    if bounds.shape[0] == 2 * batch:
        kept = kept & (places >= bounds[batch:].reshape(-1, 1))
    return kept.to(dg.int32)
