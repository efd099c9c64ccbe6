"""Modules that hold parameters: a list and a dict of them."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .. import _core as core
from ..errors import ArgumentError, BoundsError
from .module import Module, RegistrationError
from .parameter import Parameter


def _parameter(owner: Module, value: Any) -> Any:
    """A tensor as a parameter; anything else as it is."""
    if isinstance(value, core.Tensor) and not isinstance(value, Parameter):
        return Parameter(value, value.dtype.is_floating_point)
    if isinstance(value, Module):
        raise ArgumentError(f"{type(owner).__name__}: holds tensors, got {type(value).__name__}")
    return value


class _Held(Module):
    """Values under names, of which tensors are registered as parameters."""

    def _put(self, name: str, value: Any) -> None:
        value = _parameter(self, value)
        if isinstance(value, Parameter) and name not in self._parameters and name not in self.__dict__:
            self.register_parameter(name, value)
        else:
            setattr(self, name, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise RegistrationError(f"{type(self).__name__}: only holds parameters and cannot be called")

    def _text(self, names: Iterable[str]) -> str:
        rows = []
        for name in names:
            value = self.__dict__[name]
            tensor = isinstance(value, core.Tensor)
            shape = f"{type(value).__name__}: {value.dtype.name}{list(value.shape)}" if tensor else repr(value)
            rows.append(f"  ({name}): {shape}")
        return "\n".join([f"{self._get_name()}(", *rows, ")"]) if rows else f"{self._get_name()}()"


class ParameterList(_Held):
    """A list of parameters, all of them registered; a plain tensor becomes one.

    >>> import duograph as dg
    >>> held = dg.nn.ParameterList([dg.zeros(2), dg.zeros(3)])
    >>> len(held), [name for name, _ in held.named_parameters()]
    (2, ['0', '1'])
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._count = 0
        self.extend(() if values is None else values)

    def _name(self, index: Any) -> str:
        place = operator.index(index)
        if not -self._count <= place < self._count:
            raise BoundsError(f"ParameterList: index {place} is out of range, it holds {self._count}")
        return str(place % self._count)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        return iter([self.__dict__[str(i)] for i in range(self._count)])

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return self.__dict__[self._name(index)]

    def __setitem__(self, index: int, value: Any) -> None:
        self._put(self._name(index), value)

    def append(self, value: Any) -> ParameterList:
        """Adds one at the end; returns the list."""
        self._put(str(self._count), value)
        self._count += 1
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Adds several at the end; returns the list."""
        if isinstance(values, core.Tensor) or not isinstance(values, Iterable):
            raise ArgumentError(f"ParameterList: expected several tensors, got {type(values).__name__}")
        for value in list(values):
            self.append(value)
        return self

    def __iadd__(self, values: Iterable[Any]) -> ParameterList:
        return self.extend(values)

    def __contains__(self, value: object) -> bool:
        return any(held is value for held in self)

    def __repr__(self) -> str:
        return self._text(map(str, range(self._count)))


class ParameterDict(_Held):
    """A dict of parameters, all of them registered; a plain tensor becomes one.

    >>> import duograph as dg
    >>> held = dg.nn.ParameterDict({"left": dg.zeros(2)})
    >>> [name for name, _ in held.named_parameters()]
    ['left']
    """

    def __init__(self, values: Any = None) -> None:
        super().__init__()
        self._keys: dict[str, None] = {}
        if values is not None:
            self.update(values)

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys:
            raise RegistrationError(f"ParameterDict has no {key!r}; there are: {', '.join(self._keys) or 'none'}")
        return self.__dict__[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise ArgumentError(f"ParameterDict: a key must be a str, got {key!r}")
        if key not in self._keys and hasattr(self, key):
            raise RegistrationError(f"ParameterDict: {key!r} is the name of an attribute", hint="use another key")
        self._put(key, value)
        self._keys[key] = None

    def __delitem__(self, key: str) -> None:
        self[key]
        del self._keys[key]
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._keys))

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def keys(self) -> Iterable[str]:
        """The names in order."""
        return self._keys.keys()

    def values(self) -> Iterable[Any]:
        """The parameters in order."""
        return [self.__dict__[key] for key in self._keys]

    def items(self) -> Iterable[tuple[str, Any]]:
        """Names and parameters in order."""
        return [(key, self.__dict__[key]) for key in self._keys]

    def get(self, key: str, default: Any = None) -> Any:
        """The parameter of that name, or the default."""
        return self[key] if key in self._keys else default

    def pop(self, key: str) -> Any:
        """Removes and returns one."""
        found = self[key]
        del self[key]
        return found

    def update(self, values: Any) -> None:
        """Adds those of a mapping or of pairs."""
        for key, value in values.items() if isinstance(values, (Mapping, ParameterDict)) else values:
            self[key] = value

    def __repr__(self) -> str:
        return self._text(self._keys)
