"""Updates of the optimisers that are met less often: by the sign of gradients, by averages, by factored variances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core

from ..definition import UPDATE, op
from ..elementwise.arithmetic import lerp, sign
from ..elementwise.choice import clamp, maximum, minimum, where
from ..elementwise.exponentiation import pow
from ..elementwise.unary import rsqrt, sqrt
from ..matrix.contractions import matmul
from ..reduction.norms import vector_norm
from ..reduction.statistics import mean
from ..shapes.copying import cast
from ..shapes.permuting import transpose
from .optimizer_steps import directed

_PRECISIONS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

    from ..definition import Number, Operand


@op(kind=UPDATE, method=False, public=False, writes=("params", "previous", "step_sizes"))
def rprop_update_(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    previous: Sequence[Tensor],
    step_sizes: Sequence[Tensor],
    shrink: Number,
    grow: Number,
    least: Number,
    greatest: Number,
    maximize: bool = False,
) -> Any:
    """One step of Rprop over all parameters: of each element's own size, in the direction of its gradient's sign.

    Shapes:   params, grads, previous gradients and step sizes: equal shapes, pairwise
    Dtypes:   each parameter's own
    Gradient: none
    Errors:   GradError under recording for parameters that require grad
    Source:   Riedmiller and Braun 1993; torch.optim.Rprop

    >>> p, g, s = tensor([1.0]), tensor([0.0]), tensor([0.5])
    >>> _ = dg.ops.rprop_update_([p], [tensor([3.0])], [g], [s], 0.5, 1.2, 0.0, 1.0); p
    tensor([0.5000])
    """
    new_params, new_previous, new_sizes = [], [], []
    for p, grad, before, size in zip(params, grads, previous, step_sizes):
        grad = directed(p, grad, None, maximize)
        agreement = sign(grad * before)
        factor = where(agreement > 0, grow, where(agreement < 0, shrink, where(agreement == 0, 1.0, agreement)))
        size = clamp(size * cast(factor, p.dtype), least, greatest)
        grad = where(agreement < 0, 0.0, grad)
        new_params.append(p - sign(grad) * size)
        new_previous.append(grad)
        new_sizes.append(size)
    return new_params, new_previous, new_sizes


@op(kind=UPDATE, method=False, public=False, writes=("params", "averages", "etas", "mus", "steps"))
def asgd_update_(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    averages: Sequence[Tensor],
    etas: Sequence[Tensor],
    mus: Sequence[Tensor],
    steps: Sequence[Tensor],
    lr: Number,
    lambd: Number,
    alpha: Number,
    t0: Number,
    weight_decay: Number | None = None,
    maximize: bool = False,
) -> Any:
    """One step of averaged stochastic gradient descent over all parameters.

    Shapes:   params, grads and averages: equal shapes, pairwise; etas, mus, steps: [] each, advanced here
    Dtypes:   each parameter's own; etas, mus and steps float32
    Gradient: none
    Errors:   GradError under recording for parameters that require grad
    Source:   Polyak and Juditsky 1992; torch.optim.ASGD

    >>> p, a, e, m, s = tensor([1.0]), tensor([0.0]), tensor(0.5), tensor(1.0), tensor(0.0)
    >>> _ = dg.ops.asgd_update_([p], [tensor([1.0])], [a], [e], [m], [s], 0.5, 0.0, 0.75, 1e6); a
    tensor([0.5000])
    """
    new_params, new_averages, new_etas, new_mus, new_steps = [], [], [], [], []
    for p, grad, average, eta, mu, step in zip(params, grads, averages, etas, mus, steps):
        grad = directed(p, grad, weight_decay, maximize)
        p = p * (1 - lambd * cast(eta, core.float64)) - grad * eta
        new_params.append(p)
        new_averages.append(where(mu == 1, p, average + (p - average) * mu))
        count = cast(step + 1, core.float64)
        new_etas.append(cast(lr / pow(1 + lambd * lr * count, alpha), core.float32))
        new_mus.append(cast(1 / maximum(count - t0, 1.0), core.float32))
        new_steps.append(step + 1)
    return new_params, new_averages, new_etas, new_mus, new_steps


@op(kind=UPDATE, method=False, public=False, writes=("params", "row_vars", "col_vars", "variances", "steps"))
def adafactor_update_(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    row_vars: Sequence[Tensor],
    col_vars: Sequence[Tensor],
    variances: Sequence[Tensor],
    steps: Sequence[Tensor],
    lr: Number,
    beta2_decay: Number,
    eps2: Number,
    d: Number,
    eps1: Number | None = None,
    weight_decay: Number | None = None,
    maximize: bool = False,
) -> Any:
    """One step of Adafactor over all parameters: matrices, with `row_vars` and `col_vars`, or others, with `variances`.

    Shapes:   params, grads and variances: equal shapes, pairwise; row_vars [.., m, 1], col_vars [.., 1, n]; steps [] each
    Dtypes:   each parameter's own; steps float32
    Gradient: none
    Errors:   GradError under recording for parameters that require grad
    Source:   Shazeer and Stern 2018; torch.optim.Adafactor

    >>> p, v = tensor([1.0]), tensor([0.0])
    >>> _ = dg.ops.adafactor_update_([p], [tensor([2.0])], [], [], [v], [tensor(0.0)], 0.5, -0.8, 1e-3, 1.0); p
    tensor([0.5000])
    """
    results: tuple[list[Any], ...] = ([], [], [], [], [])
    for i, (p, grad) in enumerate(zip(params, grads)):
        grad = directed(p, grad, None, maximize)
        step = steps[i] + 1
        count = cast(step, core.float64)
        fresh = cast(pow(count, beta2_decay), p.dtype)
        least = _PRECISIONS[p.dtype.name] if eps1 is None else eps1
        size = maximum(cast(_root_mean_square(p), core.float64), eps2) * minimum(1 / sqrt(count), lr)
        if weight_decay is not None:
            p = p - p * (lr * weight_decay)
        squares = grad * grad
        if row_vars:
            rows = row_vars[i] + (mean(squares, -1, True) - row_vars[i]) * fresh
            columns = col_vars[i] + (mean(squares, -2, True) - col_vars[i]) * fresh
            variance = matmul(rows, columns) / maximum(mean(rows, -2, True), least)
            results[1].append(rows)
            results[2].append(columns)
        else:
            variance = variances[i] + (squares - variances[i]) * fresh
            results[3].append(variance)
        update = rsqrt(maximum(variance, least * least)) * grad
        size = size / maximum(cast(_root_mean_square(update), core.float64) / d, 1.0)
        results[0].append(p - update * size)
        results[4].append(step)
    return results


def _root_mean_square(x: Any) -> Any:
    return sqrt(mean(x * x))


@op(kind=UPDATE, method=False, public=False, writes=("params", "momentum_buffers"))
def muon_update_(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    momentum_buffers: Sequence[Tensor],
    lr: Number,
    factor: Number,
    momentum: Number,
    a: Number,
    b: Number,
    c: Number,
    eps: Number,
    weight_decay: Number | None = None,
    nesterov: bool = True,
    ns_steps: int = 5,
    tall: bool = False,
) -> Any:
    """One step of Muon over matrices: the momentum with all its singular values brought near 1.

    `factor` is what the shape makes of the rate; `tall`: the matrices have more rows than columns.

    Shapes:   params, grads and momentum_buffers: equal shapes [m, n], pairwise
    Dtypes:   each parameter's own
    Gradient: none
    Errors:   GradError under recording for parameters that require grad
    Source:   Jordan et al. 2024; torch.optim.Muon

    >>> p, v = tensor([[1.0]]), tensor([[0.0]])
    >>> _ = dg.ops.muon_update_([p], [tensor([[2.0]])], [v], 0.5, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, ns_steps=1); p
    tensor([[0.5000]])
    """
    new_params, new_buffers = [], []
    for p, grad, buffer in zip(params, grads, momentum_buffers):
        buffer = buffer + (grad - buffer) * (1 - momentum)
        new_buffers.append(buffer)
        x: Any = grad + (buffer - grad) * momentum if nesterov else buffer
        x = transpose(x, 0, 1) if tall else x
        x = x / maximum(vector_norm(x), eps)
        for _ in range(ns_steps):
            gram = matmul(x, transpose(x, 0, 1))
            x = x * a + matmul(gram * b + matmul(gram, gram) * c, x)
        x = transpose(x, 0, 1) if tall else x
        kept = p if weight_decay is None else p - p * (lr * weight_decay)
        new_params.append(kept - x * (lr * factor))
    return new_params, new_buffers


@op(kind=UPDATE, method=False, public=False, writes=("averages",))
def average_update_(averages: Sequence[Tensor], values: Sequence[Tensor], count: Operand, weight: Number | None = None) -> Any:
    """Move averages towards values by `weight`, or so that each of the count + 1 values seen weighs as much.

    Shapes:   averages and values: equal shapes, pairwise; count []
    Dtypes:   each average's own; computed in floats
    Gradient: none
    Errors:   GradError under recording for averages that require grad
    Source:   torch.optim.swa_utils

    >>> a = tensor([1.0]); _ = dg.ops.average_update_([a], [tensor([4.0])], 2); a
    tensor([2.])
    """
    return ([lerp(average, value, 1.0 / (count + 1) if weight is None else weight) for average, value in zip(averages, values)],)
