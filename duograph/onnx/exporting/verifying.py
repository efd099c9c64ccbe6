"""Examples that a file carries: arguments, and the results they gave, so that another machine can repeat them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from duograph import _core as core
from duograph.autograd.modes import no_grad
from duograph.capture.values.tree import tensors_of
from duograph.errors import ArgumentError

from .building import Built, tensor_proto
from .writer import note

KEY = "duograph.example"


def remember(built: Built, function: Any, given: Any) -> None:
    """Run the function on these arguments and keep them and its results in the model's metadata.

    Each tensor is a `TensorProto` under "duograph.example.input.NAME" or "duograph.example.output.NAME", written as its bytes in
    hexadecimal digits.
    """
    args = given if isinstance(given, tuple) else (given,)
    with no_grad():
        results = function(*args)
    from duograph.capture.values.size_history import argument_leaves

    tensors = [tensor for _, _, tensor in argument_leaves(args, [""] * len(args))[0]]
    for kind, names, values in (
        ("input", built.inputs, tensors),
        ("output", [output.name for output in built.outputs], tensors_of(results)),
    ):
        for name, value in zip(names, values):
            note(built.model.metadata_props, f"{KEY}.{kind}.{name}", tensor_proto(name, value).SerializeToString().hex())


def examples(model: onnx.ModelProto) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, np.ndarray[Any, Any]]]:
    """The inputs and outputs that a file carries, by name; empty where it carries none."""
    found: dict[str, dict[str, np.ndarray[Any, Any]]] = {"input": {}, "output": {}}
    for row in model.metadata_props:
        if row.key.startswith(KEY + "."):
            kind, name = row.key[len(KEY) + 1 :].split(".", 1)
            found[kind][name] = onnx.numpy_helper.to_array(onnx.TensorProto.FromString(bytes.fromhex(row.value)))
    return found["input"], found["output"]


def compare(made: Any, model: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Run the model with onnxruntime, too. ArgumentError without it; AssertionError where results differ."""
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError:
        raise ArgumentError("onnx: verify: onnxruntime is not installed", hint="pip install onnxruntime") from None
    from duograph.capture.values.size_history import argument_leaves

    with no_grad():
        wanted = tensors_of(model(*args, **kwargs))
    values = [*args, *kwargs.values()]
    leaves = [tensor for _, _, tensor in argument_leaves(values, [""] * len(values))[0]]
    session = onnxruntime.InferenceSession(made.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {x.name: tensor.detach().numpy() for x, tensor in zip(session.get_inputs(), leaves)})
    for ours, theirs in zip(wanted, found):
        np.testing.assert_allclose(theirs, ours.numpy(), rtol=1e-3, atol=1e-4)
    assert len(wanted) == len(found)
    assert not any(isinstance(x, core.Tensor) for x in found)
