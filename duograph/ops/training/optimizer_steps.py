"""Optimiser updates: one program over all parameters, written in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core

from ..definition import COMPOSITION, UPDATE, op
from ..elementwise.choice import maximum, minimum, where
from ..elementwise.exponentiation import pow
from ..elementwise.unary import sqrt
from ..reduction.extrema import amax
from ..reduction.reductions import sum
from ..shapes.copying import cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

    from ..definition import Number


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
        grad = directed(p, grad, weight_decay, maximize)
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
        p, grad = _decayed(p, grad, lr, weight_decay, decoupled, maximize)
        step = steps[i] + 1
        average = _mean(exp_avgs[i], grad, beta1)
        squares = _mean_square(exp_avg_sqs[i], grad, beta2)
        seen = squares
        if max_exp_avg_sqs:
            seen = maximum(max_exp_avg_sqs[i], squares)
            new_greatest.append(seen)
        count = cast(step, core.float64)
        first_correction, second_correction = 1 - pow(beta1, count), 1 - pow(beta2, count)
        denominator = sqrt(seen) * (1 / sqrt(second_correction)) + eps  # one division for all elements, not one for each
        new_params.append(p - average / denominator * (lr / first_correction))
        new_first.append(average)
        new_second.append(squares)
        new_steps.append(step)
    return new_params, new_first, new_second, new_steps, new_greatest


@op(kind=UPDATE, method=False, public=False, writes=("params", "square_avgs", "grad_avgs", "momentum_buffers"))
def rmsprop_update_(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    square_avgs: Sequence[Tensor],
    grad_avgs: Sequence[Tensor],
    momentum_buffers: Sequence[Tensor],
    lr: Number,
    alpha: Number,
    eps: Number,
    momentum: Number,
    weight_decay: Number | None = None,
    maximize: bool = False,
) -> Any:
    """One step of RMSprop over all parameters; `grad_avgs` is empty unless centred, `momentum_buffers` without momentum.

    Shapes:   params, grads and averages: equal shapes, pairwise
    Dtypes:   each parameter's own
    Gradient: none
    Errors:   GradError under recording for parameters that require grad
    Source:   Hinton's lecture 6e, Graves 2013 (centred); torch.optim.RMSprop

    >>> p, v = tensor([1.0]), tensor([0.0])
    >>> _ = dg.ops.rmsprop_update_([p], [tensor([2.0])], [v], [], [], 0.1, 0.75, 0.0, 0.0); p
    tensor([0.8000])
    """
    new_params, new_squares, new_averages, new_buffers = [], [], [], []
    for i, (p, grad) in enumerate(zip(params, grads)):
        grad = directed(p, grad, weight_decay, maximize)
        squares = _mean_square(square_avgs[i], grad, alpha)
        new_squares.append(squares)
        if grad_avgs:
            average = _mean(grad_avgs[i], grad, alpha)
            new_averages.append(average)
            squares = squares - average * average
        change = grad / (sqrt(squares) + eps)
        if momentum_buffers:
            change = momentum_buffers[i] * momentum + change
            new_buffers.append(change)
        new_params.append(p - change * lr)
    return new_params, new_squares, new_averages, new_buffers


@op(kind=UPDATE, method=False, public=False, writes=("params", "sums", "steps"))
def adagrad_update_(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    sums: Sequence[Tensor],
    steps: Sequence[Tensor],
    lr: Number,
    lr_decay: Number,
    eps: Number,
    weight_decay: Number | None = None,
    maximize: bool = False,
) -> Any:
    """One step of Adagrad over all parameters.

    Shapes:   params, grads and sums: equal shapes, pairwise; steps: [] each, counted up here
    Dtypes:   each parameter's own; steps float32
    Gradient: none
    Errors:   GradError under recording for parameters that require grad
    Source:   Duchi, Hazan and Singer 2011; torch.optim.Adagrad

    >>> p, s = tensor([1.0]), tensor([0.0])
    >>> _ = dg.ops.adagrad_update_([p], [tensor([2.0])], [s], [tensor(0.0)], 0.5, 0.0, 0.0); p
    tensor([0.5000])
    """
    new_params, new_sums, new_steps = [], [], []
    for i, (p, grad) in enumerate(zip(params, grads)):
        grad = directed(p, grad, weight_decay, maximize)
        total = sums[i] + grad * grad
        count = cast(steps[i], core.float64)
        new_params.append(p - grad / (sqrt(total) + eps) * (lr / (1 + count * lr_decay)))
        new_sums.append(total)
        new_steps.append(steps[i] + 1)
    return new_params, new_sums, new_steps


@op(kind=UPDATE, method=False, public=False, writes=("params", "square_avgs", "acc_deltas"))
def adadelta_update_(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    square_avgs: Sequence[Tensor],
    acc_deltas: Sequence[Tensor],
    lr: Number,
    rho: Number,
    eps: Number,
    weight_decay: Number | None = None,
    maximize: bool = False,
) -> Any:
    """One step of Adadelta over all parameters.

    Shapes:   params, grads and averages: equal shapes, pairwise
    Dtypes:   each parameter's own
    Gradient: none
    Errors:   GradError under recording for parameters that require grad
    Source:   Zeiler 2012; torch.optim.Adadelta

    >>> p, v, d = tensor([1.0]), tensor([0.0]), tensor([3.0])
    >>> _ = dg.ops.adadelta_update_([p], [tensor([1.0])], [v], [d], 0.25, 0.0, 1.0); p
    tensor([0.6464])
    """
    new_params, new_squares, new_deltas = [], [], []
    for i, (p, grad) in enumerate(zip(params, grads)):
        grad = directed(p, grad, weight_decay, maximize)
        squares = _mean_square(square_avgs[i], grad, rho)
        delta = sqrt(acc_deltas[i] + eps) / sqrt(squares + eps) * grad
        new_params.append(p - delta * lr)
        new_squares.append(squares)
        new_deltas.append(_mean_square(acc_deltas[i], delta, rho))
    return new_params, new_squares, new_deltas


@op(kind=UPDATE, method=False, public=False, writes=("params", "exp_avgs", "exp_infs", "steps"))
def adamax_update_(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_infs: Sequence[Tensor],
    steps: Sequence[Tensor],
    lr: Number,
    beta1: Number,
    beta2: Number,
    eps: Number,
    weight_decay: Number | None = None,
    maximize: bool = False,
) -> Any:
    """One step of Adamax (Adam with the largest magnitude in place of the mean square) over all parameters.

    Shapes:   params, grads and averages: equal shapes, pairwise; steps: [] each, counted up here
    Dtypes:   each parameter's own; steps float32
    Gradient: none
    Errors:   GradError under recording for parameters that require grad
    Source:   Kingma and Ba 2015, section 7; torch.optim.Adamax

    >>> p, m, u, s = tensor([1.0]), tensor([0.0]), tensor([0.0]), tensor(0.0)
    >>> _ = dg.ops.adamax_update_([p], [tensor([2.0])], [m], [u], [s], 0.5, 0.5, 0.5, 0.0); p
    tensor([0.5000])
    """
    new_params, new_averages, new_greatest, new_steps = [], [], [], []
    for i, (p, grad) in enumerate(zip(params, grads)):
        grad = directed(p, grad, weight_decay, maximize)
        step = steps[i] + 1
        average = _mean(exp_avgs[i], grad, beta1)
        greatest = maximum(exp_infs[i] * beta2, abs(grad) + eps)
        new_params.append(p - average / greatest * (lr / (1 - pow(beta1, cast(step, core.float64)))))
        new_averages.append(average)
        new_greatest.append(greatest)
        new_steps.append(step)
    return new_params, new_averages, new_greatest, new_steps


@op(kind=UPDATE, method=False, public=False, writes=("params", "exp_avgs", "exp_avg_sqs", "mu_products", "steps"))
def nadam_update_(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    mu_products: Sequence[Tensor],
    steps: Sequence[Tensor],
    lr: Number,
    beta1: Number,
    beta2: Number,
    eps: Number,
    momentum_decay: Number,
    weight_decay: Number | None = None,
    decoupled: bool = False,
    maximize: bool = False,
) -> Any:
    """One step of NAdam (Adam with Nesterov's momentum) over all parameters.

    Shapes:   params, grads and averages: equal shapes, pairwise; mu_products and steps: [] each, advanced here
    Dtypes:   each parameter's own; mu_products and steps float32
    Gradient: none
    Errors:   GradError under recording for parameters that require grad
    Source:   Dozat 2016; torch.optim.NAdam

    >>> p, m, v, u, s = tensor([1.0]), tensor([0.0]), tensor([0.0]), tensor(1.0), tensor(0.0)
    >>> _ = dg.ops.nadam_update_([p], [tensor([2.0])], [m], [v], [u], [s], 0.5, 0.0, 0.0, 0.0, 0.0); p
    tensor([0.5000])
    """
    new_params, new_first, new_second, new_products, new_steps = [], [], [], [], []
    for i, (p, grad) in enumerate(zip(params, grads)):
        p, grad = _decayed(p, grad, lr, weight_decay, decoupled, maximize)
        step = steps[i] + 1
        count = cast(step, core.float64)
        mu = beta1 * (1 - pow(0.96, count * momentum_decay) * 0.5)
        mu_next = beta1 * (1 - pow(0.96, (count + 1) * momentum_decay) * 0.5)
        product = cast(mu_products[i], core.float64) * mu
        average = _mean(exp_avgs[i], grad, beta1)
        squares = _mean_square(exp_avg_sqs[i], grad, beta2)
        denominator = sqrt(squares * (1 / (1 - pow(beta2, count)))) + eps
        now = grad * (lr * (1 - mu) / (1 - product)) + average * (lr * mu_next / (1 - product * mu_next))
        new_params.append(p - now / denominator)
        new_first.append(average)
        new_second.append(squares)
        new_products.append(cast(product, core.float32))
        new_steps.append(step)
    return new_params, new_first, new_second, new_products, new_steps


@op(kind=UPDATE, method=False, public=False, writes=("params", "exp_avgs", "exp_avg_sqs", "steps"))
def radam_update_(
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
) -> Any:
    """One step of RAdam over all parameters: Adam whose adaptive part waits until its variance can be trusted.

    Shapes:   params, grads and averages: equal shapes, pairwise; steps: [] each, counted up here
    Dtypes:   each parameter's own; steps float32
    Gradient: none
    Errors:   GradError under recording for parameters that require grad
    Source:   Liu et al. 2020; torch.optim.RAdam

    >>> p, m, v, s = tensor([1.0]), tensor([0.0]), tensor([0.0]), tensor(0.0)
    >>> _ = dg.ops.radam_update_([p], [tensor([2.0])], [m], [v], [s], 0.25, 0.9, 0.999, 1e-8); p
    tensor([0.5000])
    """
    new_params, new_first, new_second, new_steps = [], [], [], []
    for i, (p, grad) in enumerate(zip(params, grads)):
        p, grad = _decayed(p, grad, lr, weight_decay, decoupled, maximize)
        step = steps[i] + 1
        count = cast(step, core.float64)
        average = _mean(exp_avgs[i], grad, beta1)
        squares = _mean_square(exp_avg_sqs[i], grad, beta2)
        kept = pow(beta2, count)
        limit = 2 / (1 - beta2) - 1
        length = limit - count * kept / (1 - kept) * 2
        ratio = (length - 4) * (length - 2) * limit / (length * ((limit - 4) * (limit - 2)))
        trusted = length > 5
        rectified = sqrt(where(trusted, ratio, 1.0) * (1 - kept))
        change = average * (lr / (1 - pow(beta1, count)))
        new_params.append(p - where(trusted, change * rectified / (sqrt(squares) + eps), change))
        new_first.append(average)
        new_second.append(squares)
        new_steps.append(step)
    return new_params, new_first, new_second, new_steps


@op(kind=UPDATE, method=False, public=False, writes=("tensors",))
def scale_together_(tensors: Sequence[Tensor], factor: Number) -> Any:
    """Multiply all tensors by one number.

    Shapes:   tensors: any; factor a number or []
    Dtypes:   each tensor's own
    Gradient: none
    Errors:   GradError under recording for tensors that require grad
    Source:   torch.nn.utils.clip_grad_norm_

    >>> g = tensor([2.0]); _ = dg.ops.scale_together_([g], 0.5); g
    tensor([1.])
    """
    return ([x * factor for x in tensors],)


@op(kind=UPDATE, method=False, public=False, writes=("tensors",))
def clamp_together_(tensors: Sequence[Tensor], limit: Number) -> Any:
    """Bring every element of all tensors between -limit and limit.

    Shapes:   tensors: any; limit a number or []
    Dtypes:   each tensor's own
    Gradient: none
    Errors:   GradError under recording for tensors that require grad
    Source:   torch.nn.utils.clip_grad_value_

    >>> g = tensor([2.0, -0.5]); _ = dg.ops.clamp_together_([g], 1.0); g
    tensor([ 1.0000, -0.5000])
    """
    return ([maximum(minimum(x, limit), -limit) for x in tensors],)


@op(
    kind=COMPOSITION,
    method=False,
    public=False,
    samples=lambda m: [([m(3, 4), m(5)], 2.0), ([m(3)], float("inf")), ([m(2, 2)], 1.0)],
)
def total_norm(tensors: Sequence[Tensor], norm_type: float) -> Tensor:
    """The norm of all tensors' elements as one vector.

    Shapes:   tensors: any → []
    Dtypes:   the first tensor's
    Gradient: by the operators it consists of
    Errors:   none
    Source:   torch.nn.utils.get_total_norm

    >>> dg.ops.total_norm([tensor([3.0]), tensor([4.0])], 2.0)
    tensor(5.)
    """
    largest = norm_type == float("inf")
    found: Any = None
    for x in tensors:
        size = abs(x)
        if largest:
            part: Any = amax(size)
            found = part if found is None else maximum(found, part)
        else:
            part = sum(size * size if norm_type == 2 else size if norm_type == 1 else pow(size, norm_type))
            found = part if found is None else found + part
    if largest or norm_type == 1:
        return found  # type: ignore[no-any-return]
    return sqrt(found) if norm_type == 2 else pow(found, 1 / norm_type)


def directed(p: Any, grad: Any, weight_decay: Any, maximize: bool) -> Any:
    """The gradient with its sign and weight decay."""
    grad = -grad if maximize else grad
    return grad if weight_decay is None else grad + p * weight_decay


def _decayed(p: Any, grad: Any, lr: Any, weight_decay: Any, decoupled: bool, maximize: bool) -> Any:
    """Parameter and gradient after weight decay: of the parameter itself if decoupled."""
    if weight_decay is not None and decoupled:
        return p - p * (lr * weight_decay), -grad if maximize else grad
    return p, directed(p, grad, weight_decay, maximize)


def _mean(before: Any, value: Any, kept: Any) -> Any:
    """A running mean."""
    return before + (value - before) * (1 - kept)


def _mean_square(before: Any, value: Any, kept: Any) -> Any:
    """A running mean of squares."""
    return before * kept + (value * value) * (1 - kept)
