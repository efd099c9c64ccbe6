"""Examples that a file carries: arguments, and the results they gave, so that another machine can repeat them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import onnx

from duograph import _core as core
from duograph.autograd.modes import no_grad
from duograph.capture.values.size_history import argument_leaves
from duograph.capture.values.tree import argument_names, dataclass_fields
from duograph.errors import ArgumentError
from duograph.tensors.creation import tensor as tensor_of

from .building import Built, tensor_proto
from .capturing import Program, apart, target_of
from .files import put_inside
from .writer import note

KEY = "duograph.example"


def remember(built: Built, program: Program, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Run the function on these arguments and keep them and its results in the model's metadata.

    Each tensor is a `TensorProto` under "duograph.example.input.NAME" or "duograph.example.output.NAME", written as its bytes in
    hexadecimal digits.
    """
    inputs, outputs = _example(built, program, function, args, kwargs)
    for kind, values in (("input", inputs), ("output", outputs)):
        for name, tensor in values.items():
            note(built.model.metadata_props, f"{KEY}.{kind}.{name}", tensor_proto(name, tensor).SerializeToString().hex())


def _example(
    built: Built, program: Program, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inputs of a call and what it gives, as tensors by the names in the file."""
    given, named = apart(args, {**dict.fromkeys([name for name in program.keywords if name in kwargs]), **kwargs})
    names = [*argument_names(target_of(function)[0], len(given)), *named]
    tensors, numbers = argument_leaves([*given, *named.values()], names)
    inputs = {name: tensor.detach().clone() for name, (_, _, tensor) in zip(built.inputs, tensors)}
    for place, (_, number) in enumerate(numbers):
        if place in built.numbers:
            about = built.numbers[place]
            inputs[about.name] = tensor_of(number, dtype=about.dtype)
    is_step = len(built.model.graph.output) > len(built.outputs)  # which may want gradients
    with _unchanged(program, [tensor for *_, tensor in tensors]), nullcontext() if is_step else no_grad():
        leaves = dict(_leaves(function(*given, **named), ""))
    return inputs, {output.name: leaves[output.path] for output in built.outputs if output.path in leaves}


@contextmanager
def _unchanged(program: Program, arguments: Sequence[Any]) -> Iterator[None]:
    """What the program writes, the gradients that it leaves and the random state are afterwards what they were."""
    written = [*(tensor for value, _, tensor in program.state if value in program.written), *arguments]
    before = [(tensor, tensor.detach().clone()) for tensor in written]
    slopes = [(tensor, tensor.grad) for *_, tensor in program.state]
    state = core.get_rng_state()
    try:
        yield
    finally:
        core.set_rng_state(state)
        with no_grad():
            for tensor, old in before:
                tensor.copy_(old)
        for tensor, slope in slopes:
            tensor.grad = slope


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The tensors and numbers of a result, by the paths of `Results`."""
    if isinstance(value, core.Tensor) or type(value) in (int, float, bool):
        yield path, value.detach().clone() if isinstance(value, core.Tensor) else tensor_of(value)
        return
    fields = getattr(type(value), "_fields", None) or dataclass_fields(value)
    items: Any = ()
    if fields is not None:
        items = [(name, getattr(value, name)) for name in fields]
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    elif isinstance(value, dict):
        items = value.items()
    for key, item in items:
        yield from _leaves(item, f"{path}.{key}" if path else str(key))


def examples(model: onnx.ModelProto) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, np.ndarray[Any, Any]]]:
    """The inputs and outputs that a file carries, by name; empty where it carries none."""
    found: dict[str, dict[str, np.ndarray[Any, Any]]] = {"input": {}, "output": {}}
    for row in model.metadata_props:
        if row.key.startswith(KEY + "."):
            kind, name = row.key[len(KEY) + 1 :].split(".", 1)
            found[kind][name] = onnx.numpy_helper.to_array(onnx.TensorProto.FromString(bytes.fromhex(row.value)))
    return found["input"], found["output"]


def compare(built: Built, program: Program, model: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Run the model with onnxruntime, too. ArgumentError without it; AssertionError where results differ."""
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError:
        raise ArgumentError("onnx: verify: onnxruntime is not installed", hint="pip install onnxruntime") from None
    inputs, outputs = _example(built, program, model, args, kwargs)
    try:
        session = onnxruntime.InferenceSession(put_inside(built).SerializeToString(), providers=["CPUExecutionProvider"])
        found = session.run(list(outputs), {name: tensor.numpy() for name, tensor in inputs.items()})
    except Exception as error:  # its errors have no common class
        raise ArgumentError(f"onnx: verify: onnxruntime does not run the file: {error}") from None
    for name, theirs in zip(outputs, found):
        np.testing.assert_allclose(theirs, outputs[name].detach().numpy(), rtol=1e-3, atol=1e-4, err_msg=name)
