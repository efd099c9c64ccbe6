"""A loaded model: its constants as buffers or parameters, its graph as a static function."""

from __future__ import annotations

import copy
import functools
import io
import keyword
import re
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from duograph import _core as core
from duograph import nn
from duograph._forks import import_late
from duograph._recorded import state
from duograph.autograd.modes import no_grad
from duograph.capture.function import make_static
from duograph.capture.recalled import Recalling
from duograph.capture.values.declared import Dim
from duograph.errors import ArgumentError, CaptureError, CaptureWarning, DTypeError, Error, ShapeError
from duograph.tensors.creation import from_numpy
from duograph.tensors.creation import tensor as make_tensor

from .errors import ModelError
from .keeping import Kept, without_weights
from .operators.known import Known, of_array
from .operators.narrow import Narrow, held, is_narrow
from .reading import Data, Source, dtype_of, read
from .steering import steering_inputs
from .structure import Body, Reader

_OWN_BYTES = 256  # initialisers below are copied: CPython shares small byte strings


def load(
    f: Any, *, trainable: bool | Collection[str] = False, sizes: Mapping[str, Any] | None = None, folder: Any = None,
    strict: bool = False,
) -> Model:  # fmt: skip
    """An ONNX model as a static function.

    Args:
        f: a path, bytes, an open binary file, or an `onnx.ModelProto`.
        trainable: whether initialisers of floats that have dimensions are parameters, or the names of those that are to be;
            all others are buffers. Those without dimensions, and those that decide shapes, are part of the program: what is
            written to them later changes nothing.
        sizes: what is known of the inputs' sizes, by input name, as `dg.static` takes it; what the model itself calls by
            one name is one `dg.Dim`.
        folder: where external data lies; by default the file's folder.
        strict: the dynamic graph's very bits.

    The model is called with one tensor (or NumPy array) per input, in the model's order or by name, and gives its output, or a
    tuple of them. External data is mapped, not read. Numbers with a value in the file, such as the learning rate of a training
    step, may be given by name. What a training step writes (`duograph.state`) is the model's own: its buffers change with each
    call, and its parameters get their gradients.

    Errors:   ModelError for files that are damaged or have no meaning, UnsupportedError for operators that are not known: both
              name the node; FileNotFoundError

    >>> import onnx
    >>> import duograph as dg
    >>> text = '<ir_version: 8, opset_import: ["" : 18]> double (float[N] x) => (float[N] y) { y = Add(x, x) }'
    >>> double = dg.onnx.load(onnx.parser.parse_model(text))
    >>> double(dg.tensor([1.0, 2.0]))
    tensor([2., 4.])
    """
    source = read(f, folder, apart=True)
    try:
        return Model(source, [trainable] if isinstance(trainable, str) else trainable, sizes, strict, own=source.model is not f)
    except Error:
        raise
    except (TypeError, ValueError, KeyError, IndexError, OverflowError, RecursionError) as error:
        raise ModelError(f"onnx.load: {source.name} is damaged: {type(error).__name__}: {error}") from error


class Input:
    """What the model says of one input."""

    def __init__(self, value: Any) -> None:
        self.name: str = value.name
        self.dtype: core.DType | None = None
        self.number: int = value.type.tensor_type.elem_type
        self.shape: list[int | str | None] | None = None
        self.optional = not value.type.HasField("tensor_type")
        kind = value.type.tensor_type
        if not self.optional:
            self.dtype = dtype_of(kind.elem_type, f"input {value.name!r}") if kind.elem_type != 8 else None
            if kind.HasField("shape"):
                self.shape = [_size(d) for d in kind.shape.dim]

    def check(self, value: Any) -> None:
        """ShapeError, DTypeError where a tensor is not what the model takes."""
        if self.dtype is not None and value.dtype is not self.dtype:
            raise DTypeError(
                f"onnx: input {self.name!r} is {value.dtype.name}, the model takes {self.dtype.name}",
                hint=f".to(dg.{self.dtype.name})",
            )
        if self.shape is not None and (
            len(self.shape) != value.ndim
            or any(type(size) is int and size != given for size, given in zip(self.shape, value.shape))
        ):
            takes = ", ".join("?" if size is None else str(size) for size in self.shape)
            raise ShapeError(f"onnx: input {self.name!r} has the sizes {list(value.shape)}, the model takes [{takes}]")


def _size(dimension: Any) -> int | str | None:
    if dimension.HasField("dim_value"):
        size: int = dimension.dim_value
        if size < 0:
            return None
        return size
    return dimension.dim_param or None


class Model(nn.Module):
    """A model read from ONNX. Called like the function it is; `explain`, `graph` and `signatures` as of a static function.

    inputs, outputs   their names, in order
    settings          names of numbers that a call may give by keyword, as they have a value in the file
    opset             versions of the domains it uses
    kept              what a call writes: the state of a training step, gradients
    """

    def __init__(
        self,
        source: Source,
        trainable: bool | Collection[str] = False,
        sizes: Mapping[str, Any] | None = None,
        strict: bool = False,
        own: bool = False,
    ) -> None:
        """`own`: nobody else has the source's model."""
        super().__init__()
        graph = source.model.graph
        self.body = Reader(source).model()
        self.file = source.name
        self.opset = {entry.domain: entry.version for entry in source.model.opset_import}
        self.metadata = {entry.key: entry.value for entry in source.model.metadata_props}
        self.input_types = [Input(value) for value in graph.input if value.name not in self.body.initialisers]
        self.inputs = tuple(value.name for value in self.input_types)
        self.kept = Kept(self.metadata, self.body)
        self.outputs = self.kept.outputs
        self.places: dict[str, tuple[nn.Module, str]] = {}
        values = {value.name: value for value in graph.input}
        found = [x for x in self.body.initialisers if x in values and x not in self.kept.state]
        self.settings = {x: Input(values[x]) for x in found if not self.body.initialisers[x].array.ndim}
        self._register(self.body, trainable)
        self.steering = steering_inputs(self.body) & {*self.inputs}
        self.checked: set[tuple[Any, ...]] = set()
        self.asked = (sizes or {}, strict)
        self.stamp = source.stamp
        self.program = self._program(())
        self.programs: dict[tuple[str, ...], Any] = {}  # those that are given settings
        self.proto = without_weights(source.model, own)

    # ---- constants

    def _register(self, body: Body, trainable: bool | Collection[str]) -> None:
        """Initialisers become parameters and buffers under their names: dots lead into modules."""
        names = list(body.initialisers)
        known = set(names)
        if not isinstance(trainable, bool):
            for name in trainable:
                if name not in known:
                    raise ArgumentError(f"onnx.load: trainable names {name!r}, which is no initialiser")
        self.constants: dict[str, Any] = {}
        self.narrow: dict[str, int] = {}
        for name in names:
            data = body.initialisers.pop(name)
            learns = data.dtype.is_floating_point and (name in self.kept.slopes or self._is_wanted(name, data, trainable))
            module, leaf = self._place(name)
            value = _memory(data)
            if learns:
                module.register_parameter(leaf, nn.Parameter(value))
            else:
                module.register_buffer(leaf, value if name in self.kept.state else nn.Buffer(value))
            self.places[name] = (module, leaf)
            if data.narrow:
                self.narrow[name] = data.narrow
            elif not learns and name not in self.kept.state and data.dtype is not core.bfloat16:
                found = of_array(data.array, functools.partial(getattr, module, leaf))
                if found is not None:
                    self.constants[name] = found

    def _is_wanted(self, name: str, data: Data, trainable: bool | Collection[str]) -> bool:
        if isinstance(trainable, bool):
            return trainable and data.array.ndim > 0 and name not in self.kept.state
        return name in trainable

    def _place(self, name: str) -> tuple[nn.Module, str]:
        """The module and attribute that hold an initialiser."""
        module: nn.Module = self
        *path, leaf = [part or "_" for part in name.split(".")]
        for part in path:
            inner = module._modules.get(part)
            if inner is None:
                if hasattr(module, part):
                    part += "_"
                inner = module._modules.get(part)
                if inner is None:
                    inner = nn.Module()
                    module.add_module(part, inner)
            module = inner
        while hasattr(module, leaf):
            leaf += "_"
        return module, leaf

    # ---- calls

    def _program(self, given: tuple[str, ...]) -> Any:
        """The program whose last arguments are these settings."""
        sizes, strict = self.asked
        names = _identifiers((*self.inputs, *given))
        function = functools.partial(self.evaluate, given=given)
        evaluate = _named(function, names, re.sub(r"\W", "_", self.body.name) or "model")
        declared = self._declared(names, sizes) or None

        def handler() -> Any:
            return import_late("duograph.capture.static").Handler(evaluate, strict, declared)

        if given or self.kept or self.steering or not self.stamp:
            return make_static(evaluate, handler())
        content = functools.partial(self._content, declared)
        return make_static(evaluate, Recalling(evaluate.__name__, content, self._tensors, handler))

    def _content(self, declared: Any) -> str:
        """What decides a capture: the file but for its weights, numbers that became part of the program, and what was asked."""
        numbers = [(name, known.dtype.name, known.array.tolist()) for name, known in self.constants.items()]
        return repr((self.stamp, numbers, self.asked[1], declared))

    def _tensors(self) -> dict[str, Any]:
        return {name: getattr(module, leaf) for name, (module, leaf) in self.places.items()}

    def _declared(self, names: Sequence[str], sizes: Mapping[str, Any]) -> dict[str, Any]:
        """The sizes of inputs as `dg.static` takes them."""
        for name in sizes:
            if name not in self.inputs:
                raise ArgumentError(f"onnx.load: sizes names {name!r}, which is no input; there is {', '.join(self.inputs)}")
        declared: dict[str, Any] = {}
        known: dict[str, Dim] = {}
        for name, value in zip(names, self.input_types):
            if value.name in sizes:
                declared[name] = sizes[value.name]
            elif value.shape and value.name not in self.steering and any(isinstance(size, str) for size in value.shape):
                declared[name] = tuple(_dim(size, known) if isinstance(size, str) else size for size in value.shape)
        return declared

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs for the inputs."""
        settings = {name: kwargs.pop(name) for name in self.settings if name in kwargs} if kwargs else {}
        if kwargs or len(args) != len(self.inputs):
            args = self._bound(args, kwargs)
        if state.recorder is not None:  # a capture: a look at sizes that are open would settle them
            args = tuple([self._taken(x, value) for x, value in zip(args, self.input_types)])
        else:
            key = tuple([(x.dtype, x.shape) if x.__class__ is core.Tensor else None for x in args])
            if key not in self.checked or None in key:
                args = tuple([self._taken(x, value) for x, value in zip(args, self.input_types)])
                if None not in key and len(self.checked) < 1000:
                    self.checked.add(key)
        if self.steering:
            args = tuple([_plain(x) if name in self.steering else x for name, x in zip(self.inputs, args)])
        if settings:
            return self._with(settings)(*args, *[self._taken(x, self.settings[name]) for name, x in settings.items()])
        try:
            return self.program(*args)
        except CaptureError as error:
            if self.program.entries:
                raise
            text = f"onnx: {self.file} runs node by node, as no program can be made of it: {error}"
            warnings.warn(text, CaptureWarning, 3)
            self.program = self.program.__wrapped__
            return self.program(*args)

    def _with(self, settings: Mapping[str, Any]) -> Any:
        given = tuple(settings)
        if given not in self.programs:
            self.programs[given] = self._program(given)
        return self.programs[given]

    def _bound(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The arguments in the order of the inputs."""
        if len(args) > len(self.inputs):
            raise ArgumentError(f"onnx: the model takes {len(self.inputs)} inputs ({', '.join(self.inputs)}), got {len(args)}")
        given = dict(zip(self.inputs, args))
        for name, value in kwargs.items():
            if name not in self.inputs:
                raise ArgumentError(f"onnx: the model has no input {name!r}", hint=f"its inputs are {', '.join(self.inputs)}")
            if name in given:
                raise ArgumentError(f"onnx: input {name!r} is given twice")
            given[name] = value
        missing = [name for name in self.inputs if name not in given]
        if missing:
            raise ArgumentError(f"onnx: input {missing[0]!r} is missing", hint=f"its inputs are {', '.join(self.inputs)}")
        return tuple([given[name] for name in self.inputs])

    def _taken(self, value: Any, about: Input) -> Any:
        """An argument as a tensor that the model takes."""
        if (value is None or isinstance(value, dict)) and not about.optional:
            hint = "give inputs by name as keywords: model(**inputs)" if value is not None else None
            raise ArgumentError(f"onnx: input {about.name!r} is {'None' if value is None else 'a dict'}", hint=hint)
        if value is None or (isinstance(value, (list, tuple)) and about.optional):
            return value if value is None else [_tensor(x) for x in value]
        if is_narrow(about.number) and isinstance(value, np.ndarray):
            value = held(value, about.number)
        value = make_tensor(value, dtype=about.dtype) if isinstance(value, (int, float)) else _tensor(value)
        about.check(value)
        return value

    def evaluate(self, values: Sequence[Any], given: Sequence[str] = ()) -> Any:
        """The outputs for tensors, the last of which are these settings: node by node. A capture follows this."""
        from .interpreting import Frame, as_tensor

        frame = Frame(self.body, self.file)
        for name, (module, leaf) in self.places.items():
            frame.values[name] = self.constants.get(name) or getattr(module, leaf)
        for name, number in self.narrow.items():
            frame.values[name] = Narrow(frame.values[name], number)
        args = [_known(x, about) if about.name in self.steering else x for x, about in zip(values, self.input_types)]
        for i, about in enumerate(self.input_types):
            if is_narrow(about.number):
                args[i] = Narrow(args[i], about.number)
        frame.values.update(zip(self.inputs, args))
        frame.values.update(zip(given, values[len(args) :]))
        if self.kept:
            with no_grad():
                values = [as_tensor(x) for x in frame.run(())]
            results = self.kept.follow(self._tensors(), values)
        else:
            results = [as_tensor(x) for x in frame.run(())]
        return results[0] if len(results) == 1 else tuple(results)

    # ---- what a static function has

    def explain(self, *args: Any, time: bool = False, **kwargs: Any) -> Any:
        """The report of the program for these inputs: see `dg.static`."""
        return self.program.explain(*self._bound([*map(_tensor, args)], kwargs), time=time)

    def capture_graph(self, *args: Any, **kwargs: Any) -> Any:
        """The program as a `duograph.graph.Graph`: see `static_fn.graph`."""
        return self.program.graph(*(self._bound(args, kwargs) if args or kwargs else ()))

    def save(self, path: Any, *args: Any, external_data: bool | None = None, **chosen: Any) -> None:
        """Write it to an ONNX file, with the parameters and the state that it has now.

        Args:
            args, chosen: left out, the file is as it was read but for its tensors. Given inputs, and options as `static_fn.save`
                takes them, a new file is made of the program for these inputs; inputs, outputs and open sizes keep their names.
            external_data: weights in a file of their own, `path + ".data"`; left out: where one file cannot hold them.
        """
        if args or chosen:
            from .exporting.calling import save

            save(self, path, *args, external_data=external_data, **chosen)
        else:
            from .exporting.saving import save_again

            save_again(self, path, external_data)

    def __deepcopy__(self, memo: dict[int, Any]) -> Model:
        """A model with tensors of its own; what nobody changes is shared."""
        made = object.__new__(type(self))
        memo |= {id(self): made, **{id(shared): shared for shared in (self.body, self.proto, self.input_types)}}
        for name, value in self.__dict__.items():
            if name not in ("program", "programs"):
                made.__dict__[name] = copy.deepcopy(value, memo)
        made.programs = {}
        made.program = made._program(())
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        """As the file that `save` writes."""
        file = io.BytesIO()
        self.save(file)
        parameters = [name for name, (module, leaf) in self.places.items() if isinstance(getattr(module, leaf), nn.Parameter)]
        return _read_again, (file.getvalue(), parameters, self.asked, self.file, self.training)

    def to_python(self, path: Any) -> None:
        """Write it as a Python module: see `onnx.to_python`."""
        from .writing.module import to_python

        to_python(self, path)

    def extra_repr(self) -> str:
        return f"{', '.join(self.inputs)} -> {', '.join(self.outputs)}"


def _read_again(data: bytes, parameters: list[str], asked: tuple[Any, bool], file: str, training: bool) -> Model:
    sizes, strict = asked
    made = load(data, trainable=parameters, sizes=sizes, strict=strict)
    made.file = file
    return made.train(training)


def _memory(data: Data) -> Any:
    """An initialiser as a tensor: it borrows the file's bytes where these are its own."""
    if data.array.dtype == object:
        raise ModelError("onnx: initialisers of texts are not known")
    if data.array.nbytes < _OWN_BYTES or not data.array.flags.aligned:
        data = Data(data.array.copy(), data.dtype)
    return data.tensor()


def _tensor(value: Any) -> Any:
    if isinstance(value, core.Tensor):
        return value
    if isinstance(value, np.ndarray):
        if value.dtype.name == "bfloat16":
            return _tensor(value.view(np.uint16)).view(core.bfloat16)
        if not value.ndim:
            return make_tensor(value)
        return from_numpy(np.ascontiguousarray(value) if value.flags.writeable else value.copy())
    return make_tensor(value)


def _plain(value: Any) -> Any:
    """Numbers that decide shapes, as Python's: a capture is made for them, or with sizes in their place."""
    if not isinstance(value, core.Tensor) or value._traced is not None:
        return value
    return tuple(value.tolist()) if value.ndim else value.item()


def _known(value: Any, about: Input) -> Any:
    if isinstance(value, core.Tensor):
        return value
    numbers = list(value) if isinstance(value, tuple) else value
    if all(type(x) is int for x in (numbers if isinstance(numbers, list) else [numbers])):
        return Known(np.array(numbers, np.int64), about.dtype)
    array = np.empty(len(numbers) if isinstance(numbers, list) else (), object)
    array[...] = numbers
    return Known(array, about.dtype)


def _identifiers(names: Sequence[str]) -> list[str]:
    """Names of parameters that are as much like the inputs' as Python allows."""
    made: list[str] = []
    for name in names:
        found = re.sub(r"\W", "_", name) or "x"
        found = found if found.isidentifier() and not keyword.iskeyword(found) and found != "function_of_inputs" else f"x_{found}"
        while found in made:
            found += "_"
        made.append(found)
    return made


def _named(function: Callable[[Sequence[Any]], Any], names: Sequence[str], title: str) -> Callable[..., Any]:
    """A function of so many arguments of these names that hands them on as one."""
    listed = "".join(f"{name}, " for name in names)
    code = f"def evaluate({listed}{'/' if names else ''}): return function_of_inputs(({listed}))"
    space: dict[str, Any] = {"function_of_inputs": function}
    exec(compile(code, __file__, "exec"), space)
    made: Callable[..., Any] = space["evaluate"]
    made.__name__ = made.__qualname__ = title
    return made


def _dim(name: str, known: dict[str, Dim]) -> Dim:
    """The size that a model calls by a name."""
    identifier = re.sub(r"\W", "_", name)
    return known.setdefault(name, Dim(identifier if identifier.isidentifier() else f"d_{identifier}"))
