"""Gradients as operations of the graph: when a session runs, they come from the same tape as dynamic mode's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from duograph import autograd
from duograph.errors import ArgumentError, GradError

from .constants import convert_to_tensor
from .definition import Definition
from .elements import Operation, Slot, Tensor
from .resolving import Run, as_tensor, needed

__all__ = ["AggregationMethod", "UnconnectedGradients", "gradients", "hessians"]


class AggregationMethod:
    """How TensorFlow adds gradients up: taken and without effect, the program decides."""

    ADD_N = DEFAULT = 0
    EXPERIMENTAL_TREE = 1
    EXPERIMENTAL_ACCUMULATE_N = 2


class UnconnectedGradients:
    """What `gradients` gives for a tensor that has no influence: NONE, or ZERO for zeros."""

    NONE = "none"
    ZERO = "zero"


def _evaluate(run: Run, node: Operation) -> Any:
    attrs = node.attrs
    ys, given, xs = ([node.inputs[slot.index] for slot in attrs[name]] for name in ("ys", "grad_ys", "xs"))
    stops = [node.inputs[slot.index] for slot in attrs["stop_gradients"]]
    if stops:
        run = _stopped(run, ys, xs, stops)
    with autograd.enable_grad():
        values = [run.tensor(y) for y in ys]
        seeds = [run.tensor(g) for g in given] or [None] * len(values)
        sources = [as_tensor(run.held(x)) for x in xs]
        pairs = [(y, _seed(y, s)) for y, s in zip(values, seeds) if y.requires_grad]
        wanted = [x for x in sources if x.requires_grad]
        found: dict[int, Any] = {}
        if pairs and wanted:
            grads = autograd.grad(
                [y for y, _ in pairs],
                wanted,
                [s for _, s in pairs],
                create_graph=attrs["again"][0] or run.again,
                retain_graph=True,
                allow_unused=True,
            )
            found = {id(x): g for x, g in zip(wanted, grads)}
    results = []
    for x in sources:
        grad = found.get(id(x))
        results.append(x.detach() * 0 if grad is None else grad)
    return results


def _seed(y: Any, seed: Any) -> Any:
    if seed is None:
        from duograph.ops import ones_like

        return ones_like(y)
    return seed.to(y.dtype).expand(y.shape) if tuple(seed.shape) != tuple(y.shape) else seed


def _stopped(run: Run, ys: Sequence[Tensor], xs: Sequence[Tensor], stops: Sequence[Tensor]) -> Run:
    """The values of `ys` once more, with `stops` as constants."""
    fed = {x: run.tensor(x).detach() for x in stops}
    fed |= {x: as_tensor(run.held(x)) for x in xs if x not in fed}
    again = Run(run.state, fed, (), run.leaves)
    nodes = needed(ys, fed)
    for node in nodes:
        if not node.inputs and node.outputs and node.outputs[0] in run.values:
            again.values.update({output: run.values[output] for output in node.outputs if output in run.values})
    again.go(nodes)
    again.values.update({x: run.held(x) for x in xs})
    return again


_GRADIENT = Definition("Gradient", lambda: None, evaluate=_evaluate)


def gradients(
    ys: Any,
    xs: Any,
    grad_ys: Any = None,
    name: str = "gradients",
    colocate_gradients_with_ops: bool = False,
    gate_gradients: bool = False,
    aggregation_method: Any = None,
    stop_gradients: Any = None,
    unconnected_gradients: str = UnconnectedGradients.NONE,
) -> list[Tensor | None]:
    """The gradients of the sum of `ys` with respect to each of `xs`, as tensors of the graph.

    Args:
        ys, xs: tensors or variables, or lists of them; of `ys` all elements are added up.
        grad_ys: for each of `ys` what its gradient is multiplied by; left out: ones.
        stop_gradients: tensors that count as constants, with all that is behind them.
        unconnected_gradients: what stands for an x that has no influence: "none" gives None, "zero" zeros.

    Gradient: the result is made of operations like any other, and can be differentiated again

    Errors:   GradError for integers; ArgumentError if `grad_ys` does not go with `ys`

    >>> import duograph.graph as tf
    >>> x = tf.constant(3.0)
    >>> (slope,) = tf.gradients(x * x, [x])
    >>> (bend,) = tf.gradients(slope, [x])
    >>> with tf.Session() as session:
    ...     session.run([slope, bend])
    [np.float32(6.0), np.float32(2.0)]
    """
    ys, xs = [[convert_to_tensor(v) for v in (list(x) if isinstance(x, (list, tuple)) else [x])] for x in (ys, xs)]
    if not ys:
        raise ArgumentError("gradients: there is nothing to differentiate: ys is empty")
    given = [] if grad_ys is None else list(grad_ys) if isinstance(grad_ys, (list, tuple)) else [grad_ys]
    if given and len(given) != len(ys):
        raise ArgumentError(f"gradients: {len(given)} grad_ys for {len(ys)} ys")
    stops = (
        []
        if stop_gradients is None
        else [convert_to_tensor(x) for x in (stop_gradients if isinstance(stop_gradients, (list, tuple)) else [stop_gradients])]
    )
    if unconnected_gradients not in ("none", "zero"):
        raise ArgumentError(f'gradients: unconnected_gradients is "none" or "zero", not {unconnected_gradients!r}')
    for y in ys:
        if not y.dtype.is_floating_point:
            raise GradError(
                f"gradients: {y.name} is {y.dtype.name}: only floats have gradients", [y.node.built_at], hint="tf.cast"
            )
    graph = ys[0].graph
    connected = _connected(ys, xs, stops)
    with graph.as_default(), graph.name_scope(name if name else None):
        seeds = [
            convert_to_tensor(g if g is not None else 1.0, None if isinstance(g, Tensor) else y.dtype) for g, y in zip(given, ys)
        ]
        live = [x for x in dict.fromkeys(xs) if x in connected]
        made: dict[Tensor, Any] = {}
        if live:
            inputs = (*ys, *seeds, *live, *stops)
            graph.check_inputs("Gradient", inputs)
            counts = [len(ys), len(seeds), len(live), len(stops)]
            attrs: dict[str, Any] = {"again": [False]}
            start = 0
            for key, count in zip(("ys", "grad_ys", "xs", "stop_gradients"), counts):
                attrs[key] = [Slot(i) for i in range(start, start + count)]
                start += count
            node = graph.add(_GRADIENT, inputs, attrs, [x.type for x in live])
            _differentiates_again(ys)
            made = dict(zip(live, node.outputs))
        if unconnected_gradients == "zero":
            from .creation import zeros_like

            for x in xs:
                if x not in made:
                    made[x] = zeros_like(x)
        return [made.get(x) for x in xs]


def _differentiates_again(ys: Sequence[Tensor]) -> None:
    """Gradients among what `ys` come from are to be recorded when they are computed."""
    for node in needed(ys, {}):
        if node.definition is _GRADIENT:
            node.attrs["again"][0] = True


def _connected(ys: Sequence[Tensor], xs: Sequence[Tensor], stops: Sequence[Tensor]) -> set[Tensor]:
    """Those of `xs` that `ys` depend on in a differentiable way."""
    wanted = {x for x in xs if x.dtype.is_floating_point}
    stopped = set(stops)
    found: set[Tensor] = set()
    seen: set[Tensor] = set()
    waiting: list[Tensor] = list(ys)
    while waiting:
        tensor = waiting.pop()
        if tensor in seen:
            continue
        seen.add(tensor)
        if tensor in wanted:
            found.add(tensor)
        node = tensor.node
        if tensor in stopped or not node.definition.differentiable:
            continue
        waiting.extend(x for x in (*node.inputs, *node.attrs.get("captures", ())) if x.dtype.is_floating_point)
    return found


def written_before(nodes: Sequence[Operation]) -> frozenset[Tensor]:
    """The variables that are written before gradients are taken, which may need the values that were read before."""
    written: set[Tensor] = set()
    found: set[Tensor] = set()
    for node in nodes:
        if node.definition is _GRADIENT:
            found |= written
        written |= _written(node)
    return frozenset(found)


def _written(node: Operation) -> set[Tensor]:
    inside = [_written(inner) for region in node.regions for inner in region.nodes]  # type: ignore[arg-type]
    if node.definition.stateful:
        inside.append({x for x in node.inputs[: node.attrs.get("written", 1)] if x.node.op == "VariableV2"})
    return set().union(*inside)


def passed_through(nodes: Sequence[Operation], fed: Iterable[Tensor]) -> set[Tensor]:
    """The tensors that are fed and computed all the same, as gradients among `nodes` go through them."""
    found: set[Tensor] = set()
    for node in nodes:
        if node.definition is not _GRADIENT:
            continue
        ys, xs, stops = ([node.inputs[slot.index] for slot in node.attrs[name]] for name in ("ys", "xs", "stop_gradients"))
        for tensor in fed:
            others = [x for x in xs if x is not tensor]
            computed = tensor.dtype.is_floating_point and not tensor.node.op.startswith("Placeholder")
            if computed and _connected(ys, [tensor], stops) and _connected([tensor], others, stops):
                found.add(tensor)
    return found


def hessians(ys: Any, xs: Any, name: str = "hessians", **options: Any) -> list[Tensor]:
    """The second derivatives of the sum of `ys` with respect to each of `xs`: for an x of shape [*S], a tensor [*S, *S].

    Errors:   GradError where an x has no influence

    >>> import duograph.graph as tf
    >>> x = tf.constant([1.0, 2.0])
    >>> with tf.Session() as session:
    ...     session.run(tf.hessians(tf.reduce_sum(x ** 3.0), x)[0]).tolist()
    [[6.0, 0.0], [0.0, 12.0]]
    """
    from .arrays import reshape, stack

    xs = list(xs) if isinstance(xs, (list, tuple)) else [xs]
    made = []
    for x, slope in zip(xs, gradients(ys, xs, name=name)):
        if slope is None:
            raise GradError(f"hessians: {x.name} has no influence on ys", [x.node.built_at])
        count = x.shape.num_elements()
        if count is None:
            raise GradError(f"hessians: the shape {x.shape} of {x.name} is not known", hint="give its placeholder a shape")
        flat = reshape(slope, [count])
        rows = [gradients(flat[i], x, unconnected_gradients="zero")[0] for i in range(count)]
        made.append(reshape(stack(rows), [*x.shape.as_list(), *x.shape.as_list()]))
    return made
