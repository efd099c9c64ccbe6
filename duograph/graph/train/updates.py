"""One operation that changes a variable and what an optimizer keeps for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.autograd import no_grad

from ..definition import Definition, filled
from ..elements import Operation, Slot, Tensor

if TYPE_CHECKING:
    from ..resolving import Run
    from ..variables import Variable


def _evaluate(run: Run, node: Operation) -> Any:
    variables = [x for x in node.inputs[: node.attrs["written"]]]
    values = [run.state.read(x) for x in variables]  # type: ignore[arg-type]
    dtype = values[0].dtype
    values += [run.tensor(x).detach().to(dtype) for x in node.inputs[len(variables) :]]
    attrs = {name: value for name, value in node.attrs.items() if name != "written"}
    with no_grad():
        made = node.definition.function(**filled(attrs, values))
        written = [run.state.write(x, value) for x, value in zip(variables, made)]  # type: ignore[arg-type]
    return written[0]


class Update:
    """A type of operation that gives variables new values, all computed from the old ones.

    The function takes the variables, then other tensors and numbers, and gives the variables' new values in a tuple.
    """

    def __init__(self, type: str, function: Callable[..., tuple[Any, ...]]) -> None:
        self.definition = Definition(type, function, evaluate=_evaluate, differentiable=False, stateful=True, late=True)

    def __call__(self, variables: dict[str, Variable], values: dict[str, Any], name: str | None = None) -> Tensor:
        """Adds the operation; its output is the first variable's new value."""
        (first, *_) = variables.values()
        graph = first.graph
        inputs: list[Tensor] = list(variables.values())
        attrs: dict[str, Any] = {key: Slot(i) for i, key in enumerate(variables)}
        for key, value in values.items():
            element = getattr(value, "_as_graph_element", None)
            value = value if element is None else element()
            if isinstance(value, Tensor):
                inputs.append(value)
                value = Slot(len(inputs) - 1)
            attrs[key] = value
        attrs["written"] = len(variables)
        graph.check_inputs(self.definition.type, inputs)
        return graph.add(self.definition, tuple(inputs), attrs, [first.type], name).output


def update(type: str) -> Callable[[Callable[..., tuple[Any, ...]]], Update]:
    """Decorator: a function of old values that gives new ones becomes an operation on variables."""
    return lambda function: Update(type, function)


def is_number(value: Any) -> bool:
    """Whether a value is a plain number or array, and no tensor."""
    return not isinstance(value, (Tensor, core.Tensor))
