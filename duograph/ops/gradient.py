"""The gradient of an operator: its explicit rule, or one derived from its body; both are Tensor code made of operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._recorded import state
from duograph.errors import GradError
from duograph.ir.builder import active, current

from .definition import (
    ELEMENTWISE,
    NUMBER,
    OPERAND_KINDS,
    OPTIONAL_TENSOR,
    REGISTRY,
    TENSOR,
    TENSOR_LIST,
    Definition,
    flatten_operands,
    spread,
)
from .tracing import convert, evaluate

if TYPE_CHECKING:
    from duograph._core import Tensor


def python_gradient(
    op: Any,
    grads: Sequence[Tensor | None],
    outs: Sequence[Tensor],
    args: Sequence[Any],
    needs: int | Sequence[bool],
    forward: bool = False,
) -> tuple[Tensor | None, ...]:
    """Hook of the core: one gradient per flattened operand, computed by calling operators.

    With `forward`, `grads` are tangents of the operands, and the result those of the outputs. `op` is then perhaps a node
    of the tape without an operator, whose function is in the place of `args`.
    """
    if forward and isinstance(op, core.Node):
        return tuple(node_tangents(op, grads, outs, args))
    definition: Definition = op.definition.base or op.definition
    if forward:
        return tuple(output_tangents(definition, grads, outs, args))
    if isinstance(needs, int):
        needs = [bool(needs >> i & 1) for i in range(len(flatten_operands(definition, args)))]

    def compute() -> tuple[Tensor | None, ...]:
        return tuple(operand_gradients(definition, grads, outs, args, needs))

    found = compute() if state.watch is None else state.watch.gradient(op.name, compute)
    if active():
        current().followed(grads, found)
    return found


def operand_gradients(
    definition: Definition,
    grads: Sequence[Tensor | None],
    outs: Sequence[Tensor],
    args: Sequence[Any],
    needs: Sequence[bool],
) -> list[Tensor | None]:
    """One gradient per flattened operand, in the operand's dtype and shape; None where not needed or zero.

    Args:
        grads: one per output; None stands for zeros. outs: the outputs. args: bound arguments in parameter order.
        needs: which flattened operands want a gradient.
    """
    if all(g is None for g in grads):
        return [None] * len(needs)
    operands = flatten_operands(definition, args)
    widen = definition.dtypes is not None
    given = [_zeros(out) if g is None else _widened(g, widen) for g, out in zip(grads, outs)]
    if definition.gradient is not None:
        found = _by_rule(definition, given, [_widened(o, widen) for o in outs], _widened_args(definition, args, widen))
    else:
        found = _derived(definition, given, args, needs)
    results: list[Tensor | None] = []
    for operand, gradient, needed in zip(operands, found, needs, strict=True):
        if not needed or gradient is None or not isinstance(operand, core.Tensor):
            results.append(None)
            continue
        if definition.kind == ELEMENTWISE:
            gradient = unbroadcast(gradient, operand.shape)
        results.append(convert(gradient, operand.dtype))
    return results


def output_tangents(
    definition: Definition, tangents: Sequence[Tensor | None], outs: Sequence[Tensor], args: Sequence[Any]
) -> list[Tensor | None]:
    """The tangents of an operator's outputs from those of its flattened operands; None stands for zeros.

    Args: as in `operand_gradients`, whose result is linear in the gradients: its own gradient by them is the tangent.
    """
    needs = [t is not None for t in tangents]
    return pushed(lambda seeds: operand_gradients(definition, seeds, outs, args, needs), tangents, outs)


def node_tangents(node: Any, tangents: Sequence[Tensor | None], outs: Sequence[Tensor], function: Any) -> Sequence[Tensor | None]:
    """The same for a node of the tape that has a function; what the function belongs to may have a way of its own."""
    push = getattr(getattr(function, "__self__", function), "push", None)
    found = None if push is None else push(tangents)
    return (
        found if found is not None else pushed(lambda seeds: _recorded_pull(node, seeds, tangents), tangents, outs, "ones_like")
    )


def _recorded_pull(node: Any, seeds: Sequence[Tensor | None], tangents: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """What a node's function gives, which must be recorded, or zero."""
    found: Sequence[Tensor | None] = node.pull(seeds)
    for gradient, tangent in zip(found, tangents):
        if gradient is None or tangent is None or gradient.requires_grad or core.tracing():
            continue
        if bool(REGISTRY["any"].op(gradient)):
            raise GradError(
                f"{node.name()}: forward mode needs a backward that is made of operators on the gradients it is given",
                hint="write it so, or give the function a static method jvp(ctx, *tangents)",
            )
    return found


def pushed(
    pull: Callable[[Sequence[Tensor | None]], Sequence[Tensor | None]],
    tangents: Sequence[Tensor | None],
    outs: Sequence[Tensor],
    seed: str = "zeros_like",
) -> list[Tensor | None]:
    """J·v of something whose vᵀ·J is `pull`: the transpose of a linear function, which is the gradient of its result."""
    create_graph = core.set_grad_enabled(True)
    try:
        seeds = [_seed(out, seed) if out.dtype.is_floating_point else None for out in outs]
        found = pull(seeds)
        pairs = [(g, convert(t, g.dtype)) for g, t in zip(found, tangents) if g is not None and t is not None and g.requires_grad]
        if not pairs:
            return [None] * len(outs)
        wanted = [x for x in seeds if x is not None]
        core.set_grad_enabled(create_graph)
        got = iter(core.grad([g for g, _ in pairs], wanted, [t for _, t in pairs], create_graph=create_graph, allow_unused=True))
        return [None if x is None else next(got) for x in seeds]
    finally:
        core.set_grad_enabled(create_graph)


def _seed(out: Tensor, values: str) -> Tensor:
    seed: Tensor = REGISTRY[values].op(out.detach()).requires_grad_()
    if active():
        current().local_leaf(seed)
    return seed


def _zeros(out: Tensor) -> Tensor | None:
    return REGISTRY["zeros_like"].op(out) if out.dtype.is_floating_point else None


def is_zero(g: Any) -> bool:
    """Whether a gradient that a rule is given is known to be zero, as of an output that nobody used.

    A rule may compute less then, but must read no operand or output that it does not read otherwise: those are not kept.
    """
    value = None if g.requires_grad else g._traced  # else what is asked is how the result depends on it
    node = None if value is None else value.node
    if node is not None and node.op == "broadcast":
        node = node.inputs[0].node
    return node is not None and node.op == "constant" and node.attrs["value"] == 0


def _widened(x: Any, widen: bool) -> Any:
    """16-bit floats in float32: rules compute there and round once."""
    if widen and isinstance(x, core.Tensor) and x.dtype.is_floating_point and x.dtype.itemsize == 2:
        return convert(x, core.float32)
    return x


def _widened_args(definition: Definition, args: Sequence[Any], widen: bool) -> list[Any]:
    return [
        [_widened(x, widen) for x in value] if kind == TENSOR_LIST else _widened(value, widen)
        for (_, kind, _), value in zip(definition.params, args)
    ]


def _by_rule(definition: Definition, grads: Sequence[Any], outs: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    """The explicit rule's gradients, flattened."""
    assert definition.gradient is not None
    single = len(outs) == 1
    result = definition.gradient(
        grads[0] if single else tuple(grads), outs[0] if single else tuple(outs), *spread(definition, args)
    )
    kinds = [kind for _, kind, _ in definition.params if kind in OPERAND_KINDS]
    wanted = [kind for kind in kinds if kind != NUMBER]
    parts = list(result) if isinstance(result, (tuple, list)) and (len(wanted) > 1 or len(result) == 1) else [result]
    flat: list[Any] = []
    position = 0
    for (_, kind, _), value in zip(definition.params, args):
        if kind == NUMBER:
            flat.append(None)
        elif kind == TENSOR_LIST:
            flat.extend([None] * len(value) if parts[position] is None else parts[position])
            position += 1
        elif kind in (TENSOR, OPTIONAL_TENSOR):
            flat.append(parts[position])
            position += 1
    return flat


def _derived(definition: Definition, grads: Sequence[Any], args: Sequence[Any], needs: Sequence[bool]) -> list[Any]:
    """Run the body with recording on and let the tape give the gradients."""
    if definition.lowers or definition.primitive:
        raise GradError(f"{definition.name}: has no gradient")
    create_graph = core.is_grad_enabled()
    leaves: list[Any] = []
    position = 0

    def leaf(x: Any) -> Any:
        nonlocal position
        needed = needs[position] and isinstance(x, core.Tensor)
        position += 1
        if not needed:
            leaves.append(None)
            return x.detach() if isinstance(x, core.Tensor) and not create_graph else x
        made = REGISTRY["alias"].op(x) if create_graph and x.requires_grad else x.detach().requires_grad_()
        if active():
            current().local_leaf(made)
        leaves.append(made)
        return made

    previous = core.set_grad_enabled(True)
    try:
        bound = [
            [leaf(x) for x in value] if kind == TENSOR_LIST else leaf(value) if kind in OPERAND_KINDS else value
            for (_, kind, _), value in zip(definition.params, args)
        ]
        result = evaluate(definition, bound)
        outs = result if isinstance(result, tuple) else (result,)
        pairs = [(o, convert(g, o.dtype)) for o, g in zip(outs, grads) if g is not None and o.requires_grad]
        inputs = [x for x in leaves if x is not None]
        if not pairs or not inputs:
            return [None] * len(leaves)
        found = iter(
            core.grad([o for o, _ in pairs], inputs, [g for _, g in pairs], create_graph=create_graph, allow_unused=True)
        )
    finally:
        core.set_grad_enabled(previous)
    return [None if x is None else next(found) for x in leaves]


def unbroadcast(gradient: Tensor, shape: Sequence[Any]) -> Tensor:
    """The gradient summed over the dimensions along which an operand of this shape was repeated."""
    have = tuple(gradient.shape)
    shape = tuple(shape)
    if len(have) == len(shape) and all(a is b or a == b for a, b in zip(have, shape)):
        return gradient
    extra = len(have) - len(shape)
    if extra < 0:
        stretched: Tensor = REGISTRY["broadcast_to"].op(gradient, shape)
        return stretched
    dims = [*range(extra)]
    stretch = False
    for d, size in enumerate(shape):
        seen = have[d + extra]
        if isinstance(size, int) and size == 1 and not (isinstance(seen, int) and seen == 1):
            dims.append(d + extra)
        elif isinstance(seen, int) and seen == 1 and not (isinstance(size, int) and size == 1):
            stretch = True
    if dims:
        gradient = REGISTRY["sum"].op(gradient, tuple(dims), True)
    if extra:
        gradient = REGISTRY["reshape"].op(gradient, tuple(gradient.shape)[extra:])
    return REGISTRY["broadcast_to"].op(gradient, shape) if stretch else gradient
