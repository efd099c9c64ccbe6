"""A softmax over very many classes, the rare ones in clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .. import _core as core
from ..errors import DimensionError, DomainError, ShapeError
from ..ops.elementwise.choice import where
from ..ops.selection.searching import bucketize
from ..ops.shapes.joining import cat
from ..tensors.creation import tensor
from . import functional
from .container import ModuleList, Sequential
from .linear import Linear
from .module import Module

Tensor = core.Tensor


class ASMoutput(NamedTuple):
    """The log-probability of each target, and the mean loss."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-probabilities of classes sorted by how frequent they are; rare ones share clusters with small projections.

    Args:
        cutoffs: where clusters begin; classes below the first cutoff are in the head.
        div_value: by how much each cluster's projection is smaller than the one before it.

    Shapes:   input [N, in_features] or [in_features], target [N] or [] → ([N] or [], [])
    Errors:   DomainError for cutoffs that do not rise between 1 and n_classes - 1; ShapeError; BoundsError for a class out of
              range
    Source:   Grave et al., "Efficient softmax approximation for GPUs", 2017; torch.nn.AdaptiveLogSoftmaxWithLoss

    >>> import duograph as dg
    >>> model = dg.nn.AdaptiveLogSoftmaxWithLoss(4, 10, [3, 6])
    >>> model(dg.ones(2, 4), dg.tensor([1, 8])).output.shape
    duograph.Size([2])
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        given = list(cutoffs)
        if not given or given != sorted(set(given)) or given[0] < 1 or given[-1] >= n_classes:
            raise DomainError(
                f"AdaptiveLogSoftmaxWithLoss: cutoffs must rise between 1 and n_classes - 1 = {n_classes - 1}, got {given}"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*given, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(given)
        self.head_size = self.shortlist_size + self.n_clusters
        settings: dict[str, Any] = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **settings)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            hidden = int(in_features // div_value ** (i + 1))
            size = self.cutoffs[i + 1] - self.cutoffs[i]
            first, second = Linear(in_features, hidden, False, **settings), Linear(hidden, size, False, **settings)
            self.tail.append(Sequential(first, second))

    def reset_parameters(self) -> None:
        """Draws new first values."""
        for module in self.modules():
            if isinstance(module, Linear):
                module.reset_parameters()

    def forward(self, input: Tensor, target: Tensor) -> ASMoutput:
        if input.dim() not in (1, 2) or target.dim() != input.dim() - 1:
            raise DimensionError(
                f"AdaptiveLogSoftmaxWithLoss: takes input [N, C] and target [N], or [C] and []; got {list(input.shape)} and "
                f"{list(target.shape)}"
            )
        if input.dim() == 1:
            output, loss = self.forward(input.unsqueeze(0), target.unsqueeze(0))
            return ASMoutput(output.squeeze(0), loss)
        if input.shape[0] != target.shape[0]:
            raise ShapeError(f"AdaptiveLogSoftmaxWithLoss: {input.shape[0]} examples, {target.shape[0]} targets")
        output = self._of_targets(input, target)
        return ASMoutput(output, (-output).mean())

    def _of_targets(self, input: Tensor, target: Tensor) -> Tensor:
        """The log-probability of each target; a cluster computes the examples that need it."""
        cluster = bucketize(target, tensor(self.cutoffs), right=True)
        place = where(cluster == 0, target, self.shortlist_size + cluster - 1)  # beyond the last cluster it is out of range
        output: Tensor = functional.log_softmax(self.head(input), dim=1).gather(1, place.unsqueeze(1)).squeeze(1)
        for i, tail in enumerate(self.tail):
            rows = (cluster == i + 1).nonzero().squeeze(1)
            inside = functional.log_softmax(tail(input.index_select(0, rows)), dim=1)
            wanted = target.index_select(0, rows) - self.cutoffs[i]
            output = output.index_add(0, rows, inside.gather(1, wanted.unsqueeze(1)).squeeze(1))
        return output

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities of all classes: [N, in_features] → [N, n_classes]."""
        head = functional.log_softmax(self.head(input), dim=1)
        parts = [head[:, : self.shortlist_size]]
        for i, cluster in enumerate(self.tail):
            inside = functional.log_softmax(cluster(input), dim=1)
            parts.append(inside + head[:, self.shortlist_size + i].unsqueeze(1))
        return cat(parts, dim=1)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each example: [N, in_features] → [N]."""
        found: Tensor = self.log_prob(input).argmax(1)
        return found
