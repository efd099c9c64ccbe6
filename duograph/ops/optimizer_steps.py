"""Optimiser updates: one program over all parameters, written in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core

from .arithmetic import pow
from .choice import maximum
from .copying import cast
from .definition import UPDATE, op
from .unary import sqrt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

    from .definition import Number


@op(kind=UPDATE, method=False, public=False, writes=("params", "momentum_buffers"))
def sgd_update_(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    momentum_buffers: Sequence[Tensor],
    lr: Number,
    momentum: Number,
    dampening: Number,
    weight_decay: Number | None = None,
    nesterov: bool = False,
    maximize: bool = False,
    first: bool = False,
) -> Any:
    """One step of stochastic gradient descent over all parameters.

    `momentum_buffers` is empty without momentum; `first`: the buffers hold nothing yet and become the gradient.

    Shapes:   params, grads and momentum_buffers: equal shapes, pairwise
    Dtypes:   each parameter's own
    Gradient: none
    Errors:   GradError under recording for parameters that require grad
    Source:   torch.optim.SGD

    >>> p = tensor([1.0]); _ = dg.ops.sgd_update_([p], [tensor([2.0])], [], 0.5, 0.0, 0.0); p
    tensor([0.])
    """
    new_params, new_buffers = [], []
    for i, (p, grad) in enumerate(zip(params, grads)):
        if maximize:
            grad = -grad
        if weight_decay is not None:
            grad = grad + p * weight_decay
        if momentum_buffers:
            buffer = grad if first else momentum_buffers[i] * momentum + grad * (1 - dampening)
            new_buffers.append(buffer)
            grad = grad + buffer * momentum if nesterov else buffer
        new_params.append(p - grad * lr)
    return new_params, new_buffers


@op(kind=UPDATE, method=False, public=False, writes=("params", "exp_avgs", "exp_avg_sqs", "steps", "max_exp_avg_sqs"))
def adam_update_(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    steps: Sequence[Tensor],
    lr: Number,
    beta1: Number,
    beta2: Number,
    eps: Number,
    weight_decay: Number | None = None,
    decoupled: bool = False,
    maximize: bool = False,
    max_exp_avg_sqs: Sequence[Tensor] = (),
) -> Any:
    """One step of Adam over all parameters; `decoupled` weight decay is AdamW, `max_exp_avg_sqs` (may be empty) AMSGrad.

    Shapes:   params, grads and averages: equal shapes, pairwise; steps: [] each, counted up here
    Dtypes:   each parameter's own; steps float32
    Gradient: none
    Errors:   GradError under recording for parameters that require grad
    Source:   Kingma and Ba 2015, Loshchilov and Hutter 2019; torch.optim.Adam, AdamW

    >>> p, m, v, s = tensor([1.0]), tensor([0.0]), tensor([0.0]), tensor(0.0)
    >>> _ = dg.ops.adam_update_([p], [tensor([2.0])], [m], [v], [s], 0.5, 0.9, 0.999, 1e-8); p
    tensor([0.5000])
    """
    new_params, new_first, new_second, new_greatest, new_steps = [], [], [], [], []
    for i, (p, grad) in enumerate(zip(params, grads)):
        if maximize:
            grad = -grad
        if weight_decay is not None:
            if decoupled:
                p = p - p * (lr * weight_decay)
            else:
                grad = grad + p * weight_decay
        step = steps[i] + 1
        average = exp_avgs[i] + (grad - exp_avgs[i]) * (1 - beta1)
        squares = exp_avg_sqs[i] * beta2 + (grad * grad) * (1 - beta2)
        seen = squares
        if max_exp_avg_sqs:
            seen = maximum(max_exp_avg_sqs[i], squares)
            new_greatest.append(seen)
        count = cast(step, core.float64)
        first_correction, second_correction = 1 - pow(beta1, count), 1 - pow(beta2, count)
        denominator = sqrt(seen) / sqrt(second_correction) + eps
        new_params.append(p - average / denominator * (lr / first_correction))
        new_first.append(average)
        new_second.append(squares)
        new_steps.append(step)
    return new_params, new_first, new_second, new_steps, new_greatest
