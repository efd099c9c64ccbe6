"""What the code generators are asked for and what they give back: plain data, no LLVM.

A kernel spec says *what* is computed over an index space; the schedule (which loop is vectorised, what is kept in
scratch, how the work is cut for threads) is chosen by the generators and never changes the result bits.

Sizes, strides and offsets are ``int | Dim`` and counted in elements. The plain ints 0 and 1 (and a stride of -1) are facts:
an extent of 1 is no loop, a stride of 0 a splat, a stride of 1 a contiguous access. Any other plain int travels at
run time like a ``Dim``, so that kernels of different sizes share their code. dtypes are given by name ("float32").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from duograph.ir.dim import Dim

Extent: TypeAlias = "int | Dim"
Walk: TypeAlias = "tuple[tuple[Extent, Extent], ...]"  # (extent, stride) of each dim, outer to inner
Role = Literal["in", "out", "inout"]
ReduceKind = Literal["sum", "prod", "max", "min", "any", "all", "argmax", "argmin"]
ScatterKind = Literal["add", "mul", "maximum", "minimum", "put"]

# status[0] of the kernel ABI
STATUS_BEGUN = 4  # status[4]: see `Launch`
STATUS_INDEX = 1  # status[1] = the index, status[2] = the extent it exceeds
STATUS_ZERO_DIVISION = 2
STATUS_NEGATIVE_POWER = 3  # an integer to a negative integer power
STATUS_UNFIT = 4  # status[1] = the bits of the float64 that does not fit, status[2] = the demand: its place in DEMANDS

# Sums: 16 interleaved partials (logical index mod 16) within chunks of 4096 elements; see docs of `LoopKernel`.
SUM_LANES = 16
SUM_CHUNK = 4096


class Operand(NamedTuple):
    """One entry of ``args``: its position is the index into the ABI's array. Numbers are 0-d "in" operands."""

    dtype: str
    role: Role = "in"


class Address(NamedTuple):
    """Where an operand is read or written: ``offset + sum(index[d] * strides[d])``, one stride per loop dim.

    ``mask`` (loads only): entries (dim, low, high); outside ``low <= index[dim] < high`` nothing is read and the
    value is zero. That is padding, and the pieces of a concatenation.
    """

    arg: int
    strides: tuple[Extent, ...]
    offset: Extent = 0
    mask: tuple[tuple[int, Extent, Extent], ...] = ()


Load = Address
Store = Address


class Gather(NamedTuple):
    """A load whose address also depends on computed int64 values: ``address + sum(value(instr) * stride)``.

    Each of ``indices`` is (instruction number, stride, extent). A value outside ``0 <= value < extent`` makes the
    kernel report STATUS_INDEX and stop; it is never dereferenced. Lanes outside ``address.mask`` are not checked.
    """

    address: Address
    indices: tuple[tuple[int, Extent, Extent], ...]


class Philox(NamedTuple):
    """Random bits from the uint64[2] (key, counter) in operand ``arg``.

    Element number ``i = offset + sum(index[d] * strides[d])``. dtype uint32: word ``i % 4`` of the Philox4x32-10 block
    ``counter + i // 4``; dtype uint64: words ``2 * (i % 2)`` (low) and the next (high) of block ``counter + i // 2``.
    """

    arg: int
    strides: tuple[Extent, ...]
    offset: Extent = 0


Attribute: TypeAlias = "Address | Gather | Philox | Extent | float | str | None"


class Instr(NamedTuple):
    """One value of a kernel body; ``inputs`` are numbers of earlier instructions.

    | op | attr | value |
    | --- | --- | --- |
    | load | Address | the element |
    | number | operand position | the element of a 0-d operand |
    | const | bool, int or float | it |
    | parameter | Extent | the float whose bits it is, as a signed integer |
    | index | dim | the loop index of that dim, int64 |
    | size | Extent | it, int64 |
    | gather | Gather | the element |
    | philox | Philox | uint32 or uint64 bits |
    | cast | None | the input converted to ``dtype`` |
    | reduce | ReduceKind | input 0 reduced over all reduce dims of the kernel; argmax/argmin: int64 logical index |
    | accumulator | None | contraction epilogues only: the finished element |
    | store | Address | none; writes input 0 (whose dtype is the operand's) |
    | enter, phi, while, again, if, else, end, merge | | control flow, see `FlowKernel` |
    | any scalar primitive | None | `codegen.scalar.PRIMITIVES` |

    Scalar primitives take inputs of one dtype; ``dtype`` is the result's (bool for comparisons). 16-bit floats are
    computed in float32 and rounded after each instruction.
    """

    op: str
    inputs: tuple[int, ...]
    dtype: str
    attr: Attribute = None


class LoopKernel(NamedTuple):
    """An elementwise, movement or reduction kernel over one index space.

    ``extents`` run outer to inner. Dims outside ``reduce_dims`` are parallel. A "reduce" instruction folds its input
    over all of ``reduce_dims`` in their row-major order; what depends on one and loads nothing along the reduce dims
    is computed once per outer index, the rest in a later pass over the reduce dims (softmax stores there).

    Sums and products have one order, whatever the schedule, layout, vector width and thread count: elements are
    numbered in row-major order of the reduce dims; each chunk of 4096 has 16 partials (number mod 16), added in order
    from 0 and combined halving (8, 4, 2, 1); the chunk results are folded the same way (16 partials by chunk number).
    """

    name: str
    extents: tuple[Extent, ...]
    reduce_dims: frozenset[int]
    operands: tuple[Operand, ...]
    body: tuple[Instr, ...]


class ScatterKernel(NamedTuple):
    """Indexed writes: ``target[address + sum(index value * stride)] (+)= value``, in row-major order of ``serial_dims``.

    The other dims run in parallel: two of their indices must never write the same element. ``target.arg`` is an
    "inout" operand that already holds the initial contents. ``indices`` as in `Gather`; ``value`` is an instruction
    of the target's dtype. Kind "put": the last write wins; the others combine with what is there.
    """

    name: str
    kind: ScatterKind
    extents: tuple[Extent, ...]
    serial_dims: frozenset[int]
    operands: tuple[Operand, ...]
    body: tuple[Instr, ...]
    target: Address
    indices: tuple[tuple[int, Extent, Extent], ...]
    value: int


class Border(NamedTuple):
    """B is zero where ``n * step + k * hole`` is below ``low`` or not below ``high``, by a position along a dim of n (extent
    ``places``) and one of k (extent ``taps``)."""

    places: Extent
    taps: Extent
    step: Extent
    hole: Extent
    low: Extent
    high: Extent


class ContractionKernel(NamedTuple):
    """``C[batch, m, n] = epilogue(sum over k of A[batch, m, k] * B[batch, k, n])``.

    Operands: A, B, C (role "out"), then what the epilogue loads. ``m``, ``n``, ``k`` are tuples of extents (several
    dims where they do not merge); strides are given over (batch..., m..., k...), (batch..., k..., n...) and
    (batch..., m..., n...), like the loads of the epilogue. ``dtype`` is the accumulator's. Epilogue instruction 0 is
    "accumulator"; the value of the last instruction, of C's dtype, is stored. An epilogue that only adds what C holds
    loads it from operand 2 (role "inout") at the place it writes: for float32 and float64, and a k of 1 to
    `most_in_a_chain`, where sums are not written before they are whole.

    ``a_walk`` and ``b_walk`` say in how few dims A and B alone are walked along k, ``columns`` that C and the epilogue have
    the last of several dims of n side by side as one, and how B is walked along it; its strides then have a 0 there. They
    are filled by `walks.with_walks`. ``direct``: whether it is made as a direct convolution (see
    `contraction.direct_lower`), ``narrow``: whether it is one of few kernels, ``taps``: whether it is a gradient to kernels
    (see `contraction.taps_lower`); None if the sizes of a run decide. ``winograd``: whether it is made in a way that gives
    other bits (see `contraction.winograd`): never by sizes. ``borders``: what is known of zeros in B, which need not be
    multiplied, along the last dims of an image; ``beyond``: they are not there, so they must not be read. ``pairs``: A and B
    are rounded to bfloat16, and neighbours along the first dim of k are multiplied together (see `contraction.pairs`), so it
    never merges with others; "even" if it is known that none is left over, "made" where k is counted in pairs; ``paired``:
    which of A and B is an array of such pairs already, half as long along it.
    """

    name: str
    dtype: str
    batch: tuple[Extent, ...]
    m: tuple[Extent, ...]
    n: tuple[Extent, ...]
    k: tuple[Extent, ...]
    a_strides: tuple[Extent, ...]
    b_strides: tuple[Extent, ...]
    c_strides: tuple[Extent, ...]
    operands: tuple[Operand, ...]
    epilogue: tuple[Instr, ...] = (Instr("accumulator", (), "float32"),)
    a_walk: Walk = ()
    b_walk: Walk = ()
    columns: Walk = ()
    borders: tuple[Border, ...] = ()
    beyond: bool = False
    direct: bool | None = False
    narrow: bool | None = False
    taps: bool | None = False
    winograd: bool = False
    pairs: Literal["", "even", "any", "made"] = ""
    paired: tuple[bool, bool] = (False, False)


@dataclass(frozen=True)
class FlowKernel:
    """Loops and branches over values in registers; one thread runs the whole of it.

    A loop stands in the body as ``enter`` (inputs: the initial values), one ``phi`` for each carried value (attr: its
    position), the test, ``while`` (input: a bool), the step, ``again`` (inputs: the next values). A phi has the value
    of the present turn inside the loop and that of the end behind it. A branch is ``if`` (input: a bool), what then
    runs, ``else`` (inputs: its results), what runs otherwise, ``end`` (inputs: its results), one ``merge`` for each
    result (attr: its position). Both nest. What is computed inside is seen only inside, and all stores come last, so
    that a kernel that was left early because of an interrupt can run again. ``work`` is a rough count of the
    instructions that run, None if nobody knows.

    The instructions in ``wide`` have ``count`` elements, next to each other in memory; the others one, which stands for
    all where it meets them. ``reduce`` makes one of ``count``, in the order of `LoopKernel`.
    """

    name: str
    operands: tuple[Operand, ...]
    body: tuple[Instr, ...]
    work: Extent | None = None
    count: int = 1
    wide: tuple[int, ...] = ()


class RowKernel(NamedTuple):
    """A function of the core (`core/rows.h`) on the rows of operands: no code is generated.

    ``outer`` are the extents of the dims that number the rows. Each of ``rows``, one per operand, says where its rows
    are: (the address over the outer dims, their length, the stride inside). ``numbers`` are the function's own.
    """

    name: str
    function: str
    outer: tuple[Extent, ...]
    operands: tuple[Operand, ...]
    rows: tuple[tuple[Address, Extent, Extent], ...]
    numbers: tuple[Extent, ...]
    body: tuple[Instr, ...] = ()


class WindowKernel(NamedTuple):
    """Sums over windows of single channels, over three dimensions of places; the result is written row-major.

    ``op`` "sums": ``C[n, g, f, o] = sum over c, k of x[n, g, c, o * stride + k * dilation - low] * w[g, f, c, k]``, with
    ``other_strides`` over (g, f, c, k...). ``op`` "taps": ``C[g, f, k] = sum over n, o of x[n, g, 0, …] * given[n, g, f, o]``,
    with ``other_strides`` over (n, g, f, o...). ``planes`` are the extents of n, g, f, c; ``x_strides`` are over
    (n, g, c, places...). x is zero outside of its ``sizes``. ``epilogue``: what follows sums, as in `ContractionKernel`, over
    (n, g, f, places...); operands then are x, w, C and what it loads. ``plane``: elements from channel to channel of sums, if
    they do not follow each other.
    """

    name: str
    op: Literal["sums", "taps"]
    dtype: str
    planes: tuple[Extent, ...]
    sizes: tuple[Extent, ...]
    counts: tuple[Extent, ...]
    taps: tuple[Extent, ...]
    low: tuple[Extent, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    x_strides: tuple[Extent, ...]
    other_strides: tuple[Extent, ...]
    operands: tuple[Operand, ...]
    epilogue: tuple[Instr, ...] = ()
    plane: Extent | None = None


Kernel: TypeAlias = "LoopKernel | ScatterKernel | ContractionKernel | FlowKernel | RowKernel | WindowKernel"


# The position in a launch's args of what is kept with an operand, or null: see `Keep`.
KEPT = -1


class Keep(NamedTuple):
    """What a launch makes of an operand alone, such as panels. A program keeps it with a parameter's memory.

    ``args`` of the function are the operand and what it makes; no chunks: it is not wanted.
    """

    operand: int
    symbol: str
    size_exprs: tuple[Extent, ...]
    chunks: Extent
    bytes: Extent


class Launch(NamedTuple):
    """One call of the kernel ABI ``(args, sizes, begin, end, scratch, status)`` for 0 <= begin <= end <= chunks.

    ``args`` are operand positions; len(operands) + i means temporary i of the kernel. ``size_exprs`` are the values
    of ``sizes`` in order. ``scratch`` is bytes per worker, ``cost`` a rough count of bytes touched by all chunks.
    Launches of one kernel run in order, each finished before the next.

    ``symbol`` may be "LIBRARY:FUNCTION", a function of a shared library object. ``functions`` are functions of this
    unit whose addresses follow the args. ``whole``: each worker gets its share of the chunks in one call, and the
    kernel itself watches the interrupt flag whose address is in status[3]. ``grain``: so many chunks, from a multiple of
    them on, make a piece that costs little to be run by itself; 0: there is none. status[4] is 0 in a worker's first call
    of a launch; what the kernel then sets it to, and leaves in scratch, it finds in the next. ``keep``: what the argument
    KEPT is, or null; ``unless_kept``: the launch makes the same, and is left out where that is there.
    """

    symbol: str
    args: tuple[int, ...]
    size_exprs: tuple[Extent, ...]
    chunks: Extent
    scratch: Extent
    cost: Extent
    functions: tuple[str, ...] = ()
    whole: bool = False
    grain: Extent = 0
    keep: Keep | None = None
    unless_kept: bool = False


class CompiledKernel(NamedTuple):
    """How to run one kernel: its launches and the bytes of each temporary they share."""

    launches: tuple[Launch, ...]
    temporaries: tuple[Extent, ...] = ()


class Unit(NamedTuple):
    """Object code for a list of kernels, in the order they were given."""

    object: bytes
    kernels: tuple[CompiledKernel, ...]


def pair_body(dtype: str, first: Address, second: Address) -> list[Instr]:
    """The instructions that make a pair of two elements."""
    body = [Instr("load", (), dtype, first), Instr("load", (), dtype, second)]
    numbers = [0, 1]
    if dtype != "float32":
        body += [Instr("cast", (number,), "float32") for number in numbers]
        numbers = [2, 3]
    return [*body, Instr("pair", tuple(numbers), "float32")]
