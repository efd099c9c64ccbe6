"""`vmap`: a function of one example, mapped over many at once.

The function runs once on traced tensors of an example's shape; the graph is batched and compiled (or, where a graph is
recorded already, written into that). Its gradient is the same thing again: the function's own gradient, mapped.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from duograph import _core as core
from duograph._recorded import callee
from duograph.errors import ArgumentError, GradError
from duograph.ir.builder import active, current
from duograph.ir.dim import Expr
from duograph.ir.types import TensorType

from .examples import Keys, NeedsCapture, Place, recorded, shape_of
from .one_by_one import one_by_one
from .trees import leaves, rebuild, refill

Tensor = core.Tensor
Flat = Callable[[list[Any]], list[Any]]


def vmap(
    func: Callable[..., Any], in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int | None = None
) -> Callable[..., Any]:
    """A function that applies `func` to each example, all at once.

    Where a tensor decides a branch, both sides run and each example gets its own; a loop runs while any example does. Tensors
    made in `func` may be written in place. Such a function is captured, like a static one, at its first call; in
    `dynamic_mode`, and for gradients of its gradients outside of static functions, it runs on one example after the other.

    Args:
        in_dims: which dimension of each argument counts the examples: a number for all, or a tuple with one entry per
            argument, each a number, None (the same for all examples), or a tree of these. Keyword arguments are the same
            for all.
        out_dims: where the dimension is put in the results: a number, or a tree of these.
        randomness: "error", "different" (each example draws its own numbers) or "same".
        chunk_size: how many examples at most run at once.

    Gradient: of every order; nested in `grad`, `jvp`, `jacrev` and itself, and they in it
    Errors:   ArgumentError for dimensions that do not fit; CaptureError, with the line, where Python asks for a value, for
              calls into Python, writes in place to arguments and to tensors from outside, and results whose size depends on
              values

    >>> import duograph as dg
    >>> dg.func.vmap(lambda x, y: (x * y).sum(), in_dims=(0, None))(dg.ones(2, 3), dg.tensor([1.0, 2.0, 3.0]))
    tensor([6., 6.])
    >>> def halvings(x):
    ...     n = 0
    ...     while x > 1:
    ...         x, n = x / 2, n + 1
    ...     return x, n
    >>> dg.func.vmap(halvings)(dg.tensor([0.5, 3.0, 40.0]))
    (tensor([0.5000, 0.7500, 0.6250]), tensor([0, 2, 6]))
    """
    if randomness not in ("error", "different", "same"):
        raise ArgumentError(f"vmap: randomness must be 'error', 'different' or 'same', got {randomness!r}")
    if chunk_size is not None and (not isinstance(chunk_size, int) or chunk_size < 1):
        raise ArgumentError(f"vmap: chunk_size must be a number of examples of at least 1, got {chunk_size!r}")
    captured: list[Any] = []  # the static form, once a call needed it

    def mapped(*args: Any, **kwargs: Any) -> Any:
        if captured and core.in_dynamic_mode() and not core.tracing():
            return _call(func, in_dims, out_dims, "one by one", None, args, kwargs)
        return _call(func, in_dims, out_dims, randomness, chunk_size, args, kwargs)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if core.tracing() or not captured:
            try:
                return mapped(*args, **kwargs)
            except NeedsCapture:
                if core.tracing():
                    raise
                from duograph.capture.static import static

                captured[:] = [static(mapped)]
        return captured[0](*args, **kwargs)

    return wrapper


def _call(
    func: Callable[..., Any], in_dims: Any, out_dims: Any, randomness: str, chunk: int | None, args: Any, kwargs: Any
) -> Any:
    tensors, batched, size = _examples(args, in_dims, kwargs)
    shape: list[Any] = []  # the tree of the results

    def flat(examples: list[Any]) -> list[Any]:
        given, named = refill((args, kwargs), _filled(args, kwargs, examples))
        result = callee(func)(*given, **named)
        shape[:] = [rebuild(result, _as_tensor) if randomness == "one by one" else result]
        return _results(shape[0])

    if randomness == "one by one":
        made = one_by_one(flat, tensors, batched, _count(tensors, batched))
    elif chunk is None:
        made = Mapped.of(flat, tensors, batched, size, randomness)
    else:
        parts = []
        for start in range(0, max(_count(tensors, batched), 1), chunk):
            part = [x[start : start + chunk] if on else x for x, on in zip(tensors, batched)]
            size = shape_of(next(x for x, on in zip(part, batched) if on))[0]
            parts.append(Mapped.of(flat, part, batched, size, randomness))
        made = [_ops()["cat"].op(list(column), 0) for column in zip(*parts)]
    dims = _spread("out_dims", out_dims, shape[0])
    return refill(shape[0], iter([_moved(x, d) for x, d in zip(made, dims)]))


def _count(tensors: list[Any], batched: list[bool]) -> int:
    return int(next(x.shape[0] for x, on in zip(tensors, batched) if on))


def _as_tensor(x: Any) -> Any:
    """A number that a loop made, as PyTorch's functions give it."""
    if not isinstance(x, (int, float)):
        return x
    from duograph.tensors.creation import tensor

    return tensor(x)


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
    return tensors, batched, shape_of(next(x for x, on in zip(tensors, batched) if on))[0]


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


class Mapped:
    """One call of a function from tensors to tensors, mapped.

    Args:
        where: the place in which the function is recorded on one example.
        inputs: the examples of its arguments, as its tape knows them.
        outputs: its results for one example.
        keys: the random keys drawn by the call that this one differentiates.
    """

    def __init__(self, where: Place, inputs: list[Any], outputs: list[Any], randomness: str, keys: Keys | None = None) -> None:
        self.where = where
        self.inputs = inputs
        self.outputs = outputs
        self.randomness = randomness
        self.keys = keys

    @staticmethod
    def of(function: Flat, tensors: list[Any], batched: list[bool], size: Expr, randomness: str) -> list[Any]:
        """Record the function and run it for all examples; the results, examples first, with their place on the tape."""
        record = core.is_grad_enabled() and not core.is_inference_mode_enabled()

        def one(where: Place) -> Mapped:
            inputs = [where.input(_one(x, on), record and x.requires_grad) for x, on in zip(tensors, batched)]
            with where.open():
                outputs = [where.local(x) for x in function(inputs)]
            return Mapped(where, inputs, outputs, randomness)

        found: list[Any] = recorded(one).run(tensors, batched, size, record)
        return found

    def run(self, tensors: list[Any], batched: list[bool], size: Expr, record: bool) -> list[Any]:
        """The results for all examples."""
        where = self.where
        with where.open():
            wanted = [where.value(x) for x in self.outputs]
            given = {where.value(x): pair for x, pair in zip(self.inputs, zip(tensors, batched))}
        results, keys = where.run(wanted, given, size, self.randomness, self.keys)
        others = where.outside() if record else []
        if not record or not any(x.requires_grad for x in (*tensors, *(x for x, _ in others))):
            return results
        gradient = _Gradient(self, tensors, batched, size, others, results, (self.keys or {}) | keys)
        return list(core.record_python(tuple(results), (*tensors, *(x for x, _ in others)), "vmap", gradient))


def _one(x: Any, batched: bool) -> TensorType:
    return TensorType(x.dtype, shape_of(x)[1 if batched else 0 :])


class _Gradient:
    """The gradient of one call: what the tape of one example says, mapped."""

    def __init__(
        self,
        mapped: Mapped,
        tensors: list[Any],
        batched: list[bool],
        size: Expr,
        others: list[Any],
        results: list[Any],
        keys: Keys,
    ) -> None:
        self.mapped = mapped
        self.tensors = tensors
        self.batched = batched
        self.size = size
        self.others = others
        self.keys = keys
        self.versions = [x._version for x in self._outer()]
        self.specs = [(tuple(x.shape), x.dtype) for x in results]

    def _outer(self) -> list[Any]:
        return [*self.tensors, *(x for x, _ in self.others)]

    def __call__(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        """Gradients of the tensors and of what the function read from outside."""
        from duograph.tensors.creation import zeros

        if self.versions != [x._version for x in self._outer()]:
            raise GradError("vmap: a tensor that its gradient needs was overwritten", hint="clone it before the in-place write")
        used = [i for i, (_, dtype) in enumerate(self.specs) if dtype.is_floating_point]
        seeds = [zeros(self.specs[i][0], dtype=self.specs[i][1]) if grads[i] is None else grads[i] for i in used]
        wanted = [i for i, x in enumerate(self.tensors) if x.requires_grad]
        count = len(self.tensors)
        found = self._pull(used, wanted, seeds)
        placed: list[Any] = [None] * (count + len(self.others))
        for i, g in zip((*wanted, *range(count, len(placed))), found):
            placed[i] = g if i < count and self.batched[i] else g.sum(0)
        if core.tracing() and active():
            current().followed(grads, placed)
        return tuple(placed)

    def push(self, tangents: Sequence[Any]) -> list[Any]:
        """The tangents of the results from those of the tensors and of what the function read from outside; None for zero."""
        if self.versions != [x._version for x in self._outer()]:
            raise GradError("vmap: a tensor that its tangent needs was overwritten", hint="clone it before the in-place write")
        mapped, where, again = self.mapped, self.mapped.where, core.is_grad_enabled()
        flags = [*self.batched, *(False for _ in self.others)]
        given = [i for i, t in enumerate(tangents) if t is not None]
        vector = [tangents[i] for i in given]
        inputs = [where.input(_one(t, flags[i]), again and t.requires_grad) for i, t in zip(given, vector)]
        with where.open():
            variables = [*mapped.inputs, *(x for _, x in self.others)]
            found = core.push_forward(tuple(mapped.outputs), tuple(variables[i] for i in given), tuple(inputs), again)
            used = [i for i, t in enumerate(found) if t is not None]
            outputs = [where.local(found[i]) for i in used]
        results: list[Any] = [None] * len(found)
        if not used:
            return results
        made = Mapped(where, [*mapped.inputs, *inputs], outputs, mapped.randomness, self.keys)
        batched = [*self.batched, *(flags[i] for i in given)]
        for i, tensor in zip(used, made.run([*self.tensors, *vector], batched, self.size, again)):
            results[i] = tensor
        return results

    def _pull(self, used: list[int], wanted: list[int], seeds: list[Any]) -> list[Any]:
        """The gradients for each example."""
        mapped, where, again = self.mapped, self.mapped.where, core.is_grad_enabled()
        inputs = [where.input(_one(x, True), again and x.requires_grad) for x in seeds]
        with where.open():
            pairs = [(mapped.outputs[i], s) for i, s in zip(used, inputs) if mapped.outputs[i].requires_grad]
            variables = [*(mapped.inputs[i] for i in wanted), *(x for _, x in self.others)]
            results: Sequence[Any] = (None,) * len(variables)
            if pairs:
                outs, given = tuple(o for o, _ in pairs), tuple(s for _, s in pairs)
                results = core.grad(outs, tuple(variables), given, True, again, True, end=True)
            zero = _ops()["zeros_like"].op
            outputs = [zero(x.detach()) if g is None else where.local(g) for g, x in zip(results, variables)]
        flags = [*self.batched, *(True for _ in seeds)]
        made = Mapped(where, [*mapped.inputs, *inputs], outputs, mapped.randomness, self.keys)
        return made.run([*self.tensors, *seeds], flags, self.size, again)
