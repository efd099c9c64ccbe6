"""dtypes and shapes of an operation's outputs, found by running its function on types alone.

A size that is unknown while the graph is built is tried as several numbers: what comes out alike for all of them is known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.autograd import no_grad
from duograph.errors import DTypeError, Error, ShapeError
from duograph.ir.builder import Builder, suspended
from duograph.ir.dim import Dim
from duograph.ir.graph import Value
from duograph.ir.types import TensorType
from duograph.ops.tracing import wrap

from .definition import NUMBERS, Definition, filled, structure_of
from .elements import Slot, Tensor
from .shapes import PartialType, TensorShape

if TYPE_CHECKING:
    Types = Sequence[PartialType]

# A size that nearly everything divides; another one; a size that stretches.
_TRIED = (5040, 10080, 1)
_UNKNOWN = re.compile(r"\b(5040|10080)\b")
_RANKS = (2, 1, 4, 3, 0, 5)
# Of vectors of sizes, which make as many dimensions.
_LENGTHS = (2, 1, 3)

_known: dict[Any, tuple[Types, Any]] = {}
_LIMIT = 20_000


class TypesBuilder(Builder):
    """Takes operators' nodes, of which only the types are looked at; nothing outside is written."""

    only_types = True

    def __init__(self) -> None:
        super().__init__("types")
        self.lifted: dict[int, tuple[Any, Value]] = {}

    def lift(self, tensor: Any) -> Value:
        """A concrete tensor stands for its type."""
        found = self.lifted.get(id(tensor))
        if found is None:
            found = self.lifted[id(tensor)] = (tensor, self.input(TensorType(tensor.dtype, tuple(tensor.shape))))
        return found[1]

    def write(self, tensor: Any, value: Value) -> None:
        """What an operator writes outside is not written."""
        if tensor._traced is not None:
            super().write(tensor, value)


def result_types(definition: Definition, attrs: dict[str, Any], inputs: Sequence[Tensor]) -> tuple[Types, Any]:
    """(types of the outputs, how they lie in the result: None where it has none)."""
    types = tuple(tensor.type for tensor in inputs)
    if definition.infer is not None:
        found = definition.infer(*types, **attrs)
        if isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], (list, tuple)):
            return found
        if found is not NotImplemented:
            return _as_result(found)
    return kept_types(definition, attrs, types)


def kept_types(definition: Definition, attrs: dict[str, Any], types: Types) -> tuple[Types, Any]:
    """What running the function on types gives; each is run once."""
    try:
        key = (definition, types, _frozen(attrs))
        known = _known.get(key)
    except TypeError:  # of arguments that cannot be compared
        return _found(definition, attrs, types)
    if known is None:
        known = _found(definition, attrs, types)
        if len(_known) >= _LIMIT:
            _known.clear()
        _known[key] = known
    return known


def _as_result(found: Any) -> tuple[Types, Any]:
    if found is None:
        return (), None
    if isinstance(found, PartialType):
        return (found,), Slot(0)
    return tuple(found), tuple(Slot(i) for i in range(len(found)))


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((key, _frozen(x)) for key, x in value.items())
    if isinstance(value, (list, tuple)):
        return (value.__class__, *map(_frozen, value))
    return (value.__class__, value)


def _found(definition: Definition, attrs: dict[str, Any], types: Types) -> tuple[Types, Any]:
    if all(t.sizes is not None and None not in t.sizes for t in types):
        return run_on(definition, attrs, types)
    found: list[tuple[Types, Any]] = []
    fitting: set[int] = set()
    failures: list[Error] = []
    ranks = _RANKS if any(t.sizes is None for t in types) else (0,)
    steering = _steering(definition, attrs, types)
    for rank in ranks:
        for number, size in enumerate((*_TRIED, *_sizes_in(types))):
            sizes = [(size,) * rank if t.sizes is None else tuple(size if s is None else s for s in t.sizes) for t in types]
            for i in steering:
                sizes[i] = (_LENGTHS[number % len(_LENGTHS)],)
            try:
                found.append(run_on(definition, attrs, [PartialType(t.dtype, s) for t, s in zip(types, sizes)]))
                fitting.add(size)
            except Error as error:
                failures.append(error)
            except IndexError:  # a dimension that this rank does not have
                continue
    if found:
        common, structure = _in_common(found)
        return (common if len(fitting) > 1 else [_without(t, *fitting) for t in common]), structure
    if definition.stretches and failures and all(isinstance(error, ShapeError) for error in failures):
        shapes = " and ".join(str(TensorShape(t.sizes)) for t in types)
        raise ShapeError(f"{definition.called}: the shapes {shapes} do not fit each other")  # as not even sizes of 1 do
    texts = {(type(error), error.message) for error in failures}
    if len(texts) == 1 and len(failures) > 1:  # the unknown sizes have nothing to do with it
        failures[0].operands = tuple(_UNKNOWN.sub("?", str(x)) for x in failures[0].operands)
        raise failures[0]
    if ranks == (0,) and failures and all(isinstance(error, IndexError) for error in failures):  # whatever the sizes are
        failures[0].message = _UNKNOWN.sub("?", failures[0].message)
        raise failures[0]
    return _of_rank_alone(definition, attrs, types)


def _steering(definition: Definition, attrs: dict[str, Any], types: Types) -> list[int]:
    """The inputs that are vectors of sizes, axes or positions, how many is not known."""
    slots = [x for name, x in attrs.items() if isinstance(x, Slot) and definition.kinds.get(name) == NUMBERS]
    return [x.index for x in slots if types[x.index].sizes in (None, (None,))]


def _sizes_in(types: Types) -> list[int]:
    """The sizes that are known, which unknown ones may have to equal."""
    found = {size for t in types for size in t.sizes or () if size is not None and size > 1}
    return sorted(found)[:4]


def _of_rank_alone(definition: Definition, attrs: dict[str, Any], types: Types) -> tuple[Types, Any]:
    """Nothing fitted, but sizes that a run brings may: one output of which the dtype is guessed from the inputs."""
    floats = [t.dtype for t in types if t.dtype.is_floating_point]
    return (PartialType(floats[0] if floats else types[0].dtype, None),), Slot(0)


def _without(type: PartialType, tried: int) -> PartialType:
    """The only number that fitted says nothing of sizes that are that number: they may be the unknown one's."""
    if type.sizes is None:
        return type
    return PartialType(type.dtype, tuple(None if size == tried else size for size in type.sizes))


def _in_common(found: Sequence[tuple[Types, Any]]) -> tuple[Types, Any]:
    """What all tries have in common."""
    first, structure = found[0]
    same = [types for types, _ in found if len(types) == len(first)]
    return tuple(_merged([types[i] for types in same]) for i in range(len(first))), structure


def _merged(types: Types) -> PartialType:
    dtype = types[0].dtype
    rank = {len(t.sizes or ()) for t in types}
    if len(rank) > 1:
        return PartialType(dtype, None)
    columns = zip(*(t.sizes or () for t in types))
    return PartialType(dtype, tuple(column[0] if len(set(column)) == 1 else None for column in columns))


def run_on(definition: Definition, attrs: dict[str, Any], types: Types) -> tuple[Types, Any]:
    """The outputs' types for inputs of exactly these types."""
    with suspended(), no_grad():
        builder = TypesBuilder()
        tracing = core.set_tracing(True)
        try:
            with builder:
                values = [wrap(builder.input(TensorType(t.dtype, known(t)))) if t.dtype.code >= 0 else "" for t in types]
                result = definition.function(**filled(attrs, values))
        except (Error, AttributeError, TypeError):
            if any(t.dtype.code < 0 for t in types) and definition.host is None:
                raise DTypeError(f"{definition.called}: takes no strings", hint="strings are for tf.strings and names") from None
            raise
        finally:
            core.set_tracing(tracing)
    return types_of(result)


def known(type: PartialType) -> tuple[int, ...]:
    """The sizes of a type of which all are known."""
    return tuple(size for size in type.sizes or () if size is not None)


def types_of(result: Any) -> tuple[Types, Any]:
    """The types of the tensors in a result, and its structure."""
    if result is None:
        return (), None
    leaves: list[Any] = []
    structure = structure_of(result, leaves, lambda x: isinstance(x, (core.Tensor, int, float, RunSizes)))
    return tuple(_type_of(leaf) for leaf in leaves), structure


class RunSizes(tuple):  # type: ignore[type-arg]
    """The sizes of a tensor at a run, as numbers: what `tf.shape` gives. Becomes an int32 tensor where one is needed."""

    __slots__ = ()


def _type_of(leaf: Any) -> PartialType:
    if isinstance(leaf, core.Tensor):
        return PartialType(
            leaf.dtype, tuple(None if isinstance(size, Dim) else size for size in leaf.shape)
        )  # by values: unknown
    if isinstance(leaf, RunSizes):
        return PartialType(core.int32, (len(leaf),))
    return PartialType(core.float32 if isinstance(leaf, float) else core.int32, ())
