"""`vmap`: a function of one example, mapped over many at once.

The function runs once on traced tensors of an example's shape; the graph is batched and compiled (or, where a graph is
recorded already, written into that). Its gradient is the same thing again: the function's own gradient, mapped.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from duograph import _core as core
from duograph._recorded import callee
from duograph._stack import frame_location, user_frame, user_location
from duograph.errors import ArgumentError, CaptureError, GradError
from duograph.ir.builder import Builder, active, current
from duograph.ir.dim import Expr
from duograph.ir.graph import Graph, Value
from duograph.ir.location import Location
from duograph.ir.types import TensorType

from .batching import Batching
from .trees import leaves, refill

Tensor = core.Tensor
Flat = Callable[[list[Any]], list[Any]]


def vmap(func: Callable[..., Any], in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error") -> Callable[..., Any]:
    """A function that applies `func` to each example, all at once.

    Args:
        in_dims: which dimension of each argument counts the examples: a number for all, or a tuple with one entry per
            argument, each a number, None (the same for all examples), or a tree of these. Keyword arguments are the same
            for all.
        out_dims: where the dimension is put in the results: a number, or a tree of these.
        randomness: "error", "different" (each example draws its own numbers) or "same".

    Gradient: of every order; nested in `grad`, `jvp`, `jacrev` and itself, and they in it
    Errors:   ArgumentError for dimensions that do not fit; CaptureError, with the line, where Python asks for a value, for
              branches and loops that a tensor steers, writes in place, and results whose size depends on values

    >>> import duograph as dg
    >>> dg.func.vmap(lambda x, y: (x * y).sum(), in_dims=(0, None))(dg.ones(2, 3), dg.tensor([1.0, 2.0, 3.0]))
    tensor([6., 6.])
    """
    if randomness not in ("error", "different", "same"):
        raise ArgumentError(f"vmap: randomness must be 'error', 'different' or 'same', got {randomness!r}")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        tensors, batched, size = _examples(args, in_dims, kwargs)
        shape: list[Any] = []  # the tree of the results

        def flat(examples: list[Any]) -> list[Any]:
            given, named = refill((args, kwargs), _filled(args, kwargs, examples))
            result = callee(func)(*given, **named)
            shape[:] = [result]
            return _results(result)

        made = _Mapped(flat, randomness)(tensors, batched, size)
        dims = _spread("out_dims", out_dims, shape[0])
        return refill(shape[0], iter([_moved(x, d) for x, d in zip(made, dims)]))

    return wrapper


def _filled(args: Any, kwargs: Any, examples: list[Any]) -> Iterator[Any]:
    """The leaves of the arguments, tensors replaced by examples."""
    found = iter(examples)
    return (next(found) if isinstance(x, Tensor) else x for x in leaves((args, kwargs)))


def _results(result: Any) -> list[Any]:
    found = list(leaves(result))
    if not found or not all(isinstance(x, Tensor) for x in found):
        wrong = next((type(x).__name__ for x in found if not isinstance(x, Tensor)), type(result).__name__)
        raise ArgumentError(f"vmap: the function must return tensors, got {wrong}")
    return found


def _spread(name: str, dims: Any, tree: Any) -> list[Any]:
    """One dimension per leaf of a tree: a number stands for a whole subtree."""
    if dims is None or isinstance(dims, int):
        return [dims for _ in leaves(tree)]
    if isinstance(dims, dict) and isinstance(tree, dict) and dims.keys() == tree.keys():
        return [d for key in tree for d in _spread(name, dims[key], tree[key])]
    if isinstance(dims, (tuple, list)) and isinstance(tree, (tuple, list)) and len(dims) == len(tree):
        return [d for part, item in zip(dims, tree) for d in _spread(name, part, item)]
    raise ArgumentError(
        f"vmap: {name} = {dims!r} does not fit the structure of the {'results' if name[0] == 'o' else 'arguments'}"
    )


def _examples(args: tuple[Any, ...], in_dims: Any, kwargs: dict[str, Any]) -> tuple[list[Any], list[bool], Expr]:
    """The tensors among the arguments, the examples' dimension first; which of them have it; how many there are."""
    dims = _spread("in_dims", tuple(in_dims) if isinstance(in_dims, list) else in_dims, args)
    dims += [None] * len(list(leaves(kwargs)))
    tensors: list[Any] = []
    batched: list[bool] = []
    sizes: list[Any] = []
    for i, (x, d) in enumerate(zip(leaves((args, kwargs)), dims)):
        if not isinstance(x, Tensor):
            if d is not None and d != 0:
                raise ArgumentError(f"vmap: in_dims says {d} for argument {i}, which is {type(x).__name__}, not a Tensor")
            continue
        if d is None:
            tensors.append(x)
            batched.append(False)
            continue
        if not -x.ndim <= d < x.ndim:
            raise ArgumentError(f"vmap: in_dims says {d} for argument {i}, which is {core.describe(x)}")
        tensors.append(_moved_front(x, d % x.ndim))
        batched.append(True)
        sizes.append(tensors[-1].shape[0])
    if not sizes:
        raise ArgumentError("vmap: no argument has examples: in_dims must say a dimension for at least one tensor")
    if any(size != sizes[0] for size in sizes[1:]):
        raise ArgumentError(f"vmap: the arguments have different numbers of examples: {', '.join(map(str, sizes))}")
    return tensors, batched, sizes[0]


def _ops() -> Any:
    from duograph.ops.definition import REGISTRY

    return REGISTRY


def _moved_front(x: Any, dim: int) -> Any:
    return _ops()["movedim"].op(x, (dim,), (0,)) if dim else x


def _moved(x: Any, dim: int | None) -> Any:
    if dim is None:
        raise ArgumentError("vmap: out_dims must say where the examples go; None is for in_dims")
    if not -x.ndim <= dim < x.ndim:
        raise ArgumentError(f"vmap: out_dims says {dim} for a result that is {core.describe(x)}")
    return _ops()["movedim"].op(x, (0,), (dim,)) if dim % x.ndim else x


class ExampleBuilder(Builder):
    """Records the function on one example. What it reads from outside is an input, or a value of the graph outside."""

    refusal = "one example of many is not known while vmap records the function: use where, or a Python loop over the examples"

    def __init__(self) -> None:
        super().__init__("vmap")
        self.outer = current() if core.tracing() and active() else None
        self.own: set[Value] = set()
        self.read_from_outside: dict[int, tuple[Any, Value]] = {}

    def example(self, tensor: Any, batched: bool) -> Value:
        """An argument of the function."""
        value = self.input(TensorType(tensor.dtype, tuple(tensor.shape)[1 if batched else 0 :]))
        self.own.add(value)
        return value

    def emit(self, *args: Any, **kwargs: Any) -> list[Value]:
        """Append a node, with the user's line."""
        where = user_location()
        self.location = None if where is None else Location(where.file, where.line, where.function, where.text)
        made = super().emit(*args, **kwargs)
        self.own.update(made)
        return made

    def read(self, tensor: Any) -> Value:
        """The value of a tensor: one of this graph, or of what is outside."""
        value = tensor._traced
        if value is not None and value in self.own:
            return value  # type: ignore[no-any-return]
        known = self.read_from_outside.get(id(tensor))
        if known is None:
            if self.outer is not None:
                found = self.outer.read(tensor)
            elif value is not None:
                raise CaptureError("vmap: a tensor of a function that vmap has left is used", location=True)
            else:
                found = self.input(TensorType(tensor.dtype, tuple(tensor.shape)))
                self.own.add(found)
            known = self.read_from_outside[id(tensor)] = (tensor, found)
        return known[1]

    lift = read

    def number(self, number: Any) -> Value:
        """A Python number."""
        return super().number(number) if self.outer is None else self.outer.number(number)

    def write(self, tensor: Any, value: Value) -> None:
        """Refused."""
        raise CaptureError("vmap: a tensor is written in place", hint="compute a new one: x = x + 1")

    def __getattr__(self, name: str) -> Any:
        """What captures ask their builder for when a branch or loop that a tensor steers begins: refused."""
        if name.startswith("__"):
            raise AttributeError(name)
        frame = user_frame()
        while frame is not None and frame.f_code.co_filename == contextlib.__file__:
            frame = user_frame(frame.f_back)
        location = frame_location(frame) if frame is not None else None
        raise CaptureError("vmap: a tensor decides a branch or the turns of a loop", hint=self.refusal, location=location)

    def check(self, relation: str, left: Expr, right: Expr, code: int = 0) -> None:
        """As outside."""
        super().check(relation, left, right, code) if self.outer is None else self.outer.check(relation, left, right, code)

    def unify(self, left: Expr, right: Expr, code: int = 0) -> Expr:
        """As outside."""
        return super().unify(left, right, code) if self.outer is None else self.outer.unify(left, right, code)

    def is_one(self, size: Expr) -> bool:
        """As outside."""
        return super().is_one(size) if self.outer is None else self.outer.is_one(size)


class _Mapped:
    """A function from tensors to tensors, mapped."""

    def __init__(self, function: Flat, randomness: str) -> None:
        self.function = function
        self.randomness = randomness

    def __call__(self, tensors: list[Any], batched: list[bool], size: Expr) -> list[Any]:
        """The results, examples first, with their place on the tape."""
        record = core.is_grad_enabled() and not core.is_inference_mode_enabled()
        graph, outside = self._trace(tensors, batched)
        results = self._run(graph, tensors, batched, outside, size)
        others = [x for x, _ in outside if x.requires_grad]
        if not record or not any(x.requires_grad for x in (*tensors, *others)):
            return results
        gradient = _Gradient(self, tensors, batched, size, others, results)
        return list(core.record_python(tuple(results), (*tensors, *others), "vmap", gradient))

    def _trace(self, tensors: list[Any], batched: list[bool]) -> tuple[Graph, list[tuple[Any, Value]]]:
        """The function's graph for one example, and the tensors from outside that it reads."""
        import duograph.capture  # noqa: F401 - says why a value cannot be read
        from duograph.ops.tracing import as_user, wrap

        builder = ExampleBuilder()
        values = [builder.example(x, on) for x, on in zip(tensors, batched)]
        grad, tracing, localizing = core.set_grad_enabled(False), core.set_tracing(True), core.set_localizing(False)
        try:
            with builder, as_user():
                outputs = [builder.read(x) for x in self.function([wrap(v) for v in values])]
        finally:
            core.set_localizing(localizing)
            core.set_tracing(tracing)
            core.set_grad_enabled(grad)
        return builder.finish(outputs), list(builder.read_from_outside.values())

    def _run(
        self, graph: Graph, tensors: list[Any], batched: list[bool], outside: list[tuple[Any, Value]], size: Expr
    ) -> list[Any]:
        """The batched graph's results: written into the graph that is recorded, or from a program."""
        from duograph.ops.tracing import wrap

        if core.tracing() and active():
            builder = current()
            batching = Batching(builder, size, self.randomness)
            for value, x, on in zip(graph.inputs, tensors, batched):
                batching.bind(value, builder.read(x), on)
            batching.run(graph.nodes)
            return [wrap(batching.result(value)) for value in graph.outputs]
        from duograph.runtime.build import build

        builder = Builder("vmap")
        batching = Batching(builder, size, self.randomness)
        flags = [*batched, *(False for _ in outside)]
        given = [*tensors, *(x for x, _ in outside)]
        for value, x, on in zip(graph.inputs, given, flags, strict=True):
            batching.bind(value, builder.input(TensorType(x.dtype, tuple(x.shape))), on)
        batching.run(graph.nodes)
        program = build(builder.finish([batching.result(value) for value in graph.outputs])).program
        return list(program.run([x.detach().contiguous() for x in given]))


class _Gradient:
    """The gradient of one call: the function's own, mapped over the examples."""

    def __init__(
        self, mapped: _Mapped, tensors: list[Any], batched: list[bool], size: Expr, others: list[Any], results: list[Any]
    ) -> None:
        self.mapped = mapped
        self.tensors = tensors
        self.batched = batched
        self.size = size
        self.others = others
        self.versions = [x._version for x in (*tensors, *others)]
        self.specs = [(tuple(x.shape), x.dtype) for x in results]

    def __call__(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        """Gradients of the tensors and of what the function read from outside."""
        from duograph.tensors.creation import zeros

        if self.versions != [x._version for x in (*self.tensors, *self.others)]:
            raise GradError("vmap: a tensor that its gradient needs was overwritten", hint="clone it before the in-place write")
        used = [i for i, (_, dtype) in enumerate(self.specs) if dtype.is_floating_point]
        seeds = [zeros(self.specs[i][0], dtype=self.specs[i][1]) if grads[i] is None else grads[i] for i in used]
        wanted = [i for i, x in enumerate(self.tensors) if x.requires_grad]
        count = len(self.tensors)

        def pull(examples: list[Any]) -> list[Any]:
            before = core.set_grad_enabled(True)
            try:
                inputs = [x.requires_grad_() if i in wanted else x for i, x in enumerate(examples[:count])]
                chosen = [inputs[i] for i in wanted]
                found = self.mapped.function(inputs)
                pairs = [(found[i], s) for i, s in zip(used, examples[count:]) if found[i].requires_grad]
                variables = (*chosen, *self.others)
                results: Sequence[Any] = (None,) * len(variables)
                if pairs:
                    results = core.grad(tuple(o for o, _ in pairs), variables, tuple(s for _, s in pairs), True, before, True)
            finally:
                core.set_grad_enabled(before)
            zero = _ops()["zeros_like"].op
            return [zero(x.detach()) if g is None else g for g, x in zip(results, variables)]

        flags = [*self.batched, *(True for _ in seeds)]
        mapped = _Mapped(pull, "error" if self.mapped.randomness == "error" else "refused")
        found = mapped([*self.tensors, *seeds], flags, self.size)
        placed: list[Any] = [None] * (count + len(self.others))
        for i, g in zip((*wanted, *range(count, len(placed))), found):
            placed[i] = g if i < count and self.batched[i] else g.sum(0)
        if core.tracing() and active():
            current().followed(grads, placed)
        return tuple(placed)
