"""Functions that make a layer and call it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from duograph.errors import ArgumentError

from ..layer import Layer


def function_of(layer: type[Layer], name: str) -> Callable[..., Any]:
    """The function of inputs, the class's arguments and `reuse` that calls a new layer: in the scope `name`, if that is given."""
    own = [p for p in list(inspect.signature(layer.__init__).parameters.values())[1:] if p.kind is p.POSITIONAL_OR_KEYWORD]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature([inspect.Parameter("inputs", kind), *own, inspect.Parameter("reuse", kind, default=None)])

    def apply(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise ArgumentError(
                f"tf.layers.{name}: {error}", hint=f"its arguments are {', '.join(signature.parameters)}"
            ) from None
        inputs, reuse, scope = given.pop("inputs"), given.pop("reuse", None), given.get("name")
        if reuse and scope is None:
            raise ArgumentError(
                f"tf.layers.{name}: reuse={reuse} without a name", hint="name the layer whose variables are meant"
            )
        return layer(**given, _reuse=reuse, _scope=scope)(inputs)

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = f"Calls a new `{layer.__name__}`: {layer.__doc__}"
    apply.__signature__ = signature  # type: ignore[attr-defined]
    return apply
