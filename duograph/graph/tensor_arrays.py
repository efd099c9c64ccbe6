"""`TensorArray`: tensors of one shape, written and read by number, in loops above all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError, DTypeError, GraphError
from duograph.ir.graph import Graph as Region

from .building import Graph, OpenRegion, get_default_graph
from .constants import convert_to_tensor
from .definition import Definition, Numbers, Operand, operation
from .dtypes import as_dtype
from .elements import Operation, Slot, Tensor
from .resolving import Run, as_tensor
from .shapes import PartialType, TensorShape
from .slicing import as_number, as_numbers

__all__ = ["TensorArray"]


class Unmade:
    """The memory of a TensorArray before anything is written: what is written first says the shape of an element."""

    def __init__(self, size: Any, dtype: Any, element: Any = None) -> None:
        self.size = size
        self.dtype = dtype
        self.element = element

    def made(self, element: Any) -> Any:
        """Memory for elements of a shape."""
        return dg.zeros([self.size, *element], dtype=self.dtype)

    def empty(self) -> Any:
        """No rows."""
        return dg.zeros([0, *(self.element or ())], dtype=self.dtype)


def _begun(run: Run, node: Operation) -> Any:
    size, element = node.attrs["size"], node.attrs["element"]
    count = as_number(run.value(node.inputs[0])) if isinstance(size, Slot) else size
    return Unmade(count, node.attrs["dtype"], element)


_BEGIN = Definition("TensorArrayV3", lambda: None, evaluate=_begun, differentiable=False)


def _write(run: Run, node: Operation) -> Any:
    array, index, value = (run.value(x) for x in node.inputs)
    value = as_tensor(value)
    if isinstance(array, Unmade):
        if run.dry:
            return Unmade(array.size, array.dtype, tuple(value.shape))
        array = array.made(tuple(value.shape))
    if value.dtype is not array.dtype:
        value = value.to(array.dtype)
    place = as_number(index)
    if node.attrs["grows"]:
        array = _grown(array, place)
    changed = array.clone()
    changed[place] = value
    return changed


def _grown(array: Any, place: Any) -> Any:
    """The array with zeros behind it, so that there is an element at this place."""
    if isinstance(place, core.Tensor):
        place = place.item()
    missing = place + 1 - array.shape[0]
    if missing <= 0:
        return array
    return dg.cat([array, dg.zeros([missing, *array.shape[1:]], dtype=array.dtype)])


def _written_type(flow: PartialType, index: PartialType, value: PartialType, **attrs: Any) -> PartialType:
    size = flow.sizes[0] if flow.sizes else attrs.get("length")
    return PartialType(flow.dtype, None if value.sizes is None else (size, *value.sizes))


_WRITE = Definition("TensorArrayWriteV3", lambda: None, evaluate=_write, infer=_written_type)


def _read(run: Run, node: Operation) -> Any:
    array, index = (run.value(x) for x in node.inputs)
    if isinstance(array, Unmade):
        if run.dry or array.element is not None:
            return dg.zeros(list(array.element or ()), dtype=array.dtype)
        raise GraphError("TensorArray.read: nothing was written yet")
    return array[index]


def _read_type(flow: PartialType, index: PartialType, **attrs: Any) -> PartialType:
    return PartialType(flow.dtype, None if not flow.sizes else flow.sizes[1:])


_READ = Definition("TensorArrayReadV3", lambda: None, evaluate=_read, infer=_read_type)


def _whole(run: Run, node: Operation) -> Any:
    array = run.value(node.inputs[0])
    return array.empty() if isinstance(array, Unmade) else array


_STACK = Definition("TensorArrayGatherV3", lambda: None, evaluate=_whole)


def _count(run: Run, node: Operation) -> Any:
    array = run.value(node.inputs[0])
    return array.size if isinstance(array, Unmade) else array.shape[0]


_SIZE = Definition("TensorArraySizeV3", lambda: None, evaluate=_count, differentiable=False)


@operation("TensorArrayScatterV3")
def _from_rows(value: Operand, indices: Numbers = None, name: str | None = None) -> Any:
    if indices is None:
        return value.clone()
    places = as_numbers(indices)
    made = dg.zeros([max(places) + 1, *value.shape[1:]], dtype=value.dtype)
    made[dg.tensor(places)] = value
    return made


@operation("TensorArraySplitV3")
def _from_parts(value: Operand, count: Any, name: str | None = None) -> Any:
    return value.reshape([count, value.shape[0] // count, *value.shape[1:]])


@operation("TensorArrayConcatV3")
def _concatenated(value: Operand, name: str | None = None) -> Any:
    return value.reshape([-1, *value.shape[2:]])


@operation("TensorArrayGather")
def _gathered(value: Operand, indices: Operand, name: str | None = None) -> Any:
    return value[indices]


class TensorArray:
    """Tensors of one shape and dtype by number, from 0. Each write gives the TensorArray behind it, which is used from then on.

    Args:
        dtype: of the elements.
        size: how many there are: a number or a scalar tensor.
        dynamic_size: writing behind the end makes it longer.
        element_shape: the shape of an element; otherwise the first write says it.
        clear_after_read, infer_shape: taken for TensorFlow's sake.

    Differs: reading twice is allowed; in a loop that writes element i in turn i, elements that no turn wrote are not there.

    Gradient: through writes and reads

    >>> import duograph.graph as tf
    >>> array = tf.TensorArray(tf.float32, size=3)
    >>> for i in range(3):
    ...     array = array.write(i, tf.constant(float(i)))
    >>> with tf.Session() as session:
    ...     session.run(array.stack())
    array([0., 1., 2.], dtype=float32)
    """

    def __init__(
        self,
        dtype: Any,
        size: Any = None,
        dynamic_size: bool | None = None,
        clear_after_read: bool | None = None,
        tensor_array_name: str | None = None,
        handle: Any = None,
        flow: Tensor | None = None,
        infer_shape: bool = True,
        element_shape: Any = None,
        colocate_with_first_write_call: bool = True,
        name: str | None = None,
    ) -> None:
        self.dtype = as_dtype(dtype)
        self.dynamic_size = bool(dynamic_size)
        self.element_shape = TensorShape(element_shape)
        if flow is None:
            if size is None:
                raise ArgumentError("TensorArray: size is missing", hint="the number of elements: a number or a scalar tensor")
            flow = self._begin(size, name)
        self.flow: Tensor = flow

    def _begin(self, size: Any, name: str | None) -> Tensor:
        graph = size.graph if isinstance(size, Tensor) else get_default_graph()
        inputs = (convert_to_tensor(size),) if not isinstance(size, int) else ()
        known = self.element_shape.sizes if self.element_shape.is_fully_defined() else None
        attrs = {"size": Slot(0) if inputs else size, "element": known, "dtype": self.dtype}
        sizes = None if self.element_shape.sizes is None else (None if inputs else size, *self.element_shape.sizes)
        return graph.add(_BEGIN, inputs, attrs, [PartialType(self.dtype, sizes)], name or "TensorArray").output

    @property
    def graph(self) -> Graph:
        """The graph it belongs to."""
        return self.flow.graph

    @property
    def handle(self) -> Tensor:
        """What stands for it in the graph."""
        return self.flow

    def with_flow(self, flow: Tensor) -> TensorArray:
        """The same kind of array with other contents."""
        return TensorArray(self.dtype, dynamic_size=self.dynamic_size, flow=flow, element_shape=self.element_shape)

    def identity(self) -> TensorArray:
        """The same array."""
        return self.with_flow(self.flow)

    def write(self, index: Any, value: Any, name: str | None = None) -> TensorArray:
        """The array with an element written. DTypeError for an element of another dtype."""
        graph = self.graph
        with graph.as_default():
            element = convert_to_tensor(value, None if isinstance(value, Tensor) else self.dtype)
            if element.dtype is not self.dtype:
                raise DTypeError(
                    f"TensorArray.write: the array is {self.dtype.name}, the element {element.dtype.name}",
                    [element.node.built_at],
                )
            if not self.element_shape.is_compatible_with(element.shape):
                raise ArgumentError(
                    f"TensorArray.write: elements have shape {self.element_shape}, this one {element.shape}",
                    [element.node.built_at],
                )
            inputs = (self.flow, convert_to_tensor(index), element)
            graph.check_inputs("TensorArray.write", inputs)
            attrs = {"flow": Slot(0), "index": Slot(1), "value": Slot(2), "grows": self.dynamic_size}
            type = _written_type(*(x.type for x in inputs))
            return self.with_flow(graph.add(_WRITE, inputs, attrs, [type], name).output)

    def read(self, index: Any, name: str | None = None) -> Tensor:
        """An element."""
        graph = self.graph
        with graph.as_default():
            inputs = (self.flow, convert_to_tensor(index))
            graph.check_inputs("TensorArray.read", inputs)
            type = _read_type(*(x.type for x in inputs))
            if type.sizes is None:
                type = PartialType(self.dtype, self.element_shape.sizes)
            return graph.add(_READ, inputs, {"flow": Slot(0), "index": Slot(1)}, [type], name).output

    def stack(self, name: str | None = None) -> Tensor:
        """All elements along a new first dimension."""
        sizes = self.flow.type.sizes
        type = PartialType(self.dtype, None if sizes is None else (None, *sizes[1:]))
        self.graph.check_inputs("TensorArray.stack", (self.flow,))
        return self.graph.add(_STACK, (self.flow,), {"flow": Slot(0)}, [type], name).output

    pack = stack

    def gather(self, indices: Any, name: str | None = None) -> Tensor:
        """The elements of these numbers along a new first dimension."""
        made: Tensor = _gathered(self.stack(), indices, name=name)
        return made

    def concat(self, name: str | None = None) -> Tensor:
        """All elements one behind the other along their first dimension."""
        made: Tensor = _concatenated(self.stack(), name=name)
        return made

    def unstack(self, value: Any, name: str | None = None) -> TensorArray:
        """The array of the rows of a tensor."""
        return self.with_flow(_from_rows(convert_to_tensor(value), name=name))

    unpack = unstack

    def scatter(self, indices: Any, value: Any, name: str | None = None) -> TensorArray:
        """The array with rows of a tensor as the elements of these numbers."""
        return self.with_flow(_from_rows(convert_to_tensor(value), indices, name=name))

    def split(self, value: Any, lengths: Any, name: str | None = None) -> TensorArray:
        """The array of parts of a tensor; all parts must be of one length."""
        parts = list(lengths) if isinstance(lengths, (list, tuple)) else lengths
        if not isinstance(parts, list) or len(set(parts)) != 1:
            raise ArgumentError(
                "TensorArray.split: the parts of an array are of one length here", hint="tf.split gives parts of any length"
            )
        return self.with_flow(_from_parts(convert_to_tensor(value), len(parts), name=name))

    def size(self, name: str | None = None) -> Tensor:
        """The number of elements."""
        return self.graph.add(_SIZE, (self.flow,), {"flow": Slot(0)}, [PartialType(core.int32, ())], name).output

    def close(self, name: str | None = None) -> Operation:
        """Nothing: memory is freed behind its last use."""
        from .constants import no_op

        return no_op(name)

    def __repr__(self) -> str:
        return f"<tf.TensorArray of {self.dtype.name}>"


# ---- in loops


def settled_arrays(run: Run, body: Region, values: Sequence[Any]) -> list[Any]:
    """The initial loop variables with memory for the arrays among them: the body is gone through once for the shapes."""
    dry = run.inner()
    dry.dry = True
    found = dry.region(body, values, body.nodes)  # type: ignore[arg-type]
    made = []
    for value, after in zip(values, found):
        if isinstance(value, Unmade):
            element = after.element if isinstance(after, Unmade) else tuple(after.shape)[1:]
            value = value.made(element if element is not None else value.element or ())
        made.append(value)
    return made


def written_by_turn(
    inside: OpenRegion, tested: OpenRegion, originals: Sequence[Any], initial: Sequence[Tensor], outputs: Sequence[Tensor]
) -> dict[int, Tensor]:
    """By number of the loop variable: what turn i writes to element i of a TensorArray that nobody reads in the loop.

    Such an array is the rows that the turns give, and needs no memory that each turn hands to the next.
    """
    counters = {
        variable
        for variable, start, after in zip(inside.inputs, initial, outputs)
        if _is_constant(start, 0) and _is_one_more(after, variable)
    }
    users: dict[Tensor, int] = {}
    for node in (*inside.nodes, *tested.nodes):
        for tensor in (*node.inputs, *node.attrs.get("captures", ())):
            users[tensor] = users.get(tensor, 0) + 1
    found: dict[int, Tensor] = {}
    for i, original in enumerate(originals):
        if not isinstance(original, TensorArray) or (original.dynamic_size and not _begins_empty(initial[i])):
            continue
        write, variable = outputs[i].node, inside.inputs[i]
        if write.op != "TensorArrayWriteV3" or write.region is not inside or write.inputs[0] is not variable:
            continue
        alone = users.get(variable) == 1 and tested.inputs[i] not in users and write.output not in users
        if alone and write.inputs[1] in counters and initial[i].node.op == "TensorArrayV3":
            found[i] = write.inputs[2]
    return found


def _begins_empty(flow: Tensor) -> bool:
    """Whether an array has no elements before the loop, so that its rows are those of the turns and no more."""
    size = flow.node.attrs.get("size")
    return size == 0 if not isinstance(size, Slot) else _is_constant(flow.node.inputs[size.index], 0)


def _is_constant(tensor: Tensor, number: int) -> bool:
    if tensor.node.op != "Const":
        return False
    value = tensor.node.attrs["value"].value
    return isinstance(value, core.Tensor) and value.ndim == 0 and value.item() == number


def _is_one_more(after: Tensor, variable: Tensor) -> bool:
    node = after.node
    if node.op != "Add" or variable not in node.inputs:
        return False
    others = [x for x in node.inputs if x is not variable]
    plain = [x for x in (node.attrs.get("x"), node.attrs.get("y")) if not isinstance(x, Slot)]
    return plain == [1] if not others else _is_constant(others[0], 1)
