"""A captured branch: its node in the graph, and its gradient, which is a branch on the same condition again.

The sides of the gradient run their regions' own tapes; what they need of the values before is computed again. Only what
cannot happen twice (random numbers, calls into Python) is handed on: as further results of the branch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.ir.builder import close_regions
from duograph.ir.dim import Dim, Expr
from duograph.ir.effects import has_effects, must_run
from duograph.ir.graph import Graph, Node, Value, free_values
from duograph.ir.late import makes, mentions
from duograph.ir.substitution import joined
from duograph.ir.types import TensorType
from duograph.ops.tracing import wrap

from .handed_boxes import Boxing, Handed, Kept, check_single, empty_box, inner_sizes
from .inner import Place, Places, check_order, found_in, reached, stands_for, takes_places
from .one_place import position
from .regions import Region, copy_nodes, filled, gradients, live_nodes, sized, tangents_of, with_own_sizes, zeros

if TYPE_CHECKING:
    from ..builder import CaptureBuilder


class Branch:
    """Two regions of which each run takes one.

    Args:
        outs: for each side its results.
        starts: from which node of each region on this branch runs what has an effect: before it did another one.
        given: for each side what of its region is there already.
    """

    def __init__(
        self,
        builder: CaptureBuilder,
        predicate: Value,
        regions: Sequence[Region],
        outs: Sequence[Sequence[Any]],
        starts: Sequence[int] = (0, 0),
        given: Sequence[Handed] | None = None,
        parent: Branch | None = None,
    ) -> None:
        self.builder = builder
        self.predicate = predicate
        self.regions = regions
        self.outs = outs
        self.starts = starts
        self.given = given or (Handed.nothing(), Handed.nothing())
        self.parent = parent  # the branch of which this is the gradient
        self.kept: tuple[dict[Value, Value], ...] = ({}, {})  # values of a side, also in boxes → results of the branch
        self.boxing = (Boxing(), Boxing())
        self.values: list[list[Value]] = []
        self.ends: list[int] = []
        self.places: tuple[Places, Places] = ({}, {})  # of the sides' tapes and of those they lead back into, under strict
        self.inner: tuple[list[Any], list[Any]] = ([], [])  # tensors at the places that are not results
        self.crossing: list[tuple[Any, list[Any]]] = []  # where its tape leads back: the tensor outside, those of the sides

    def emit(self) -> list[Any]:
        """Append the branch to the graph around it; its results, with their place on the tape."""
        builder = self.builder
        local: list[list[Any]] = []
        for region, side in zip(self.regions, self.outs):
            with region.open(at_end=True):
                local.append([region.localize(t) for t in side])
                self.values.append([builder.read(t) for t in local[-1]])
        self.outs = local  # later writes give the tensors outside other values
        self.ends = [len(region.nodes) for region in self.regions]
        types = self._types()
        outer, graphs = self._graphs()
        outputs = builder.emit("cond", [self.predicate, *outer], {}, types or [TensorType(core.bool)], tuple(graphs))
        assert outputs[0].node is not None
        self.node = outputs[0].node
        made = [wrap(value) for value in outputs[: len(types)]]
        return self._record(made) if core.is_grad_enabled() else made

    def _types(self) -> list[TensorType]:
        """Of the results, which may be written with sizes that one side takes for others."""
        known = [dict[Dim, Expr](), dict[Dim, Expr]()]
        for side, region in enumerate(self.regions):
            for symbol, size in region.equal:
                known[side] = joined(known[side], size, symbol)
        types = []
        for a, b in zip(*([value.type for value in values] for values in self.values)):
            first = a.shape == b.shape or a.substitute(known[1]).shape == b.substitute(known[1]).shape
            types.append(a if first or a.substitute(known[0]).shape != b.substitute(known[0]).shape else b)
        return types

    def acts(self) -> bool:
        """Whether a side does something besides giving results."""
        return any(must_run(n) for region, start in zip(self.regions, self.starts) for n in region.nodes[start:])

    def _graphs(self) -> tuple[list[Value], list[Graph]]:
        graphs = []
        for side, (region, results) in enumerate(zip(self.regions, self.values)):
            given, known = self.given[side], dict[Value, Value]()
            nodes = given.taken(known)
            start, end = self.starts[side], self.ends[side]
            effects = set(region.nodes[start:end])
            body = [*region.nodes[:end], *self.boxing[side].nodes]
            live = live_nodes(body, [*results, *self.kept[side]], effects.__contains__, known, given.sizes)
            nodes += copy_nodes(live, known)
            found = [known.get(value, value) for value in results]
            for i, kept in enumerate(self.kept):
                found += [known.get(v, v) if i == side else self._instead(v, nodes) for v in kept]
            if not found:
                found = [filled(TensorType(core.bool), 0, nodes)]
            graphs.append(with_own_sizes(self.builder, Graph((), tuple(nodes), tuple(found), name="region")))
        closed, outer = close_regions(graphs)
        return outer, closed

    def _instead(self, value: Value, nodes: list[Node]) -> Value:
        """What the other side gives for a value that is handed on."""
        kept = self.builder.boxes_kept.get(value)
        return filled(value.type, 0, nodes) if kept is None else empty_box(kept, nodes)

    def hand_on(self, side: int, value: Value | Dim, made_by: Node, late: set[Dim], given: Handed) -> None:
        """Add to `given` a value or late size of a side's region that cannot be computed again.

        The branch whose side ran the node that it is `made_by` has it as a further result.

        Args:
            late: the late sizes of the region that nothing makes again.
        """
        branch, at = self, self.regions[side].nodes.index(made_by)
        while at < branch.starts[side] and branch.parent is not None:
            branch = branch.parent
        boxing = branch.boxing[side]
        if isinstance(value, Dim):
            given.sizes[value] = branch._result(side, boxing.count(value))
            return
        check_single(self.builder.boxes_kept, value)
        if inner_sizes(value.shape, late):
            given.boxes[value] = branch._result(side, boxing.box(value, late))
        else:
            given.values[value] = branch._result(side, value)

    def _result(self, side: int, value: Value) -> Value:
        """A value of a side's region, or of its boxing, as a result of the branch."""
        known = self.builder.boxes_kept
        known.update(self.boxing[side].kept)
        kept = known.get(value)
        self.keep(side, [value] if kept is None else [value, *kept.sizes.values()])
        result = self.kept[side][value]
        if kept is not None:
            known[result] = Kept(kept.type, {dim: self.kept[side][size] for dim, size in kept.sizes.items()})
        return result

    def keep(self, side: int, wanted: Iterable[Value]) -> None:
        """Hand further values of a side's region on."""
        new = [v for v in dict.fromkeys(wanted) if v not in self.kept[side]]
        if not new:
            return
        node, before = self.node, [self.values[0], *self.kept]
        self.kept[side].update((v, v) for v in new)
        count = len(before[0])
        old = {v: out for i, kept in enumerate(self.kept) for v, out in kept.items() if out is not v}
        order = [(i, v) for i, kept in enumerate(self.kept) for v in kept]
        outer, graphs = self._graphs()
        outputs = list(node.outputs[:count])
        for i, v in order:
            out = old.get(v) or Value(v.type, node, 0, v.name)
            out.index = len(outputs)
            outputs.append(out)
            self.kept[i][v] = out
        node.inputs, node.regions, node.outputs = (self.predicate, *outer), tuple(graphs), tuple(outputs)

    def _record(self, made: list[Any]) -> list[Any]:
        inputs: dict[int, Any] = {}
        for region in self.regions:
            for key, alias in region.aliases.items():
                inputs[key] = alias.outer
        used = any(t.requires_grad for side in self.outs for t in side if t.dtype.is_floating_point)
        strict = takes_places(self.builder)
        if strict and self.parent is not None:
            self._lead_back(self.parent)
        if not used or not (inputs or self.crossing):
            return made
        node = _Gradient(self, [*inputs.values(), *(outer for outer, _ in self.crossing)])
        floats = [i for i, t in enumerate(made) if t.dtype.is_floating_point and not self.builder.read(t).type.weak]
        node.positions = floats
        if strict and floats:
            for places, inner, outs in zip(self.places, self.inner, self.outs):
                ends = {position(outs[i]) for i in floats}
                found = found_in(self.builder, [t for t in outs if t.requires_grad], places)
                inner += [t for t in found if position(t) not in ends]
        types = [t._traced.type for inner in self.inner for t in inner]
        outputs = [*(made[i] for i in floats), *(stands_for(self.builder, type_) for type_ in types)]
        recorded = self.builder.tape.record(outputs, node.inputs, "branch", node.apply, continues_sums=True)
        if strict and floats:
            self._note_places(floats, recorded[0].grad_fn.outputs())
        for i, tensor in zip(floats, recorded):
            made[i] = tensor
        return made

    def _note_places(self, floats: Sequence[int], outputs: Sequence[Any]) -> None:
        for places, outs in zip(self.places, self.outs):
            for i, outer in zip(floats, outputs):
                key = position(outs[i])
                if isinstance(key, tuple):
                    places.setdefault(key, Place(outs[i], outer, True))
        rest = iter(outputs[len(floats) :])
        for places, inner in zip(self.places, self.inner):
            for t in inner:
                places[position(t)] = Place(t, next(rest), True)

    def _lead_back(self, parent: Branch) -> None:
        """Its sides' tapes end at places of the branch that it is the gradient of."""
        found: dict[int, tuple[Any, list[Any]]] = {}
        for side, (outs, places) in enumerate(zip(self.outs, parent.places)):
            self.places[side].update(places)
            for key in reached(outs, places):
                place = places[key]
                found.setdefault(id(place.outer), (place.outer, [None, None]))[1][side] = place.tensor
        self.crossing = list(found.values())


class _Gradient:
    """The gradient of a branch: a branch on the same condition, whose sides run their own tapes."""

    def __init__(self, branch: Branch, inputs: list[Any]) -> None:
        self.branch = branch
        self.builder = branch.builder
        self.inputs = inputs
        self.positions: list[int] = []

    def apply(self, grads: Sequence[Any], sums: Sequence[Any]) -> tuple[Any, ...]:
        """The gradients of the inputs: `sums`, which were there before, with what the branch adds to them."""
        check_order(self.builder)
        presence = self.builder.presence
        branch = self.branch
        starts = [len(region.nodes) for region in branch.regions]
        sides = [self._side(side, grads, sums) for side in range(2)]
        wanted = [i for i, given in enumerate(sums) if any(side[i] is not None and side[i] is not given for side in sides)]
        results: list[Any] = [None] * len(self.inputs)
        if not wanted:
            return tuple(results)
        # Those that one side does not give, or not always: with whether there is a gradient.
        partial = [i for i in wanted if any(side[i] is None or presence.of(side[i]) is not None for side in sides)]
        outs: list[list[Any]] = []
        for region, side in zip(branch.regions, sides):
            with region.open():
                flags = [self._flag(side[i]) for i in partial]
                outs.append([*(self._nothing(i) if side[i] is None else side[i] for i in wanted), *flags])
        given = [self._given(side, results, start) for side, (results, start) in enumerate(zip(outs, starts))]
        made = Branch(self.builder, branch.predicate, branch.regions, outs, starts, given, branch).emit()
        incoming = presence.any(grads)
        present = dict(zip(partial, made[len(wanted) :]))
        for i, tensor in zip(wanted, made):
            results[i] = tensor
            own = presence.both(self.builder.read(present[i]) if i in present else None, incoming)
            presence.mark(tensor, presence.joined(sums[i], own))
        return tuple(results)

    def push(self, tangents: Sequence[Any]) -> list[Any]:
        """The tangents of the results: a branch on the same condition whose sides go along their tapes forward."""
        branch, builder = self.branch, self.builder
        starts = [len(region.nodes) for region in branch.regions]
        sides: list[Sequence[Any]] = []
        of_sides = [len(inner) for inner in branch.inner]
        for side, (region, outs) in enumerate(zip(branch.regions, branch.outs)):
            with region.open():
                ends = self._ends(side)
                pairs = [(ends[i], v) for i, v in enumerate(tangents) if i in ends and v is not None]
                moved = tangents_of([*(outs[i] for i in self.positions), *branch.inner[side]], *zip(*pairs))
                count = len(self.positions)
                empty: tuple[Any, ...] = (None,) * of_sides[1 - side]
                sides.append((*moved[:count], *(empty if side else ()), *moved[count:], *(() if side else empty)))
        wanted = [k for k, both in enumerate(zip(*sides)) if any(t is not None for t in both)]
        likes = [*(branch.outs[0][i] for i in self.positions), *branch.inner[0], *branch.inner[1]]
        results: list[Any] = [None] * len(likes)
        if not wanted:
            return results
        outs_of: list[list[Any]] = []
        for region, found in zip(branch.regions, sides):
            with region.open():
                outs_of.append([self._zeros(likes[k]) if found[k] is None else found[k] for k in wanted])
        given = [self._given(side, found, start) for side, (found, start) in enumerate(zip(outs_of, starts))]
        made = Branch(builder, branch.predicate, branch.regions, outs_of, starts, given, branch).emit()
        for k, tensor in zip(wanted, made):
            results[k] = tensor
        return results

    def _given(self, side: int, results: Sequence[Any], start: int) -> Handed:
        """What the gradient's side needs of that which cannot happen again, handed on by the branch."""
        branch, region = self.branch, self.branch.regions[side]
        given = branch.given[side].copy()
        before = region.nodes[:start]
        once = {node for node in before if has_effects(node)}
        if not once:
            return given
        with region.open():
            stack = [self.builder.read(region.localize(t)) for t in results]
        makers = {size: node for node in before for size in makes(node) if size not in given.sizes}
        late = {size for size, node in makers.items() if node in once}
        own, seen, wanted = set(region.nodes), set[Value](), dict[Value | Dim, Node]()
        while stack:
            value = stack.pop()
            node = value.node
            if value in seen or node is None or node not in own or given.knows(value):
                continue
            seen.add(value)
            speaks = {size: makers[size] for size in inner_sizes(value.shape, makers)}
            if node in once:
                wanted[value] = node
            else:
                speaks |= {size: makers[size] for size in mentions(node) & makers.keys()}
                stack += node.inputs
                stack += [v for inner in node.regions for v in free_values(inner)]
            wanted |= {size: maker for size, maker in speaks.items() if maker in once}
            stack += [v for maker in speaks.values() if maker not in once for v in maker.outputs]
        for what, maker in wanted.items():
            branch.hand_on(side, what, maker, late, given)
        return given

    def _flag(self, grad: Any) -> Any:
        condition = None if grad is None else self.builder.presence.of(grad)
        return wrap(self.builder.constant(grad is not None, core.bool) if condition is None else condition)

    def _ends(self, side: int) -> dict[int, Any]:
        """By the inputs' numbers where a side's tape ends: at the leaves that stand for them, and at places before it."""
        aliases, crossing = self.branch.regions[side].aliases, self.branch.crossing
        count = len(self.inputs) - len(crossing)
        ends = {i: aliases[id(t)].leaf for i, t in enumerate(self.inputs[:count]) if id(t) in aliases}
        return ends | {count + k: own[side] for k, (_, own) in enumerate(crossing) if own[side] is not None}

    def _zeros(self, like: Any) -> Any:
        type_ = like._traced.type
        return wrap(self.builder.constant(0, type_.dtype, type_.shape))

    def _nothing(self, number: int) -> Any:
        tensor = self.inputs[number]
        return zeros(tensor) if number < len(self.inputs) - len(self.branch.crossing) else self._zeros(tensor)

    def _side(self, side: int, grads: Sequence[Any], sums: Sequence[Any]) -> list[Any]:
        """The new sum for each input; the given one itself (or None) where the side adds nothing to it."""
        region, outs, inner = self.branch.regions[side], self.branch.outs[side], self.branch.inner
        first = len(self.positions) + (len(inner[0]) if side else 0)
        with region.open():
            pairs = [
                (outs[i], region.localize(g)) for i, g in zip(self.positions, grads) if g is not None and outs[i].requires_grad
            ]
            pairs += [(t, region.localize(g)) for t, g in zip(inner[side], grads[first:]) if g is not None]
            ends = self._ends(side)
            begun = {i: region.localize(sums[i]) for i in ends if sums[i] is not None}
            pairs += [(ends[i], tensor) for i, tensor in begun.items()]
            leaves = {i: t for i, t in ends.items() if t.grad_fn is None}
            places = {i: t for i, t in ends.items() if i not in leaves}
            found = gradients([o for o, _ in pairs], [*leaves.values()], [g for _, g in pairs], [*places.values()])
            sides = list(sums)
            for i, grad in zip((*leaves, *places), found):
                if grad is not None and grad is not begun.get(i):
                    sides[i] = sized(grad, ends[i])
            return sides
