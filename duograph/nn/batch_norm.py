"""Layers that standardise channels over the batch or in each example, and may keep running statistics."""

from __future__ import annotations

from typing import Any

from .. import _core as core
from ..errors import DimensionError, ShapeError
from ..ops.elementwise.choice import where
from ..tensors.creation import arange, ones, tensor, zeros
from . import functional, init
from .linear import check_count
from .module import Module
from .normalisation import ScaleAndShift

Tensor = core.Tensor


class _Tracking(ScaleAndShift):
    """Base: weight and bias of channels, running means and variances of them, and how many batches these have seen."""

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None
    ranks: tuple[int, int]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = check_count(type(self).__name__, "num_features", num_features)
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        made: dict[str, Tensor | None] = dict.fromkeys(("running_mean", "running_var", "num_batches_tracked"))
        if track_running_stats:
            made["running_mean"] = zeros(num_features, device=device, dtype=dtype)
            made["running_var"] = ones(num_features, device=device, dtype=dtype)
            made["num_batches_tracked"] = tensor(0, dtype=core.int64)
        for name, value in made.items():
            self.register_buffer(name, value)
        self._make_parameters((num_features,), affine, affine and bias, device, dtype)

    def reset_running_stats(self) -> None:
        """Means 0, variances 1, no batches seen."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0, and the running statistics as at first."""
        self.reset_running_stats()
        super().reset_parameters()

    def _check_dimensions(self, x: Tensor) -> None:
        low, high = self.ranks
        if x.dim() not in self.ranks:
            counts = f"{low}" if low == high else f"{low} or {high}"
            raise DimensionError(f"{type(self).__name__}: x must have {counts} dimensions, got {x.dim()}")

    def _check_channels(self, x: Tensor, dim: int) -> None:
        if x.shape[dim] != self.num_features:
            message = f"{x.shape[dim]} channels (dimension {dim} of {tuple(x.shape)}), num_features is {self.num_features}"
            raise ShapeError(f"{type(self).__name__}: x has {message}")

    def extra_repr(self) -> str:
        kept = f"affine={self.affine}, bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, {kept}"


class _BatchNorm(_Tracking):
    """Base: standardises channels over the batch in training, by the running statistics in `eval()` (if there are any)."""

    def forward(self, x: Tensor) -> Tensor:
        self._check_dimensions(x)
        self._check_channels(x, 1)
        by_batch = self.training or (self.running_mean is None and self.running_var is None)
        moves = self.training and self.track_running_stats
        momentum: Any = 0.0 if self.momentum is None else self.momentum
        if moves and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                momentum = 1.0 / self.num_batches_tracked.double()
        running = (self.running_mean, self.running_var) if moves or not by_batch else (None, None)
        return functional.batch_norm(x, *running, self.weight, self.bias, by_batch, momentum, self.eps)


class BatchNorm1d(_BatchNorm):
    """Standardises channels over the batch (Ioffe and Szegedy 2015); keeps running means and variances for `eval()`.

    Shapes: x [n, num_features] or [n, num_features, l] → the same; weight, bias [num_features], at first 1 and 0
    With `momentum=None` the running statistics are the averages over all batches.
    """

    ranks = 2, 3


class BatchNorm2d(_BatchNorm):
    """`BatchNorm1d` for images.

    Shapes: x [n, num_features, h, w] → the same
    """

    ranks = 4, 4


class BatchNorm3d(_BatchNorm):
    """`BatchNorm1d` for volumes.

    Shapes: x [n, num_features, d, h, w] → the same
    """

    ranks = 5, 5


class _InstanceNorm(_Tracking):
    """Base: standardises each channel of each example by itself."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        self._check_dimensions(x)
        single = x.dim() == self.ranks[0]
        if self.affine or self.track_running_stats:
            self._check_channels(x, 0 if single else 1)
        by_input = self.training or not self.track_running_stats
        momentum = 0.0 if self.momentum is None else self.momentum
        made = functional.instance_norm(
            x.unsqueeze(0) if single else x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            by_input,
            momentum,
            self.eps,
        )
        return made.squeeze(0) if single else made


class InstanceNorm1d(_InstanceNorm):
    """Standardises each channel of each example by itself (Ulyanov et al. 2016).

    Shapes: x [n, num_features, l] or [num_features, l] → the same
    """

    ranks = 2, 3


class InstanceNorm2d(_InstanceNorm):
    """`InstanceNorm1d` for images.

    Shapes: x [n, num_features, h, w] or [num_features, h, w] → the same
    """

    ranks = 3, 4


class InstanceNorm3d(_InstanceNorm):
    """`InstanceNorm1d` for volumes.

    Shapes: x [n, num_features, d, h, w] or [num_features, d, h, w] → the same
    """

    ranks = 4, 5


class CrossMapLRN2d(Module):
    """`LocalResponseNorm` of images as Torch7 had it.

    As there (and in PyTorch), windows have an odd number of channels, and channel 0 counts for all that follow its own window.

    Shapes: x [n, c, h, w] → the same
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 4:
            raise DimensionError(f"CrossMapLRN2d: x must have 4 dimensions, got {x.dim()}")
        reach = (self.size - 1) // 2
        squares = x * x
        near = functional.pad(squares, (0, 0, 0, 0, reach, reach)).unfold(1, 2 * reach + 1, 1).sum(-1)
        beyond = (arange(x.shape[1]) > reach).reshape(-1, 1, 1)
        scale = (near + where(beyond, squares[:, :1], 0.0)) * (self.alpha / self.size) + self.k
        scaled: Tensor = x * scale.pow(-self.beta)
        return scaled

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
