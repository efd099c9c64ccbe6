"""`duograph convert`: the same numbers in another file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

from .models import proto
from .output import UsageError
from .running import write as write_npz
from .values import read_arrays

WEIGHTS = ("float16", "bfloat16", "int8")
_LEAST = 1024  # elements of a weight that is worth another type


def convert(source: str, target: str, opset: int | None, weights: str | None) -> dict[str, Any]:
    """Write `target` from `source`; what was done, as plain values."""
    ends = tuple(os.path.splitext(path)[1].lower() for path in (source, target))
    if os.path.exists(target) and os.path.samefile(source, target):
        raise UsageError("the target is the source: name another file")
    if ends[0] == ends[1] == ".onnx":
        return _convert_model(source, target, opset, weights)
    if opset or weights:
        raise UsageError("--opset and --weights are for ONNX files")
    if set(ends) <= {".npz", ".safetensors"}:
        return _convert_state(source, target, ends[1])
    raise UsageError(f"convert goes from .onnx to .onnx, and between .npz and .safetensors, not from {ends[0]} to {ends[1]}")


def _convert_state(source: str, target: str, ending: str) -> dict[str, Any]:
    from safetensors.numpy import load_file, save_file

    if source.endswith(".safetensors"):
        arrays = load_file(source)
    else:
        arrays = {str(name): array for name, array in read_arrays(source).items()}
    if ending == ".npz":
        write_npz(target, arrays)
    else:
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        _renamed(target, lambda path: save_file(contiguous, path))
    return {"written": target, "tensors": len(arrays)}


def _convert_model(source: str, target: str, opset: int | None, weights: str | None) -> dict[str, Any]:
    import onnx

    model = proto(source)
    onnx.load_external_data_for_model(model, os.path.dirname(os.path.abspath(source)))
    if opset is not None:
        model = onnx.version_converter.convert_version(model, opset)
    changed = 0 if weights is None else _smaller(model, weights)
    onnx.checker.check_model(model)
    _renamed(target, lambda path: onnx.save(model, path))
    return {"written": target, "opset": {x.domain: x.version for x in model.opset_import}, "weights_changed": changed}


def _smaller(model: Any, kind: str) -> int:
    """Weights of float32 as another type, cast back where the graph reads them."""
    from onnx import TensorProto, helper, numpy_helper

    changed, before = 0, []
    for tensor in list(model.graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or int(np.prod(tensor.dims)) < _LEAST:
            continue
        array, name = numpy_helper.to_array(tensor), tensor.name
        if kind == "int8":
            scale = max(float(np.abs(array).max()), 1e-30) / 127
            stored = numpy_helper.from_array(np.clip(np.rint(array / scale), -127, 127).astype(np.int8), f"{name}.int8")
            model.graph.initializer.append(numpy_helper.from_array(np.array(scale, np.float32), f"{name}.scale"))
            before.append(helper.make_node("DequantizeLinear", [stored.name, f"{name}.scale"], [name], name=f"{name}.read"))
        else:
            number = TensorProto.FLOAT16 if kind == "float16" else TensorProto.BFLOAT16
            stored = _cast(array, f"{name}.{kind}", number)
            before.append(helper.make_node("Cast", [stored.name], [name], name=f"{name}.read", to=TensorProto.FLOAT))
        model.graph.initializer.remove(tensor)
        model.graph.initializer.append(stored)
        changed += 1
    nodes = [*before, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return changed


def _cast(array: np.ndarray[Any, Any], name: str, number: int) -> Any:
    """A tensor of 16-bit floats, rounded to even."""
    from onnx import TensorProto, numpy_helper

    if number == TensorProto.FLOAT16:
        return numpy_helper.from_array(array.astype(np.float16), name)
    from duograph import _core as core
    from duograph.tensors.creation import from_numpy

    made = from_numpy(np.ascontiguousarray(array)).to(core.bfloat16).view(core.int16).numpy()
    return TensorProto(name=name, data_type=number, dims=array.shape, raw_data=made.tobytes())


def _renamed(target: str, save: Callable[[str], None]) -> None:
    """Save under a temporary name in the same folder, then rename."""
    folder = os.path.dirname(os.path.abspath(target))
    handle, temporary = tempfile.mkstemp(dir=folder, suffix=os.path.splitext(target)[1])
    os.close(handle)
    try:
        save(temporary)
        os.replace(temporary, target)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
