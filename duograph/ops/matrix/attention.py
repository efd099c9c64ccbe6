"""Attention: sums of values, weighted by how well their keys agree with a query."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph.errors import ArgumentError, DimensionError, DomainError, DTypeError, ShapeError

from ..definition import COMPOSITION, RANDOM, function, op
from ..dtypes import same
from ..elementwise.choice import where
from ..elementwise.unary import exp, reciprocal
from ..gradient import is_zero, unbroadcast
from ..reduction.extrema import peak
from ..reduction.reductions import sum
from ..shapes.copying import cast
from ..shapes.movement import reshape
from ..tracing import emit, require_equal, user_operator
from .contractions import contraction

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Number

_NAME = "scaled_dot_product_attention"


class _Product(NamedTuple):
    """A product over leading dimensions that broadcast, as a contraction: an operand lacks the letters along which it repeats.

    a, b, out    letters of the operands and the result
    shapes       of the operands without the dimensions that they lack letters of, and of the result
    """

    a: str
    b: str
    out: str
    shapes: tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]

    @classmethod
    def of(cls, a: Any, b: Any, last: str) -> _Product:
        """`last`: the letters of the last two dimensions, "lx,sx->ls"."""
        left, out = last.split("->")
        ends = left.split(",")
        ranks = [len(x.shape) - 2 for x in (a, b)]
        letters: list[str] = ["", ""]
        shapes: list[tuple[Any, ...]] = [(), ()]
        joint = ""
        joint_shape: tuple[Any, ...] = ()
        for d in range(max(ranks), 0, -1):
            letter = "abcdefghijk"[d - 1]
            sizes = [x.shape[rank - d] if rank >= d else 1 for x, rank in zip((a, b), ranks)]
            ones = [isinstance(size, int) and size == 1 for size in sizes]
            if not any(ones):
                given = f"{tuple(a.shape)} and {tuple(b.shape)}"
                require_equal(user_operator(_NAME), sizes[0], sizes[1], f"shapes {given} do not broadcast")
            joint_shape = (*joint_shape, sizes[1] if ones[0] else sizes[0])
            if all(ones):
                continue
            joint += letter
            for i in (0, 1):
                if not ones[i]:
                    letters[i] += letter
                    shapes[i] = (*shapes[i], sizes[i])
        sizes_of = dict(zip(ends[0], a.shape[-2:])) | dict(zip(ends[1], b.shape[-2:]))
        full = tuple((*shape, *x.shape[-2:]) for shape, x in zip(shapes, (a, b)))
        result = (*joint_shape, *(sizes_of[letter] for letter in out))
        return cls(letters[0] + ends[0], letters[1] + ends[1], joint + out, (*full, result))  # type: ignore[arg-type]

    def __call__(self, a: Any, b: Any) -> Any:
        made = contraction(_of_rank(a, self.shapes[0]), _of_rank(b, self.shapes[1]), f"{self.a},{self.b}->{self.out}")
        return _of_rank(made, self.shapes[2])

    def _kept(self, g: Any) -> Any:
        """A gradient of the result without the dimensions that have no letter."""
        sizes = dict(zip(self.a, self.shapes[0])) | dict(zip(self.b, self.shapes[1]))
        return _of_rank(g, tuple(sizes[letter] for letter in self.out))

    def to_a(self, g: Any, b: Any, a: Any) -> Any:
        """The gradient of the first operand."""
        made = contraction(self._kept(g), _of_rank(b, self.shapes[1]), f"{self.out},{self.b}->{self.a}")
        return _of_rank(made, tuple(a.shape))

    def to_b(self, g: Any, a: Any, b: Any) -> Any:
        """The gradient of the second operand."""
        made = contraction(_of_rank(a, self.shapes[0]), self._kept(g), f"{self.a},{self.out}->{self.b}")
        return _of_rank(made, tuple(b.shape))


def _of_rank(x: Any, shape: tuple[Any, ...]) -> Any:
    """x in a shape that differs by dimensions of size 1; of the same rank it is x, whatever symbols its sizes are."""
    return x if len(x.shape) == len(shape) else reshape(x, shape)


def _masked(scores: Any, mask: Any, is_causal: bool) -> Any:
    """Scores with the mask added, or -inf where it is False or the key is later than the query."""
    rank = len(scores.shape)
    if mask is not None:
        name = user_operator(_NAME)
        message = f"attn_mask has shape {tuple(mask.shape)}, the scores have {tuple(scores.shape)}"
        if len(mask.shape) > rank:
            raise ShapeError(f"{name}: {message}")
        for have, want in zip(reversed(mask.shape), reversed(scores.shape)):
            if not (isinstance(have, int) and have == 1):
                require_equal(name, want, have, message)
        scores = where(mask, scores, -math.inf) if mask.dtype.kind == "b" else scores + cast(mask, scores.dtype)
    if is_causal:
        query, key = (emit("iota", [], core.int64, tuple(scores.shape), dim=d) for d in (rank - 2, rank - 1))
        scores = where(key <= query, scores, -math.inf)
    return scores


def _weights(scores: Any, safe: bool) -> Any:
    """Softmax along the last dimension; a row of -inf gives zeros if `safe`, else NaN."""
    greatest = peak(scores, -1, True)
    if not safe:
        e = exp(scores - greatest)
        return e * reciprocal(sum(e, -1, True))
    e = exp(scores - where(greatest == -math.inf, 0.0, greatest))
    total = sum(e, -1, True)
    return e * reciprocal(where(total == 0, 1.0, total))


def _require_fitting(query: Any, key: Any, value: Any) -> None:
    """Sizes that only a run knows are checked there."""
    name = user_operator(_NAME)
    require_equal(name, query.shape[-1], key.shape[-1], f"query has {query.shape[-1]} features, key has {key.shape[-1]}")
    require_equal(name, key.shape[-2], value.shape[-2], f"there are {key.shape[-2]} keys for {value.shape[-2]} values")


def _mask_gradient(mask: Any, to_scores: Any) -> Any:
    return None if mask is None or mask.dtype.kind == "b" else unbroadcast(to_scores, mask.shape)


def _attention_samples(m: Any) -> Any:
    if not m.is_float:
        return []
    return [
        (m(3, 4), m(5, 4), m(5, 2), None, 0.5),
        (m(2, 3, 4), m(2, 5, 4), m(2, 5, 4), m.bools(3, 5), 0.5),
        (m(2, 1, 3, 4), m(1, 2, 5, 4), m(2, 5, 3), m(2, 1, 1, 5), 0.7),
        (m(1, 2, 4, 3), m(1, 2, 4, 3), m(1, 2, 4, 3), None, 0.5, True),
    ]


def _np_attention(np: Any, q: Any, k: Any, v: Any, mask: Any = None, scale: float = 1.0, causal: bool = False) -> Any:
    scores = q @ np.swapaxes(k, -1, -2) * scale
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    greatest = scores.max(-1, keepdims=True)
    e = np.exp(scores - np.where(np.isinf(greatest), 0, greatest))
    weights = e / np.where(e.sum(-1, keepdims=True) == 0, 1, e.sum(-1, keepdims=True))
    return weights @ v, weights


@op(
    kind=COMPOSITION,
    dtypes=same.on("query", "key", "value"),
    method=False,
    public=False,
    tolerance=4.0,
    samples=_attention_samples,
    reference=_np_attention,
    autocast="lower",
)
def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scale: Number,
    is_causal: bool = False,
    safe: bool = True,
) -> tuple[Tensor, Tensor]:
    """Sums of values with the weights softmax(scale · query · keyᵀ + mask); and the weights.

    A query that sees no key has weights of zero if `safe`, else NaN.

    Shapes:   query [*B, l, e], key [*B, s, e], value [*B, s, f], mask broadcasts to [*B, l, s] → [*B, l, f], [*B, l, s]
    Dtypes:   one floating-point dtype; the mask bool or a float
    Gradient: to query, key, value and a mask of floats
    Errors:   ShapeError if sizes do not fit; DTypeError
    Source:   Vaswani et al. 2017

    >>> dg.ops.attend(dg.zeros(1, 2), dg.zeros(2, 2), tensor([[1.0], [3.0]]), None, 1.0)[0]
    tensor([[2.]])
    """
    _require_fitting(query, key, value)
    weights = _weights(_masked(_Product.of(query, key, "lx,sx->ls")(query, key) * scale, mask, is_causal), safe)
    return _Product.of(weights, value, "ls,sy->ly")(weights, value), weights


@attend.vjp
def _(g: Any, out: Any, query: Any, key: Any, value: Any, mask: Any, scale: Any, is_causal: Any, safe: Any) -> Any:
    (up, up_weights), (result, weights) = g, out
    scored, summed = _Product.of(query, key, "lx,sx->ls"), _Product.of(weights, value, "ls,sy->ly")
    to_value = summed.to_b(up, weights, value)
    to_weights = summed.to_a(up, value, weights)
    along = unbroadcast(sum(up * result, -1, True), (*weights.shape[:-1], 1))  # sum(weights * to_weights), over fewer numbers
    if not is_zero(up_weights):
        to_weights = to_weights + up_weights
        along = along + sum(weights * up_weights, -1, True)
    to_scores = weights * (to_weights - along)
    to_mask = _mask_gradient(mask, to_scores)
    to_products = to_scores * scale
    return scored.to_a(to_products, key, query), scored.to_b(to_products, query, key), to_value, to_mask


@op(kind=RANDOM, dtypes=same.on("query", "key", "value"), method=False, public=False, autocast="lower")
def attend_dropped(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scale: Number,
    p: Number,
    is_causal: bool = False,
    safe: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """`attend` whose weights are dropped with probability p, the rest divided by 1 - p; the weights before, and which stay.

    Shapes:   as `attend`; the third result as the second
    Dtypes:   as `attend`; the third result bool
    Gradient: as `attend`
    Errors:   as `attend`
    Source:   Vaswani et al. 2017

    >>> dg.ops.attend_dropped(dg.zeros(1, 2), dg.zeros(2, 2), tensor([[1.0], [3.0]]), None, 1.0, 0.0)[0]
    tensor([[2.]])
    """
    from ..randomness.random import kept_at_random

    _require_fitting(query, key, value)
    weights = _weights(_masked(_Product.of(query, key, "lx,sx->ls")(query, key) * scale, mask, is_causal), safe)
    kept = kept_at_random(tuple(weights.shape), p)
    product = _Product.of(weights, value, "ls,sy->ly")
    return product(where(kept, weights * (1.0 / (1.0 - p)), 0.0), value), weights, kept


@attend_dropped.vjp
def _(g: Any, out: Any, query: Any, key: Any, value: Any, mask: Any, scale: Any, p: Any, is_causal: Any, safe: Any) -> Any:
    from ..elementwise.arithmetic import sub

    up, up_weights, _ = g
    _, weights, kept = out
    rest = reciprocal(sub(1.0, p))
    scored, summed = _Product.of(query, key, "lx,sx->ls"), _Product.of(weights, value, "ls,sy->ly")
    to_value = summed.to_b(up, where(kept, weights * rest, 0.0), value)
    to_weights = where(kept, summed.to_a(up, value, weights) * rest, 0.0)
    if not is_zero(up_weights):
        to_weights = to_weights + up_weights
    to_scores = weights * (to_weights - sum(weights * to_weights, -1, True))
    to_mask = _mask_gradient(mask, to_scores)
    to_products = to_scores * scale
    return scored.to_a(to_products, key, query), scored.to_b(to_products, query, key), to_value, to_mask


def _check(query: Any, key: Any, value: Any, mask: Any, p: Any, is_causal: bool) -> None:
    """What would fail later, or silently mean something else."""
    for what, x in (("query", query), ("key", key), ("value", value)):
        if x.dim() < 2:
            raise DimensionError(f"{_NAME}: {what} must have at least two dimensions, got {x.dim()}")
        if not x.dtype.is_floating_point or x.dtype is not query.dtype:
            names = ", ".join(each.dtype.name for each in (query, key, value))
            raise DTypeError(f"{_NAME}: query, key and value must have one floating-point dtype, got {names}")
    if not isinstance(p, core.Tensor) and not 0 <= p <= 1:
        raise DomainError(f"{_NAME}: dropout_p must be between 0 and 1, got {p}")
    if mask is None:
        return
    if is_causal:
        raise ArgumentError(f"{_NAME}: attn_mask and is_causal=True exclude each other", hint="put both into the mask")
    if mask.dtype.kind != "b" and mask.dtype not in (core.float32, query.dtype):
        raise DTypeError(f"{_NAME}: attn_mask must be bool or {query.dtype.name}, got {mask.dtype.name}")


def _grouped(query: Any, key: Any, value: Any, mask: Any) -> tuple[Any, Any, Any, Any]:
    """Heads of queries as groups that share a head of keys and values: one dimension more."""
    for what, x in (("query", query), ("key", key), ("value", value)):
        if x.dim() < 3:
            raise DimensionError(f"{_NAME}: enable_gqa needs heads: {what} must have at least three dimensions, got {x.dim()}")
    heads, shared, of_values = (x.shape[-3] for x in (query, key, value))
    for what, count in (("key", shared), ("value", of_values)):
        if count == 0 or heads % count:
            raise ShapeError(f"{_NAME}: {heads} heads of query do not fall into groups for {count} heads of {what}")
    if shared != of_values:
        key, value = (x.repeat_interleave(heads // x.shape[-3], -3) for x in (key, value))
        shared = heads
    if mask is not None and mask.dim() > 2:
        mask = mask.unflatten(-3, (shared, heads // shared)) if mask.shape[-3] != 1 else mask.unsqueeze(-3)
    return query.unflatten(-3, (shared, heads // shared)), key.unsqueeze(-3), value.unsqueeze(-3), mask


@function(
    functional=True,
    method=False,
    tolerance=4.0,
    samples=lambda m: (
        [
            (m(2, 3, 4), m(2, 5, 4), m(2, 5, 3)),
            (m(1, 2, 3, 4), m(1, 2, 3, 4), m(1, 2, 3, 4), None, 0.0, True),
            (m(2, 3, 4), m(2, 5, 4), m(2, 5, 3), m.bools(3, 5)),
            (m(1, 4, 3, 2), m(1, 2, 5, 2), m(1, 2, 5, 2), m(3, 5), 0.0, False, {"scale": 0.3, "enable_gqa": True}),
        ]
        if m.is_float
        else []
    ),
    autocast="lower",
)
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Sums of values, weighted by the softmax of scale · query · keyᵀ over the keys.

    A mask is added to the scores, or (bool) says which keys a query may see; `is_causal`: those up to its own position.
    A query that may see no key gives zeros. `dropout_p` drops weights, in training or not. `scale` is 1/√e unless given.
    With `enable_gqa` groups of query heads share a head of keys and values.

    Shapes:   query [*B, l, e], key [*B, s, e], value [*B, s, f], attn_mask broadcasts to [*B, l, s] → [*B, l, f]
    Dtypes:   one floating-point dtype; the mask bool or a float
    Gradient: to query, key, value and a mask of floats
    Errors:   ShapeError if sizes do not fit; ArgumentError for a mask with is_causal=True; DomainError; DTypeError
    Source:   Vaswani et al. 2017; torch.nn.functional.scaled_dot_product_attention

    >>> dg.nn.functional.scaled_dot_product_attention(dg.zeros(1, 2), dg.zeros(2, 2), tensor([[1.0], [3.0]]))
    tensor([[2.]])
    """
    _check(query, key, value, attn_mask, dropout_p, is_causal)
    if scale is None:
        scale = 1.0 / math.sqrt(query.shape[-1]) if query.shape[-1] != 0 else 1.0
    heads = query.shape[:-2]
    if enable_gqa:
        query, key, value, attn_mask = _grouped(query, key, value, attn_mask)
    if dropout_p == 0:
        made = attend(query, key, value, attn_mask, scale, is_causal)[0]
    elif dropout_p == 1:
        made = attend(query, key, value, attn_mask, scale, is_causal)[0] * 0.0
    else:
        made = attend_dropped(query, key, value, attn_mask, scale, dropout_p, is_causal)[0]
    return made.reshape((*heads, *made.shape[-2:])) if enable_gqa else made
