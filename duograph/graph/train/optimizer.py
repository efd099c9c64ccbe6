"""What all optimizers share: gradients of a loss, and one operation for each variable that they change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from duograph.errors import ArgumentError, DTypeError, GradError, GraphError, ShapeError

from ..building import Graph, GraphKeys, get_default_graph
from ..constants import group
from ..elements import Operation, Tensor
from ..gradients import gradients
from ..variables import Variable, assign, assign_add, make_variable, read
from .slots import make_slot

__all__ = ["Optimizer"]

GradsAndVars = list[tuple[Tensor | None, Any]]


class Optimizer:
    """Changes variables so that a loss becomes less. Its kinds say by which formula.

    A kind of one's own defines `_apply_dense(grad, var)`, which gives the operation that changes `var`; if it keeps something
    for each variable, `_create_slots(var_list)`; and `_prepare()` and `_finish(update_ops, name)` for what goes before and
    behind.

    Args:
        use_locking: taken for TensorFlow's sake: a run changes a variable at once.
        name: of the operations, and of what is kept for a variable: "w/Adam".

    Differs: the gradient of a lookup is a whole tensor: momentum and means of rows that were not looked up go on, too. Steps of
    several optimizers in one run take their gradients from the same values.
    """

    GATE_NONE, GATE_OP, GATE_GRAPH = 0, 1, 2

    def __init__(self, use_locking: bool = False, name: str = "Optimizer") -> None:
        if not name:
            raise ArgumentError(f"{type(self).__name__}: name is empty", hint="what it keeps for variables is called by it")
        self._use_locking = use_locking
        self._name = name
        self._slots: dict[str, dict[Tensor, Variable]] = {}
        self._others: dict[tuple[Graph, str], Variable] = {}

    def get_name(self) -> str:
        """The name that was given."""
        return self._name

    def minimize(
        self,
        loss: Tensor,
        global_step: Any = None,
        var_list: Any = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        name: str | None = None,
        grad_loss: Any = None,
    ) -> Operation:
        """The operation that makes one step: it computes the gradients of `loss` and changes the variables.

        Args:
            loss: a tensor of floats, of which all elements are added up.
            global_step: a variable that goes up by one with each step.
            var_list: the variables to change; by default those of GraphKeys.TRAINABLE_VARIABLES.
            grad_loss: what the gradient of `loss` is multiplied by.
            gate_gradients, aggregation_method, colocate_gradients_with_ops: taken and without effect: a run computes all
                gradients before it changes a variable.

        Errors:   GraphError if there are no variables, or `loss` depends on none of them: it names them

        >>> import duograph.graph as tf
        >>> w = tf.Variable(3.0, name="w")
        >>> step = tf.train.GradientDescentOptimizer(0.25).minimize(w * w)
        >>> with tf.Session() as session:
        ...     session.run(tf.global_variables_initializer())
        ...     session.run(step)
        ...     session.run(w)
        np.float32(1.5)
        """
        pairs = self.compute_gradients(loss, var_list, gate_gradients, aggregation_method, colocate_gradients_with_ops, grad_loss)
        if not any(grad is not None for grad, _ in pairs):
            raise self._unconnected([v for _, v in pairs], loss)
        return self.apply_gradients(pairs, global_step, name)

    def compute_gradients(
        self,
        loss: Tensor,
        var_list: Any = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        grad_loss: Any = None,
    ) -> GradsAndVars:
        """Pairs (gradient, variable); the gradient is None for a variable on which `loss` does not depend."""
        self._check_loss(loss)
        if gate_gradients not in (self.GATE_NONE, self.GATE_OP, self.GATE_GRAPH):
            raise ArgumentError(f"{self._name}: gate_gradients is GATE_NONE, GATE_OP or GATE_GRAPH, not {gate_gradients!r}")
        with loss.graph.as_default():
            found = _listed(var_list) or loss.graph.get_collection(GraphKeys.TRAINABLE_VARIABLES)
            if not found:
                raise GraphError(f"{self._name}: there are no variables to change", hint="make one: tf.Variable(initial_value)")
            for x in found:
                if not isinstance(x, Tensor):
                    raise ArgumentError(f"{self._name}: var_list holds {x!r}, which is no variable")
            grads = gradients(loss, found, grad_ys=None if grad_loss is None else [grad_loss])
        return list(zip(grads, found))

    def _check_loss(self, loss: Any) -> None:
        if not isinstance(loss, Tensor):
            raise ArgumentError(
                f"{self._name}: the loss is {type(loss).__name__}, not a tensor of the graph",
                hint="call the function, and give what it returns" if callable(loss) else None,
            )
        if not loss.dtype.is_floating_point:
            raise GradError(
                f"{self._name}: the loss {loss.name} is {loss.dtype.name}: only floats have gradients",
                [loss.node.built_at],
                hint="tf.cast what it is made of",
            )

    def _unconnected(self, variables: Sequence[Tensor], loss: Tensor | None = None) -> GraphError:
        names = ", ".join(repr(v.node.name) for v in variables)
        what = "there is no gradient for" if loss is None else f"the loss {loss.name} does not depend on"
        return GraphError(
            f"{self._name}: {what} any of the variables {names}",
            [] if loss is None else [loss.node.built_at],
            hint="build the loss from the variables: integers, tf.stop_gradient and comparisons let no gradient through",
        )

    def apply_gradients(
        self, grads_and_vars: Iterable[tuple[Any, Any]], global_step: Any = None, name: str | None = None
    ) -> Operation:
        """The operation that changes the variables by these gradients. Variables with the gradient None stay as they are.

        Errors:   GraphError if there are no gradients; ShapeError, DTypeError for a gradient that is not like its variable
        """
        pairs = list(grads_and_vars)
        if not pairs:
            raise ArgumentError(f"{self._name}: apply_gradients got no variables")
        for grad, variable in pairs:
            self._check_pair(grad, variable)
        live = [(grad, variable) for grad, variable in pairs if grad is not None]
        if not live:
            raise self._unconnected([v for _, v in pairs])
        graph = live[0][1].graph
        with graph.as_default():
            with graph.control_dependencies(None):
                self._create_slots([variable for _, variable in live])
            with graph.name_scope(name or self._name) as scope:
                return self._applied(graph, live, global_step, scope)

    def _applied(self, graph: Graph, live: Sequence[tuple[Any, Any]], global_step: Any, scope: str) -> Operation:
        self._prepare()
        made = []
        for grad, variable in live:
            with graph.name_scope(f"update_{variable.node.name}"):
                made.append(self._constrained(graph, variable, self._apply_dense(grad, variable)))
        if global_step is None:
            done = self._finish(made, scope)
        else:
            with graph.control_dependencies([self._finish(made, "update")]):
                done = assign_add(global_step, 1, name=scope).op
        step = done.op if isinstance(done, Tensor) else done
        if step not in graph.get_collection(GraphKeys.TRAIN_OP):
            graph.add_to_collection(GraphKeys.TRAIN_OP, step)
        return step

    @staticmethod
    def _constrained(graph: Graph, variable: Variable, update: Any) -> Any:
        """The change, and behind it what the variable's constraint makes of the new value."""
        if variable.constraint is None:
            return update
        with graph.control_dependencies([update]):
            return assign(variable, variable.constraint(read(variable)))

    def _check_pair(self, grad: Any, variable: Any) -> None:
        if not isinstance(variable, Variable):
            raise GraphError(f"{self._name}: {variable!r} is no variable", hint="only a tf.Variable keeps what is assigned to it")
        if grad is None:
            return
        if not isinstance(grad, Tensor):
            raise ArgumentError(f"{self._name}: the gradient for {variable.node.name!r} is {grad!r}, not a tensor or None")
        of, where = f"variable {variable.node.name!r}", [grad.node.built_at, variable.node.built_at]
        if grad.dtype is not variable.dtype:
            raise DTypeError(
                f"{self._name}: the gradient {grad.name} is {grad.dtype.name}, {of} is {variable.dtype.name}",
                where,
                hint=f"tf.cast(gradient, tf.{variable.dtype.name})",
            )
        if not grad.shape.is_compatible_with(variable.shape):
            raise ShapeError(f"{self._name}: the gradient {grad.name} has shape {grad.shape}, {of} {variable.shape}", where)

    # ---- what a kind defines

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        """Makes what is kept for each variable."""

    def _prepare(self) -> None:
        """Goes before the changes."""

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        """The operation that changes a variable by its gradient."""
        raise GraphError(f"{type(self).__name__} does not say how it changes a variable", hint="define _apply_dense(grad, var)")

    def _finish(self, update_ops: Sequence[Any], name_scope: str) -> Any:
        """One operation for all the changes."""
        return group(*update_ops, name=name_scope)

    # ---- what is kept

    def get_slot(self, var: Tensor, name: str) -> Variable | None:
        """What is kept for a variable under a name, such as "momentum"; None if nothing is."""
        return self._slots.get(name, {}).get(var)

    def get_slot_names(self) -> list[str]:
        """The names of what is kept for variables."""
        return sorted(self._slots)

    def variables(self) -> list[Variable]:
        """All variables that it keeps, by name."""
        graph = get_default_graph()
        kept = [v for slots in self._slots.values() for v in slots.values()] + list(self._others.values())
        return sorted((v for v in kept if v.graph is graph), key=lambda v: v.name)

    def _get_or_make_slot(self, var: Variable, val: Any, slot_name: str, op_name: str) -> Variable:
        """What is kept for a variable; made with the initial value `val`, a tensor or a number that fills it."""
        slots = self._slots.setdefault(slot_name, {})
        if var not in slots:
            slots[var] = make_slot(var, val, op_name)
        return slots[var]

    def _zeros_slot(self, var: Variable, slot_name: str, op_name: str) -> Variable:
        """What is kept for a variable, zeros at first."""
        return self._get_or_make_slot(var, 0.0, slot_name, op_name)

    def _create_non_slot_variable(self, initial_value: Any, name: str, colocate_with: Any) -> Variable:
        """A variable kept for all variables of a graph."""
        graph = colocate_with.graph
        if (graph, name) not in self._others:
            self._others[graph, name] = make_variable(initial_value, False, name=name)
        return self._others[graph, name]

    def _get_non_slot_variable(self, name: str, graph: Graph) -> Variable:
        return self._others[graph, name]

    def _call_if_callable(self, param: float | Tensor | Callable[[], Any]) -> Any:
        """A learning rate may be given as a function."""
        return param() if callable(param) and not isinstance(param, Tensor) else param

    def __repr__(self) -> str:
        return f"<tf.train.{type(self).__name__} {self._name!r}>"


def _listed(var_list: Any) -> list[Any]:
    """A list of variables, from nested lists of them."""
    if var_list is None:
        return []
    if isinstance(var_list, (list, tuple, set)):
        return [x for part in var_list for x in _listed(part)]
    return list(var_list.values()) if isinstance(var_list, dict) else [var_list]
