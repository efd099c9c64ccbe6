"""`onnx.export` and `save`: the calls that write files."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from duograph import _core as core
from duograph.capture.values.size_history import argument_leaves
from duograph.capture.values.tree import argument_names
from duograph.errors import ArgumentError, GraphError

from ..model import Model
from .building import OLDEST, OPSET, Built, build, weights_as_inputs
from .capturing import Program, apart, captured_program, target_of
from .files import write
from .open_sizes import Names, of_axes, of_shapes

EQUATION = re.compile(r"^-?\d+ == [^%]*$|^(?!not )[^%]* == -?\d+$")  # a fact that leaves a size little freedom


class Exported:
    """A program as an ONNX model, not written to a file yet."""

    def __init__(self, built: Built) -> None:
        self._built = built

    @property
    def model_proto(self) -> Any:
        """The `onnx.ModelProto`, weights included."""
        from .files import put_inside

        return put_inside(self._built)

    def __repr__(self) -> str:
        graph = self._built.model.graph
        sides = [", ".join(value.name for value in values) for values in (graph.input, graph.output)]
        return f"Exported({graph.name}: {sides[0]} -> {sides[1]})"

    def save(self, path: Any, *, external_data: bool | None = None) -> None:
        """Write it to a file; weights go to `path + ".data"` where they are too many for one file, or where this says so."""
        write(self._built, path, external_data)


def export(
    model: Any,
    args: Any = (),
    f: Any = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    verbose: bool | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    opset_version: int | None = None,
    dynamic_axes: Mapping[str, Any] | None = None,
    dynamic_shapes: Any = None,
    external_data: bool | None = None,
    training: Any = None,
    export_params: bool = True,
    do_constant_folding: bool = True,
    keep_initializers_as_inputs: bool | None = None,
    dynamo: bool = True,
    report: bool = False,
    optimize: bool = True,
    verify: bool = False,
) -> Exported | None:
    """Write a Module, a function, or one that is static or traced, as an ONNX file: `torch.onnx.export`'s call.

    Operators of ONNX stand for what it has; every other operator of ours is a function of the domain `duograph` with a body of
    standard operators, so any runtime runs the file. A Module is written as it is in evaluation mode.

    Args:
        model: what to write. Its parameters and buffers are the file's initialisers, under their state-dict names.
        args: example arguments: one, or a tuple; a dict at its end has keyword arguments.
        f: the path; None: the model is returned.
        kwargs: further keyword arguments.
        verbose: print the graph.
        input_names, output_names: of the tensors among arguments and results, in order.
        opset_version: 16 and above; 21 if left out.
        dynamic_axes: by input name: the dimensions that stay open, as a list or with names.
        dynamic_shapes: by argument: for each dimension a `Dim`, a name, or None.
        external_data: weights in a file of their own. If left out: where one file cannot hold them.
        training: True: a Module is written as it is now.
        verify: run the file with onnxruntime and compare.
        keep_initializers_as_inputs: a caller of the file may give other weights.
        export_params: False: the file has no weights, its caller gives them.
        do_constant_folding, dynamo, report, optimize: as PyTorch's call takes them; nothing depends on them.

    Errors:   GraphError, with the line, for what no file can do (calls of Python); ArgumentError

    >>> import duograph as dg
    >>> model = dg.onnx.export(dg.nn.Linear(3, 2), dg.ones(1, 3))
    >>> [node.op_type for node in model.model_proto.graph.node]
    ['Gemm']
    """
    positional, named = apart(*_arguments(model, args, kwargs))
    own = _of_file(model)
    input_names, output_names = _names(input_names, output_names, own)
    if dynamic_axes is None and dynamic_shapes is None:
        dynamic_axes = own.axes
    with _Evaluating(model if not training or "EVAL" in str(training) else None):
        names = [*argument_names(target_of(model)[0], len(positional)), *named]
        leaves = argument_leaves([*positional, *named.values()], names)[0]
        inputs = [*input_names] + [name for name, _, _ in leaves][len(input_names) :]
        wanted: Names = {}
        if dynamic_shapes is not None:
            wanted = of_shapes(dynamic_shapes, positional, named, names)
        if dynamic_axes:
            wanted |= of_axes(dynamic_axes, inputs, output_names, [tensor.ndim for *_, tensor in leaves])
        program = captured_program(model, positional, named, None, wanted)
        built = _some(build(program, _opset(opset_version), input_names, output_names))
        if keep_initializers_as_inputs or not export_params:
            built = weights_as_inputs(built, export_params)
        made = Exported(built)
        _warn_of_pinned(program, wanted)
        if verify:
            from .verifying import compare

            compare(built, program, model, positional, named)
    if verbose:
        from onnx import printer

        print(printer.to_text(made._built.model))
    if f is None:
        return made
    made.save(f, external_data=external_data)
    return None


def save(
    function: Any,
    path: Any,
    *args: Any,
    sizes: Mapping[str, Any] | None = None,
    opset: int | None = None,
    verify_with: Any = None,
    external_data: bool | None = None,
    prints: bool = True,
    **kwargs: Any,
) -> None:
    """Write a static function's program for these arguments as an ONNX file: see `static_fn.save`."""
    own = _of_file(function)
    wanted: Names = {}
    if own.axes and sizes is None:
        wanted = of_axes(own.axes, own.inputs, (), [x.ndim for *_, x in argument_leaves(apart(args, {})[0], [""] * len(args))[0]])
    program = captured_program(function, args, kwargs, sizes, wanted)
    built = _some(build(program, _opset(opset), own.inputs, own.outputs, effects=prints))
    if verify_with is not None:
        from .verifying import remember

        remember(built, program, function, *_arguments(function, verify_with, None))
    write(built, path, external_data)


class _OfFile(NamedTuple):
    """What a loaded model calls its inputs, outputs and open sizes; nothing of other programs."""

    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()
    axes: Mapping[str, Any] = {}


def _of_file(model: Any) -> _OfFile:
    if not isinstance(model, Model):
        return _OfFile()
    sizes = {
        each.name: {i: size for i, size in enumerate(each.shape or ()) if isinstance(size, str)} for each in model.input_types
    }
    return _OfFile(model.inputs, model.outputs, {name: axes for name, axes in sizes.items() if axes})


def _names(inputs: Any, outputs: Any, own: _OfFile) -> tuple[Sequence[str], Sequence[str]]:
    """The names asked for, or the model's own. ArgumentError where they are none, or one name stands for two things."""
    for what, names in (("input_names", inputs or ()), ("output_names", outputs or ())):
        if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
            raise ArgumentError(f"onnx: {what} takes a list of names, got {names!r}")
    seen: set[str] = set()
    for name in (*(inputs or ()), *(outputs or ())):
        if name in seen:
            raise ArgumentError(
                f"onnx: the name {name!r} is asked for two tensors", hint="each input and output has a name of its own"
            )
        seen.add(name)
    return inputs or own.inputs, outputs or own.outputs


def _arguments(model: Any, args: Any, kwargs: Mapping[str, Any] | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of the example's call: a dict at the end has keyword arguments, where the model takes them so."""
    target = target_of(model)[0]
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise ArgumentError(f"onnx: kwargs takes a dict, got {kwargs!r}")
    if not isinstance(args, tuple):
        return (args,), dict(kwargs or {})
    if not args or not isinstance(args[-1], dict) or kwargs is not None:
        return args, dict(kwargs or {})
    try:
        inspect.signature(getattr(target, "forward", target)).bind(*args[:-1], **args[-1])
    except (TypeError, ValueError):
        return args, {}
    return args[:-1], args[-1]


def _some(built: Built) -> Built:
    """The model, if it has outputs, as runtimes want it."""
    if not built.model.graph.output:
        name = built.model.graph.name
        raise GraphError(f"onnx: {name} returns no tensor and leaves none behind: there is nothing to write")
    return built


def _opset(version: int | None) -> int:
    """The version to write: what is asked for, if it is one that this can write."""
    import onnx

    newest = onnx.defs.onnx_opset_version()
    if version is None:
        return min(OPSET, newest)
    if not isinstance(version, int):
        raise ArgumentError(f"onnx: an opset is a whole number, got {version!r}")
    if version > newest:
        raise ArgumentError(f"onnx: opset {version} is newer than the installed package onnx knows: {newest}")
    if version < OLDEST:
        warnings.warn(f"onnx: opset {version} is too old to be written: the file is of opset {OLDEST}", stacklevel=3)
        return OLDEST
    return version


def _warn_of_pinned(program: Program, wanted: Names) -> None:
    """Says which sizes that were to stay open are numbers in the file, and which equations it relies on."""
    lost = sorted({name for name, _, _ in wanted.values()} - program.varied)
    if lost:
        warnings.warn(f"onnx: the program is for one value of {', '.join(lost)}: its Python depends on it", stacklevel=3)
    facts = [fact for fact in program.facts() if EQUATION.search(fact)]
    if wanted and facts:
        warnings.warn(f"onnx: the program holds where {' and '.join(facts)}: its Python depends on it", stacklevel=3)


class _Evaluating:
    """Inside, a Module is in evaluation mode; afterwards each of its parts is as it was."""

    def __init__(self, model: Any) -> None:
        self.parts = list(model.modules()) if not isinstance(model, core.StaticFunction) and hasattr(model, "modules") else []
        self.modes = [part.training for part in self.parts]

    def __enter__(self) -> None:
        for part in self.parts:
            if part.training:
                part.training = False

    def __exit__(self, *error: object) -> None:
        for part, mode in zip(self.parts, self.modes):
            if part.training != mode:
                part.training = mode
