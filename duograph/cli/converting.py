"""`duograph convert`: the same numbers in another file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .models import array_of, call, load, tensors
from .models import source as source_of
from .opsets import other_opset
from .output import UsageError, show_json, show_pairs
from .values import read_arrays
from .writing import replacing, target_of, write_arrays

WEIGHTS = ("float16", "bfloat16", "int8")
_LEAST = 1024  # elements of a weight that is worth another type
_LEAST_OF_SCALE = 8  # elements that share a scale
_OPSETS = {"float16": 6, "bfloat16": 13, "int8": 13}  # from which there are operators that read such weights
_LARGEST = 1_900_000_000  # bytes of a model whose weights lie in its own file


def convert(source: str, target: str, opset: int | None, weights: str | None) -> dict[str, Any]:
    """Write `target` from `source`; what was done, as plain values."""
    ends = tuple(os.path.splitext(path)[1].lower() for path in (source, target))
    target_of(target, (ends[1],), (source,))
    if ends[0] == ends[1] == ".onnx":
        return _convert_model(source, target, opset, weights)
    if opset or weights:
        raise UsageError("--opset and --weights are for ONNX files")
    if ends == (".onnx", ".py"):
        return _convert_to_python(source, target)
    if ends[0] in (".onnx", ".npz", ".safetensors") and ends[1] in (".npz", ".safetensors"):
        return _convert_state(source, target, ends)
    raise UsageError(
        "convert goes from .onnx to .onnx, between .npz and .safetensors, and from .onnx to these and .py, "
        f"not from {ends[0] or repr(source)} to {ends[1] or repr(target)}"
    )


def _convert_to_python(source: str, target: str) -> dict[str, Any]:
    """The model as a module of Python, with its weights beside it."""
    load(source).to_python(target)
    return {"written": target}


# ---- state dicts


def _convert_state(source: str, target: str, ends: tuple[str, ...]) -> dict[str, Any]:
    import duograph as dg

    if ends[0] == ".onnx":
        found = dict(_initialisers(source))
    elif ends[0] == ".npz":
        found = tensors({str(name): array for name, array in read_arrays(source).items()})
    else:
        found = _leaves(dg.load(source))
    if ends[1] == ".npz":
        write_arrays(target, {name: array_of(value) for name, value in found.items()})
    else:
        with replacing(target) as temporary:
            dg.save(found, temporary)
    return {"written": target, "tensors": len(found)}


def _initialisers(path: str) -> Iterator[tuple[str, Any]]:
    from duograph.onnx.reading import tensor_data

    read = source_of(path)
    for tensor in read.model.graph.initializer:
        yield tensor.name, tensor_data(tensor, read.folder, f"initialiser {tensor.name!r}").tensor()


def _leaves(value: Any, name: str = "") -> dict[str, Any]:
    """The tensors of a state, in dicts and lists: their names joined by dots."""
    from duograph import _core as core

    if isinstance(value, core.Tensor):
        return {name: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    return {key: leaf for part, inner in items for key, leaf in _leaves(inner, f"{name}.{part}" if name else str(part)).items()}


# ---- models


def _convert_model(source: str, target: str, opset: int | None, weights: str | None) -> dict[str, Any]:
    import onnx
    from onnx.external_data_helper import load_external_data_for_model

    from duograph.onnx.reading import tensor_data

    read = source_of(source)
    model = read.model
    for tensor in model.graph.initializer:
        tensor_data(tensor, read.folder, f"initialiser {tensor.name!r}")  # refuses places outside of the folder
    load_external_data_for_model(model, os.path.dirname(os.path.abspath(source)))
    if opset is not None:
        model = other_opset(model, opset)
    changed = 0 if weights is None else _smaller(model, weights)
    if changed:
        _repeat_example(model)
    if model.ByteSize() > _LARGEST:
        _save_in_two(model, target)
    else:
        try:
            onnx.checker.check_model(model)
        except Exception as error:  # of several kinds
            raise UsageError(f"{target} would be no valid model: {str(error).strip()}") from None
        with replacing(target) as temporary:
            onnx.save(model, temporary)
    return {"written": target, "opset": {x.domain: x.version for x in model.opset_import}, "weights_changed": changed}


def _repeat_example(model: Any) -> None:
    """The example in the model has the outputs that the new weights give."""
    from onnx import numpy_helper

    from duograph.onnx.exporting.verifying import KEY, examples

    inputs, outputs = examples(model)
    if not outputs:
        return
    made = call(load(model), inputs)
    for row in model.metadata_props:
        name = row.key.removeprefix(f"{KEY}.output.")
        if name != row.key and name in made:
            row.value = numpy_helper.from_array(made[name], name).SerializeToString().hex()


def _save_in_two(model: Any, target: str) -> None:
    """The weights in a file beside the model's. Both are moved to their places when they are whole."""
    import onnx

    name = os.path.basename(target)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(target))) as folder:
        onnx.save(model, os.path.join(folder, name), save_as_external_data=True, location=f"{name}.data")
        for ending in (".data", ""):
            os.replace(os.path.join(folder, name + ending), target + ending)


def _smaller(model: Any, kind: str) -> int:
    """Weights of float32 as another type, cast back where the graph reads them."""
    from onnx import TensorProto, helper, numpy_helper

    version = next((x.version for x in model.opset_import if x.domain in ("", "ai.onnx")), 0)
    if version < _OPSETS[kind]:
        raise UsageError(f"--weights {kind} needs opset {_OPSETS[kind]}, the file has {version}: add --opset {_OPSETS[kind]}")
    outside = {value.name for value in (*model.graph.input, *model.graph.output)}
    axes, fresh = _channel_axes(model.graph), _fresh_names(model.graph)
    kept, before = [], []
    for tensor in model.graph.initializer:
        name, axis = tensor.name, axes.get(tensor.name, 0)
        if tensor.data_type != TensorProto.FLOAT or int(np.prod(tensor.dims)) < _LEAST or name in outside:
            kept.append(tensor)
        elif kind != "int8":
            number = TensorProto.FLOAT16 if kind == "float16" else TensorProto.BFLOAT16
            kept.append(_cast(numpy_helper.to_array(tensor), name, fresh(f"{name}.{kind}"), number))
            before.append(helper.make_node("Cast", [kept[-1].name], [name], name=f"{name}.read", to=TensorProto.FLOAT))
        elif np.prod(tensor.dims) < _LEAST_OF_SCALE * tensor.dims[axis]:
            kept.append(tensor)
        else:
            scale, stored = _quantised(numpy_helper.to_array(tensor), name, axis)
            kept += [
                numpy_helper.from_array(scale, fresh(f"{name}.scale")),
                numpy_helper.from_array(stored, fresh(f"{name}.int8")),
            ]
            read = [kept[-1].name, kept[-2].name]
            before.append(helper.make_node("DequantizeLinear", read, [name], name=f"{name}.read", axis=axis % len(tensor.dims)))
    nodes = [*before, *model.graph.node]
    for field, values in ((model.graph.initializer, kept), (model.graph.node, nodes)):
        del field[:]
        field.extend(values)
    return len(before)


def _fresh_names(graph: Any) -> Callable[[str], str]:
    """Names that nothing in the graph has."""
    taken = {value.name for value in (*graph.input, *graph.initializer)} | {name for node in graph.node for name in node.output}

    def fresh(name: str) -> str:
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    return fresh


def _quantised(array: np.ndarray[Any, Any], name: str, axis: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Scales, one for each slice along the axis, and whole numbers from -127 to 127."""
    if not np.isfinite(array).all():
        raise UsageError(f"--weights int8: {name!r} holds values that are not finite")
    others = tuple(i for i in range(array.ndim) if i != axis % array.ndim)
    scale = (np.maximum(np.abs(array).max(axis=others, keepdims=True, initial=0.0), 1e-30) / 127).astype(np.float32)
    return scale.reshape(-1), np.clip(np.rint(array / scale), -127, 127).astype(np.int8)


def _channel_axes(graph: Any) -> dict[str, int]:
    """Along which dimension of a weight the output's channels lie, by its name, where it is not the first."""
    found = {}
    for node in graph.node:
        if len(node.input) < 2:
            continue
        if node.op_type == "MatMul":
            found[node.input[1]] = -1
        elif node.op_type == "Gemm":
            turned = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            found[node.input[1]] = 0 if turned else 1
        elif node.op_type == "ConvTranspose":
            found[node.input[1]] = 1
    return found


def _cast(array: np.ndarray[Any, Any], name: str, stored: str, number: int) -> Any:
    """A tensor of 16-bit floats, rounded to even, that is called `stored`."""
    from onnx import TensorProto, numpy_helper

    if number == TensorProto.FLOAT16:
        greatest = float(np.abs(array[np.isfinite(array)]).max(initial=0.0))
        if greatest > np.finfo(np.float16).max:
            raise UsageError(f"--weights float16: {name!r} would hold {greatest:.3g}, which is too large: take bfloat16")
        return numpy_helper.from_array(array.astype(np.float16), stored)
    from duograph import _core as core
    from duograph.tensors.creation import from_numpy

    made = from_numpy(np.ascontiguousarray(array)).to(core.bfloat16).view(core.int16).numpy()
    return TensorProto(name=stored, data_type=number, dims=array.shape, raw_data=made.tobytes())


def show(found: dict[str, Any], as_json: bool) -> None:
    """Print it."""
    if as_json:
        show_json(found)
        return
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in found.get("opset", {}).items())
    show_pairs("", {key.replace("_", " "): opsets if key == "opset" else value for key, value in found.items()})
