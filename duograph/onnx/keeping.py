"""Programs that write, such as training steps: the state that a file has as pairs of inputs and outputs is the model's own.

The metadata `duograph.state` and `duograph.gradients` say which outputs belong to which initialisers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from duograph import _core as core
from duograph.autograd.modes import no_grad

from .errors import ModelError
from .operators.narrow import is_narrow
from .structure import Body


class Kept:
    """What a call leaves behind.

    state, slopes   by the name of an initialiser, the outputs with its next value, and with its gradient
    outputs         what is left of the model's outputs: the results of a call
    """

    def __init__(self, metadata: Mapping[str, str], body: Body) -> None:
        self.state = _pairs(metadata, "duograph.state", body)
        self.slopes = _pairs(metadata, "duograph.gradients", body)
        inner = {*self.state.values(), *self.slopes.values()}
        self.outputs = tuple(name for name in body.outputs if name not in inner)
        self.all = tuple(body.outputs)

    def __bool__(self) -> bool:
        return bool(self.state or self.slopes)

    def follow(self, tensors: Mapping[str, Any], values: Sequence[Any]) -> list[Any]:
        """The results of a call, given the values of all outputs; what else they say is written to these tensors."""
        found = dict(zip(self.all, values))
        with no_grad():
            own = {name: apart(value, tensors) for name, value in found.items()}
            for name, after in self.slopes.items():
                tensors[name].grad = own[after]
            for name, after in self.state.items():
                tensors[name].copy_(own[after])
        return [own[name] for name in self.outputs]


def _pairs(metadata: Mapping[str, str], key: str, body: Body) -> dict[str, str]:
    """A table of the metadata, as far as it is about initialisers. ModelError where it is none, or speaks of other outputs."""
    try:
        found = json.loads(metadata.get(key, "{}"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"onnx.load: the metadata {key} cannot be read: {error}") from None
    outputs = {*body.outputs}
    if not isinstance(found, dict) or not all(isinstance(after, str) for after in found.values()):
        raise ModelError(f"onnx.load: the metadata {key} is no table of names")
    for name, after in found.items():
        if after not in outputs:
            raise ModelError(f"onnx.load: the metadata {key} has the output {after!r} for {name!r}, which the model lacks")
    return {name: after for name, after in found.items() if name in body.initialisers}


def apart(value: Any, tensors: Mapping[str, Any]) -> Any:
    """A value in memory of its own: what is written next must not change it."""
    if not isinstance(value, core.Tensor):
        return value
    return value.clone() if value._base is not None or any(value is other for other in tensors.values()) else value


_ELEMENTS = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "external_data", "data_location")


def without_weights(model: Any, own: bool) -> Any:
    """A model of ONNX whose initialisers have no elements; `own`: it may be this very model."""
    if not own:
        model, given = type(model)(), model
        _copy(model, given, ("graph",))
        _copy(model.graph, given.graph, ("initializer",))
        for tensor in given.graph.initializer:
            _copy(model.graph.initializer.add(), tensor, () if is_narrow(tensor.data_type) else _ELEMENTS)
        return model
    for tensor in model.graph.initializer:
        if not is_narrow(tensor.data_type):
            for name in _ELEMENTS:
                tensor.ClearField(name)
    return model


def _copy(target: Any, source: Any, but: Sequence[str]) -> None:
    for field, value in source.ListFields():
        if field.name in but:
            continue
        if hasattr(value, "extend"):
            getattr(target, field.name).extend(value)
        elif hasattr(value, "CopyFrom"):
            getattr(target, field.name).CopyFrom(value)
        else:
            setattr(target, field.name, value)
