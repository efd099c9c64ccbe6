"""From a contraction spec to launches: one of the library's driver, copies of what it cannot read around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from duograph.codegen.analysis import analyse
from duograph.codegen.contraction.block import scratch_bytes
from duograph.codegen.contraction.direct_lower import (
    Direct,
    all_known,
    direct_form,
    images_first,
    panels_of_kernels,
    pays,
    product_launch,
)
from duograph.codegen.contraction.driver import BATCH_WORDS, HEADER
from duograph.codegen.contraction.epilogue import Epilogue, emit_epilogue_function, emit_epilogue_launch, may_run_hot
from duograph.codegen.contraction.gemv import FEW_STREAMS
from duograph.codegen.contraction.keep import MOST_IN_PLACE, Kept, has_many, keep_of
from duograph.codegen.contraction.library import library_dtype, symbol_of
from duograph.codegen.contraction.parts import PARTS, TILED, part_symbols, parts_word
from duograph.codegen.contraction.shape import PAIRS, tile_shape
from duograph.codegen.contraction.taps_lower import Taps, taps_forms, taps_launch, taps_limits, taps_pays
from duograph.codegen.contraction.winograd_lower import memory_elements, prepare_launch, winograd_form, winograd_launch
from duograph.codegen.dtypes import DTYPES
from duograph.codegen.kernel import (
    KEPT,
    Address,
    CompiledKernel,
    ContractionKernel,
    Extent,
    Gather,
    Instr,
    Launch,
    LoopKernel,
    Operand,
    Philox,
    Walk,
)
from duograph.codegen.llvm import Module
from duograph.codegen.map_schedule import emit_map
from duograph.codegen.target import Target
from duograph.codegen.walks import walk_of, with_walks
from duograph.ir.dim import ceildiv, contiguous_strides, floordiv, maximum, minimum, product

Strides = tuple[Extent, ...]

# A chunk of C. A worker's share comes in one call and is merged to rectangles: small chunks only share evenly.
_ROWS, _COLUMNS = 32, 64
# Matrices of so many columns each are multiplied one by one where B is read in place.
_FEWEST_APART = 128
# Of so many rows, a piece is all rows of a chunk's columns; of more, which take longer to be read again, of more columns.
_ROWS_OF_PIECE = 512
# Tall products are cut along their rows, so that each worker reads a part of A alone: so many times as many as columns, and
# rows of a chunk, which has all columns: of as many tiles as columns of A are copied for at once.
_TALL, _ROWS_OF_SLAB = 2, 112
# The epilogues that add what C holds.
_ADDITIONS = (["accumulator", "load", "add"], ["load", "accumulator", "add"])


@dataclass
class Matrix:
    """An operand as the driver sees it: its position in args and strides over (batch..., rows..., columns...).

    One that is walked by several strides has the walk over its k, and B one over its columns; the strides then say nothing
    of them.
    """

    position: int
    strides: Strides
    k: Walk = ()
    columns: Walk = ()


class Lowering:
    """The launches of a contraction; ``module`` gets what is not in the library: epilogues and copies, often nothing."""

    def __init__(self, module: Module, target: Target, symbol: str, kernel: ContractionKernel) -> None:
        self.module, self.target, self.symbol = module, target, symbol
        self.kernel = kernel if kernel.a_walk else with_walks(kernel)
        self.dtype = PAIRS if kernel.pairs else library_dtype(kernel.dtype)
        self.launches: list[Launch] = []
        self.temporaries: list[Extent] = []
        self.temporary_dtypes: list[str] = []

    def run(self) -> CompiledKernel:
        kernel = self.kernel
        if any(isinstance(extent, int) and extent == 0 for extent in (*kernel.batch, *kernel.m, *kernel.n)):
            return CompiledKernel(())
        if kernel.winograd:
            self._winograd()
            return CompiledKernel(tuple(self.launches), tuple(self.temporaries))
        taps = [] if kernel.taps is False or kernel.pairs else taps_forms(kernel, tile_shape(self.dtype, self.target.level).rows)
        form = None if kernel.direct is False else direct_form(kernel)
        if taps and kernel.taps:
            made = next((t for t in taps if all_known(taps_limits(t, self.dtype))), taps[-1])
            self.launches.append(taps_launch(made, self.dtype, tile_shape(self.dtype, self.target.level)))
        elif not taps and form is None:
            self._product()
        elif not taps and form is not None and kernel.direct:
            self.launches += self.direct(form, [kernel.narrow is True])
        else:  # the sizes of a run decide
            ways = self._ways(taps, form)
            self._product()
            rest = 1 - sum(answer for _, answer in ways)
            chosen = [_only_if(launch, answer) for launches, answer in ways for launch in launches]
            self.launches = [*chosen, *(_only_if(launch, rest) for launch in self.launches)]
        return CompiledKernel(tuple(self.launches), tuple(self.temporaries))

    def _ways(self, taps: list[Taps], form: Direct | None) -> list[tuple[list[Launch], Extent]]:
        """The launches of ways besides a product, and 1 for the one that is taken, if any."""
        kernel, shape = self.kernel, tile_shape(self.dtype, self.target.level)
        ways: list[tuple[list[Launch], Extent]] = []
        taken: Extent = 0
        for t in taps:
            answer = taps_pays(t, self.dtype) * (1 - taken)
            ways.append(([taps_launch(t, self.dtype, shape)], answer))
            taken = taken + answer
        if form is not None:
            widths = [few for few in (False, True) if not few or kernel.narrow is None]
            answers = [pays(form, kernel.dtype, few) * (1 - taken) for few in widths]
            ways += zip(self.direct_ways(form, widths), answers)
        return ways

    def _product(self) -> None:
        """The launches of a product of matrices."""
        kernel = self.kernel
        batch, m, n = kernel.batch, kernel.m, kernel.n
        a, b = self.first_factor(), self.second_factor()
        direct = self._writable()
        c = Matrix(2, kernel.c_strides) if direct else self.temporary((*batch, *m, *n), kernel.dtype)
        adds = direct and self._adds()
        direct = direct and may_run_hot(kernel.epilogue)
        ended = images_first(kernel) if direct else kernel
        epilogue = None if adds else self._epilogue(ended, Matrix(2, ended.c_strides) if direct else c)
        hot = epilogue is not None and direct and len(ended.m) <= 1 and len(ended.n) <= 1
        self._launch(a, b, c, epilogue if hot else None, adds)
        if epilogue is not None and not hot:
            self.launches += emit_epilogue_launch(self.module, self.target, f"{self.symbol}_epilogue", epilogue)

    def first_factor(self) -> Matrix:
        """A as a product reads it."""
        kernel, extents = self.kernel, (*self.kernel.batch, *self.kernel.m, *self.kernel.k)
        return self._walked_a() or self._copied(Matrix(0, kernel.a_strides), extents, len(kernel.k), last=True)

    def second_factor(self) -> Matrix:
        """B as a product reads it."""
        kernel, extents = self.kernel, (*self.kernel.batch, *self.kernel.k, *self.kernel.n)
        return self._walked_b() or self._copied(Matrix(1, kernel.b_strides), extents, len(kernel.k), last=False)

    def direct_ways(self, form: Direct, widths: Sequence[bool]) -> list[list[Launch]]:
        """The launches of a direct convolution, for each of these widths of panels."""
        return [[launch] for launch in self.direct(form, widths)]

    def direct(self, form: Direct, widths: Sequence[bool]) -> list[Launch]:
        """The launches of a direct convolution with panels of these widths, True for few kernels."""
        shape, kernel = tile_shape(self.dtype, self.target.level), images_first(self.kernel)
        epilogue = self._epilogue(kernel, Matrix(2, kernel.c_strides))
        args: tuple[int, ...] = (1, 0, 2, *range(3, len(kernel.operands))) if epilogue else (1, 0, 2)
        kept = self.kernels_kept(form, widths[0])
        args = (*args, *kept.args)
        made = [product_launch(form, self.dtype, shape, args, len(args) if epilogue else 0, few, kept) for few in widths]
        if epilogue is None:
            return [*kept.before, *made]
        functions, first = (f"{self.symbol}_strip{'' if False in widths else '_few'}",), made[0].size_exprs
        # One function for all: it may read what is the same in each launch, and nothing is -1.
        own = tuple(size if all(launch.size_exprs[i] == size for launch in made) else -1 for i, size in enumerate(first))
        behind = emit_epilogue_function(self.module, self.target, functions[0], epilogue, args, own)[len(own) :]
        ended = [launch._replace(size_exprs=(*launch.size_exprs, *behind), functions=functions) for launch in made]
        return [*kept.before, *ended]

    def _winograd(self) -> None:
        """The launches of Winograd's convolution: the kernels' transform, then all else."""
        form, shape, kernel = winograd_form(self.kernel), tile_shape(self.dtype, self.target.level), images_first(self.kernel)
        if form is None:
            raise ValueError("not a convolution that Winograd's way is for")
        epilogue = self._epilogue(kernel, Matrix(2, kernel.c_strides))
        memory = self.temporary((memory_elements(form, shape),), kernel.dtype).position
        args = (1, memory, 2, *range(3, len(kernel.operands))) if epilogue else (1, memory, 2)
        launch = winograd_launch(form, shape, args, len(args) if epilogue else 0)
        if epilogue is not None:
            name, own = f"{self.symbol}_line", launch.size_exprs
            sizes = emit_epilogue_function(self.module, self.target, name, epilogue, args, own)
            launch = launch._replace(size_exprs=sizes, functions=(name,))
        self.launches += [prepare_launch(form, shape, memory), launch]

    # ---- operands ----

    def loaded_operands(self) -> tuple[Operand, ...]:
        """The kernel's operands and its temporaries, all to be read and written."""
        return (*self.kernel.operands, *(Operand(dtype, "inout") for dtype in self.temporary_dtypes))

    def temporary(self, shape: Sequence[Extent], dtype: str) -> Matrix:
        """A contiguous temporary."""
        position = len(self.kernel.operands) + len(self.temporaries)
        self.temporaries.append(product(list(shape)) * DTYPES[dtype].size)
        self.temporary_dtypes.append(dtype)
        return Matrix(position, contiguous_strides(list(shape)))

    def _walked_a(self) -> Matrix | None:
        """A where its k need no copy in memory: they are one dim, or several rows share the trouble of walking them."""
        kernel = self.kernel
        first = len(kernel.batch) + len(kernel.m)
        if not _same_bits(kernel.operands[0].dtype, kernel.dtype):
            return None
        if len(kernel.a_walk) == 1:
            return Matrix(0, (*kernel.a_strides[:first], kernel.a_walk[0][1]))
        is_walkable = self.dtype in TILED and product(list(kernel.m)) != 1
        return Matrix(0, (*kernel.a_strides[:first], 0), kernel.a_walk) if is_walkable else None

    def _walked_b(self) -> Matrix | None:
        """The same for B, which may be walked along its columns, too."""
        kernel = self.kernel
        first, last = len(kernel.batch), len(kernel.batch) + len(kernel.k)
        batch, n = kernel.b_strides[:first], kernel.b_strides[last:]
        if not _same_bits(kernel.operands[1].dtype, kernel.dtype):
            return None
        if len(kernel.b_walk) == 1 and not kernel.columns:
            return Matrix(1, (*batch, kernel.b_walk[0][1], *n))
        if self.dtype not in TILED or product(list(kernel.n)) == 1:
            return None
        columns = kernel.columns or walk_of(kernel.n[-1:], n[-1:])
        return Matrix(1, (*batch, 0, *n[:-1], 0), kernel.b_walk, columns)

    def _copied(self, matrix: Matrix, extents: Strides, k_dims: int, *, last: bool) -> Matrix:
        """A contiguous copy of ``matrix``, in the accumulator's dtype; its k are one dim."""
        first = len(extents) - k_dims if last else len(self.kernel.batch)
        k = range(first, first + k_dims)
        given = self.kernel.operands[matrix.position].dtype
        # Broadcast dims are not copied.
        kept = [d for d in range(len(extents)) if d in k or matrix.strides[d] != 0]
        shape = [extents[d] for d in kept]
        copy = self.temporary(shape, self.kernel.dtype)
        body = [Instr("load", (), given, Address(matrix.position, tuple(matrix.strides[d] for d in kept)))]
        if given != self.kernel.dtype:
            body.append(Instr("cast", (0,), self.kernel.dtype))
        body.append(Instr("store", (len(body) - 1,), self.kernel.dtype, Address(copy.position, copy.strides)))
        loop = LoopKernel("copy", tuple(shape), frozenset(), self.loaded_operands(), tuple(body))
        symbol = f"{self.symbol}_copy{matrix.position}"
        self.launches += emit_map(self.module, self.target, symbol, analyse(loop))
        strides: list[Extent] = [0] * len(extents)
        for d, stride in zip(kept, copy.strides):
            strides[d] = stride
        return Matrix(copy.position, (*strides[:first], strides[k[-1]] if k_dims else 0, *strides[first + k_dims :]))

    def _writable(self) -> bool:
        """C has the accumulator's dtype and its columns are contiguous."""
        kernel = self.kernel
        columns = kernel.c_strides[-1] if kernel.n else 1
        one = not kernel.n or kernel.n[-1] == 1
        return _same_bits(kernel.operands[2].dtype, kernel.dtype) and (one or columns == 1)

    def _adds(self) -> bool:
        """Whether the epilogue only adds what C holds, which the library does by itself."""
        loads = [i.attr for i in self.kernel.epilogue if isinstance(i.attr, Address) and i.attr.arg == 2]
        if not loads:
            return False
        if self.dtype not in TILED or [i.op for i in self.kernel.epilogue] not in _ADDITIONS:
            raise ValueError("a contraction writes sums over what its epilogue reads")
        return True

    def _epilogue(self, kernel: ContractionKernel, c: Matrix) -> Epilogue | None:
        """None if the sums in C are already the result."""
        if c.position == 2 and len(kernel.epilogue) <= 1:
            return None
        space = (*kernel.batch, *(kernel.m or (1,)), *(kernel.n or (1,)))
        insertion = _Insertion(len(kernel.batch), len(kernel.m), len(kernel.n))
        body = tuple(insertion.instr(instr) for instr in kernel.epilogue)
        source = Address(c.position, insertion.strides(c.strides))
        if isinstance(space[-1], int) and space[-1] == 1:
            source = source._replace(strides=(*source.strides[:-1], 1))
        target = source if c.position == 2 else Address(2, insertion.strides(kernel.c_strides))
        body = body or (Instr("accumulator", (), kernel.dtype),)
        return Epilogue(space, self.loaded_operands(), body, source, target)

    # ---- the launch ----

    def _launch(self, a: Matrix, b: Matrix, c: Matrix, epilogue: Epilogue | None, adds: bool) -> None:
        kernel = self.kernel
        args = (a.position, b.position, c.position, *range(3, len(kernel.operands))) if epilogue else None
        args = args or (a.position, b.position, c.position)
        kept = self.kept(b)
        args = (*args, *kept.args)
        tiled = self.dtype in TILED
        parts = parts_word(len(args) + (epilogue is not None), [True] * len(PARTS)) if tiled else 0
        place = len(args) - len(kept.args)
        sizes, chunks, cost = self._sizes(a, b, c, len(args) if epilogue else 0, parts, adds, (kept, place))
        functions: tuple[str, ...] = ()
        if epilogue is not None:
            functions = (f"{self.symbol}_epilogue",)
            sizes = emit_epilogue_function(self.module, self.target, functions[0], epilogue, args, sizes)
        functions += part_symbols(self.dtype) if tiled else ()
        scratch = scratch_bytes(tile_shape(self.dtype, self.target.level)) if tiled else 0
        whole = tiled and not adds  # what an interrupt stops may start over, which would add twice
        grain = self._grain() if tiled else 0
        launch = Launch(symbol_of(self.dtype), args, sizes, chunks, scratch, cost, functions, whole, grain, kept.keep)
        self.launches += [*kept.before, launch]

    def kept(self, b: Matrix) -> Kept:
        """Panels of B, if it is an operand that all of the product shares and has plain strides."""
        kernel, first = self.kernel, len(self.kernel.batch)
        k = product(list(kernel.k))
        shared = all(stride == 0 for stride in b.strides[:first])
        if self.dtype not in TILED or b.position != 1 or len(kernel.n) != 1 or not shared or b.k or b.columns or k == 0:
            return Kept()
        (b_k, b_n), rows = b.strides[first:], (kernel.m or (1,))[-1]
        keep = keep_of(self.dtype, tile_shape(self.dtype, self.target), 1, rows, kernel.n[0], k, b_k, b_n)
        return Kept(keep, (KEPT,), keep.size_exprs[-1])

    def kernels_kept(self, form: Direct, few: bool) -> Kept:
        """Panels of the kernels of a direct convolution; ``few``: it has panels for few only."""
        return panels_of_kernels(form, self.dtype, tile_shape(self.dtype, self.target.level))

    def _sizes(
        self, a: Matrix, b: Matrix, c: Matrix, epilogue: int, parts: int, adds: bool, kept: tuple[Kept, int]
    ) -> tuple[tuple[Extent, ...], Extent, Extent]:
        """The header of `driver`, the chunks and the cost."""
        kernel = self.kernel
        batch = len(kernel.batch)
        a_batch, (a_m, a_k) = a.strides[:batch], _split(a.strides[batch:], len(kernel.m))
        b_batch, (b_k, b_n) = b.strides[:batch], _split(b.strides[batch:], 1)
        c_batch, (c_m, c_n) = c.strides[:batch], _split(c.strides[batch:], len(kernel.m))
        # Outer dims of m and n that do not merge are batch dims along which the other operand stands still.
        batches = [
            *zip(kernel.batch, a_batch, b_batch, c_batch),
            *((extent, s, 0, t) for extent, s, t in zip(kernel.m[:-1], a_m, c_m)),
            *((extent, 0, s, t) for extent, s, t in zip(kernel.n[:-1], b_n, c_n)),
        ]
        m, n = (kernel.m or (1,))[-1], (kernel.n or (1,))[-1]
        k = product(list(kernel.k))
        rows, columns = self._chunk()
        words = {
            "m": m,
            "n": n,
            "k": k,
            "a_m": _last(a_m),
            "a_k": _last(a_k),
            "b_k": _last(b_k),
            "b_n": 1 if n == 1 else _last(b_n),
            "c_m": _last(c_m),
            "rows_per_chunk": rows,
            "columns_per_chunk": columns,
            "epilogue": epilogue,
            "parts": parts,
            "add": int(adds),
            "batch_dims": len(batches),
            "kept": kept[1] if kept[0].args else 0,
            "panel": kept[0].panel,
            "far": 0 if self.target.follows_streams else FEW_STREAMS,
        }
        walked = bool(a.k or b.k)
        walks = (a.k, b.k, b.columns) if walked else ()
        joined = self._joined(a, b)
        words["spread"] = place = len(HEADER) + BATCH_WORDS * len(batches) if walked else 0
        place = place or len(HEADER) + BATCH_WORDS * len(batches)
        words["joined"] = (place + len(_words_of(walks))) * self._pays_to_join(b, m, n) if joined else 0
        matrices = product([extent for extent, *_ in batches])
        chunks = matrices * ceildiv(m, rows) * ceildiv(n, columns)
        # multiply-adds where rows and columns share what is read, else memory: a vector times a matrix reads it once
        cost = maximum(floordiv(matrices * m * n * k, 2), DTYPES[kernel.dtype].size * matrices * k * (m + n))
        header = [words[name] for name in HEADER]
        return (*header, *(word for dim in batches for word in dim), *_words_of(walks), *_words_of(joined)), chunks, cost

    def _pays_to_join(self, b: Matrix, m: Extent, n: Extent) -> Extent:
        """1 where matrices along n are better multiplied as one, else 0: a B that few rows read where it lies is not packed."""
        if b.k or b.columns or b.strides[-1] != 1:
            return 1
        return minimum(maximum(m - MOST_IN_PLACE, 0) + maximum(_FEWEST_APART - n, 0), 1)

    def _grain(self) -> Extent:
        """Chunks that share columns of B, made ready for all their rows at once; few rows read B where it lies, in long runs."""
        kernel = self.kernel
        m, n = (kernel.m or (1,))[-1], (kernel.n or (1,))[-1]
        if len(kernel.n) > 1 or (isinstance(n, int) and n == 1):
            return 0
        tall = self._is_tall()
        return ceildiv(m, _ROWS) * ceildiv(m, _ROWS_OF_PIECE) * has_many(m) * (1 - tall) + tall

    def _chunk(self) -> tuple[Extent, Extent]:
        """Rows and columns of a chunk."""
        n, tall = (self.kernel.n or (1,))[-1], self._is_tall()
        return _ROWS + (_ROWS_OF_SLAB - _ROWS) * tall, _COLUMNS + (n - _COLUMNS) * tall

    def _is_tall(self) -> Extent:
        """1 where there are many rows of few columns, but more than a chunk of these, else 0."""
        m, n = (self.kernel.m or (1,))[-1], (self.kernel.n or (1,))[-1]
        if len(self.kernel.n) != 1 or self.dtype not in TILED:
            return 0
        return _above(m, _ROWS_OF_PIECE) * _above(m, _TALL * n) * _above(n, _COLUMNS)

    def _joined(self, a: Matrix, b: Matrix) -> tuple[Walk, ...]:
        """Walks by which the last outer dim of n is one with the columns; none where there is no such dim."""
        kernel = self.kernel
        if len(kernel.n) < 2 or self.dtype not in TILED:
            return ()
        strides = b.strides[len(kernel.batch) + 1 :]
        k = b.k or ((product(list(kernel.k)), b.strides[len(kernel.batch)]),)
        return a.k, k, ((kernel.n[-2], strides[-2]), *(b.columns or ((kernel.n[-1], strides[-1]),)))


def _above(extent: Extent, limit: Extent) -> Extent:
    """1 where an extent is above a limit, else 0."""
    return minimum(maximum(extent - limit, 0), 1)


def _only_if(launch: Launch, answer: Extent) -> Launch:
    """The launch where the answer is 1, nothing where it is 0."""
    keep = launch.keep and launch.keep._replace(chunks=launch.keep.chunks * answer)
    return launch._replace(chunks=launch.chunks * answer, cost=launch.cost * answer, scratch=launch.scratch * answer, keep=keep)


def _same_bits(dtype: str, accumulator: str) -> bool:
    """Unsigned integers are multiplied and added as signed ones."""
    return dtype.removeprefix("u") == accumulator.removeprefix("u")


def _words_of(walks: Sequence[Walk]) -> tuple[Extent, ...]:
    """How a launch describes walks. See `spread`."""
    return (*map(len, walks), *(word for walk in walks for dim in walk for word in dim))


def _split(strides: Strides, first: int) -> tuple[Strides, Strides]:
    return strides[:first], strides[first:]


def _last(strides: Strides) -> Extent:
    return strides[-1] if strides else 0


@dataclass(frozen=True)
class _Insertion:
    """From loop dims (batch..., m..., n...) to the same with a dim of extent 1 where m or n is missing."""

    batch: int
    m: int
    n: int

    def dim(self, d: int) -> int:
        return d if d < self.batch + self.m or self.m else d + 1

    def strides(self, strides: Strides) -> Strides:
        batch, rest = strides[: self.batch], strides[self.batch :]
        return (*batch, *(rest[: self.m] or (0,)), *(rest[self.m :] or (0,)))

    def instr(self, instr: Instr) -> Instr:
        attr = instr.attr
        if instr.op == "index":
            assert isinstance(attr, int)
            return instr._replace(attr=self.dim(attr))
        if isinstance(attr, Gather):
            return instr._replace(attr=attr._replace(address=self.address(attr.address)))
        if isinstance(attr, Philox):
            return instr._replace(attr=attr._replace(strides=self.strides(attr.strides)))
        return instr._replace(attr=self.address(attr)) if isinstance(attr, Address) else instr

    def address(self, address: Address) -> Address:
        mask = tuple((self.dim(d), low, high) for d, low, high in address.mask)
        return address._replace(strides=self.strides(address.strides), mask=mask)
