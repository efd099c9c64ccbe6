"""Layers that learn the number of their inputs from the first one, and are ordinary layers from then on."""

from __future__ import annotations

from typing import Any, ClassVar

from .. import _core as core
from ..errors import CaptureError, ShapeError
from ..tensors.creation import empty
from . import batch_norm, convolution, linear
from .module import Module
from .parameter import Parameter

Tensor = core.Tensor


class LazyModule(Module):
    """Base: takes the arguments of `cls_to_become` but the first. Its parameters are empty until the first input comes.

    They keep their identity: an optimiser may hold them before. A static function captures a module only after that.

    >>> import duograph as dg
    >>> layer = dg.nn.LazyLinear(3)
    >>> layer(dg.ones(2, 5)).shape, layer
    (duograph.Size([2, 3]), Linear(in_features=5, out_features=3, bias=True))
    """

    cls_to_become: ClassVar[type[Module]] = linear.Linear
    dims: ClassVar[int | None] = None  # of images; None: the last dimension is counted

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self._later = (args, kwargs)
        for name, parameter in self.cls_to_become(1, *args, **kwargs)._parameters.items():
            kept = None if parameter is None else Parameter(empty(0, dtype=parameter.dtype))
            self.register_parameter(name, kept)

    def has_uninitialized_params(self) -> bool:
        """True: the first input was not there yet."""
        return True

    def initialize_parameters(self, x: Tensor) -> None:
        """Becomes the ordinary layer for inputs like this one."""
        if core.tracing():
            raise CaptureError(
                f"static: {type(self).__name__} gets its parameters from its first input", hint="call the module once before"
            )
        args, kwargs = self._later
        made = self.cls_to_become(self._count(x), *args, **kwargs)
        made.train(self.training)
        for name, parameter in made._parameters.items():
            mine = self._parameters[name]
            if parameter is not None and mine is not None:
                mine.data = parameter.detach().to(mine.dtype)
        for name, value in made.__dict__.items():
            if name != "_parameters" and name not in self._parameters:
                self.__dict__[name] = value
        del self.__dict__["_later"]
        self.__class__ = self.cls_to_become  # type: ignore[assignment]
        core.bump_epoch()

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        self.initialize_parameters(x)
        return self.forward(x, *args, **kwargs)

    def _count(self, x: Tensor) -> int:
        if self.dims is None:
            return int(x.shape[-1])
        if x.dim() not in (self.dims + 1, self.dims + 2):
            raise ShapeError(
                f"{type(self).__name__}: expected {self.dims + 1} or {self.dims + 2} dimensions, got {tuple(x.shape)}"
            )
        return int(x.shape[x.dim() - self.dims - 1])

    def extra_repr(self) -> str:
        args, kwargs = self._later
        return ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())])


class LazyLinear(LazyModule):
    """`Linear` whose in_features are its first input's."""


class LazyConv1d(LazyModule):
    """`Conv1d` whose in_channels are its first input's."""

    cls_to_become = convolution.Conv1d
    dims = 1


class LazyConv2d(LazyModule):
    """`Conv2d` whose in_channels are its first input's."""

    cls_to_become = convolution.Conv2d
    dims = 2


class LazyConv3d(LazyModule):
    """`Conv3d` whose in_channels are its first input's."""

    cls_to_become = convolution.Conv3d
    dims = 3


class LazyConvTranspose1d(LazyModule):
    """`ConvTranspose1d` whose in_channels are its first input's."""

    cls_to_become = convolution.ConvTranspose1d
    dims = 1


class LazyConvTranspose2d(LazyModule):
    """`ConvTranspose2d` whose in_channels are its first input's."""

    cls_to_become = convolution.ConvTranspose2d
    dims = 2


class LazyConvTranspose3d(LazyModule):
    """`ConvTranspose3d` whose in_channels are its first input's."""

    cls_to_become = convolution.ConvTranspose3d
    dims = 3


class _LazyNorm(LazyModule):
    """Base: dimension 1 counts the channels of a batch."""

    def _count(self, x: Tensor) -> int:
        if x.dim() < 2:
            raise ShapeError(f"{type(self).__name__}: expected a batch of examples with channels, got shape {tuple(x.shape)}")
        return int(x.shape[1])


class LazyBatchNorm1d(_LazyNorm):
    """`BatchNorm1d` whose num_features are its first input's."""

    cls_to_become = batch_norm.BatchNorm1d


class LazyBatchNorm2d(_LazyNorm):
    """`BatchNorm2d` whose num_features are its first input's."""

    cls_to_become = batch_norm.BatchNorm2d


class LazyBatchNorm3d(_LazyNorm):
    """`BatchNorm3d` whose num_features are its first input's."""

    cls_to_become = batch_norm.BatchNorm3d


class _LazyInstanceNorm(LazyModule):
    """Base: with scales and running statistics unless said otherwise, as in PyTorch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        for position, name in ((2, "affine"), (3, "track_running_stats")):
            if len(args) <= position:
                kwargs.setdefault(name, True)
        super().__init__(*args, **kwargs)


class LazyInstanceNorm1d(_LazyInstanceNorm):
    """`InstanceNorm1d` whose num_features are its first input's."""

    cls_to_become = batch_norm.InstanceNorm1d
    dims = 1


class LazyInstanceNorm2d(_LazyInstanceNorm):
    """`InstanceNorm2d` whose num_features are its first input's."""

    cls_to_become = batch_norm.InstanceNorm2d
    dims = 2


class LazyInstanceNorm3d(_LazyInstanceNorm):
    """`InstanceNorm3d` whose num_features are its first input's."""

    cls_to_become = batch_norm.InstanceNorm3d
    dims = 3
