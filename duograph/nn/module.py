"""Module: the base of every network, a tree of parameters, buffers and other modules.

The members live in the instance's own `__dict__`, so that reading `self.weight` in `forward` costs an ordinary attribute
load; the three tables `_parameters`, `_buffers` and `_modules` say which of them are registered, and in which order.
Every change goes through `__setattr__` and bumps the core's epoch, by which static programs notice that a module changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from .. import _core as core
from .._recorded import callee, set_attribute
from ..autograd import no_grad
from ..errors import ArgumentError, DomainError, Error
from .hooks import ACTIVE, registering, run_with_hooks
from .parameter import Buffer, Parameter
from .registration import Hooked
from .scopes import called
from .state import LoadResult, StateError, collect_state, load_into

Self = TypeVar("Self", bound="Module")
Tensor = core.Tensor
tracing = core.tracing

_ABSENT = object()


class RegistrationError(Error, AttributeError, KeyError, TypeError):
    """A member that cannot be registered on a Module, or is not there."""

    __str__ = Error.__str__


class Module(Hooked):
    """Base class of networks: subclass it, create members in `__init__`, compute in `forward`.

    >>> import duograph as dg
    >>> class Net(dg.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.up = dg.nn.Linear(2, 3)
    ...     def forward(self, x):
    ...         return dg.relu(self.up(x))
    >>> Net()
    Net(
      (up): Linear(in_features=2, out_features=3, bias=True)
    )
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _transient: set[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args or kwargs:
            given = ", ".join([repr(a) for a in args] + [f"{k}={v!r}" for k, v in kwargs.items()])
            raise ArgumentError(f"{type(self).__name__}.__init__: Module itself takes no arguments, got {given}")
        members = self.__dict__
        members["training"] = True
        members["_parameters"] = {}
        members["_buffers"] = {}
        members["_modules"] = {}
        members["_transient"] = set()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes. Subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if "_hooks" in self.__dict__ or ACTIVE:
            return run_with_hooks(self, args, kwargs)
        if args and hasattr(args[0].__class__, "__duograph_function__"):
            return args[0].__duograph_function__(self, args, kwargs)
        if tracing():
            return called(self, callee(self.forward), args, kwargs)
        return self.forward(*args, **kwargs)

    # Members -----------------------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        members = self.__dict__
        if members.get(name, _ABSENT) is value:
            return
        is_member = isinstance(value, (Module, Tensor))
        if "_modules" not in members:
            if is_member:
                raise RegistrationError(
                    f"{type(self).__name__}: a member {name!r} was set before super().__init__()",
                    hint="call super().__init__() first in __init__",
                )
            object.__setattr__(self, name, value)
            return
        if isinstance(value, Parameter):
            value = registering("parameter", self, name, value)
            self._forget(name, members["_parameters"])
            members["_parameters"][name] = value
        elif isinstance(value, Module):
            value = registering("module", self, name, value)
            self._forget(name, members["_modules"])
            members["_modules"][name] = value
        elif isinstance(value, Buffer):
            value = registering("buffer", self, name, value)
            self._forget(name, members["_buffers"])
            members["_buffers"][name] = value
            (members["_transient"].discard if getattr(value, "persistent", True) else members["_transient"].add)(name)
        elif name in members["_parameters"]:
            if value is not None:
                raise RegistrationError(
                    f"{type(self).__name__}: {name!r} is a parameter and cannot become a {type(value).__name__}",
                    hint="assign a Parameter or None, or delete the attribute first",
                )
            members["_parameters"][name] = None
        elif name in members["_modules"]:
            if value is not None:
                raise RegistrationError(
                    f"{type(self).__name__}: {name!r} is a module and cannot become a {type(value).__name__}",
                    hint="assign a Module or None, or delete the attribute first",
                )
            members["_modules"][name] = None
        elif name in members["_buffers"]:
            if value is not None and not isinstance(value, Tensor):
                raise RegistrationError(
                    f"{type(self).__name__}: {name!r} is a buffer and cannot become a {type(value).__name__}",
                    hint="assign a Tensor or None, or delete the attribute first",
                )
            members["_buffers"][name] = value
        # Through object: a property or another descriptor of the class keeps its say.
        object.__setattr__(self, name, value)
        core.bump_epoch()

    def __delattr__(self, name: str) -> None:
        members = self.__dict__
        for table in (members["_parameters"], members["_buffers"], members["_modules"]):
            table.pop(name, None)
        members["_transient"].discard(name)
        object.__delattr__(self, name)
        core.bump_epoch()

    def _forget(self, name: str, keep: dict[str, Any]) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            if table is not keep:
                table.pop(name, None)
        self._transient.discard(name)

    def _check_name(self, kind: str, name: str, table: Mapping[str, Any]) -> None:
        if "_modules" not in self.__dict__:
            raise RegistrationError(
                f"{type(self).__name__}: a {kind} was registered before super().__init__()",
                hint="call super().__init__() first in __init__",
            )
        if not isinstance(name, str):
            raise RegistrationError(f"{type(self).__name__}: the name of a {kind} must be a string, got {name!r}")
        if name == "" or "." in name:
            raise RegistrationError(
                f"{type(self).__name__}: the name of a {kind} may neither be empty nor hold a dot, got {name!r}"
            )
        if hasattr(self, name) and name not in table:
            raise RegistrationError(f"{type(self).__name__}: there is already an attribute {name!r}")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter under a name; None keeps the name free of a value (`bias=False`)."""
        self._check_name("parameter", name, self.__dict__.get("_parameters", {}))
        if param is not None and not isinstance(param, Parameter):
            raise RegistrationError(
                f"{type(self).__name__}: {name!r} must be a Parameter or None, got {type(param).__name__}",
                hint="wrap it: nn.Parameter(tensor)",
            )
        self._parameters[name] = self.__dict__[name] = registering("parameter", self, name, param)
        core.bump_epoch()

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a tensor that is state but not trained; `persistent=False` leaves it out of `state_dict`."""
        self._check_name("buffer", name, self.__dict__.get("_buffers", {}))
        if tensor is not None and not isinstance(tensor, Tensor):
            raise RegistrationError(
                f"{type(self).__name__}: buffer {name!r} must be a Tensor or None, got {type(tensor).__name__}"
            )
        self._buffers[name] = self.__dict__[name] = registering("buffer", self, name, tensor)
        if persistent:
            self._transient.discard(name)
        else:
            self._transient.add(name)
        core.bump_epoch()

    def register_module(self, name: str, module: Module | None) -> None:
        """Adds a module under a name."""
        self._check_name("module", name, self.__dict__.get("_modules", {}))
        if module is not None and not isinstance(module, Module):
            raise RegistrationError(f"{type(self).__name__}: {name!r} must be a Module or None, got {type(module).__name__}")
        self._modules[name] = self.__dict__[name] = registering("module", self, name, module)
        core.bump_epoch()

    add_module = register_module

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path; "" is this module."""
        module: Module = self
        for name in target.split(".") if target else ():
            child = module._modules.get(name)
            if child is None:
                known = ", ".join(module._modules) or "none"
                raise RegistrationError(f"{type(module).__name__} has no module {name!r} (of {target!r}); there are: {known}")
            module = child
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path."""
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        parameter = owner._parameters.get(name)
        if parameter is None:
            known = ", ".join(owner._parameters) or "none"
            raise RegistrationError(f"{type(owner).__name__} has no parameter {name!r} (of {target!r}); there are: {known}")
        return parameter

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path."""
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        buffer = owner._buffers.get(name)
        if buffer is None:
            known = ", ".join(owner._buffers) or "none"
            raise RegistrationError(f"{type(owner).__name__} has no buffer {name!r} (of {target!r}); there are: {known}")
        return buffer

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Puts a module at a dotted path; with `strict` there must be one."""
        path, _, name = target.rpartition(".")
        if not target:
            raise DomainError(f"{type(self).__name__}.set_submodule: the path must not be empty")
        if not isinstance(module, Module):
            raise RegistrationError(f"{type(self).__name__}: {target!r} must be a Module, got {type(module).__name__}")
        owner = self.get_submodule(path)
        if (strict or hasattr(owner, name)) and owner._modules.get(name) is None:
            owner.get_submodule(name)
        setattr(owner, name, module)

    # Walking the tree --------------------------------------------------------------------------------------------------

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below, each with its dotted name."""
        seen = set() if memo is None else memo
        if self in seen:
            return
        if remove_duplicate:
            seen.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(seen, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below, each once."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below, each once."""
        seen: set[Module] = set()
        for name, child in self._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        """The modules directly below, each once."""
        for _, child in self.named_children():
            yield child

    def _named_members(self, table: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Tensor]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else iter([(prefix, self)])
        for path, module in modules:
            for name, value in module.__dict__[table].items():
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield (f"{path}.{name}" if path else name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their dotted names; one that is shared comes once."""
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)  # type: ignore[return-value]

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, each once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers with their dotted names."""
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    # Mode, conversion, gradients -----------------------------------------------------------------------------------------

    def train(self: Self, mode: bool = True) -> Self:
        """Sets training mode here and below (dropout draws); returns the module."""
        if not isinstance(mode, bool):
            raise ArgumentError(f"{type(self).__name__}.train: mode must be True or False, got {mode!r}")
        for module in self.modules():
            if module.training is not mode:
                set_attribute(module, "training", mode)
        return self

    def eval(self: Self) -> Self:
        """Sets evaluation mode here and below (dropout is the identity); returns the module."""
        return self.train(False)

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Calls `fn` on every module below, then on this one; returns the module."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def _apply(self: Self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replaces the values of all parameters, gradients and buffers by `fn` of them; the parameters keep their identity."""
        for module in self.modules() if recurse else (self,):
            for parameter in module._parameters.values():
                if parameter is None:
                    continue
                with no_grad():
                    parameter.data = fn(parameter.data)
                    if parameter.grad is not None:
                        gradient = parameter.grad
                        parameter.grad = None
                        parameter.grad = fn(gradient)
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    setattr(module, name, fn(buffer))
        core.bump_epoch()
        return self

    def to(self: Self, *args: Any, **kwargs: Any) -> Self:
        """Moves and converts: `to(device)`, `to(dtype)`, `to(device, dtype)`, `to(tensor)`. Integers keep their dtype."""
        from ..tensors.convert import parse_to

        target = parse_to(f"{type(self).__name__}.to", args, kwargs)
        if target.dtype is not None and not target.dtype.is_floating_point:
            raise ArgumentError(
                f"{type(self).__name__}.to: modules convert to floating-point dtypes only, got {target.dtype.name}"
            )

        def convert(tensor: Tensor) -> Tensor:
            dtype = target.dtype if tensor.dtype.is_floating_point else None
            fits = target.format is None or target.format.rank in (0, tensor.dim())
            return (target if fits else target._replace(format=None)).apply(tensor, dtype)

        return self._apply(convert)

    def to_empty(self: Self, *, device: object = None, recurse: bool = True) -> Self:
        """Gives all parameters and buffers memory of their own that nothing was written to; returns the module."""
        from ..tensors.creation import empty_like

        return self._apply(lambda tensor: empty_like(tensor, device=device), recurse)

    def type(self: Self, dtype: core.DType) -> Self:
        """Converts all parameters and buffers to a dtype."""
        return self._apply(lambda tensor: tensor.to(dtype))

    def float(self: Self) -> Self:
        """Converts floating-point members to float32."""
        return self.to(core.float32)

    def double(self: Self) -> Self:
        """Converts floating-point members to float64."""
        return self.to(core.float64)

    def half(self: Self) -> Self:
        """Converts floating-point members to float16."""
        return self.to(core.float16)

    def bfloat16(self: Self) -> Self:
        """Converts floating-point members to bfloat16."""
        return self.to(core.bfloat16)

    def cpu(self: Self) -> Self:
        """Moves to the CPU."""
        return self.to("cpu")

    def cuda(self: Self, device: object = None) -> Self:
        """There is no CUDA backend: raises DeviceError."""
        return self.to("cuda" if device is None else device)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Sets whether the parameters record gradients; returns the module."""
        for parameter in self.parameters():
            set_attribute(parameter, "requires_grad", bool(requires_grad))
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the parameters' gradients, or fills them with zeros."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad = parameter.grad.detach()
                parameter.grad.zero_()

    # State -----------------------------------------------------------------------------------------------------------------

    def state_dict(
        self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Parameters and persistent buffers by dotted name, detached but sharing memory (`keep_vars=True`: the very objects)."""
        return collect_state(self, {} if destination is None else destination, prefix, keep_vars)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> LoadResult:
        """Copies values by dotted name into this module's parameters and buffers.

        Args:
            strict: every name must match both ways; otherwise the result lists what did not.
            assign: takes the given tensors themselves instead of copying their values.

        Errors: StateError (a RuntimeError) that lists missing, unexpected and differently shaped names.
        """
        return load_into(self, state_dict, strict, assign)

    def get_extra_state(self) -> Any:
        """What a subclass keeps in the state dict beside tensors, as `_extra_state`; it defines `set_extra_state`, too."""
        raise StateError(f"{type(self).__name__} defines set_extra_state but not get_extra_state")

    def set_extra_state(self, state: Any) -> None:
        """Takes what `get_extra_state` gave; called by `load_state_dict`."""
        raise StateError(f"{type(self).__name__} defines get_extra_state but not set_extra_state")

    # Text --------------------------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """The part of `repr` between the parentheses; subclasses say what matters."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {_indent(repr(child))}" for name, child in self._modules.items()]
        if not children and len(lines) <= 1:
            return f"{self._get_name()}({extra})"
        return "\n  ".join([f"{self._get_name()}(", *lines, *children]) + "\n)"

    def __dir__(self) -> list[str]:
        return sorted(set(super().__dir__()))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        core.bump_epoch()


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")
