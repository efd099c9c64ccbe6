"""Functions with their own gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._recorded import callee
from duograph.errors import ArgumentError, GradError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor


class Context:
    """What `forward` hands to `backward`: saved tensors, and any attribute it likes to set."""

    needs_input_grad: tuple[bool, ...] = ()

    def __init__(self) -> None:
        self._saved: tuple[Any, ...] = ()
        self._versions: tuple[int, ...] = ()
        self._outputs: dict[int, int] = {}  # position among the saved → position among the outputs
        self._node_outputs: tuple[Any, ...] = ()
        self._not_differentiable: frozenset[int] = frozenset()
        self._dirty: tuple[Any, ...] = ()
        self._used = False  # a backward that does not retain the graph has gone through
        self.materialize_grads = True
        self._hooks: Any = None  # of saved_tensors_hooks: what is saved is packed

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Tensors that `backward` needs. An overwritten one is noticed."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, core.Tensor):
                raise ArgumentError(
                    f"save_for_backward: takes tensors and None, got {type(tensor).__name__}",
                    hint="keep anything else as an attribute: ctx.scale = scale",
                )
        self._saved = tensors
        self._versions = tuple(-1 if t is None else t._version for t in tensors)

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The tensors given to `save_for_backward`."""
        if self._used:
            raise GradError(
                "saved_tensors: backward has gone through this function and given up what it saved",
                hint="pass retain_graph=True to the first backward",
            )
        for i, (tensor, version) in enumerate(zip(self._saved, self._versions)):
            if tensor is not None and tensor._version != version:
                raise GradError(
                    f"backward: saved tensor {i} was overwritten since forward", hint="clone it before the in-place write"
                )
        kept = self._saved if self._hooks is None else [None if t is None else self._hooks[1](t[0]) for t in self._saved]
        return tuple(self._node_outputs[self._outputs[i]] if i in self._outputs else t for i, t in enumerate(kept))

    def _pack(self, hooks: Any) -> None:
        self._hooks = hooks
        self._versions = ()
        self._saved = tuple(None if t is None else (hooks[0](t.detach()),) for t in self._saved)

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Inputs that `forward` writes to in place and returns: they become outputs of the function."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Outputs through which no gradient flows."""
        self._not_differentiable = frozenset(id(t) for t in tensors)

    def set_materialize_grads(self, value: bool) -> None:
        """Whether `backward` gets zeros (the default) or None for outputs that nothing depends on."""
        self.materialize_grads = value


class Function:
    """An operation with a gradient written by hand: subclass it with static `forward` and `backward`, call `apply`.

    `backward` is recorded too under `create_graph=True`, so it can be differentiated if it is made of operators. Forward mode
    differentiates it so; or it calls a static method `jvp(ctx, *tangents)`, which gets one tangent (or None, for zero) per
    argument of `forward` and gives one per result.

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

    jvp: Callable[..., Any] | None = None

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Call `forward` and record its gradient.

        With a static method `setup_context(ctx, inputs, output)`, `forward` gets no ctx. `forward` returns a tensor or a
        tuple; what is no tensor in it is passed on, and `backward` gets None for it.

        Errors:   GradError if an input that `forward` marked as written is not among its outputs, or is a leaf
        """
        ctx = Context()
        inputs = tuple(a for a in args if isinstance(a, core.Tensor))
        ctx.needs_input_grad = tuple(isinstance(a, core.Tensor) and a.requires_grad for a in args)
        previous = core.set_grad_enabled(False)
        try:
            result = cls._forward(ctx, args, kwargs)
        finally:
            core.set_grad_enabled(previous)
        if not previous or not any(ctx.needs_input_grad):
            return result
        items = list(result) if isinstance(result, (tuple, list)) else [result]
        outputs = tuple(o for o in items if isinstance(o, core.Tensor))
        if outputs:
            final = iter(cls._record(ctx, args, inputs, outputs, [isinstance(o, core.Tensor) for o in items]))
            items = [next(final) if isinstance(o, core.Tensor) else o for o in items]
        if not isinstance(result, (tuple, list)):
            return items[0]
        return items if isinstance(result, list) else tuple(items)

    @classmethod
    def _forward(cls, ctx: Context, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        setup = getattr(cls, "setup_context", None)
        if setup is None:
            return callee(cls.forward)(ctx, *args, **kwargs)
        result = callee(cls.forward)(*args, **kwargs)
        callee(setup)(ctx, args, result)
        return result

    @classmethod
    def _record(
        cls, ctx: Context, args: tuple[Any, ...], inputs: tuple[Any, ...], outputs: tuple[Any, ...], places: list[bool]
    ) -> list[Any]:
        """The output tensors with their place on the tape."""
        name = cls.__name__
        for written in ctx._dirty:
            if not any(written is o for o in outputs):
                raise GradError(f"{name}: an input marked by mark_dirty is not among the outputs", hint="return it from forward")
        node = _FunctionNode(cls, ctx, args, outputs, places)
        recorded = core.record_python(outputs, inputs, name, node.apply)
        final: list[Any] = []
        for raw, output in zip(outputs, recorded):
            if id(raw) in ctx._not_differentiable:
                output = output.detach()
            elif any(raw is written for written in ctx._dirty) and output is not raw:
                core.take_history(raw, output, name)
                output = raw
            final.append(output)
        positions = {id(raw): i for i, raw in enumerate(outputs)}
        ctx._outputs = {i: positions[id(t)] for i, t in enumerate(ctx._saved) if id(t) in positions}
        if ctx._outputs:
            # A saved output is a value that depends on the inputs when the gradient is differentiated again.
            ctx._saved = tuple(None if i in ctx._outputs else t for i, t in enumerate(ctx._saved))
            node.keep_outputs(recorded)
        ctx._dirty = ()
        if core.saved_hooks() is not None:
            ctx._pack(core.saved_hooks())
        return final


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """For `backward` of a Function that cannot be differentiated again: nothing in it is recorded.

    Errors:   GradError where a second-order gradient would go through it

    >>> import duograph as dg
    >>> class Double(dg.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     @dg.autograd.function.once_differentiable
    ...     def backward(ctx, g):
    ...         return g * 2
    >>> x = dg.tensor(1.0, requires_grad=True)
    >>> dg.autograd.grad(Double.apply(x), x, create_graph=True)
    (tensor(2.),)
    """
    import functools

    @functools.wraps(backward)
    def wrapper(ctx: Any, *grads: Any) -> Any:
        previous = core.set_grad_enabled(False)
        try:
            result = callee(backward)(ctx, *grads)
        finally:
            core.set_grad_enabled(previous)
        given = [g for g in grads if isinstance(g, core.Tensor)]
        if not previous or not any(g.requires_grad for g in given):
            return result
        items = list(result) if isinstance(result, (tuple, list)) else [result]
        found = tuple(r for r in items if isinstance(r, core.Tensor) and r.dtype.is_floating_point)
        marked = iter(core.record_python(found, tuple(given), "once_differentiable", _refuse))
        items = [next(marked) if any(r is f for f in found) else r for r in items]
        return tuple(items) if isinstance(result, (tuple, list)) else items[0]

    return wrapper


def _refuse(grads: tuple[Any, ...]) -> Any:
    raise GradError(
        "once_differentiable: this gradient cannot be differentiated again",
        hint="write backward with operators and leave once_differentiable out",
    )


def _alive(output: Any, unpack: Any, plain: Any, index: int) -> Any:
    """An output of the node that runs: the tensor itself while it is there, else its values at the same place of the tape."""
    return core.running_output(unpack(plain), index) if output is None else output


class _FunctionNode:
    """The gradient of one call of a `Function`, as the tape holds it."""

    def __init__(
        self, cls: type[Function], ctx: Context, args: tuple[Any, ...], outputs: tuple[Any, ...], places: list[bool]
    ) -> None:
        self.cls = cls
        self.places = places  # which outputs are tensors
        self.ctx = ctx
        self.is_tensor = tuple(isinstance(a, core.Tensor) for a in args)
        self.inputs = [(tuple(a.shape), a.dtype) if isinstance(a, core.Tensor) else None for a in args]
        self.specs = [(tuple(o.shape), o.dtype) for o in outputs]
        self.outputs: list[Any] = []
        self.hooks: Any = None  # of saved_tensors_hooks

    def give_up(self) -> None:
        """The core's word that a backward which does not retain the graph has gone through."""
        self.outputs = []
        self.ctx._saved = ()
        self.ctx._used = True

    def keep_outputs(self, outputs: tuple[Any, ...]) -> None:
        # Weakly: the outputs hold this node.
        import weakref

        self.hooks = core.saved_hooks()
        pack = (lambda o: o) if self.hooks is None else self.hooks[0]
        self.outputs = [(weakref.ref(o), pack(o.detach())) for o in outputs]

    def _call(self, function: Any, given: Sequence[Any]) -> tuple[Any, ...] | list[Any]:
        """A method of the user's, with what was saved at hand; its results."""
        ctx = self.ctx
        unpack = (lambda o: o) if self.hooks is None else self.hooks[1]
        ctx._node_outputs = tuple(_alive(ref(), unpack, plain, i) for i, (ref, plain) in enumerate(self.outputs))
        try:
            result = callee(function)(ctx, *given)
        finally:
            ctx._node_outputs = ()
        return result if isinstance(result, (tuple, list)) else (result,)

    def push(self, tangents: Sequence[Any]) -> Sequence[Any] | None:
        """The results' tangents, if the function says how they come from those of its tensors."""
        if self.cls.jvp is None:
            return None
        given = iter(tangents)
        found = self._call(self.cls.jvp, [next(given) if tensor else None for tensor in self.is_tensor])
        if len(found) == len(self.places):
            found = [t for t, tensor in zip(found, self.places) if tensor]
        if len(found) != len(self.specs):
            raise GradError(f"{self.cls.__name__}.jvp: forward gives {len(self.specs)} results, jvp {len(found)} tangents")
        for t, (shape, dtype) in zip(found, self.specs):
            if t is not None and (tuple(t.shape) != shape or t.dtype is not dtype):
                raise GradError(f"{self.cls.__name__}.jvp: a tangent is {core.describe(t)}, its result {dtype.name}{list(shape)}")
        return found

    def apply(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        ctx, given = self.ctx, grads
        if ctx.materialize_grads:
            from duograph.tensors.creation import zeros

            grads = tuple(zeros(s, dtype=d) if g is None else g for g, (s, d) in zip(grads, self.specs))
        each = iter(grads)
        found = self._call(self.cls.backward, [next(each) if tensor else None for tensor in self.places])
        while len(found) > len(self.is_tensor) and found[-1] is None:
            found = found[:-1]
        if len(found) != len(self.is_tensor):
            raise GradError(
                f"{self.cls.__name__}.backward: forward takes {len(self.is_tensor)} arguments, "
                f"so backward must return {len(self.is_tensor)} gradients, not {len(found)}"
            )
        results = tuple(_fitted(g, like) for g, like in zip(found, self.inputs) if like is not None)
        if core.tracing():
            from duograph.ir.builder import active, current

            if active():
                current().followed(given, results)
        return results


def _fitted(gradient: Any, like: tuple[tuple[int, ...], Any]) -> Any:
    """A gradient in its input's dtype, summed over the dimensions along which the input was repeated."""
    shape, dtype = like
    if not isinstance(gradient, core.Tensor) or not gradient.dtype.is_floating_point or not dtype.is_floating_point:
        return gradient
    have = tuple(gradient.shape)
    if have != shape and _broadcasts(shape, have):
        gradient = gradient.sum_to_size(shape)
    return gradient if gradient.dtype == dtype else gradient.to(dtype)


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(reversed(shape), reversed(to)))
