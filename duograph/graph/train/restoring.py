"""Initial values from a checkpoint: for part of a graph, or from other names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from duograph.errors import ArgumentError, DTypeError, FileError, GraphError, ShapeError

from ..building import get_default_graph
from ..constants import constant
from ..variables import Variable, assign, global_variables
from .checkpoints import like, load_checkpoint

__all__ = ["init_from_checkpoint"]


def init_from_checkpoint(ckpt_dir_or_file: Any, assignment_map: Mapping[str, Any]) -> None:
    """Makes values of a checkpoint the initial values of variables: their initializers give them from now on.

    Args:
        ckpt_dir_or_file: a checkpoint, or a directory with the text that says which is the latest.
        assignment_map: from names in the checkpoint to variables or their names; from the scope "theirs/" to the scope
            "ours/", each variable of which has its counterpart; "/" is all there is.

    Errors:   FileError for a name that the checkpoint lacks; GraphError if the graph lacks it; ShapeError, DTypeError
    """
    reader = load_checkpoint(ckpt_dir_or_file)
    known = {v.node.name: v for v in global_variables()}
    for theirs, ours in assignment_map.items():
        if isinstance(ours, str) and (theirs.endswith("/") or ours.endswith("/")):
            found = _of_scope(theirs, ours, known)
        else:
            found = [(theirs, _variable(ours, known))]
        for name, variable in found:
            _begin_with(reader, name, variable)


def _variable(value: Any, known: dict[str, Variable]) -> Variable:
    if isinstance(value, Variable):
        return value
    if not isinstance(value, str):
        raise ArgumentError(f"init_from_checkpoint: {value!r} is no variable, and no name of one")
    if value not in known:
        raise GraphError(f"init_from_checkpoint: the graph has no variable {value!r}", hint=like(value, known))
    return known[value]


def _of_scope(theirs: str, ours: str, known: dict[str, Variable]) -> list[tuple[str, Variable]]:
    start, other = (x.rstrip("/") + "/" if x.strip("/") else "" for x in (ours, theirs))
    found = [(other + name[len(start) :], v) for name, v in known.items() if name.startswith(start)]
    if not found:
        raise GraphError(f"init_from_checkpoint: the graph has no variables in the scope {ours!r}")
    return found


def _begin_with(reader: Any, name: str, variable: Variable) -> None:
    if not reader.has_tensor(name):
        raise FileError(
            f"init_from_checkpoint: {reader.path!r} has no {name!r}, with which variable {variable.node.name!r} is to begin",
            [variable.node.built_at],
            hint=like(name, reader.get_variable_to_shape_map()),
        )
    shape, dtype = reader.get_variable_to_shape_map()[name], reader.get_variable_to_dtype_map()[name]
    of, where = f"init_from_checkpoint: {name!r}", [variable.node.built_at]
    if not variable.shape.is_compatible_with(shape):
        raise ShapeError(
            f"{of} has shape {tuple(shape)}, variable {variable.node.name!r} {variable.shape}", [variable.node.built_at]
        )
    if dtype is not variable.dtype:
        raise DTypeError(f"{of} is {dtype.name}, variable {variable.node.name!r} {variable.dtype.name}", where)
    graph = get_default_graph()
    with graph.name_scope("init_from_checkpoint"), graph.control_dependencies(None):
        variable.initial_value = constant(reader.get_tensor(name), dtype)
        variable._initializer = assign(variable, variable.initial_value).op
