"""Transformations of functions by their derivatives. All run on the tape, so they nest in each other in any order."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from duograph import _core as core
from duograph._recorded import callee
from duograph.errors import ArgumentError, GradError
from duograph.ir.builder import active, current

from .rows import jacobian_columns, jacobian_rows, pull_back, push_forward
from .trees import leaves, rebuild, refill

Tensor = core.Tensor
Argnums = int | tuple[int, ...]


def _ops() -> Any:
    from duograph.ops.definition import REGISTRY

    return REGISTRY


def variable(x: Any) -> Any:
    """A tensor to differentiate by: an alias with a place on the outer tape, or a leaf of its own."""
    if not isinstance(x, Tensor) or not x.dtype.is_floating_point:
        return x
    made = _ops()["alias"].op(x) if x.requires_grad and core.is_grad_enabled() else x.detach().requires_grad_()
    if active():
        current().local_leaf(made)
    return made


def _tensors(tree: Any) -> list[Any]:
    return [x for x in leaves(tree) if isinstance(x, Tensor)]


def _chosen(name: str, argnums: Argnums, args: Sequence[Any]) -> tuple[int, ...]:
    numbers = argnums if isinstance(argnums, tuple) else (argnums,)
    for n in numbers:
        if not isinstance(n, int) or not -len(args) <= n < len(args):
            raise ArgumentError(f"{name}: argnums {argnums!r} does not fit {len(args)} positional arguments")
    chosen = tuple(n % len(args) for n in numbers)
    for n in chosen:
        for x in leaves(args[n]):
            if not isinstance(x, Tensor) or not x.dtype.is_floating_point:
                what = core.describe(x) if isinstance(x, Tensor) else type(x).__name__
                raise ArgumentError(f"{name}: argument {n} must hold floating-point tensors only, got {what}")
    return chosen


def _record(func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The call, recorded whatever the mode outside is."""
    before = core.set_grad_enabled(True)
    try:
        return callee(func)(*args, **kwargs)
    finally:
        core.set_grad_enabled(before)


def _split(name: str, found: Any, has_aux: bool) -> tuple[Any, Any]:
    if not has_aux:
        return found, None
    if not isinstance(found, tuple) or len(found) != 2:
        raise ArgumentError(f"{name}: with has_aux=True the function must return (output, aux), got {type(found).__name__}")
    return found


def matters_outside(outputs: Sequence[Any], variables: Sequence[Any]) -> bool:
    """Whether the outputs depend on anything that requires grad beside the variables."""
    if core.tracing():
        return True
    own = {id(x) for x in variables}
    own_nodes = {x.grad_fn for x in variables if x.grad_fn is not None}
    stack = [node for o in outputs if (node := o.grad_fn) is not None]
    seen = set(stack)
    while stack:
        node = stack.pop()
        if node in own_nodes:
            return True
        for parent in node.parents:
            if isinstance(parent, Tensor):
                if id(parent) not in own:
                    return True
            elif parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return False


def _plain(tree: Any, keep: bool) -> Any:
    """Results without a tape, unless it matters outside."""
    return tree if keep else rebuild(tree, lambda x: x.detach() if isinstance(x, Tensor) else x)


def grad_and_value(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives `func`'s gradient and its value: (gradient, value), or (gradient, (value, aux)).

    Args:
        func: gives a tensor with one element, or with has_aux a pair of it and anything else.
        argnums: the positional arguments to differentiate by: trees of floating-point tensors. A tuple gives a tuple.

    >>> import duograph as dg
    >>> dg.func.grad_and_value(lambda x: (x * x).sum())(dg.tensor([1.0, 2.0]))
    (tensor([2., 4.]), tensor(5.))
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        chosen = _chosen("grad", argnums, args)
        given = [rebuild(a, variable) if i in chosen else a for i, a in enumerate(args)]
        variables = [x for n in chosen for x in _tensors(given[n])]
        value, aux = _split("grad", _record(func, given, kwargs), has_aux)
        if not isinstance(value, Tensor) or value.numel() != 1:
            what = core.describe(value) if isinstance(value, Tensor) else type(value).__name__
            raise GradError(
                f"grad: the function must return a tensor with one element, got {what}", hint="take sum() or mean() of it"
            )
        outside = core.is_grad_enabled() and matters_outside([value], variables)
        seed = _ops()["ones_like"].op(value.detach())
        found = iter(pull_back([value], variables, [seed], outside, False))
        gradients = tuple(refill(given[n], found) for n in chosen)
        gradient = gradients if isinstance(argnums, tuple) else gradients[0]
        value, aux = _plain(value, outside), _plain(aux, outside)
        return gradient, (value, aux) if has_aux else value

    return wrapper


def grad(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives the gradient of `func`, or (gradient, aux).

    Args and errors as `grad_and_value`.

    >>> import duograph as dg
    >>> dg.func.grad(dg.func.grad(lambda x: x ** 3))(dg.tensor(2.0))
    tensor(12.)
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        gradient, value = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapper


def value_and_grad(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """As `grad_and_value`, the value first: (value, gradient), or ((value, aux), gradient)."""
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        gradient, value = both(*args, **kwargs)
        return value, gradient

    return wrapper


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """The function's result, and a function from a tree like it to the products vᵀ·J, one for each primal.

    Returns:  (output, vjp_fn), or (output, vjp_fn, aux); vjp_fn gives a tuple, or the product itself for one primal

    >>> import duograph as dg
    >>> value, pull = dg.func.vjp(lambda x: x * x, dg.tensor([1.0, 2.0]))
    >>> pull(dg.tensor([1.0, 10.0]))
    (tensor([ 2., 40.]),)
    """
    _chosen("vjp", tuple(range(len(primals))), primals)
    given = [rebuild(p, variable) for p in primals]
    variables = [x for p in given for x in _tensors(p)]
    result, aux = _split("vjp", _record(func, given, {}), has_aux)
    outputs = _outputs("vjp", result)
    outside = core.is_grad_enabled() and matters_outside(outputs, variables)

    def pull(*cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        tree = cotangents[0] if len(cotangents) == 1 else cotangents
        seeds = _like("vjp_fn", "the result", tree, result)
        create = core.is_grad_enabled() and (outside or any(s.requires_grad for s in seeds) or core.tracing())
        create = create if create_graph is None else create_graph
        found = iter(pull_back(outputs, variables, seeds, create, retain_graph))
        return tuple(refill(p, found) for p in given)

    shown = _plain(result, outside)
    return (shown, pull, _plain(aux, outside)) if has_aux else (shown, pull)


def _outputs(name: str, result: Any) -> list[Any]:
    found = list(leaves(result))
    if not found or not all(isinstance(x, Tensor) for x in found):
        raise ArgumentError(f"{name}: the function must return tensors only (with has_aux=True, other things as aux)")
    return found


def _like(name: str, whose: str, tree: Any, like: Any) -> list[Any]:
    """The tree's tensors, which must have the shapes of another's."""
    found, wanted = list(leaves(tree)), _tensors(like)
    if len(found) != len(wanted) or not all(isinstance(x, Tensor) for x in found):
        raise ArgumentError(f"{name}: expected a tree of {len(wanted)} tensors like {whose}, got {len(found)} leaves")
    for x, y in zip(found, wanted):
        if tuple(x.shape) != tuple(y.shape) or x.dtype is not y.dtype:
            raise ArgumentError(f"{name}: expected {core.describe(y)}, as {whose} has it, got {core.describe(x)}")
    return found


def jvp(func: Callable[..., Any], primals: tuple[Any, ...], tangents: tuple[Any, ...], *, has_aux: bool = False) -> Any:
    """The function's result and the product J·v with tangents like the primals: (output, jvp), or (output, jvp, aux).

    Each recorded operation gives the tangents of its results from those of its operands, in the order in which they ran; a
    loop or branch of a static function computes both at once, turn by turn, and keeps nothing of its turns.

    >>> import duograph as dg
    >>> dg.func.jvp(lambda x: x * x, (dg.tensor([1.0, 2.0]),), (dg.tensor([1.0, 10.0]),))
    (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        raise ArgumentError("jvp: primals and tangents must be tuples", hint="jvp(f, (x,), (v,))")
    _chosen("jvp", tuple(range(len(primals))), primals)
    vector = _like("jvp", "the primals", tangents, primals)
    given = [rebuild(p, variable) for p in primals]
    variables = [x for p in given for x in _tensors(p)]
    result, aux = _split("jvp", _record(func, given, {}), has_aux)
    outputs = _outputs("jvp", result)
    outside = core.is_grad_enabled() and (matters_outside(outputs, variables) or any(t.requires_grad for t in vector))
    products = push_forward(outputs, variables, vector, outside)
    shown = _plain(result, outside), refill(result, iter(products))
    return (*shown, _plain(aux, outside)) if has_aux else shown


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The function's result, and a function from tangents like the primals to the products J·v.

    `func` runs once, however many products are asked for.

    >>> import duograph as dg
    >>> value, push = dg.func.linearize(lambda x: x * x, dg.tensor([1.0, 2.0]))
    >>> push(dg.tensor([1.0, 10.0]))
    tensor([ 2., 40.])
    """
    _chosen("linearize", tuple(range(len(primals))), primals)
    given = [rebuild(p, variable) for p in primals]
    variables = [x for p in given for x in _tensors(p)]
    result = _record(func, given, {})
    outputs = _outputs("linearize", result)
    outside = core.is_grad_enabled() and matters_outside(outputs, variables)

    def push(*tangents: Any) -> Any:
        vector = _like("linearize", "the primals", tangents, primals)
        create = core.is_grad_enabled() and (outside or any(t.requires_grad for t in vector))
        return refill(result, iter(push_forward(outputs, variables, vector, create)))

    return _plain(result, outside), push


def jacrev(func: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives the Jacobian, row by row: for an output [*S] and an argument [*T] a tensor [*S, *T].

    Returns:  a tree like the output of trees like the argument (or tuples of them, if argnums is a tuple)

    >>> import duograph as dg
    >>> dg.func.jacrev(lambda x: x * x.sum())(dg.tensor([1.0, 2.0]))
    tensor([[4., 1.],
            [2., 5.]])
    """
    return _jacobian("jacrev", func, argnums, has_aux, jacobian_rows)


def jacfwd(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """As `jacrev`, column by column: for functions with fewer inputs than outputs."""
    return _jacobian("jacfwd", func, argnums, has_aux, jacobian_columns)


def hessian(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that gives all second derivatives.

    >>> import duograph as dg
    >>> dg.func.hessian(lambda x: (x ** 3).sum())(dg.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)


def _jacobian(name: str, func: Callable[..., Any], argnums: Argnums, has_aux: bool, compute: Any) -> Callable[..., Any]:
    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        chosen = _chosen(name, argnums, args)
        given = [rebuild(a, variable) if i in chosen else a for i, a in enumerate(args)]
        variables = [x for n in chosen for x in _tensors(given[n])]
        result, aux = _split(name, _record(func, given, kwargs), has_aux)
        outputs = _outputs(name, result)
        outside = core.is_grad_enabled() and matters_outside(outputs, variables)
        table = compute(outputs, variables, outside)

        def row(entries: list[Any]) -> Any:
            found = iter(entries)
            parts = tuple(refill(given[n], found) for n in chosen)
            return parts if isinstance(argnums, tuple) else parts[0]

        jacobian = refill(result, iter([row(entries) for entries in table]))
        return (jacobian, _plain(aux, outside)) if has_aux else jacobian

    return wrapper
