"""Jacobians, Hessians and their products with vectors, of functions from tensors to tensors.

All go along the tape, so they work on whatever can be differentiated, in static functions too: `jvp` and `hvp` forward, the
others back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from duograph import _core as core
from duograph._recorded import current
from duograph.errors import ArgumentError, GradError

from .gradients import grad

Function = Callable[..., Any]


def _ops() -> Any:
    from duograph.ops.definition import REGISTRY

    return REGISTRY


def _zeros_like(x: Any) -> Any:
    return _ops()["zeros_like"].op(x)


def _inputs(name: str, inputs: Any, create_graph: bool) -> tuple[bool, tuple[Any, ...]]:
    """Whether a tuple was given, and the inputs as leaves (or, to be differentiated again, as what they are)."""
    single = isinstance(inputs, core.Tensor)
    given = (inputs,) if single else tuple(inputs) if isinstance(inputs, (tuple, list)) else ()
    if not given or not all(isinstance(x, core.Tensor) for x in given):
        raise ArgumentError(f"{name}: inputs must be a Tensor or a tuple of them")
    for i, x in enumerate(given):
        if not x.dtype.is_floating_point:
            raise ArgumentError(f"{name}: input {i} is {x.dtype.name}: only floating-point tensors have gradients")
    alias = _ops()["alias"].op
    return not single, tuple(alias(x) if create_graph and x.requires_grad else x.detach().requires_grad_() for x in given)


def _outputs(name: str, found: Any) -> tuple[bool, tuple[Any, ...]]:
    single = isinstance(found, core.Tensor)
    given = (found,) if single else tuple(found) if isinstance(found, (tuple, list)) else ()
    if not given or not all(isinstance(x, core.Tensor) for x in given):
        raise ArgumentError(f"{name}: the function must return a Tensor or a tuple of them, not {type(found).__name__}")
    return not single, given


def _call(name: str, func: Function, inputs: tuple[Any, ...], create_graph: bool) -> tuple[bool, tuple[Any, ...]]:
    from duograph._recorded import callee

    before = core.set_grad_enabled(True)
    try:
        return _outputs(name, callee(func)(*inputs))
    finally:
        core.set_grad_enabled(before)


def _vectors(name: str, v: Any, like: tuple[Any, ...], what: str) -> tuple[Any, ...]:
    """`v` checked against what it is multiplied with; None stands for 1 where there is one element."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise ArgumentError(f"{name}: v may be left out only if the {what} has a single element")
        return (_ops()["ones_like"].op(like[0].detach()),)
    given = (v,) if isinstance(v, core.Tensor) else tuple(v)
    if len(given) != len(like):
        raise ArgumentError(f"{name}: v has {len(given)} tensors, the {what} {len(like)}")
    for i, (a, b) in enumerate(zip(given, like)):
        if tuple(a.shape) != tuple(b.shape):
            raise ArgumentError(f"{name}: v[{i}] is {list(a.shape)}, the {what} {list(b.shape)}")
    return given


def _check_strict(name: str, strict: bool, create_graph: bool, found: tuple[Any, ...], what: str) -> None:
    if not strict:
        return
    for i, g in enumerate(found):
        if g is None or (create_graph and not g.requires_grad):
            raise GradError(f"{name}: {what} {i} is independent of the inputs (strict=True)")


def _gradients(
    outs: tuple[Any, ...], ins: tuple[Any, ...], seeds: Any, create_graph: bool, retain: bool = False
) -> tuple[Any, ...]:
    """`grad` that gives None for everything that does not depend on the inputs."""
    seeds = (None,) * len(outs) if seeds is None else seeds
    pairs = [(o, s) for o, s in zip(outs, seeds) if o.requires_grad]
    if not pairs:
        return (None,) * len(ins)
    return grad(
        [o for o, _ in pairs], ins, [s for _, s in pairs], retain_graph=retain or create_graph, create_graph=create_graph,
        allow_unused=True,
    )  # fmt: skip


def _filled(found: tuple[Any, ...], like: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_zeros_like(x.detach()) if g is None else g for g, x in zip(found, like))


def _shown(values: tuple[Any, ...], many: bool, create_graph: bool) -> Any:
    shown = values if create_graph else tuple(x.detach() for x in values)
    return shown if many else shown[0]


def vjp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple[Any, Any]:
    """The function's outputs, and the product vᵀ·J of a vector with its Jacobian.

    Args:
        v: like the outputs; may be left out if there is one with a single element.
        create_graph: both results can be differentiated again.
        strict: an output that does not depend on an input is an error instead of a zero gradient.

    >>> import duograph as dg
    >>> dg.autograd.functional.vjp(lambda x: x * x, dg.tensor([1.0, 2.0]), dg.tensor([1.0, 10.0]))
    (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    many_in, ins = _inputs("vjp", inputs, create_graph)
    many_out, outs = _call("vjp", func, ins, create_graph)
    _check_strict("vjp", strict, True, outs, "output")
    seeds = _vectors("vjp", v, outs, "output")
    found = _gradients(outs, ins, seeds, create_graph)
    _check_strict("vjp", strict, create_graph, found, "the gradient of input")
    return _shown(outs, many_out, create_graph), _shown(_filled(found, ins), many_in, create_graph)


def jvp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple[Any, Any]:
    """The function's outputs, and the product J·v of its Jacobian with a vector like the inputs.

    >>> import duograph as dg
    >>> dg.autograd.functional.jvp(lambda x: x * x, dg.tensor([1.0, 2.0]), dg.tensor([1.0, 10.0]))
    (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    _, ins = _inputs("jvp", inputs, create_graph)
    many_out, outs = _call("jvp", func, ins, create_graph)
    _check_strict("jvp", strict, True, outs, "output")
    vector = _vectors("jvp", v, ins, "input")
    found = _forward_product(outs, ins, vector, create_graph)
    _check_strict("jvp", strict, create_graph, found, "the product of output")
    return _shown(outs, many_out, create_graph), _shown(_filled(found, outs), many_out, create_graph)


def _forward_product(outs: tuple[Any, ...], ins: tuple[Any, ...], vector: tuple[Any, ...], create_graph: bool) -> tuple[Any, ...]:
    """J·v, forward along the tape; None for outputs that do not depend on the inputs."""
    recorder = current()
    if recorder is not None:
        recorder.differentiates(outs)
    return core.push_forward(outs, ins, vector, create_graph)


def jacobian(
    func: Function,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """All derivatives of each output by each input: for an output [*S] and an input [*T] a tensor [*S, *T].

    Args:
        create_graph: the result can be differentiated again.
        strict: an output that does not depend on an input is an error instead of zeros.
        vectorize: compute all rows (or columns) at once, by `vmap`, where the tape allows it; not with strict.
        strategy: "reverse-mode" (a row per output element) or "forward-mode" (a column per input element).

    Returns:  a tensor; a tuple over the inputs if a tuple was given, of which there is a tuple over the outputs if the
              function gives a tuple

    >>> import duograph as dg
    >>> dg.autograd.functional.jacobian(lambda x: x * x.sum(), dg.tensor([1.0, 2.0]))
    tensor([[4., 1.],
            [2., 5.]])
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise ArgumentError(f"jacobian: strategy must be 'reverse-mode' or 'forward-mode', got {strategy!r}")
    many_in, ins = _inputs("jacobian", inputs, create_graph)
    many_out, outs = _call("jacobian", func, ins, create_graph)
    _check_strict("jacobian", strict, True, outs, "output")
    if vectorize and not strict:
        from duograph.func.rows import jacobian_columns, jacobian_rows

        compute = jacobian_rows if strategy == "reverse-mode" else jacobian_columns
        table = tuple(tuple(row) for row in compute(list(outs), list(ins), create_graph, 2))
    else:
        rows = _rows if strategy == "reverse-mode" else _columns
        table = tuple(rows(out, ins, create_graph, strict) for out in outs)
    shown = tuple(tuple(_shown((x,), False, create_graph) for x in row) for row in table)
    picked = tuple(row if many_in else row[0] for row in shown)
    return picked if many_out else picked[0]


def _basis(like: Any) -> list[Any]:
    """One tensor per element of `like`, with a 1 there."""
    from duograph.tensors.creation import eye

    count = int(like.numel())
    unit = eye(count, dtype=like.dtype)
    return [unit[i].reshape(tuple(like.shape)) for i in range(count)]


def _rows(out: Any, ins: tuple[Any, ...], create_graph: bool, strict: bool) -> tuple[Any, ...]:
    found = [_gradients((out,), ins, (seed,), create_graph, retain=True) for seed in _basis(out)]
    for row in found:
        _check_strict("jacobian", strict, create_graph, row, "the output's derivative by input")
    return tuple(_stacked([_filled(row, ins)[n] for row in found], out, (*out.shape, *x.shape), x) for n, x in enumerate(ins))


def _columns(out: Any, ins: tuple[Any, ...], create_graph: bool, strict: bool) -> tuple[Any, ...]:
    results = []
    for n, x in enumerate(ins):
        columns = []
        for unit in _basis(x):
            vector = tuple(unit if i == n else _zeros_like(y.detach()) for i, y in enumerate(ins))
            found = _forward_product((out,), ins, vector, create_graph)
            _check_strict("jacobian", strict, create_graph, found, "the output's product")
            columns.append(_filled(found, (out,))[0])
        last = len(out.shape)
        shape = (*x.shape, *out.shape)
        dims = (*range(len(x.shape), len(x.shape) + last), *range(len(x.shape)))
        results.append(_stacked(columns, x, shape, out).permute(dims))
    return tuple(results)


def _stacked(parts: list[Any], like: Any, shape: tuple[Any, ...], element: Any) -> Any:
    if not parts:
        return _ops()["zeros_like"].op(element.detach().unsqueeze(0))[:0].reshape(shape)
    return _ops()["stack"].op(parts, 0).reshape(shape)


def hessian(
    func: Function,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """All second derivatives of a function to one element: [*S, *T] for each pair of inputs [*S] and [*T].

    >>> import duograph as dg
    >>> dg.autograd.functional.hessian(lambda x: (x ** 3).sum(), dg.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    many, given = not isinstance(inputs, core.Tensor), inputs

    def gradient(*args: Any) -> tuple[Any, ...]:
        ins = tuple(_ops()["alias"].op(x) for x in args)
        out = _scalar("hessian", func, ins)
        found = _gradients((out,), ins, None, True)
        _check_strict("hessian", strict, True, found, "the gradient of input")
        return _filled(found, ins)

    table = jacobian(gradient, given, create_graph, strict, vectorize, outer_jacobian_strategy)
    return table if many else table[0]


def _scalar(name: str, func: Function, ins: tuple[Any, ...]) -> Any:
    many, outs = _call(name, func, ins, True)
    if many or outs[0].numel() != 1:
        raise ArgumentError(f"{name}: the function must return one tensor with one element", hint="take sum() of its result")
    return outs[0]


def _second_order(
    name: str, func: Function, inputs: Any, v: Any, create_graph: bool, strict: bool
) -> tuple[bool, tuple[Any, ...], Any, tuple[Any, ...], tuple[Any, ...]]:
    """What products with the Hessian begin with: (whether inputs are several, inputs, output, its gradients, the vector)."""
    many, ins = _inputs(name, inputs, create_graph)
    out = _scalar(name, func, ins)
    first = _gradients((out,), ins, None, True)
    _check_strict(name, strict, True, first, "the gradient of input")
    return many, ins, out, first, _vectors(name, v, ins, "input")


def hvp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple[Any, Any]:
    """The output of a function to one element, and the product H·v of its Hessian with a vector like the inputs.

    >>> import duograph as dg
    >>> dg.autograd.functional.hvp(lambda x: (x ** 3).sum(), dg.tensor([1.0, 2.0]), dg.tensor([1.0, 1.0]))
    (tensor(9.), tensor([ 6., 12.]))
    """
    many, ins, out, first, vector = _second_order("hvp", func, inputs, v, create_graph, strict)
    live = [g is not None and g.requires_grad for g in first]
    chosen = tuple(g for g, on in zip(first, live) if on)
    found = _forward_product(chosen, ins, vector, create_graph) if chosen else ()
    given = iter(found)
    product = tuple(next(given) if on else None for on in live)
    _check_strict("hvp", strict, create_graph, product, "the product of input")
    return _shown((out,), False, create_graph), _shown(_filled(product, ins), many, create_graph)


def vhp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple[Any, Any]:
    """The output of a function to one element, and the product vᵀ·H of a vector like the inputs with its Hessian.

    >>> import duograph as dg
    >>> dg.autograd.functional.vhp(lambda x: (x ** 3).sum(), dg.tensor([1.0, 2.0]), dg.tensor([1.0, 1.0]))
    (tensor(9.), tensor([ 6., 12.]))
    """
    many, ins, out, first, vector = _second_order("vhp", func, inputs, v, create_graph, strict)
    pairs = tuple((g, t) for g, t in zip(first, vector) if g is not None and g.requires_grad)
    found = _gradients(tuple(g for g, _ in pairs), ins, tuple(t for _, t in pairs), create_graph)
    _check_strict("vhp", strict, create_graph, found, "the product of input")
    return _shown((out,), False, create_graph), _shown(_filled(found, ins), many, create_graph)
