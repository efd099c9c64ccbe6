"""Losses with margins: between classes, labels, pairs and triplets. `reduction` is "mean", "sum" or "none"."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import DomainError, ShapeError

from ..definition import LOSS, function, op
from ..dtypes import float_promote, floats
from ..elementwise.choice import clamp, minimum, where
from ..elementwise.demands import demanded
from ..elementwise.unary import logsigmoid, sqrt
from ..reduction.reductions import any as any_of
from ..reduction.reductions import sum
from ..reduction.scans import cumprod
from ..reduction.similarity import pairwise_distance
from ..reduction.statistics import mean
from ..selection.indexing import gather
from ..shapes.copying import cast
from ..shapes.creation import iota
from ..shapes.movement import reshape, unsqueeze
from .losses import _reduced, _same_shape

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Number


def _signs(m: Any, *shape: int) -> Any:
    return m.of(m.numpy.where(m.bools(*shape), 1, -1))


@op(
    kind=LOSS,
    dtypes=floats.on("input", "target"),
    functional=True,
    method=False,
    samples=lambda m: (
        [(m(3, 5), _signs(m, 3, 5)), (m(7), _signs(m, 7), 2.0, "none"), (m(7), _signs(m, 7), 0.5, "sum")] if m.is_float else []
    ),
    autocast="float32",
)
def hinge_embedding_loss(input: Tensor, target: Tensor, margin: Number = 1.0, reduction: str = "mean") -> Tensor:
    """input where target is 1, and max(0, margin - input) where it is -1.

    Shapes:   input and target [*S] → [], or [*S] for "none"
    Dtypes:   floats; others are rejected
    Gradient: derived
    Errors:   DTypeError; ShapeError; DomainError for another reduction
    Source:   torch.nn.functional.hinge_embedding_loss

    >>> dg.nn.functional.hinge_embedding_loss(tensor([1.0, 0.5]), tensor([1.0, -1.0]))
    tensor(0.7500)
    """
    far = where(target == 1, 0.0, clamp(margin - input, 0.0, None))
    return _reduced(far + where(target == -1, 0.0, input), reduction, "hinge_embedding_loss")  # type: ignore[no-any-return]


@op(
    kind=LOSS,
    dtypes=floats.on("input1", "input2", "target"),
    functional=True,
    method=False,
    samples=lambda m: [(m(7), m(7), _signs(m, 7)), (m(3, 5), m(3, 5), _signs(m, 3, 5), 0.5, "none")] if m.is_float else [],
    autocast="float32",
)
def margin_ranking_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: Number = 0.0, reduction: str = "mean") -> Tensor:
    """max(0, margin - target * (input1 - input2)): target 1 wants input1 above input2, -1 below.

    Shapes:   all [*S] → [], or [*S] for "none"
    Dtypes:   floats; others are rejected
    Gradient: derived
    Errors:   DTypeError; ShapeError; DomainError for another reduction
    Source:   torch.nn.functional.margin_ranking_loss

    >>> dg.nn.functional.margin_ranking_loss(tensor([1.0, 2.0]), tensor([2.0, 1.0]), tensor([1.0, 1.0]))
    tensor(0.5000)
    """
    return _reduced(clamp(margin - target * (input1 - input2), 0.0, None), reduction, "margin_ranking_loss")  # type: ignore[no-any-return]


@op(
    kind=LOSS,
    dtypes=floats.on("input1", "input2", "target"),
    functional=True,
    method=False,
    samples=lambda m: (
        [(m(4, 5), m(4, 5), _signs(m, 4)), (m(4, 5), m(4, 5), _signs(m, 4), 0.2, "none"), (m(5), m(5), _signs(m))]
        if m.is_float
        else []
    ),
    tolerance=4,
    autocast="float32",
)
def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: Number = 0.0, reduction: str = "mean"
) -> Tensor:
    """1 - cos where target is 1, max(0, cos - margin) where it is -1, with cos of the angle between input1 and input2.

    Shapes:   inputs [N, D] and target [N] → [], or [N] for "none"; inputs [D] and target [] → []
    Dtypes:   floats; others are rejected
    Gradient: derived
    Errors:   DTypeError; ShapeError; DomainError for another reduction
    Source:   torch.nn.functional.cosine_embedding_loss

    >>> dg.nn.functional.cosine_embedding_loss(tensor([[3.0, 4.0]]), tensor([[4.0, 3.0]]), tensor([1.0]))
    tensor(0.0400)
    """
    if len(input1.shape) not in (1, 2) or len(target.shape) != len(input1.shape) - 1:
        shapes = f"{tuple(input1.shape)}, {tuple(input2.shape)} and {tuple(target.shape)}"
        raise ShapeError(f"cosine_embedding_loss: takes [N, D], [N, D] and [N], or [D], [D] and [], got {shapes}")
    sizes = (sum(input1 * input1, -1) + 1e-12) * (sum(input2 * input2, -1) + 1e-12)
    cosine = sum(input1 * input2, -1) / sqrt(sizes)
    loss = where(target == 1, 1 - cosine, 0.0) + where(target == -1, clamp(cosine - margin, 0.0, None), 0.0)
    return _reduced(loss, reduction, "cosine_embedding_loss")  # type: ignore[no-any-return]


@op(
    kind=LOSS,
    dtypes=float_promote.on("anchor", "positive", "negative"),
    functional=True,
    method=False,
    samples=lambda m: [(m(4, 5), m(4, 5), m(4, 5)), (m(4, 5), m(4, 5), m(4, 5), 0.5, 1.0, 1e-6, True, "none")],
    tolerance=4,
    autocast="float32",
)
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: Number = 1.0,
    p: float = 2.0,
    eps: Number = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d the distance of order p.

    With `swap` the negative's distance is the smaller one of those from anchor and from positive.

    Shapes:   all [*S, D] → [], or [*S] for "none"
    Dtypes:   floats promote; integers become the default float
    Gradient: derived
    Errors:   ShapeError; DomainError for another reduction, and unless the margin is above 0
    Source:   Balntas et al. 2016; torch.nn.functional.triplet_margin_loss

    >>> dg.nn.functional.triplet_margin_loss(tensor([[0.0, 0.0]]), tensor([[3.0, 4.0]]), tensor([[0.0, 1.0]]))
    tensor(5.0000)
    """
    near, far = pairwise_distance(anchor, positive, p, eps), pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = minimum(far, pairwise_distance(positive, negative, p, eps))
    loss = clamp(near - far + demanded("margin", margin), 0.0, None)
    return _reduced(loss, reduction, "triplet_margin_loss")  # type: ignore[no-any-return]


@function(
    functional=True,
    method=False,
    samples=lambda m: [(m(4, 5), m(4, 5), m(4, 5))] if m.is_float else [],
)
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` with a distance of one's own, by default `pairwise_distance`.

    Shapes:   all [*S, D] → [], or [*S] for "none"
    Dtypes:   floats; others are rejected
    Gradient: derived
    Errors:   as `triplet_margin_loss`
    Source:   torch.nn.functional.triplet_margin_with_distance_loss

    >>> dg.nn.functional.triplet_margin_with_distance_loss(tensor([[0.0, 0.0]]), tensor([[3.0, 4.0]]), tensor([[0.0, 1.0]]))
    tensor(5.0000)
    """
    if margin <= 0:
        raise DomainError(f"triplet_margin_with_distance_loss: needs a margin above 0, got {margin:g}")
    distance = distance_function or pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    loss = clamp(near - far + margin, 0.0, None)
    return _reduced(loss, reduction, "triplet_margin_with_distance_loss")  # type: ignore[no-any-return]


def _class_samples(m: Any) -> Any:
    if not m.is_float:
        return []
    target = m.ints(4, high=5)
    return [
        (m(4, 5), target),
        (m(4, 5), target, 2, 0.5, m(5, low=0.5), "none"),
        (m(5), m.ints(high=5)),
        (m(4, 5), target, 1, 1.0, None, "sum"),
    ]


@op(
    kind=LOSS,
    dtypes=floats.on("input", "weight"),
    functional=True,
    method=False,
    samples=_class_samples,
    tolerance=2,
    autocast="float32",
)
def multi_margin_loss(
    input: Tensor, target: Tensor, p: int = 1, margin: Number = 1.0, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """The mean over the other classes of max(0, margin - input[target] + input[i]) ** p, times the target's weight.

    Shapes:   input [N, C], target [N] → [], or [N] for "none"; input [C], target [] → []
    Dtypes:   floats; target int64
    Gradient: derived
    Errors:   DTypeError; ShapeError; BoundsError for a class out of range; DomainError
    Source:   torch.nn.functional.multi_margin_loss

    >>> dg.nn.functional.multi_margin_loss(tensor([[0.5, 1.0, 0.2]]), tensor([1]))
    tensor(0.2333)
    """
    if p not in (1, 2):
        raise DomainError(f"multi_margin_loss: p must be 1 or 2, got {p!r}")
    if not input.shape:  # one class
        input = reshape(input, (1,))
    classes = input.shape[-1]
    index = unsqueeze(target, -1)
    gap = clamp(margin - gather(input, -1, index) + input, 0.0, None)
    gap = gap * gap if p == 2 else gap
    if weight is not None:
        gap = gap * unsqueeze(reshape(gather(weight, 0, reshape(target, (-1,))), tuple(target.shape)), -1)
    loss = sum(where(iota(classes) == index, 0.0, gap), -1) / classes
    return _reduced(loss, reduction, "multi_margin_loss")  # type: ignore[no-any-return]


def _label_samples(m: Any) -> Any:
    if not m.is_float:
        return []
    labels = m.numpy.array([[1, 3, -1, 0], [0, 1, 2, 3], [-1, 2, 2, 2]])
    return [(m(3, 4), labels), (m(3, 4), labels, "none"), (m(4), labels[0], "sum")]


@op(kind=LOSS, dtypes=floats.on("input"), functional=True, method=False, samples=_label_samples, tolerance=2, autocast="float32")
def multilabel_margin_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """The sum of max(0, 1 - input[label] + input[i]) over the labels and the classes i that are none, over the number of classes.

    A row's labels are those before its first negative number.

    Shapes:   input and target [N, C] → [], or [N] for "none"; input and target [C] → []
    Dtypes:   floats; target int64
    Gradient: derived
    Errors:   DTypeError; ShapeError; DomainError for another reduction
    Source:   torch.nn.functional.multilabel_margin_loss

    >>> dg.nn.functional.multilabel_margin_loss(tensor([[0.1, 0.2, 0.4, 0.8]]), tensor([[3, 0, -1, 1]]))
    tensor(0.8500)
    """
    if not input.shape:  # one class
        input, target = reshape(input, (1,)), reshape(target, (1,))
    _same_shape("multilabel_margin_loss", input, target)
    classes = input.shape[-1]
    valid = cumprod(cast(target >= 0, core.int64), -1) > 0
    index = clamp(target, 0, None)
    named = (unsqueeze(index, -1) == iota(classes)) & unsqueeze(valid, -1)
    others = ~any_of(named, -2)
    gap = clamp(1 - unsqueeze(gather(input, -1, index), -1) + unsqueeze(input, -2), 0.0, None)
    kept = unsqueeze(valid, -1) & unsqueeze(others, -2)
    loss = sum(where(kept, gap, 0.0), (-2, -1)) / classes
    return _reduced(loss, reduction, "multilabel_margin_loss")  # type: ignore[no-any-return]


@op(
    kind=LOSS,
    dtypes=floats,
    functional=True,
    method=False,
    samples=lambda m: [(m(3, 5), m(3, 5, low=0.0, high=1.0)), (m(3, 5), m(3, 5, low=0.0, high=1.0), m(5, low=0.5), "none")],
    tolerance=2,
)
def multilabel_soft_margin_loss(input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean") -> Tensor:
    """Binary cross-entropy of sigmoid(input) with each label, the mean over the classes.

    Shapes:   input and target [*S, C], weight [C] → [], or [*S] for "none"
    Dtypes:   floats; others are rejected
    Gradient: derived
    Errors:   DTypeError; ShapeError; DomainError for another reduction
    Source:   torch.nn.functional.multilabel_soft_margin_loss

    >>> dg.nn.functional.multilabel_soft_margin_loss(tensor([[0.5, -1.0]]), tensor([[1.0, 0.0]]))
    tensor(0.3937)
    """
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return _reduced(mean(loss, -1), reduction, "multilabel_soft_margin_loss")  # type: ignore[no-any-return]
