"""Layers for evaluation only: a normalisation folded into the layer before it; modules without their first values."""

from __future__ import annotations

import copy
from typing import Any

from ...autograd import no_grad
from ...errors import ArgumentError, DomainError
from ...ops.shapes.creation import ones_like, zeros_like
from ..module import Module
from ..parameter import Parameter


def fuse_conv_bn_weights(
    conv_w: Any, conv_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any, transpose: bool = False
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a convolution that also does what the normalisation after it does. Source: torch.nn.utils.fusion."""
    with no_grad():
        bias = zeros_like(bn_rm) if conv_b is None else conv_b
        scale = (ones_like(bn_rm) if bn_w is None else bn_w) * (bn_rv + bn_eps).rsqrt()
        shift = zeros_like(bn_rm) if bn_b is None else bn_b
        shape = [-1 if d == int(transpose) else 1 for d in range(conv_w.dim())]
        weight = (conv_w * scale.reshape(shape)).to(conv_w.dtype)
        moved = ((bias - bn_rm) * scale + shift).to(conv_w.dtype)
    wanted = conv_w.requires_grad
    return Parameter(weight, wanted), Parameter(moved, wanted if conv_b is None else conv_b.requires_grad)


def fuse_linear_bn_weights(
    linear_w: Any, linear_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a linear layer that also does what the normalisation after it does. Source: torch.nn.utils.fusion."""
    return fuse_conv_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def _fused(owner: str, layer: Module, bn: Module, transpose: bool) -> Module:
    if layer.training or bn.training:
        raise ArgumentError(f"{owner}: both modules must be in evaluation mode", hint="call .eval() on them first")
    norm: Any = bn
    if norm.running_mean is None or norm.running_var is None:
        raise ArgumentError(f"{owner}: the normalisation has no running statistics")
    made: Any = copy.deepcopy(layer)
    given = made.weight, made.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias, transpose
    made.weight, made.bias = fuse_conv_bn_weights(*given)
    return made  # type: ignore[no-any-return]


def fuse_conv_bn_eval(conv: Module, bn: Module, transpose: bool = False) -> Module:
    """One convolution that does what a convolution and the normalisation after it do in evaluation mode.

    Errors: ArgumentError unless both are in evaluation mode, and without running statistics. Source: torch.nn.utils.fusion

    >>> import duograph as dg
    >>> fuse_conv_bn_eval(dg.nn.Conv2d(1, 2, 3).eval(), dg.nn.BatchNorm2d(2).eval())
    Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1))
    """
    return _fused("fuse_conv_bn_eval", conv, bn, transpose)


def fuse_linear_bn_eval(linear: Module, bn: Module) -> Module:
    """One linear layer that does what a linear layer and the normalisation after it do in evaluation mode.

    Errors: as `fuse_conv_bn_eval`; DomainError if their sizes differ. Source: torch.nn.utils.fusion
    """
    sizes: Any = linear, bn
    if sizes[0].out_features != sizes[1].num_features:
        raise DomainError(
            f"fuse_linear_bn_eval: the layer gives {sizes[0].out_features} features, the other takes {sizes[1].num_features}"
        )
    return _fused("fuse_linear_bn_eval", linear, bn, False)


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Module:
    """A module of this class whose first values are not drawn: they are to be loaded. Source: torch.nn.utils.skip_init.

    No random numbers are taken from the default generator.
    """
    from ...ops.randomness.generators import Generator, using

    if not (isinstance(module_cls, type) and issubclass(module_cls, Module)):
        raise ArgumentError(f"skip_init: expected a class of Modules, got {module_cls!r}")
    with using(Generator()):
        return module_cls(*args, **kwargs)
