"""Losses. `reduction` is "mean", "sum" or "none"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import DomainError, DTypeError, ShapeError

from ..definition import LOSS, function, op
from ..dtypes import floats, numeric
from ..elementwise.activations import log_softmax
from ..elementwise.arithmetic import abs, sign
from ..elementwise.choice import maximum, where
from ..elementwise.unary import exp, log1p, sigmoid
from ..gradient import unbroadcast
from ..reduction.extrema import positions
from ..reduction.reductions import count, sum
from ..reduction.statistics import mean
from ..selection.indexing import gather, take_along
from ..shapes.copying import cast
from ..shapes.movement import reshape, squeeze, unsqueeze
from ..tracing import require_equal

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Number


def _reduced(loss: Any, reduction: str, name: str) -> Any:
    if reduction == "mean":
        return mean(loss)
    if reduction == "sum":
        return sum(loss)
    if reduction == "none":
        return loss
    raise DomainError(f"{name}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def _spread(g: Any, x: Any, reduction: str) -> Any:
    """The gradient of each element's loss."""
    return g / count(x, None) if reduction == "mean" else g


def _np_reduced(np: Any, loss: Any, reduction: str) -> Any:
    return loss if reduction == "none" else getattr(np, reduction)(loss)


def _pair_samples(m: Any) -> Any:
    return [(m(3, 5), m(3, 5)), (m(3, 5), m(3, 5), "sum"), (m(3, 5), m(3, 5), "none"), (m(70), m(70)), (m(), m())]


def _same_shape(name: str, x: Any, target: Any) -> None:
    message = f"input has shape {tuple(x.shape)}, target {tuple(target.shape)}: they must agree"
    if len(x.shape) != len(target.shape):
        raise ShapeError(f"{name}: {message}")
    for have, want in zip(target.shape, x.shape):
        require_equal(name, want, have, message)


@op(
    functional=True,
    kind=LOSS,
    dtypes=floats,
    method=False,
    samples=_pair_samples,
    reference=lambda np, x, y, reduction="mean": _np_reduced(np, (x - y) ** 2, reduction),
    autocast="float32",
)
def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """(input - target)², reduced.

    Shapes:   input and target [*S] (or broadcast) → [], or [*S] for "none"
    Dtypes:   floats; others are rejected
    Gradient: 2 * (input - target), over the count for "mean"; its negative to target
    Errors:   ShapeError; DTypeError; DomainError for another reduction
    Source:   torch.nn.functional.mse_loss

    >>> dg.nn.functional.mse_loss(tensor([1.0, 2.0]), tensor([1.0, 4.0]))
    tensor(2.)
    """
    gap = input - target
    return _reduced(gap * gap, reduction, "mse_loss")  # type: ignore[no-any-return]


@mse_loss.vjp
def _(g: Any, out: Any, input: Any, target: Any, reduction: str) -> Any:
    gap = input - target
    slope = _spread(g, gap, reduction) * 2.0 * gap
    return unbroadcast(slope, input.shape), unbroadcast(-slope, target.shape)


@op(
    functional=True,
    kind=LOSS,
    dtypes=numeric,
    method=False,
    samples=_pair_samples,
    reference=lambda np, x, y, reduction="mean": _np_reduced(np, np.abs(x - y), reduction),
    autocast="float32",
)
def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """|input - target|, reduced.

    Shapes:   input and target [*S] (or broadcast) → [], or [*S] for "none"
    Dtypes:   promote; "mean" takes floats only
    Gradient: sign(input - target), over the count for "mean"; its negative to target
    Errors:   ShapeError; DTypeError; DomainError for another reduction
    Source:   torch.nn.functional.l1_loss

    >>> dg.nn.functional.l1_loss(tensor([1.0, 2.0]), tensor([1.0, 4.0]))
    tensor(1.)
    """
    return _reduced(abs(input - target), reduction, "l1_loss")  # type: ignore[no-any-return]


@l1_loss.vjp
def _(g: Any, out: Any, input: Any, target: Any, reduction: str) -> Any:
    gap = input - target
    slope = _spread(g, gap, reduction) * sign(gap)
    return unbroadcast(slope, input.shape), unbroadcast(-slope, target.shape)


@op(
    kind=LOSS,
    dtypes=floats,
    over="mse_loss",
    torch=lambda torch, x, y, reduction, weight: torch.nn.functional.mse_loss(x, y, reduction=reduction, weight=weight),
    samples=lambda m: [(m(3, 5), m(3, 5), r, m(3, 5, low=0.1)) for r in ("mean", "sum", "none")] if m.is_float else [],
)
def weighted_mse_loss(input: Tensor, target: Tensor, reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """`mse_loss` of elements that count by their weight, by which "mean" also divides.

    Shapes:   input, target and weight [*S] → [], or [*S] for "none"
    Dtypes:   floats; others are rejected
    Gradient: that of `mse_loss` times the weight
    Errors:   ShapeError; DTypeError; DomainError for another reduction
    Source:   torch.nn.functional.mse_loss

    >>> dg.nn.functional.mse_loss(tensor([1.0, 2.0]), tensor([1.0, 4.0]), weight=tensor([1.0, 3.0]))
    tensor(3.)
    """
    gap = input - target
    loss = gap * gap
    if weight is None:
        return _reduced(loss, reduction, "mse_loss")  # type: ignore[no-any-return]
    loss = loss * weight
    if reduction == "mean":
        return sum(loss) / sum(weight)
    return _reduced(loss, reduction, "mse_loss")  # type: ignore[no-any-return]


@op(
    kind=LOSS,
    dtypes=floats,
    over="l1_loss",
    torch=lambda torch, x, y, reduction, weight: torch.nn.functional.l1_loss(x, y, reduction=reduction, weight=weight),
    samples=lambda m: [(m(3, 5), m(3, 5), r, m(3, 5, low=0.1)) for r in ("mean", "sum", "none")] if m.is_float else [],
)
def weighted_l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """`l1_loss` of elements that count by their weight, by which "mean" also divides.

    Shapes:   input, target and weight [*S] → [], or [*S] for "none"
    Dtypes:   floats; others are rejected
    Gradient: that of `l1_loss` times the weight
    Errors:   ShapeError; DTypeError; DomainError for another reduction
    Source:   torch.nn.functional.l1_loss

    >>> dg.nn.functional.l1_loss(tensor([1.0, 2.0]), tensor([1.0, 4.0]), weight=tensor([1.0, 3.0]))
    tensor(1.5000)
    """
    gap = input - target
    loss = abs(gap)
    if weight is None:
        return _reduced(loss, reduction, "l1_loss")  # type: ignore[no-any-return]
    loss = loss * weight
    if reduction == "mean":
        return sum(loss) / sum(weight)
    return _reduced(loss, reduction, "l1_loss")  # type: ignore[no-any-return]


# Classes


def _class_dim(x: Any) -> int:
    return 1 if len(x.shape) > 1 else 0


def _along_classes(weight: Any, x: Any) -> Any:
    """A weight per class, shaped so that it broadcasts over x."""
    dim = _class_dim(x)
    return reshape(weight, *(weight.shape[0] if d == dim else 1 for d in range(len(x.shape))))


def _check_classes(name: str, x: Any, target: Any, weight: Any) -> None:
    dim = _class_dim(x)
    if not x.shape:
        raise ShapeError(f"{name}: input needs a dimension of classes")
    if target.dtype.kind not in "ui":
        raise DTypeError(f"{name}: class indices must be integers, got {target.dtype.name}", hint="convert target with .long()")
    expected = (*x.shape[:dim], *x.shape[dim + 1 :])
    message = f"for input of shape {tuple(x.shape)} the target must have shape {expected}, got {tuple(target.shape)}"
    if len(expected) != len(target.shape):
        raise ShapeError(f"{name}: {message}")
    for have, want in zip(target.shape, expected):
        require_equal(name, want, have, message)
    if weight is not None:
        message = f"weight must have one element per class, got shape {tuple(weight.shape)} for {x.shape[dim]} classes"
        if len(weight.shape) != 1:
            raise ShapeError(f"{name}: {message}")
        require_equal(name, x.shape[dim], weight.shape[0], message)


def _target_weights(target: Any, weight: Any, ignore_index: Any, dtype: Any) -> tuple[Any, Any, Any]:
    """Targets with ignored ones made 0, where they count, and each one's weight (0 where ignored)."""
    kept = target != ignore_index
    safe = where(kept, target, 0)
    each = cast(kept, dtype) if weight is None else where(kept, take_along(weight, safe, 0), 0.0)
    return safe, kept, each


def _nll(name: str, logp: Any, target: Any, weight: Any, ignore_index: Any, reduction: str) -> Any:
    dim = _class_dim(logp)
    safe, _, each = _target_weights(target, weight, ignore_index, logp.dtype)
    picked = (
        squeeze(gather(logp, dim, unsqueeze(safe, dim)), dim)
        if logp.shape[dim] != 1
        else _first(gather(logp, dim, unsqueeze(safe, dim)), dim)
    )
    loss = -picked * each
    return sum(loss) / sum(each) if reduction == "mean" else _reduced(loss, reduction, name)


def _first(x: Any, dim: int) -> Any:
    return reshape(x, tuple(s for d, s in enumerate(x.shape) if d != dim))


def _np_nll(np: Any, logp: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Any:
    dim = 1 if logp.ndim > 1 else 0
    weight = np.ones(logp.shape[dim]) if weight is None else weight
    kept = target != ignore_index
    safe = np.where(kept, target, 0)
    each = weight[safe] * kept
    loss = -np.take_along_axis(logp, np.expand_dims(safe, dim), dim).squeeze(dim) * each
    return loss.sum() / each.sum() if reduction == "mean" else _np_reduced(np, loss, reduction)


def _nll_samples(m: Any) -> Any:
    classes = m.ints(6, high=4)
    return [
        (m(6, 4), classes),
        (m(6, 4), classes, m(4, low=0.5, high=2)),
        (m(6, 4), classes, None, int(classes[0])),
        (m(6, 4), classes, None, -100, "none"),
        (m(2, 4, 3), m.ints(2, 3, high=4), m(4, low=0.5, high=2), -100, "sum"),
        (m(4), m.ints(high=4)),
    ]


@op(
    functional=True,
    kind=LOSS,
    dtypes=floats.on("input", "weight"),
    method=False,
    reference=_np_nll,
    samples=_nll_samples,
    autocast="float32",
)
def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, ignore_index: Number = -100, reduction: str = "mean"
) -> Tensor:
    """The negative log-probability of each target class, weighted; the mean is over the weights.

    Shapes:   input [N, C, *D] or [C], target [N, *D] or [], weight [C] → [], or target's for "none"
    Dtypes:   input and weight floats; target integers
    Gradient: -weight at the target class, over the sum of weights for "mean"
    Errors:   BoundsError for a class out of range; ShapeError; DTypeError; DomainError for another reduction
    Source:   torch.nn.functional.nll_loss

    >>> dg.nn.functional.nll_loss(tensor([[-1.0, -2.0]]), tensor([1]))
    tensor(2.)
    """
    _check_classes("nll_loss", input, target, weight)
    return _nll("nll_loss", input, target, weight, ignore_index, reduction)  # type: ignore[no-any-return]


@nll_loss.vjp
def _(g: Any, out: Any, input: Any, target: Any, weight: Any, ignore_index: Any, reduction: str) -> Any:
    dim = _class_dim(input)
    safe, kept, each = _target_weights(target, weight, ignore_index, input.dtype)
    slope = -(g / sum(each) if reduction == "mean" else g) * each
    chosen = (positions(input, dim) == unsqueeze(safe, dim)) & unsqueeze(kept, dim)
    return where(chosen, unsqueeze(slope, dim), 0.0), None, None


def _np_cross_entropy(
    np: Any, x: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", smoothing: Any = None
) -> Any:
    dim = 1 if x.ndim > 1 else 0
    classes = x.shape[dim]
    logp = x - np.log(np.exp(x).sum(dim, keepdims=True))
    w = np.ones(classes) if weight is None else weight
    shaped = w.reshape([-1 if d == dim else 1 for d in range(x.ndim)])
    s = smoothing or 0.0
    if target.dtype.kind == "f":
        loss = -(shaped * (target * (1 - s) + s / classes) * logp).sum(dim)
        return loss.sum() / max(loss.size, 1) if reduction == "mean" else _np_reduced(np, loss, reduction)
    kept = target != ignore_index
    safe = np.where(kept, target, 0)
    each = w[safe] * kept
    hot = -np.take_along_axis(logp, np.expand_dims(safe, dim), dim).squeeze(dim) * each
    loss = (1 - s) * hot - s / classes * (shaped * logp).sum(dim) * kept
    return loss.sum() / each.sum() if reduction == "mean" else _np_reduced(np, loss, reduction)


def _entropy_samples(m: Any) -> Any:
    likely = m(6, 4, low=0.1, high=1.0)
    return [
        *_nll_samples(m),
        (m(6, 4), m.ints(6, high=4), m(4, low=0.5, high=2), -100, "mean", 0.1),
        (m(6, 4), likely),
        (m(6, 4), likely, m(4, low=0.5, high=2), -100, "sum", 0.2),
        (m(2, 4, 3), m(2, 4, 3, low=0.1, high=1.0), None, -100, "none"),
        (m(4), m(4, low=0.1, high=1.0)),
    ]


@op(
    kind=LOSS,
    dtypes=floats.on("input", "weight"),
    method=False,
    public=False,
    reference=_np_cross_entropy,
    samples=_entropy_samples,
    autocast="float32",
)
def cross_entropy_of(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: Number = -100,
    reduction: str = "mean",
    label_smoothing: Number | None = None,
) -> Tensor:
    """`cross_entropy`; without smoothing `label_smoothing` is absent.

    Shapes:   input [N, C, *D] or [C]; target [N, *D] or [] of classes, or input's of probabilities → [], or per target
    Dtypes:   input and weight floats; target integers or floats
    Gradient: softmax(input) - target distribution, weighted
    Errors:   BoundsError for a class out of range; ShapeError; DTypeError; DomainError for another reduction
    Source:   torch.nn.functional.cross_entropy

    >>> dg.ops.cross_entropy_of(tensor([[1.0, 2.0]]), tensor([1]))
    tensor(0.3133)
    """
    name = "cross_entropy"
    dim = _class_dim(input)
    if target.dtype.is_floating_point:
        _same_shape(name, input, target)
        loss = -sum(_soft_targets(input, target, weight, label_smoothing) * log_softmax(input, dim), dim)
        return sum(loss) / count(loss, None) if reduction == "mean" else _reduced(loss, reduction, name)  # type: ignore[no-any-return]
    _check_classes(name, input, target, weight)
    logp = log_softmax(input, dim)
    if label_smoothing is None:
        return _nll(name, logp, target, weight, ignore_index, reduction)  # type: ignore[no-any-return]
    _, kept, each = _target_weights(target, weight, ignore_index, input.dtype)
    hot = _nll(name, logp, target, weight, ignore_index, "none")
    uniform = where(kept, -sum(logp if weight is None else logp * _along_classes(weight, input), dim), 0.0)
    loss = hot * (1 - label_smoothing) + uniform * (label_smoothing / input.shape[dim])
    return sum(loss) / sum(each) if reduction == "mean" else _reduced(loss, reduction, name)


def _soft_targets(x: Any, target: Any, weight: Any, smoothing: Any) -> Any:
    """The weighted distribution over classes that log-probabilities are multiplied with."""
    likely = cast(target, x.dtype)
    if smoothing is not None:
        likely = likely * (1 - smoothing) + smoothing / x.shape[_class_dim(x)]
    return likely if weight is None else likely * _along_classes(weight, x)


@cross_entropy_of.vjp
def _(g: Any, out: Any, input: Any, target: Any, weight: Any, ignore_index: Any, reduction: str, label_smoothing: Any) -> Any:
    dim = _class_dim(input)
    logp = log_softmax(input, dim)
    likely = target.dtype.is_floating_point
    if likely:
        wanted = _soft_targets(input, target, weight, label_smoothing)
        total = sum(wanted, dim, True)
        slope = g / count(sum(input, dim), None) if reduction == "mean" else g
    else:
        safe, kept, each = _target_weights(target, weight, ignore_index, input.dtype)
        slope = g / sum(each) if reduction == "mean" else g
        hot = (positions(input, dim) == unsqueeze(safe, dim)) & unsqueeze(kept, dim)
        total = unsqueeze(each, dim)
        wanted = where(hot, total, 0.0)
        if label_smoothing is not None:
            share = label_smoothing / input.shape[dim]
            uniform = unsqueeze(cast(kept, input.dtype), dim) * share
            wanted = wanted * (1 - label_smoothing) + (uniform if weight is None else uniform * _along_classes(weight, input))
            total = sum(wanted, dim, True)
    if len(slope.shape):
        slope = unsqueeze(slope, dim)
    first = slope * (exp(logp) * total - wanted)
    if not likely:
        return first, None, None
    second = -slope * logp if weight is None else -slope * logp * _along_classes(weight, input)
    return first, second if label_smoothing is None else second * (1 - label_smoothing), None


@function(
    functional=True,
    method=False,
    reference=_np_cross_entropy,
    samples=_entropy_samples,
    torch=lambda torch, x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0: (
        torch.nn.functional.cross_entropy(
            x, target, weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing
        )
    ),
    autocast="float32",
)
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The cross entropy of softmax(input) and a target: class indices, or probabilities in input's shape.

    Shapes:   input [N, C, *D] or [C]; target [N, *D] or [] of classes, or input's of probabilities → [], or per target
    Dtypes:   input and weight floats; target integers or floats
    Gradient: softmax(input) - target distribution, weighted
    Errors:   BoundsError for a class out of range; ShapeError; DTypeError; DomainError for another reduction
    Source:   torch.nn.functional.cross_entropy

    >>> dg.nn.functional.cross_entropy(tensor([[1.0, 2.0]]), tensor([1]))
    tensor(0.3133)
    """
    if not 0.0 <= label_smoothing <= 1.0:
        raise DomainError(f"cross_entropy: label_smoothing must be between 0 and 1, got {label_smoothing}")
    return cross_entropy_of(input, target, weight, ignore_index, reduction, label_smoothing or None)


def _np_bce(np: Any, x: Any, y: Any, weight: Any = None, pos: Any = None, reduction: str = "mean") -> Any:
    softplus = np.log1p(np.exp(-np.abs(x))) + np.maximum(-x, 0)
    loss = (1 - y) * x + (1 if pos is None else (pos - 1) * y + 1) * softplus
    return _np_reduced(np, loss * (1 if weight is None else weight), reduction)


@op(
    functional=True,
    kind=LOSS,
    dtypes=floats,
    method=False,
    reference=_np_bce,
    aliases=("bce_with_logits",),
    samples=lambda m: [
        (m(3, 5), m(3, 5, low=0, high=1)),
        (m(3, 5), m(3, 5, low=0, high=1), m(5, low=0.5), None, "sum"),
        (m(3, 5), m(3, 5, low=0, high=1), None, m(5, low=0.5), "none"),
        (m(4), m(4, low=0, high=1), m(4, low=0.5), m(4, low=0.5)),
    ],
    autocast="float32",
)
def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """The cross entropy of sigmoid(input) and target, stable; pos_weight weighs the positive part.

    Shapes:   input and target [*S]; weight and pos_weight broadcast to S → [], or [*S] for "none"
    Dtypes:   floats; others are rejected
    Gradient: (sigmoid(input) - target) without weights
    Errors:   ShapeError; DTypeError; DomainError for another reduction
    Source:   torch.nn.functional.binary_cross_entropy_with_logits

    >>> dg.nn.functional.binary_cross_entropy_with_logits(tensor([0.0]), tensor([1.0]))
    tensor(0.6931)
    """
    _same_shape("binary_cross_entropy_with_logits", input, target)
    softplus = log1p(exp(-abs(input))) + maximum(-input, 0.0)
    if pos_weight is None:
        loss = (1 - target) * input + softplus
    else:
        loss = (1 - target) * input + ((pos_weight - 1) * target + 1) * softplus
    return _reduced(loss if weight is None else loss * weight, reduction, "binary_cross_entropy_with_logits")  # type: ignore[no-any-return]


@binary_cross_entropy_with_logits.vjp
def _(g: Any, out: Any, input: Any, target: Any, weight: Any, pos_weight: Any, reduction: str) -> Any:
    share = _spread(g, input, reduction)
    slope = share if weight is None else share * weight
    softplus = log1p(exp(-abs(input))) + maximum(-input, 0.0)
    positive = 1.0 if pos_weight is None else (pos_weight - 1) * target + 1
    to_weight = None
    if weight is not None:
        to_weight = unbroadcast(share * ((1 - target) * input + positive * softplus), weight.shape)
    if pos_weight is None:
        return slope * (sigmoid(input) - target), -slope * input, to_weight, None
    first = slope * ((1 - target) - positive * sigmoid(-input))
    second = slope * ((pos_weight - 1) * softplus - input)
    return first, second, to_weight, unbroadcast(slope * target * softplus, pos_weight.shape)
