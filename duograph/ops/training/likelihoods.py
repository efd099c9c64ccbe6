"""Losses of numbers: distances, likelihoods and divergences. `reduction` is "mean", "sum" or "none"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import ShapeError

from ..definition import LOSS, op
from ..dtypes import float_promote, floats
from ..elementwise.arithmetic import abs, sub
from ..elementwise.choice import clamp, where
from ..elementwise.demands import demanded
from ..elementwise.pairs import xlogy
from ..elementwise.unary import exp, log, log1p
from ..gradient import unbroadcast
from ..reduction.reductions import sum
from ..shapes.copying import cast
from ..shapes.creation import full as filled
from ..shapes.movement import unsqueeze
from ..tracing import is_weak
from .losses import _reduced, _spread

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Number, Operand


def _pairs(m: Any) -> Any:
    """Numbers with targets, and each reduction."""
    return [(m(3, 5), m(3, 5)), (m(3, 5), m(3, 5), "sum"), (m(7), m(7), "none")]


def _shares(m: Any, low: float = 0.1, high: float = 0.9) -> Any:
    return m(3, 5, low=low, high=high)


@op(
    kind=LOSS,
    dtypes=floats.on("input", "target"),
    functional=True,
    method=False,
    samples=lambda m: [*_pairs(m), (m(3, 5), m(3, 5), "none", 0.5), (m(4), m(4), "mean", 0.0)],
    autocast="float32",
)
def smooth_l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", beta: Number = 1.0) -> Tensor:
    """Half the squared distance over beta where it is below beta, else the distance less half of beta.

    Shapes:   input and target [*S] → [], or [*S] for "none"
    Dtypes:   floats; others are rejected
    Gradient: the distance over beta, limited to [-1, 1]; its negative to target
    Errors:   DTypeError; ShapeError; DomainError for another reduction, and for a negative beta
    Source:   torch.nn.functional.smooth_l1_loss

    >>> dg.nn.functional.smooth_l1_loss(tensor([1.0, 5.0]), tensor([1.5, 2.0]))
    tensor(1.3125)
    """
    gap = abs(input - target)
    beta = demanded("beta", beta)
    nonzero = where(beta == 0, 1.0, beta) if hasattr(beta, "dtype") else beta or 1.0
    loss = where(gap < beta, gap * gap * (0.5 / nonzero), gap - beta * 0.5)
    return _reduced(loss, reduction, "smooth_l1_loss")  # type: ignore[no-any-return]


@op(
    kind=LOSS,
    dtypes=floats.on("input", "target", "weight"),
    functional=True,
    method=False,
    samples=lambda m: [*_pairs(m), (m(3, 5), m(3, 5), "none", 0.5)],
    autocast="float32",
)
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: Number = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Half the squared distance where it is at most delta, else delta * (distance - delta / 2).

    Shapes:   input and target [*S] → [], or [*S] for "none"
    Dtypes:   floats; others are rejected
    Gradient: the distance, limited to [-delta, delta]; its negative to target
    Errors:   DTypeError; ShapeError; DomainError for another reduction, and unless delta is above 0
    Source:   torch.nn.functional.huber_loss

    >>> dg.nn.functional.huber_loss(tensor([1.0, 5.0]), tensor([1.5, 2.0]))
    tensor(1.3125)
    """
    gap = abs(input - target)
    delta = demanded("delta", delta)
    loss = where(gap <= delta, gap * gap * 0.5, delta * (gap - delta * 0.5))
    if weight is not None:
        loss = loss * weight
        if reduction == "mean":
            return sum(loss) / sum(weight)
    return _reduced(loss, reduction, "huber_loss")  # type: ignore[no-any-return]


@op(
    kind=LOSS,
    dtypes=floats,
    functional=True,
    method=False,
    samples=lambda m: [
        (_shares(m), _shares(m)),
        (_shares(m), _shares(m), m(5, low=0.5), "sum"),
        (_shares(m), _shares(m), None, "none"),
    ],
    autocast="float32",
)
def binary_cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean") -> Tensor:
    """-(target * log(input) + (1 - target) * log(1 - input)), the logarithms counted as -100 at least.

    Shapes:   input and target [*S] → [], or [*S] for "none"; weight broadcasts to them
    Dtypes:   floats; others are rejected
    Gradient: (input - target) / (input * (1 - input)) to input, log(1 - input) - log(input) to target
    Errors:   DTypeError; ShapeError; DomainError for another reduction, and for elements of input or target outside [0, 1]
    Source:   torch.nn.functional.binary_cross_entropy

    >>> dg.nn.functional.binary_cross_entropy(tensor([0.5, 0.9]), tensor([1.0, 1.0]))
    tensor(0.3993)
    """
    input, target = demanded("input_share", input), demanded("target_share", target)
    likely, other = clamp(log(input), -100.0, None), clamp(log1p(-input), -100.0, None)
    loss = -(target * likely + (1 - target) * other)
    if weight is not None:
        loss = loss * weight
    return _reduced(loss, reduction, "binary_cross_entropy")  # type: ignore[no-any-return]


@binary_cross_entropy.vjp
def _(g: Any, out: Any, input: Any, target: Any, weight: Any, reduction: str) -> Any:
    slope = _spread(g, input, reduction)
    if weight is not None:
        slope = slope * weight
    to_input = slope * (input - target) / clamp((1 - input) * input, 1e-12, None)
    to_target = slope * (clamp(log1p(-input), -100.0, None) - clamp(log(input), -100.0, None))
    to_weight = None
    if weight is not None:
        likely, other = clamp(log(input), -100.0, None), clamp(log1p(-input), -100.0, None)
        share = -(target * likely + (1 - target) * other)
        to_weight = unbroadcast(_spread(g, input, reduction) * share, weight.shape)
    return unbroadcast(to_input, input.shape), unbroadcast(to_target, target.shape), to_weight


@op(
    kind=LOSS,
    dtypes=floats,
    functional=True,
    method=False,
    samples=lambda m: [(m(3, 5, high=-0.1), _shares(m), r) for r in ("batchmean", "sum", "none")] + [(m(4), m(4), "sum", True)],
    autocast="float32",
)
def kl_div(input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """The divergence target * (log(target) - input) of log-probabilities from probabilities (log_target: log-probabilities).

    "batchmean" divides the sum by the size of the first dimension, as the definition has it.

    Shapes:   input and target [*S] → [], or [*S] for "none"
    Dtypes:   floats; others are rejected
    Gradient: -target to input; derived to target
    Errors:   DTypeError; ShapeError; DomainError for another reduction
    Source:   Kullback and Leibler 1951; torch.nn.functional.kl_div

    >>> dg.nn.functional.kl_div(tensor([[-1.0, -0.5]]), tensor([[0.4, 0.6]]), reduction="batchmean")
    tensor(0.0270)
    """
    loss = exp(target) * (target - input) if log_target else xlogy(target, target) - target * input
    if reduction == "batchmean":
        return sum(loss) / input.shape[0] if len(input.shape) else loss
    return _reduced(loss, reduction, "kl_div")  # type: ignore[no-any-return]


@op(
    kind=LOSS,
    dtypes=float_promote.on("input", "target"),
    functional=True,
    method=False,
    samples=lambda m: [
        (m(3, 5), m(3, 5, low=0.5, high=4.0)),
        (m(3, 5, low=0.5), m(3, 5, low=0.5, high=4.0), False, True),
        (m(7), m(7), True, False, 1e-8, "none"),
    ],
    tolerance=2,
    autocast="float32",
)
def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool = True, full: bool = False, eps: Number = 1e-8, reduction: str = "mean"
) -> Tensor:
    """The negative log-likelihood of Poisson-distributed targets, by log-rates or (log_input=False) by rates.

    `full` adds Stirling's approximation of log(target!) for targets above 1.

    Shapes:   input and target [*S] → [], or [*S] for "none"
    Dtypes:   floats promote; integers become the default float
    Gradient: derived
    Errors:   ShapeError; DomainError for another reduction
    Source:   torch.nn.functional.poisson_nll_loss

    >>> dg.nn.functional.poisson_nll_loss(tensor([0.0, 1.0]), tensor([1.0, 2.0]))
    tensor(0.8591)
    """
    loss = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        above = where(target > 1, target, 1.0)
        loss = loss + where(target > 1, above * log(above) - above + 0.5 * log(6.283185307179586 * above), 0.0)
    return _reduced(loss, reduction, "poisson_nll_loss")  # type: ignore[no-any-return]


@op(
    kind=LOSS,
    dtypes=floats.on("input", "target", "var"),
    functional=True,
    method=False,
    samples=lambda m: [
        (m(3, 5), m(3, 5), m(3, 5, low=0.5)),
        (m(3, 5), m(3, 5), m(3, low=0.5), True),
        (m(3, 5), m(3, 5), m(3, 1, low=0.5), False, 1e-6, "none"),
    ],
    tolerance=2,
)
def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Operand, full: bool = False, eps: Number = 1e-6, reduction: str = "mean"
) -> Tensor:
    """The negative log-likelihood of normally distributed targets with mean input and variance var, which counts as eps at least.

    `full` adds log(2 pi) / 2.

    Shapes:   input and target [*S], var a number, [*S], or [*S] without its last size or with 1 there → [], or [*S] for "none"
    Dtypes:   floats; others are rejected
    Gradient: derived
    Errors:   DTypeError; ShapeError; DomainError for another reduction, and for a negative var
    Source:   torch.nn.functional.gaussian_nll_loss

    >>> dg.nn.functional.gaussian_nll_loss(tensor([0.0, 1.0]), tensor([1.0, 1.0]), tensor([1.0, 4.0]))
    tensor(0.5966)
    """
    given: Any = cast(filled((), var), input.dtype) if is_weak(var) else var
    if len(given.shape) == len(input.shape) - 1:
        given = unsqueeze(given, -1)
    elif len(given.shape) not in (0, len(input.shape)):
        raise ShapeError(f"gaussian_nll_loss: var of shape {tuple(given.shape)} does not fit input of shape {tuple(input.shape)}")
    given = demanded("variance", given)
    floor = clamp(given, eps, None)
    limited = given + sub(floor, given).detach()  # the gradient passes where var was raised, too
    gap = input - target
    loss = 0.5 * (log(limited) + gap * gap / limited)
    if full:
        loss = loss + 0.9189385332046727
    return _reduced(loss, reduction, "gaussian_nll_loss")  # type: ignore[no-any-return]


@op(kind=LOSS, dtypes=floats, functional=True, method=False, samples=_pairs, autocast="float32")
def soft_margin_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """log(1 + exp(-target * input)), for targets 1 and -1.

    Shapes:   input and target [*S] → [], or [*S] for "none"
    Dtypes:   floats; others are rejected
    Gradient: derived
    Errors:   DTypeError; ShapeError; DomainError for another reduction
    Source:   torch.nn.functional.soft_margin_loss

    >>> dg.nn.functional.soft_margin_loss(tensor([1.0, 2.0]), tensor([1.0, -1.0]))
    tensor(1.2201)
    """
    return _reduced(log1p(exp(-target * input)), reduction, "soft_margin_loss")  # type: ignore[no-any-return]
