"""Parametrizations: a parameter or buffer that is computed, by Modules, from one that is trained in its place."""

from __future__ import annotations

from _thread import _local
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ... import _core as core
from ...autograd import no_grad
from ...errors import ArgumentError, DomainError
from ..container import ModuleDict, ModuleList
from ..module import Module
from ..parameter import Parameter

Tensor = core.Tensor

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]


class _Cache(_local):
    """Values computed inside of `cached`, per thread."""

    def __init__(self) -> None:
        self.depth = 0
        self.values: dict[tuple[int, str], Tensor] = {}


_cache = _Cache()


@contextmanager
def cached() -> Iterator[None]:
    """Inside, each parametrized tensor is computed once and kept until the end of the outermost `cached`.

    A static function needs none of this: what is computed twice from the same values is computed once there.
    """
    _cache.depth += 1
    try:
        yield
    finally:
        _cache.depth -= 1
        if not _cache.depth:
            _cache.values.clear()


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, applied in order, and the originals they start from.

    `original` if there is one, or `original0`, `original1`, … if the first parametrization's `right_inverse` gives several.
    """

    original: Any

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        if not modules:
            raise ArgumentError("ParametrizationList: needs at least one parametrization")
        super().__init__(modules)
        self.unsafe = unsafe
        start = _inverse(list(modules), original)
        self.is_tensor = isinstance(start, Tensor)
        if self.is_tensor:
            _check_dtype(original, start)
            with no_grad():
                if start is not original:
                    original.data = start.detach()
            _register(self, "original", original)
            self.ntensors = 1
        else:
            if not isinstance(start, (tuple, list)) or not all(isinstance(x, Tensor) for x in start):
                raise ArgumentError(f"right_inverse must give a Tensor or a tuple of them, not {type(start).__name__}")
            self.ntensors = len(start)
            for i, x in enumerate(start):
                _check_dtype(original, x)
                kept = Parameter(x.detach(), original.requires_grad) if isinstance(original, Parameter) else x
                _register(self, f"original{i}", kept)
        if not unsafe:
            _check_value(self, original)

    def right_inverse(self, value: Tensor) -> None:
        """Sets the originals so that the result is `value`, by the parametrizations' `right_inverse`."""
        for module in self:
            if not hasattr(module, "right_inverse"):
                raise ArgumentError(
                    f"{type(module).__name__} has no right_inverse, so what the originals must be for a value is not known",
                    hint="define right_inverse(value), or write to .original under no_grad",
                )
        with no_grad():
            start = _inverse(list(self), value)
            given = (start,) if self.is_tensor else tuple(start)
            if len(given) != self.ntensors or not all(isinstance(x, Tensor) for x in given):
                raise ArgumentError(f"right_inverse must give {self.ntensors} tensors as before, got {type(start).__name__}")
            for original, x in zip(self._originals(), given):
                _check_dtype(original, x)
                original.data = x.detach()
        core.bump_epoch()

    def _originals(self) -> tuple[Tensor, ...]:
        return (self.original,) if self.is_tensor else tuple(getattr(self, f"original{i}") for i in range(self.ntensors))

    def forward(self) -> Any:
        """The tensor that the Module shows."""
        first, *others = self
        x = first(*self._originals())
        for parametrization in others:
            x = parametrization(x)
        return x


def _inverse(modules: list[Module], value: Tensor) -> Any:
    """What the originals must be for `value`; parametrizations without `right_inverse` are passed over."""
    found: Any = value
    with no_grad():
        for module in reversed(modules):
            if hasattr(module, "right_inverse"):
                try:
                    found = module.right_inverse(found)
                except NotImplementedError:
                    continue
    return found


def _register(module: Module, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _check_dtype(original: Tensor, found: Tensor) -> None:
    if original.dtype != found.dtype:
        raise DomainError(f"right_inverse gave {found.dtype.name} for a {original.dtype.name} tensor; the dtype must stay")


def _check_value(parametrization: Any, original: Tensor, *args: Any) -> None:
    with no_grad():
        found = parametrization(*args)
    if not isinstance(found, Tensor):
        raise ArgumentError(f"a parametrization must give a Tensor, not {type(found).__name__}")
    if found.dtype != original.dtype or tuple(found.shape) != tuple(original.shape):
        raise DomainError(
            f"a parametrization must keep dtype and shape: it makes {core.describe(found)} of {core.describe(original)}",
            hint="unsafe=True allows it",
        )


def register_parametrization(module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False) -> Module:
    """From now on `module.<tensor_name>` is `parametrization(original)`; several are applied in the order of registration.

    Args:
        module: whose parameter or buffer it is; its class becomes a subclass of its own.
        parametrization: a Module from a tensor to a tensor of the same shape and dtype. With a method `right_inverse`, the
            original is set when the first one is registered, so that the value stays if it can, and when the attribute is
            assigned to.
        unsafe: a parametrization may change shape and dtype.

    Returns:  the module
    Errors:   ArgumentError if there is no such parameter or buffer; DomainError if shape or dtype change

    >>> import duograph as dg
    >>> class Symmetric(dg.nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).T
    >>> layer = dg.nn.utils.parametrize.register_parametrization(dg.nn.Linear(3, 3), "weight", Symmetric())
    >>> bool((layer.weight == layer.weight.T).all())
    True
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        kept = _table(module)[tensor_name]
        if not (unsafe or kept.unsafe):
            _check_value(parametrization, getattr(module, tensor_name), getattr(module, tensor_name))
        kept.append(parametrization)
        kept.unsafe = kept.unsafe or unsafe
        return module
    if tensor_name not in module._parameters and tensor_name not in module._buffers:
        raise ArgumentError(
            f"register_parametrization: {type(module).__name__} has no parameter, buffer or parametrized tensor {tensor_name!r}"
        )
    original = getattr(module, tensor_name)
    made = ParametrizationList([parametrization], original, unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        _change_class(module)
        setattr(module, "parametrizations", ModuleDict())  # noqa: B010 - the class does not know it
    setattr(type(module), tensor_name, _property(tensor_name))
    _table(module)[tensor_name] = made
    core.bump_epoch()
    return module


def _table(module: Module) -> Any:
    return module.__dict__["parametrizations"]


def _property(name: str) -> property:
    def get(self: Module) -> Any:
        if not _cache.depth or core.tracing():
            return _table(self)[name]()
        key = (id(self), name)
        if key not in _cache.values:
            _cache.values[key] = _table(self)[name]()
        return _cache.values[key]

    def put(self: Module, value: Tensor) -> None:
        _table(self)[name].right_inverse(value)

    return property(get, put)


def _change_class(module: Module) -> None:
    """Gives the module a class of its own, on which properties can stand for its tensors."""
    base = type(module)

    def set_attribute(self: Module, name: str, value: Any) -> None:
        if isinstance(type(self).__dict__.get(name), property):
            object.__setattr__(self, name, value)
            _cache.values.pop((id(self), name), None)
        else:
            base.__setattr__(self, name, value)

    own = type(f"Parametrized{base.__name__}", (base,), {"__setattr__": set_attribute, "__module__": base.__module__})
    object.__setattr__(module, "__class__", own)


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether the module has a parametrized tensor, or whether this one is."""
    table = module.__dict__.get("parametrizations")
    if not isinstance(table, ModuleDict):
        return False
    return len(table) > 0 if tensor_name is None else tensor_name in table


def type_before_parametrizations(module: Module) -> type:
    """The module's class without the one that parametrizations made."""
    return type(module).__mro__[1] if is_parametrized(module) else type(module)


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Makes a tensor an ordinary parameter or buffer again.

    Args:
        leave_parametrized: it keeps its present value; False gives it the original's (if there is one original).

    Errors:   ArgumentError if it is not parametrized; DomainError for leave_parametrized=False with several originals
    """
    if not is_parametrized(module, tensor_name):
        raise ArgumentError(f"remove_parametrizations: {tensor_name!r} of {type(module).__name__} is not parametrized")
    kept = _table(module)[tensor_name]
    if kept.is_tensor:
        original = kept.original
        if leave_parametrized:
            with no_grad():
                original.data = getattr(module, tensor_name).detach()
    elif leave_parametrized:
        value = getattr(module, tensor_name)
        original = Parameter(value.detach()) if value.requires_grad else value.detach()
    else:
        raise DomainError("remove_parametrizations: leave_parametrized=False needs a single original; here there are several")
    delattr(type(module), tensor_name)
    del _table(module)[tensor_name]
    if not len(_table(module)):
        base = type(module).__mro__[1]
        delattr(module, "parametrizations")
        object.__setattr__(module, "__class__", base)
    _register(module, tensor_name, original)
    core.bump_epoch()
    return module


def transfer_parametrizations_and_params(from_module: Module, to_module: Module, tensor_name: str | None = None) -> Module:
    """Parametrizes `to_module` as `from_module` is: with the same Modules, and the same originals.

    Args:
        tensor_name: of this tensor only (default: of all that are parametrized).

    Returns: to_module
    Errors:  ArgumentError if there is nothing to transfer
    """
    if not is_parametrized(from_module, tensor_name):
        raise ArgumentError(f"transfer_parametrizations_and_params: {type(from_module).__name__} has no such parametrization")
    for name in [tensor_name] if tensor_name is not None else list(_table(from_module)):
        source = _table(from_module)[name]
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach()))
        for parametrization in source:
            register_parametrization(to_module, name, parametrization, unsafe=source.unsafe)
        kept = _table(to_module)[name]
        for key in ["original"] if source.is_tensor else [f"original{i}" for i in range(source.ntensors)]:
            setattr(kept, key, getattr(source, key))
    return to_module
