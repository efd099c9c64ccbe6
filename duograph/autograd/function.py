"""Functions with their own gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._recorded import callee
from duograph.errors import GradError

from .gradients import as_tuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
        self.materialize_grads = True
        self._hooks: Any = None  # of saved_tensors_hooks: what is saved is packed

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
        kept = self._saved if self._hooks is None else [None if t is None else self._hooks[1](t[0]) for t in self._saved]
        return tuple(self._node_outputs[self._outputs[i]] if i in self._outputs else t for i, t in enumerate(kept))

    def _pack(self, hooks: Any) -> None:
        self._hooks = hooks
        self._versions = ()
        self._saved = tuple(None if t is None else (hooks[0](t.detach()),) for t in self._saved)

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
        """Call `forward` and record its gradient."""
        ctx = Context()
        inputs = tuple(a for a in args if isinstance(a, core.Tensor))
        ctx.needs_input_grad = tuple(isinstance(a, core.Tensor) and a.requires_grad for a in args)
        previous = core.set_grad_enabled(False)
        try:
            result = callee(cls.forward)(ctx, *args, **kwargs)
        finally:
            core.set_grad_enabled(previous)
        outputs = as_tuple(result)
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
        if core.saved_hooks() is not None:
            ctx._pack(core.saved_hooks())
        if isinstance(result, core.Tensor):
            return final[0]
        return type(result)(final) if isinstance(result, list) else tuple(final)


def _alive(output: Any, unpack: Any, plain: Any, index: int) -> Any:
    """An output of the node that runs: the tensor itself while it is there, else its values at the same place of the tape."""
    return core.running_output(unpack(plain), index) if output is None else output


class _FunctionNode:
    """The gradient of one call of a `Function`, as the tape holds it."""

    def __init__(self, cls: type[Function], ctx: Context, args: tuple[Any, ...], outputs: tuple[Any, ...]) -> None:
        self.cls = cls
        self.ctx = ctx
        self.is_tensor = tuple(isinstance(a, core.Tensor) for a in args)
        self.specs = [(tuple(o.shape), o.dtype) for o in outputs]
        self.outputs: list[Any] = []
        self.hooks: Any = None  # of saved_tensors_hooks

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
        found = self._call(self.cls.backward, grads)
        while len(found) > len(self.is_tensor) and found[-1] is None:
            found = found[:-1]
        if len(found) != len(self.is_tensor):
            raise GradError(
                f"{self.cls.__name__}.backward: forward takes {len(self.is_tensor)} arguments, "
                f"so backward must return {len(self.is_tensor)} gradients, not {len(found)}"
            )
        results = tuple(g for g, tensor in zip(found, self.is_tensor) if tensor)
        if core.tracing():
            from duograph.ir.builder import active, current

            if active():
                current().followed(given, results)
        return results
