"""Differentiation: gradients as values, gradient modes, functions with their own gradient, checkers, the tape as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from . import _core as core
from ._recorded import callee, current
from .errors import ArgumentError, GradError

if TYPE_CHECKING:
    from ._core import Tensor

F = TypeVar("F", bound=Callable[..., Any])


# ---- gradient modes -----------------------------------------------------------------------------------------------


class _GradMode:
    """A context manager and decorator that sets whether operators are recorded."""

    enabled: bool

    def __init__(self) -> None:
        self._previous: list[bool] = []

    def __enter__(self) -> None:
        self._previous.append(core.set_grad_enabled(self.enabled))

    def __exit__(self, *exc: object) -> None:
        core.set_grad_enabled(self._previous.pop())

    def __call__(self, function: F) -> F:
        import functools

        enabled = self.enabled

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            previous = core.set_grad_enabled(enabled)
            try:
                return callee(function)(*args, **kwargs)
            finally:
                core.set_grad_enabled(previous)

        return cast(F, wrapper)


class no_grad(_GradMode):
    """Nothing is recorded inside: `with no_grad():`, or as a decorator `@no_grad()`.

    >>> import duograph as dg
    >>> x = dg.tensor(1.0, requires_grad=True)
    >>> with dg.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    enabled = False

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        made = super().__new__(cls)
        if function is None:
            return made
        made.__init__()  # type: ignore[misc]
        return made(function)

    def __init__(self, function: Callable[..., Any] | None = None) -> None:
        super().__init__()


class inference_mode(no_grad):
    """`no_grad` by the name that code for inference uses."""


class enable_grad(_GradMode):
    """Operators are recorded inside, also within `no_grad`."""

    enabled = True


class set_grad_enabled(_GradMode):
    """Sets whether operators are recorded, at once; as a context manager, until its end."""

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self.enabled = bool(mode)
        self._before: bool | None = core.set_grad_enabled(self.enabled)

    def __enter__(self) -> None:
        before = core.set_grad_enabled(self.enabled) if self._before is None else self._before
        self._before = None
        self._previous.append(before)

    def __call__(self, function: F) -> F:
        if self._before is not None:  # used as a decorator: nothing is set outside of calls
            core.set_grad_enabled(self._before)
            self._before = None
        return super().__call__(function)


def is_grad_enabled() -> bool:
    """Whether operators are recorded in this thread."""
    return bool(core.is_grad_enabled())


# ---- gradients ----------------------------------------------------------------------------------------------------


def _tuple(tensors: Any) -> tuple[Any, ...]:
    return (tensors,) if isinstance(tensors, core.Tensor) else tuple(tensors)


def _gradients(name: str, outputs: tuple[Any, ...], grads: Any) -> tuple[Any, ...]:
    """One gradient (or None) per output, with the shapes checked."""
    given = (None,) * len(outputs) if grads is None else (grads,) if isinstance(grads, core.Tensor) else tuple(grads)
    if len(given) != len(outputs):
        raise ArgumentError(f"{name}: {len(outputs)} outputs but {len(given)} gradients for them")
    return given


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor, ...]:
    """Gradients of the sum of `outputs` with respect to `inputs`, as a tuple; no `.grad` is touched.

    Args:
        grad_outputs: what to multiply from the left with: one per output; None stands for 1 (scalars only).
        retain_graph: keep the recorded graph for another time (default: as `create_graph`).
        create_graph: record the gradient computation too, so that it can be differentiated again.
        allow_unused: give None for inputs that `outputs` do not depend on, instead of an error.

    Errors:   GradError if an output does not require grad, is no scalar and has no gradient, or an input is unused

    >>> import duograph as dg
    >>> x = dg.tensor(3.0, requires_grad=True)
    >>> (first,) = dg.autograd.grad(x * x * x, x, create_graph=True)
    >>> dg.autograd.grad(first, x)
    (tensor(18.),)
    """
    outs, ins = _tuple(outputs), _tuple(inputs)
    seeds = _gradients("grad", outs, grad_outputs)
    return cast("tuple[Tensor, ...]", core.grad(outs, ins, seeds, retain_graph, create_graph, allow_unused))


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add the gradients of `tensors` to the `.grad` of the leaves they depend on (of `inputs` only, if given)."""
    outs = _tuple(tensors)
    chosen = None if inputs is None else _tuple(inputs)
    recorder = current()
    run = core.backward if recorder is None else recorder.backward
    run(outs, _gradients("backward", outs, grad_tensors), retain_graph, create_graph, chosen)


# ---- functions with their own gradient ----------------------------------------------------------------------------


class Context:
    """What `forward` hands to `backward`: saved tensors, and any attribute it likes to set."""

    needs_input_grad: tuple[bool, ...] = ()

    def __init__(self) -> None:
        self._saved: tuple[Any, ...] = ()
        self._versions: tuple[int, ...] = ()
        self._outputs: dict[int, int] = {}  # position among the saved → position among the outputs
        self._node_outputs: tuple[Any, ...] = ()
        self._not_differentiable: frozenset[int] = frozenset()
        self.materialize_grads = True

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Tensors that `backward` needs. An overwritten one is noticed."""
        self._saved = tensors
        self._versions = tuple(-1 if t is None else t._version for t in tensors)

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The tensors given to `save_for_backward`."""
        for i, (tensor, version) in enumerate(zip(self._saved, self._versions)):
            if tensor is not None and tensor._version != version:
                raise GradError(
                    f"backward: saved tensor {i} was overwritten since forward", hint="clone it before the in-place write"
                )
        return tuple(self._node_outputs[self._outputs[i]] if i in self._outputs else t for i, t in enumerate(self._saved))

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Outputs through which no gradient flows."""
        self._not_differentiable = frozenset(id(t) for t in tensors)

    def set_materialize_grads(self, value: bool) -> None:
        """Whether `backward` gets zeros (the default) or None for outputs that nothing depends on."""
        self.materialize_grads = value


class Function:
    """An operation with a gradient written by hand: subclass it with static `forward` and `backward`, call `apply`.

    `backward` is recorded too under `create_graph=True`, so it can be differentiated if it is made of operators.

    >>> import duograph as dg
    >>> class Cube(dg.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (x,) = ctx.saved_tensors
    ...         return g * 3 * x * x
    >>> x = dg.tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor(12.)
    """

    @staticmethod
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the result; nothing is recorded inside."""
        raise NotImplementedError("a Function needs a static method forward(ctx, ...)")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """One gradient (or None) per argument of `forward`."""
        raise NotImplementedError("a Function needs a static method backward(ctx, *grads)")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Call `forward` and record its gradient."""
        ctx = Context()
        inputs = tuple(a for a in args if isinstance(a, core.Tensor))
        ctx.needs_input_grad = tuple(isinstance(a, core.Tensor) and a.requires_grad for a in args)
        previous = core.set_grad_enabled(False)
        try:
            result = callee(cls.forward)(ctx, *args, **kwargs)
        finally:
            core.set_grad_enabled(previous)
        outputs = _tuple(result)
        if not previous or not any(ctx.needs_input_grad):
            return result
        node = _FunctionNode(cls, ctx, args, outputs)
        recorded = core.record_python(outputs, inputs, cls.__name__, node.apply)
        final = [o.detach() if id(raw) in ctx._not_differentiable else o for raw, o in zip(outputs, recorded)]
        positions = {id(raw): i for i, raw in enumerate(outputs)}
        ctx._outputs = {i: positions[id(t)] for i, t in enumerate(ctx._saved) if id(t) in positions}
        if ctx._outputs:
            # A saved output is a value that depends on the inputs when the gradient is differentiated again.
            ctx._saved = tuple(None if i in ctx._outputs else t for i, t in enumerate(ctx._saved))
            node.keep_outputs(recorded)
        if isinstance(result, core.Tensor):
            return final[0]
        return type(result)(final) if isinstance(result, list) else tuple(final)


class _FunctionNode:
    """The gradient of one call of a `Function`, as the tape holds it."""

    def __init__(self, cls: type[Function], ctx: Context, args: tuple[Any, ...], outputs: tuple[Any, ...]) -> None:
        self.cls = cls
        self.ctx = ctx
        self.is_tensor = tuple(isinstance(a, core.Tensor) for a in args)
        self.specs = [(tuple(o.shape), o.dtype) for o in outputs]
        self.outputs: list[Any] = []

    def keep_outputs(self, outputs: tuple[Any, ...]) -> None:
        # Weakly: the outputs hold this node.
        import weakref

        self.outputs = [(weakref.ref(o), o.detach()) for o in outputs]

    def apply(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        ctx, given = self.ctx, grads
        if ctx.materialize_grads:
            from .tensors.creation import zeros

            grads = tuple(zeros(s, dtype=d) if g is None else g for g, (s, d) in zip(grads, self.specs))
        ctx._node_outputs = tuple(ref() if ref() is not None else plain for ref, plain in self.outputs)
        try:
            result = callee(self.cls.backward)(ctx, *grads)
        finally:
            ctx._node_outputs = ()
        found = result if isinstance(result, (tuple, list)) else (result,)
        while len(found) > len(self.is_tensor) and found[-1] is None:
            found = found[:-1]
        if len(found) != len(self.is_tensor):
            raise GradError(
                f"{self.cls.__name__}.backward: forward takes {len(self.is_tensor)} arguments, "
                f"so backward must return {len(self.is_tensor)} gradients, not {len(found)}"
            )
        results = tuple(g for g, tensor in zip(found, self.is_tensor) if tensor)
        if core.tracing():
            from .ir.builder import active, current

            if active():
                current().followed(given, results)
        return results


# ---- the tape as text ---------------------------------------------------------------------------------------------


class Tape:
    """The recorded graph that leads to a tensor; `print(tape)` shows it, `len(tape)` counts its operations."""

    def __init__(self, tensor: Tensor) -> None:
        self.nodes: list[Any] = []
        self.leaves: list[Any] = []
        self._names: dict[Any, str] = {}
        self._collect(tensor)

    def _collect(self, tensor: Any) -> None:
        root = tensor.grad_fn
        if root is None:
            return
        done: set[Any] = set()
        stack: list[tuple[Any, bool]] = [(root, False)]
        while stack:  # post-order, without recursion: inputs before what uses them
            node, ready = stack.pop()
            if ready:
                self._names[node] = f"%{len(self.nodes)}"
                self.nodes.append(node)
                continue
            if node in done:
                continue
            done.add(node)
            stack.append((node, True))
            for parent in reversed(node.parents):
                if isinstance(parent, core.Tensor):
                    if all(parent is not leaf for leaf in self.leaves):
                        self.leaves.append(parent)
                elif parent is not None and parent not in done:
                    stack.append((parent, False))

    def __len__(self) -> int:
        return len(self.nodes)

    def __str__(self) -> str:
        if not self.nodes:
            return "nothing recorded"
        leaf_names = {id(leaf): f"leaf{i}" for i, leaf in enumerate(self.leaves)}
        rows = [(name, f"{leaf.dtype.name}{list(leaf.shape)}", "") for leaf, name in zip(self.leaves, leaf_names.values())]
        for node in self.nodes:
            inputs = ", ".join(
                "_" if p is None else leaf_names[id(p)] if isinstance(p, core.Tensor) else self._names[p] for p in node.parents
            )
            specs = ", ".join(f"{dtype}{list(shape)}" for dtype, shape in node.output_specs)
            where = "" if node.location is None else str(node.location)
            rows.append((f"{self._names[node]} = {node.op_name}({inputs})", specs, where))
        widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
        return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in rows)

    __repr__ = __str__


def tape(tensor: Tensor) -> Tape:
    """The recorded graph that leads to `tensor`: each operation with its inputs, its shape and the user's line."""
    if not isinstance(tensor, core.Tensor):
        raise ArgumentError(f"tape: expected a Tensor, got {type(tensor).__name__}")
    return Tape(tensor)


# ---- checkers -----------------------------------------------------------------------------------------------------


def gradcheck(
    function: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    seed: int = 0,
) -> bool:
    """Compare the gradients of `function` at `inputs` with central differences. Use float64 inputs.

    Every input element is moved, every output element weighted by a fixed random number.

    Errors:   GradError naming input and element where the two differ by more than atol + rtol·|numeric|
    """
    from random import Random

    args = _tuple(inputs)
    wanted = [i for i, a in enumerate(args) if isinstance(a, core.Tensor) and a.requires_grad]
    if not wanted:
        raise ArgumentError("gradcheck: no input requires grad")
    for i in wanted:
        if args[i].dtype.name != "float64":
            raise ArgumentError(f"gradcheck: input {i} is {args[i].dtype.name}", hint="differences need float64 inputs")
    generator = Random(seed)
    outputs = [o for o in _tuple(function(*args)) if isinstance(o, core.Tensor) and o.dtype.is_floating_point]
    weights = [_filled([generator.uniform(0.5, 1.5) for _ in range(o.numel())], o) for o in outputs]
    pairs = [(o, w) for o, w in zip(outputs, weights) if o.requires_grad]
    if not pairs:
        raise GradError("gradcheck: no output depends on an input that requires grad")
    found = grad([o for o, _ in pairs], [args[i] for i in wanted], [w for _, w in pairs], allow_unused=True)
    for i, analytic in zip(wanted, found):
        values = [0.0] * args[i].numel() if analytic is None else _flat(analytic)
        for at, expected in enumerate(_differences(function, args, i, weights, eps)):
            if not abs(values[at] - expected) <= atol + rtol * abs(expected):
                if not raise_exception:
                    return False
                raise GradError(
                    f"gradcheck: the gradient of input {i} at element {at} is {values[at]:.9g}, "
                    f"by differences it is {expected:.9g}"
                )
    return True


def gradgradcheck(
    function: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    seed: int = 0,
) -> bool:
    """`gradcheck` of the gradients of `function`: second order."""
    from random import Random

    args = _tuple(inputs)
    wanted = [i for i, a in enumerate(args) if isinstance(a, core.Tensor) and a.requires_grad]
    outputs = [o for o in _tuple(function(*args)) if isinstance(o, core.Tensor) and o.dtype.is_floating_point]
    generator = Random(seed + 1)
    seeds = [_filled([generator.uniform(0.5, 1.5) for _ in range(o.numel())], o).requires_grad_() for o in outputs]

    def gradients(*values: Any) -> tuple[Any, ...]:
        inner, outer = values[: len(args)], values[len(args) :]
        again = [o for o in _tuple(function(*inner)) if isinstance(o, core.Tensor) and o.dtype.is_floating_point]
        pairs = [(o, s) for o, s in zip(again, outer) if o.requires_grad]
        found = grad(
            [o for o, _ in pairs], [inner[i] for i in wanted], [s for _, s in pairs], create_graph=True, allow_unused=True
        )
        return tuple(g for g in found if g is not None and g.requires_grad)

    return gradcheck(gradients, (*args, *seeds), eps, atol, rtol, raise_exception, seed)


def _filled(values: list[float], like: Any) -> Any:
    return core.from_flat(values, like.dtype, tuple(like.shape))


def _flat(tensor: Any) -> list[float]:
    values = tensor.detach().contiguous().reshape(-1).tolist()
    return list(values)


def _differences(function: Callable[..., Any], args: tuple[Any, ...], which: int, weights: list[Any], eps: float) -> list[float]:
    """Central differences of the weighted sum of all outputs, element by element of one input."""
    base = _flat(args[which])
    found: list[float] = []
    weight_values = [_flat(w) for w in weights]

    def weighted(at: int, value: float) -> float:
        moved = list(base)
        moved[at] = value
        replaced = _filled(moved, args[which]).requires_grad_(args[which].requires_grad)
        results = _tuple(function(*args[:which], replaced, *args[which + 1 :]))
        outputs = [o for o in results if isinstance(o, core.Tensor) and o.dtype.is_floating_point]
        total = 0.0
        for o, w in zip(outputs, weight_values):
            total += sum(a * b for a, b in zip(_flat(o), w))
        return total

    for at, value in enumerate(base):
        found.append((weighted(at, value + eps) - weighted(at, value - eps)) / (2 * eps))
    return found
