"""Losses as modules."""

from __future__ import annotations

from typing import Any, Self

from .. import _core as core
from ..errors import DomainError
from ..ops.arguments import refuse_deprecated
from . import functional
from .module import Module

Tensor = core.Tensor


class Loss(Module):
    """Base of the losses: `reduction` is one of `reductions`."""

    reductions: tuple[str, ...] = ("mean", "sum", "none")

    def __new__(cls, *args: Any, **keywords: Any) -> Self:
        refuse_deprecated(cls.__name__, keywords, ("reduction",))
        return super().__new__(cls)

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in self.reductions:
            names = ", ".join(map(repr, self.reductions[:-1])) + f" or {self.reductions[-1]!r}"
            raise DomainError(f"{type(self).__name__}: reduction must be {names}, got {reduction!r}")
        self.reduction = reduction


class MSELoss(Loss):
    """(input − target)²."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.mse_loss(input, target, self.reduction)


class L1Loss(Loss):
    """|input − target|."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.l1_loss(input, target, self.reduction)


class _WeightedLoss(Loss):
    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)


class NLLLoss(_WeightedLoss):
    """Minus the log-probability of the target class; the mean is weighted by `weight[target]`."""

    def __init__(self, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(weight, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class CrossEntropyLoss(_WeightedLoss):
    """NLLLoss of log_softmax(input); targets are class numbers, or probabilities of input's shape."""

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, reduction)
        if not 0 <= label_smoothing <= 1:
            raise DomainError(f"CrossEntropyLoss: label_smoothing must be between 0 and 1, got {label_smoothing!r}")
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing)


class BCEWithLogitsLoss(_WeightedLoss):
    """Binary cross-entropy of sigmoid(input), computed without overflow."""

    pos_weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean", pos_weight: Tensor | None = None) -> None:
        super().__init__(weight, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(input, target, self.weight, self.pos_weight, self.reduction)


class CTCLoss(Loss):
    """Minus the log-likelihood of labels, over all ways in which they and blanks can lie along time (Graves et al. 2006).

    Shapes: log_probs [t, n, c] (or [t, c]), targets [n, s] or one after the other, lengths [n]; "mean" divides by the lengths
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def forward(self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any) -> Tensor:
        return functional.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )
