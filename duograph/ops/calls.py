"""Calls whose arguments an operator's parameter table does not know: `out=`, a wider operator's, PyTorch's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ArgumentError, DTypeError, GradError

from .arguments import refuse_deprecated, rename, renamed
from .definition import FLAG_INPLACE, FLAG_NONDIFFERENTIABLE, OPERAND_KINDS, RANDOM, TENSOR, VIEW, Definition, copy_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from duograph._core import Tensor


def misfit(op: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Hook of the core: the result of a call that the parameter table refuses, or NotImplemented."""
    later = taken_by(args, keywords)
    if later is not None:
        return later(op, args, keywords)
    definition: Definition | None = op.definition
    if definition is None:
        return NotImplemented
    if "out" in keywords:
        out = keywords.pop("out")
        return op(*args, **keywords) if out is None else call_into(op, out, args, keywords)
    if "generator" in keywords and definition.kind == RANDOM:
        from .randomness.generators import drawn_from

        return drawn_from(keywords.pop("generator"), op, *args, **keywords)
    if "memory_format" in keywords:
        order = keywords.pop("memory_format")
        made = op(*args, **keywords)
        return order.laid_out(definition.name, made) if getattr(order, "rank", 0) else made
    refuse_deprecated(definition.name, keywords, [name for name, _, _ in definition.params])
    operands = [name for name, kind, _ in definition.params if kind in OPERAND_KINDS]
    ours = renamed(keywords, definition.names, operands, [name for name, _, _ in definition.params])
    if ours is not None:
        return op(*args, **ours)
    if definition.receives and args:
        wider = definition.base.wider if definition.base is not None else None
        return NotImplemented if wider is None else call_into(wider, args[0], args[1:], keywords)
    return NotImplemented if definition.wider is None else _call_wider(definition, args, keywords)


def taken_by(args: Iterable[Any], keywords: dict[str, Any]) -> Any:
    """What takes a call itself: the `__duograph_function__` of an argument, or of an item of one, that has one."""
    for value in (*args, *keywords.values()):
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if hasattr(type(item), "__duograph_function__"):
                return item.__duograph_function__
    return None


def _call_wider(definition: Definition, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """The wider operator's result; its errors bear the name by which the user called it."""
    wider = definition.wider
    try:
        return wider(*args, **keywords)
    except ArgumentError as error:
        rename(error, definition.name)
        raise


def call_into(op: Any, out: Any, args: Sequence[Any], keywords: dict[str, Any]) -> Any:
    """The call with its results written into `out`: a tensor, or one per result.

    An empty tensor of another shape takes the result's. As in PyTorch nothing is recorded, so no operand may need a gradient.
    """
    name = op.name
    targets = _targets(name, out, args, keywords)
    form = _into_form(op.definition)
    if out is not targets[0] or form is None or _is_empty(out):
        return _copied_into(name, out, _as_given(op, args, keywords))
    form(out, *args, **keywords)
    return out


def _is_empty(x: Any) -> bool:
    """Whether a target surely has no elements, so that it takes the result's shape."""
    return any(type(size) is int and size == 0 for size in x.shape)


def function_into(function: Any, name: str, out: Any, args: Sequence[Any], keywords: dict[str, Any]) -> Any:
    """The same for a function that picks among operators."""
    if out is None:
        return function(*args, **keywords)
    _targets(name, out, args, keywords)
    return _copied_into(name, out, _as_given(function, args, keywords))


def _as_given(function: Any, args: Sequence[Any], keywords: dict[str, Any]) -> Any:
    """The result of a call in the dtypes of its arguments, whatever autocast says."""
    state = core.autocast()
    core.set_autocast((False, *state[1:]))
    try:
        return function(*args, **keywords)
    finally:
        core.set_autocast(state)


def _targets(name: str, out: Any, args: Sequence[Any], keywords: dict[str, Any]) -> Sequence[Any]:
    """What `out=` names, as a sequence."""
    targets: Sequence[Any] = out if isinstance(out, (tuple, list)) else (out,)
    if not all(isinstance(x, core.Tensor) for x in targets):
        raise ArgumentError(f"{name}: out must be a Tensor, or a tuple of them, not {type(out).__name__}")
    if core.is_grad_enabled() and any(x.requires_grad for x in (*tensors_in(args), *tensors_in(keywords.values()), *targets)):
        raise GradError(
            f"{name}: out= is not recorded for gradients, but an operand or the target requires grad",
            hint="call it under no_grad, or without out=",
        )
    return targets


def tensors_in(values: Any) -> Iterator[Tensor]:
    """The tensors among arguments, and in their tuples and lists."""
    for value in values:
        if isinstance(value, core.Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from tensors_in(value)


def _into_form(definition: Definition) -> Any:
    """The operator that writes `definition`'s result into its first argument, made on first use; None if there is none."""
    if definition.base is not None or definition.writes or definition.kind == VIEW:
        return None
    if definition.into is None:
        form = copy_of(definition)
        form.name = f"{definition.name}_out"
        form.params = (("out", TENSOR, core.REQUIRED), *definition.params)
        form.flags = definition.flags | FLAG_INPLACE | FLAG_NONDIFFERENTIABLE
        form.base, form.receives, form.autocast = definition, True, ""
        form.op = core.Op(form.name, form.params, form.flags, form, inplace_of=definition.op)
        definition.into = form.op
    return definition.into


def _copied_into(name: str, out: Any, result: Any) -> Any:
    """Results copied into their targets; an empty target of another shape becomes the result."""
    many = isinstance(out, (tuple, list))
    values = result if isinstance(result, (tuple, list)) else (result,)
    targets = out if many else (out,)
    if len(targets) != len(values) or not all(isinstance(value, core.Tensor) for value in values):
        raise ArgumentError(f"{name}: out= takes as many tensors as there are results, {len(values)}, got {len(targets)}")
    for target, value in zip(targets, values):
        order = "buif"
        if order.index(value.dtype.kind) > order.index(target.dtype.kind):
            raise DTypeError(f"{name}: the result is {value.dtype.name} and cannot be written into a {target.dtype.name} tensor")
        if _is_empty(target) and tuple(target.shape) != tuple(value.shape):
            target.data = value.to(target.dtype)
        else:
            target.copy_(value)
    return out
