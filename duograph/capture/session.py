"""One capture: run the Python once on traced values, undo what it did, and make an entry for the core of the record."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, NamedTuple

from duograph import _core as core
from duograph._recorded import state
from duograph.errors import CaptureError, Error, refusals
from duograph.ir.graph import Argument, Graph, Value

from .backward import Backward, depends, differentiate
from .builder import CaptureBuilder
from .control.presence import grad_if
from .conversion.convert import callee
from .conversion.unseen import following
from .memory.cells import contiguous
from .memory.joined import Care, LookAgain
from .outside.freed_gradients import freed_gradients
from .outside.host_calls import HostCalls
from .outside.recorder import Recorder
from .reports.words import Words
from .results import Results
from .values.size_history import Plan
from .values.state_tensors import StateTensors
from .values.tree import Arguments, Row, argument_names, template, tensor_spec


class Captured(NamedTuple):
    """The record of a capture, with its program still a graph."""

    graph: Graph
    backward: Backward | None
    description: dict[str, Any]  # of the entry, without program and tape
    tape: tuple[Any, ...] | None
    input_tensors: list[Any]
    result: Any  # of the captured function
    same: list[tuple[Any, Any]]  # outputs of the program, and tensors of the result that are these on some ways
    checks: dict[int, Any]  # the user's line of each check of sizes, by its code
    numbers: list[int | float]  # what the program's operands that are numbers were in the call at hand
    sizes: dict[str, int]  # the same of symbols, by name


class Session:
    """The capture of one call."""

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        differentiable: bool,
        single_path: bool = False,
        plan: Plan | None = None,
        care: Care = Care(),  # noqa: B008
    ) -> None:
        self.function = function
        self.recorder = Recorder()
        self.recorder.single_path = single_path
        self.builder = CaptureBuilder(name, care)
        self.grad_enabled, self.autocast = core.is_grad_enabled(), core.autocast()
        self.grad_mode = self.grad_enabled and not core.is_inference_mode_enabled()
        self.differentiable = differentiable and self.grad_mode
        self.builder.call_sizes = self.recorder.sizes
        self.arguments = Arguments(self.recorder, self.grad_mode, self.builder, Plan({}) if plan is None else plan)
        self.states = self.recorder.states = StateTensors(self.recorder, self.builder, self.arguments)
        self.journal: list[tuple[str, Any, Any]] = []
        self.results = Results(self.builder, self.recorder, self.arguments, self.differentiable, care.find)
        self.names: list[str] = []  # of the arguments
        self.result: Any = None
        self.recorder.gradients_written = self.builder.gradients_written = self.journal
        self.differentiating = False
        self.rebased: dict[int, tuple[int, int]] = {}  # by id of a tensor: the number of the input, and that of the result
        self.hosts = self.recorder.hosts = HostCalls(self)

    @staticmethod
    def captured(make: Callable[[Care], Session], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Session, Captured]:
        """The capture of a call; `make` is told what the tries before found."""
        care = Care()
        while True:
            session = make(care)
            try:
                return session, session.capture(args, kwargs)
            except LookAgain as found:
                care = found.care(care)

    def capture(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Captured:
        """The capture of the call; afterwards nothing of it refers to itself where the garbage collector does not look."""
        try:
            return self.run(args, kwargs)
        finally:
            self.builder.tape.let_go()
            self.recorder.let_go()

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Captured:
        """Capture the call; everything outside is as before when this returns or raises."""
        names = self.names = [*argument_names(self.function, len(args)), *kwargs]
        try:
            pairs = [self.arguments.leaf(value, name) for value, name in zip((*args, *kwargs.values()), names)]
        except BaseException:
            self.recorder.roll_back()
            raise
        leaves = [row for row, _ in pairs]
        given = [value for _, value in pairs]
        outer, epoch = state.recorder, core.epoch()
        tracing = core.set_tracing(True)
        journal = core.set_grad_journal(self.journal)
        numbers = core.set_user_sizes(True)
        refused, refusals.found = refusals.found, self.recorder.refusals
        state.recorder = self.recorder
        try:
            with self.builder, following():
                function = callee(self.recorder, self.function)
                if isinstance(self.function, types.MethodType):
                    self.recorder.enter(self.function.__self__)
                elif not isinstance(self.function, types.FunctionType):
                    self.recorder.enter(self.function)
                try:
                    result = function(*given[: len(args)], **dict(zip(kwargs, given[len(args) :])))
                except Error as error:
                    if not any(error is known for known in self.recorder.refusals):
                        self._check_refusals()
                    raise
                except Exception as error:
                    self._check_refusals()
                    if not self.hosts.raises_at_runs(error):
                        raise
                    result = None
                self._check_refusals()
                core.set_user_sizes(False)
                self.arguments.check_unchanged()
                self.builder.chosen.check()
                self.builder.borrowed.pairs.clear()  # results come after all uses
                self.builder.aliases.sync_all()
                gradients = self._gradients()
                self.overwritten = [tensor for tensor, _ in gradients]
                self._rebased()
                self.results.note_sharing(result, *(row[-1]() for row in self.hosts.left()[1]))
                self.result = result
                outputs = template(result, self.results.row)
                effects = self._effects(gradients)
                self.differentiating = True
                backward = self._backward()
                self._check_histories(backward)
        finally:
            self.builder.restore_histories()
            core.set_user_sizes(numbers)
            core.set_following(False)
            core.set_grad_journal(None)
            self._restore_gradients()
            core.set_grad_journal(journal)
            state.recorder, refusals.found = outer, refused
            core.set_tracing(tracing)
            core.set_grad_enabled(self.grad_enabled)
            core.set_autocast(self.autocast)
            self.recorder.roll_back()
        return self._captured(leaves, len(args), tuple(kwargs), outputs, effects, backward, epoch)

    def _rebased(self) -> None:
        """Find the tensors from outside that are written in place and get a gradient through the call by that."""
        for tensor, held, _ in self.builder.histories.values() if self.differentiable else ():
            if tensor.grad_fn != held.grad_fn and tensor.requires_grad:
                place = self.results.place(tensor)
                if place is not None:
                    self.rebased[id(tensor)] = place

    def _check_histories(self, backward: Backward | None) -> None:
        given = set() if backward is None else {number for number, _ in backward.outputs}
        taken = {identity for identity, (_, number) in self.rebased.items() if number in given}
        location = self.builder.restore_histories(taken)
        if location is not None:
            raise CaptureError(
                "static: a tensor from outside of the function is written in place and takes part in differentiation",
                hint="write to a copy and return it: x = x.clone() before, or write under no_grad",
                location=location,
            )

    # ---- gradients written

    def _gradients(self) -> list[tuple[Any, Any]]:
        """(tensor, its gradient after the call) for every tensor whose gradient was written."""
        core.set_grad_journal(None)
        return self.gradients_so_far()

    def gradients_so_far(self) -> list[tuple[Any, Any]]:
        """(tensor, its gradient now) for every tensor whose gradient was written."""
        known: set[int] = set()
        written: dict[int, Any] = {}
        for what, tensor, value in self.journal:
            if id(tensor) not in known and what == "read":
                slot = self.arguments.slots.get(id(tensor))
                kind = "grad" if slot is None else "argument grad"
                read = self.recorder.read(kind, tensor if slot is None else None, slot)
                if value is None:
                    self.recorder.guard("is", read, None)
                else:
                    self.recorder.found(value, read)
            known.add(id(tensor))
            if what == "write":
                written[id(tensor)] = tensor
        return [(tensor, tensor.grad) for tensor in written.values()]

    def _restore_gradients(self) -> None:
        restored: set[int] = set()
        for kind, tensor, old in self.journal:
            if kind == "write" and id(tensor) not in restored:
                restored.add(id(tensor))
                tensor.grad = old

    # ---- what is left behind

    def _effects(self, gradients: list[tuple[Any, Any]]) -> list[Row]:
        effects: list[Row] = []
        for tensor, grad in gradients:
            row = template(grad, self.results.own_row)
            condition = self.builder.presence.of(grad)
            if condition is not None:
                row = ("make", grad_if, [("output", self.results.add(condition, None)), row])
            effects.append(("grad", self.results.concrete_row(tensor), row))
        calls, stores = self.hosts.left()
        for function, args in calls:
            effects.append(("call", function, [template(a, self.results.row) for a in args]))
        for kind, holder, key, current in stores:
            row = template(current(), self.results.row)
            effects.append((kind, holder, row) if kind == "setcell" else (kind, holder, key, row))
        if self.differentiable:
            kept = [t for _, t in self.results.numbered() if t.retains_grad and not self._is_used(t.grad_fn)]
            effects += [("call", _retain_grad, [("output", self.results.numbers[id(t)])]) for t in kept]
        return effects

    def _backward(self) -> Backward | None:
        """The gradient program of results that require gradients, when the call itself is to be differentiated."""
        if not self.differentiable:
            return None
        wanted = [(n, t) for n, t in self.results.numbered() if t.requires_grad and not self._is_used(t.grad_fn)]
        if not wanted:
            return None
        before = {id(t): held for t, held, _ in self.builder.histories.values() if t.grad_fn != held.grad_fn}
        tensors = [(value, before.get(id(t), t)) for value, t in self.builder.tensor_inputs]
        inputs = [(value, t) for value, t in tensors if t.requires_grad and t.dtype.is_floating_point]
        return differentiate(self.builder, wanted, inputs)

    def _is_used(self, node: Any) -> bool:
        """Whether the captured function has gone backward from here itself."""
        return node is not None and (node.used or node in self.builder.differentiated)

    def _check_refusals(self) -> None:
        """The program has caught what ends the capture, and went on."""
        if self.recorder.refusals:
            raise self.recorder.refusals[0]

    # ---- the entry

    def _captured(
        self,
        leaves: list[Row],
        n_positional: int,
        keywords: tuple[str, ...],
        outputs: Row,
        effects: list[Row],
        backward: Backward | None,
        epoch: int,
    ) -> Captured:
        builder, recorder = self.builder, self.recorder
        builder.location = None
        written = self._assign()
        tensor_numbers: dict[Value, int] = {value: i for i, (value, _) in enumerate(builder.tensor_inputs)}
        graph_outputs, saved_rows = self._saved([] if backward is None else backward.saved, tensor_numbers, written)
        graph = builder.finish(graph_outputs)
        numbers = [(value, postfix) for postfix, value in builder.number_inputs.items()]
        self._check_arguments()
        self.states.check(t for _, t, _ in self.journal)
        graph = self._ordered(graph, [v for v, _ in builder.tensor_inputs], [v for v, _ in numbers], written)
        graph, sizes = recorder.sizes.complete(graph)
        for piece, tensor, delta in builder.pieces:
            recorder.found(piece, self._read_piece(piece, tensor, delta))
        inputs = [self._input_row(t) for _, t in builder.tensor_inputs]
        guards = self._guards(written, tensor_numbers, epoch)
        description = {
            "grad_mode": self.grad_mode,
            "default_dtype": core.get_default_dtype(),
            "autocast": self.autocast[:2],
            "n_positional": n_positional,
            "kwnames": list(keywords),
            "leaves": leaves,
            "inputs": inputs,
            "numbers": [list(postfix) for _, postfix in numbers],
            "sizes": sizes,
            "outputs": outputs,
            "parts": [row for row, _ in self.results.parts],
            "writes": [tensor_numbers[value] for value in written],
            "effects": effects,
            "frees": freed_gradients(self.journal, self.overwritten, graph, builder.moments),
            "hosts": self.hosts.description([graph, *([] if backward is None else [backward.graph])]),
            "reads": recorder.reads,
            "guards": guards,
            "words": Words(self.function, self.names, recorder),
        }
        tape = None
        if backward is not None:
            backward, tape = self._tape(backward, graph, numbers, saved_rows, tensor_numbers)
        return Captured(
            graph,
            backward,
            description,
            tape,
            [self.arguments.originals.get(id(t), self.states.original(t)) for _, t in builder.tensor_inputs],
            self.result,
            self.results.same,
            dict(builder.check_lines.values()),
            recorder.sizes.numbers,
            recorder.sizes.values,
        )

    def _check_arguments(self) -> None:
        """The capture is for these sizes if an argument has a gradient further back, or its memory has another way in."""
        originals = self.arguments.originals
        given = [(kind, originals[id(t)]) for kind, t, _ in self.journal if id(t) in originals]
        computed = any((kind == "write" and not tensor.is_leaf) or tensor.grad is not None for kind, tensor in given)
        if computed or any(core.storage_id(t) in self.builder.storages for t in originals.values()):
            self.recorder.sizes.pin_symbols(*self.recorder.sizes.tokens)

    def _saved(self, saved: list[Value], tensor_numbers: dict[Value, int], written: list[Value]) -> tuple[list[Value], list[Row]]:
        """The program's outputs, with what the gradient needs of it, and where to find the latter after a run."""
        outputs, rows = list(self.results.values), []
        left = self._left(written)
        for value in saved:
            if value in left:
                rows.append(("input", tensor_numbers[left[value]]))
            elif value in written:  # as it was
                with self.builder:
                    outputs.append(self.builder.emit("copy", [value], {}, [value.type])[0])
                rows.append(("output", len(outputs) - 1))
            elif value in tensor_numbers:
                rows.append(("input", tensor_numbers[value]))
            else:
                if value not in outputs:
                    outputs.append(value)
                rows.append(("output", outputs.index(value)))
        return outputs, rows

    def _left(self, written: list[Value]) -> dict[Value, Value]:
        """What written inputs that take over gradients hold in the end, where a run finds it there."""
        inputs = [self.builder.tensor_inputs[i] for i, _ in self.rebased.values()]
        cells = {value: self.builder.view_of(tensor).cell for value, tensor in inputs if value in written}
        is_plain = {value: cell.root.strides == contiguous(value.shape) for value, cell in cells.items()}
        return {cell.value: value for value, cell in cells.items() if is_plain[value] and cell.value is not value}

    def _tape(
        self,
        backward: Backward,
        graph: Graph,
        numbers: list[tuple[Value, Any]],
        saved_rows: list[Row],
        tensor_numbers: dict[Value, int],
    ) -> tuple[Backward, tuple[Any, ...]]:
        """The gradient with the operands that its sizes need, and what a run records for it."""
        tape_numbers = [next(list(p) for v, p in numbers if v is n) for n in backward.numbers]
        differentiated = [tensor_numbers[v] for v in backward.inputs]
        both = [graph.replace(equal=dict(self.builder.equal)) for graph in (backward.graph, backward.continued)]
        (graph_back, continued), sizes = self.recorder.sizes.complete_alike(both)
        results = [n for n, _ in backward.outputs]
        values = [self.results.value(graph, number) for number in results]
        depending = depends(graph, values, len(self.builder.tensor_inputs))
        rebased = [(i, results.index(number)) for i, number in self.rebased.values()]
        saved_rows = [(*row, backward.saved_for[value]) for row, value in zip(saved_rows, backward.saved)]
        refused = [(row.outputs, row.inputs, row) for row in backward.refused]
        tape = (differentiated, results, saved_rows, tape_numbers, sizes, *depending, backward.paths, refused, rebased)
        return backward._replace(graph=graph_back, continued=continued), tape

    def _assign(self) -> list[Value]:
        """Write every changed input cell back at the end of the program; returns the inputs written."""
        written: list[Value] = []
        seen: set[int] = set()
        with self.builder:
            for storage in self.builder.storages.values():
                for view in storage.views.values():
                    cell = view.cell
                    if cell.written and cell.input is not None and id(cell) not in seen:
                        seen.add(id(cell))
                        if self.hosts.is_dirty(cell):
                            self.builder.assign(cell.input, cell.value)
                        if self.hosts.is_dirty(cell) or cell in self.hosts.written:
                            written.append(cell.input)
        return written

    def _ordered(self, graph: Graph, tensors: list[Value], numbers: list[Value], written: list[Value]) -> Graph:
        """The graph with tensor inputs first, then numbers; cells and names marked."""
        arguments: list[Argument] = []
        known = self.arguments.names
        names = state_names(self.recorder)
        for value, tensor in self.builder.tensor_inputs:
            argument = self.builder.arguments[value.index]
            kind = "cell" if value in written else "tensor"
            name = known.get(id(tensor))
            arguments.append(Argument(kind, argument.strides, "argument" if name is not None else "state"))
            if not value.name:
                value.name = name or names.get(id(tensor), "")
        arguments += [self.builder.arguments[v.index] for v in numbers]
        ordered = (*tensors, *numbers)
        for index, value in enumerate(ordered):
            value.index = index
        return graph.replace(inputs=ordered, arguments=tuple(arguments))

    def _input_row(self, tensor: Any) -> Row:
        slot = self.arguments.slots.get(id(tensor))
        if slot is not None:
            return ("read", self.recorder.read("arg", None, slot))
        spec = self.states.spec(tensor) or tensor_spec(tensor, tensor.requires_grad if self.grad_mode else None)
        read = self.recorder.source(tensor)
        if read is None:
            return ("tensor", tensor, *spec)
        self.recorder.guard("tensor", read, *spec)
        return ("read", read)

    def _ambiguous(self) -> list[tuple[Any, list[int]]]:
        """Tensors read from outside that runs do not look up anew: where they were found they must stay."""
        found = []
        kept = {id(x): x for x in self.recorder.keep if isinstance(x, core.Tensor)}
        for identity, reads in self.recorder.tensor_reads.items():
            tensor = kept.get(identity)
            if tensor is None or identity in self.arguments.slots:
                continue
            if identity not in self.builder.input_tensors or self.recorder.source(tensor) is None:
                own = [r for r in reads if not self.recorder.watch.owns(self.recorder.reads[r][1])]
                found.append((tensor, own))
        return found

    def _guards(self, written: list[Value], numbers: dict[Value, int], epoch: int) -> list[Row]:
        """What must be so for a call to fit this capture."""
        recorder = self.recorder
        self._alias_guards(written, numbers)
        for tensor, reads in self._ambiguous():
            for read in reads:
                recorder.guard("is", read, tensor)
        modules: list[Row] = [("epoch", epoch, recorder.watch.unchanged)] if recorder.watch.modules else []
        return [*modules, *recorder.guards]

    def _alias_guards(self, written: list[Value], numbers: dict[Value, int]) -> None:
        tensors = [t for _, t in self.builder.tensor_inputs]
        movable = [i for i, t in enumerate(tensors) if id(t) in self.arguments.slots or self.recorder.source(t) is not None]
        if written and movable:
            self.recorder.guards.append(("distinct", movable, [numbers[value] for value in written]))
        for outer, inner in self.builder.related:
            if outer is not inner:
                a, b = self._read_of(outer), self._read_of(inner)
                self.recorder.guard("aliased", a, b, inner.storage_offset() - outer.storage_offset())

    def _read_of(self, tensor: Any) -> int:
        """The read of an argument, or of a tensor from outside, which stays this very object."""
        slot = self.arguments.slots.get(id(tensor))
        if slot is not None:
            return self.recorder.read("arg", None, slot)
        read = self.recorder.read("tensor", tensor, None)
        self.recorder.guard("tensor", read, *tensor_spec(tensor, tensor.requires_grad if self.grad_mode else None))
        return read

    def _read_piece(self, piece: Any, tensor: Any, delta: int) -> int:
        """The read of memory on which several tensors lie, one of them so many elements after its start."""
        slot = self.arguments.slots.get(id(tensor))
        place = (-1 if slot is None else slot, delta, len(piece))
        return self.recorder.read("piece", None if slot is not None else tensor, place)


def state_names(recorder: Recorder) -> dict[int, str]:
    """What the report calls the tensors of Modules and optimisers, and those that were read by a name."""
    names: dict[int, str] = {}
    for module in recorder.watch.modules:  # outer ones come first
        for table in (module.named_parameters, module.named_buffers):
            for name, tensor in table():
                names.setdefault(id(tensor), name)
    for holder in recorder.external.values():
        per_parameter = getattr(holder, "__dict__", {}).get("state")
        if not isinstance(per_parameter, dict):
            continue
        for parameter, values in per_parameter.items():
            if isinstance(parameter, core.Tensor) and isinstance(values, dict):
                for key, tensor in values.items():
                    names.setdefault(id(tensor), f"{names.get(id(parameter), 'parameter')}.{key}")
    for identity, name in recorder.tensor_names.items():
        names.setdefault(identity, name)
    return names


def _retain_grad(tensor: Any) -> None:
    if tensor.requires_grad:
        tensor.retain_grad()
