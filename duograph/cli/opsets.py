"""A model in another version of ONNX's operators."""

from __future__ import annotations

from typing import Any

from duograph.errors import Error

from .checking import allowed, difference
from .models import call, load, tensors
from .output import UsageError
from .values import Choice, inputs_for

_TOLERANCE = 1e-4  # of the largest element of an output
_LARGEST = 1 << 30  # bytes of a model that the checker takes as it is


def other_opset(model: Any, opset: int) -> Any:
    """The model in another opset: by ONNX's own converter, or, where that knows no way, as the program that it is for us.

    Functions go where they are called.
    """
    from onnx import checker, defs, inliner, version_converter

    newest = defs.onnx_opset_version()
    if not 0 < opset <= newest:
        raise UsageError(f"--opset goes up to {newest}, which the installed onnx knows, not {opset}")
    try:
        made = version_converter.convert_version(inliner.inline_local_functions(model) if model.functions else model, opset)
        if made.ByteSize() < _LARGEST:
            checker.check_model(made)
    except Exception as error:  # they have no class of their own
        made = _written_again(model, opset, str(error).strip().rpartition("failed: ")[2].splitlines()[0])
    else:
        if _differs(model, made):
            made = _written_again(model, opset, "its model computes something else")
    for row in model.metadata_props:
        if row.key not in {each.key for each in made.metadata_props}:
            made.metadata_props.append(row)
    return made


def _differs(model: Any, made: Any) -> bool:
    """Whether two models give other results for the same inputs, as far as they run and give the same each time."""
    try:
        before = load(model)
        arrays = inputs_for(before, (), Choice())
        wanted, again = call(before, arrays), call(before, arrays)
    except (Error, UsageError):
        return False
    if any(difference(again[name], x) for name, x in wanted.items()):
        return False
    try:
        found = call(load(made), arrays)
    except Error:
        return True
    return wanted.keys() != found.keys() or any(difference(found[name], x) > allowed(x, _TOLERANCE) for name, x in wanted.items())


def _written_again(model: Any, opset: int, reason: str) -> Any:
    """The program of the model, exported in that opset, if it has the same inputs and outputs and computes the same."""
    import duograph as dg
    from duograph.onnx.exporting.building import OLDEST

    refused = f"--opset {opset}: onnx's converter: {reason}"
    if opset < OLDEST:
        raise UsageError(f"{refused}; models can be written anew from opset {OLDEST}")
    before = load(model)
    names = {size for about in before.input_types for size in about.shape or () if isinstance(size, str)}
    try:
        choice = Choice({name: 2 + number for number, name in enumerate(sorted(names))})  # 1 may mean something else
        given = tuple(tensors(inputs_for(before, (), choice)).values())
        exported: Any = dg.onnx.export(before, given, opset_version=opset)
        after = load(exported.model_proto)
    except (Error, UsageError) as error:
        raise UsageError(f"{refused}; nor can it be written anew: {error}") from None
    shapes = [[(about.name, about.shape) for about in each.input_types] for each in (before, after)]
    if shapes[0] != shapes[1] or before.outputs != after.outputs:
        raise UsageError(f"{refused}; written anew it would take other inputs")
    if _differs(model, exported.model_proto):
        raise UsageError(f"{refused}; written anew it computes something else")
    return exported.model_proto
