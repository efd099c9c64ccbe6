"""Modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from .. import _core as core
from ..errors import ArgumentError
from ..nn.module import Module
from ..nn.parameter import Parameter

Tensor = core.Tensor


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """What the module gives with these tensors in the place of its parameters and buffers.

    The module is as before afterwards, but for what its forward itself changes: writes to buffers go to those given.

    Args:
        parameter_and_buffer_dicts: tensors by the names of `named_parameters()` and `named_buffers()`; or several such
            dicts without common names. Those left out are the module's own.
        args: the positional arguments: a tuple, or one that is none.
        kwargs: the keyword arguments.
        tie_weights: whether a tensor also replaces the same parameter under its other names.
        strict: whether all parameters and buffers must be given.

    Gradient: to the tensors given
    Errors:   ArgumentError for unknown names, for one under two, and for missing ones if strict
    Source:   torch.func.functional_call

    >>> import duograph as dg
    >>> layer = dg.nn.Linear(2, 1, bias=False)
    >>> dg.func.functional_call(layer, {"weight": dg.tensor([[1.0, 2.0]])}, dg.ones(2))
    tensor([3.])
    """
    given = _joined(parameter_and_buffer_dicts)
    arguments = args if isinstance(args, tuple) else (args,)
    with _replaced(module, given, tie_weights, strict):
        return module(*arguments, **(kwargs or {}))


def _joined(dicts: Any) -> dict[str, Tensor]:
    if isinstance(dicts, Mapping):
        return dict(dicts)
    joined: dict[str, Tensor] = {}
    for each in dicts:
        twice = [name for name in each if name in joined]
        if twice:
            raise ArgumentError(f"functional_call: {twice[0]!r} is given twice")
        joined.update(each)
    return joined


def _places(module: Module) -> Iterator[tuple[str, Module, str, str, Any]]:
    """Name, owner, table, local name and tensor of every parameter and buffer, also of those met before."""
    for prefix, owner in module.named_modules(remove_duplicate=False):
        for table in ("_parameters", "_buffers"):
            for local, tensor in owner.__dict__[table].items():
                if tensor is not None:
                    yield f"{prefix}.{local}" if prefix else local, owner, table, local, tensor


@contextmanager
def _replaced(module: Module, given: Mapping[str, Tensor], tie_weights: bool, strict: bool) -> Iterator[None]:
    if not isinstance(module, Module):
        raise ArgumentError(f"functional_call: expected a Module, got {type(module).__name__}")
    places = list(_places(module))
    known = {name for name, *_ in places}
    own = {id(tensor): given[name] for name, _, _, _, tensor in places if name in given} if tie_weights else {}
    unknown = [name for name in given if name not in known]
    missing = [name for name, *_, tensor in places if name not in given and id(tensor) not in own]
    if unknown or (strict and missing):
        told = f"{type(module).__name__} has no {unknown[0]!r}" if unknown else f"{missing[0]!r} is not given"
        raise ArgumentError(
            f"functional_call: {told}", hint=f"its parameters and buffers are {', '.join(sorted(known)) or 'none'}"
        )
    changed = []
    try:
        for name, owner, table, local, tensor in places:
            new = given.get(name, own.get(id(tensor)))
            if new is None:
                continue
            if not isinstance(new, Tensor):
                raise ArgumentError(f"functional_call: {name!r} must be a Tensor, got {type(new).__name__}")
            changed.append((owner, table, local, tensor))
            _set(owner, table, local, new)
        yield
    finally:
        for place in changed:
            _set(*place)


def _set(owner: Module, table: str, local: str, tensor: Tensor) -> None:
    owner.__dict__[table][local] = tensor
    owner.__dict__[local] = tensor
    core.bump_epoch()


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the buffers of modules of one kind, each stacked along a new first dimension, for `vmap`.

    Errors:   ArgumentError for no modules, or modules of several classes
    Source:   torch.func.stack_module_state

    >>> import duograph as dg
    >>> parameters, buffers = dg.func.stack_module_state([dg.nn.Linear(2, 3) for _ in range(4)])
    >>> parameters["weight"].shape
    duograph.Size([4, 3, 2])
    """
    from ..ops import stack

    if not models or any(type(m) is not type(models[0]) for m in models):
        raise ArgumentError("stack_module_state: expected several modules of one class")
    made: list[dict[str, Tensor]] = []
    for table in ("named_parameters", "named_buffers"):
        columns: dict[str, list[Tensor]] = {}
        for model in models:
            for name, tensor in getattr(model, table)():
                columns.setdefault(name, []).append(tensor)
        made.append({name: _leaf(stack([x.detach() for x in column]), column[0]) for name, column in columns.items()})
    return made[0], made[1]


def _leaf(made: Tensor, like: Tensor) -> Tensor:
    return made.requires_grad_() if isinstance(like, Parameter) and like.requires_grad else made
