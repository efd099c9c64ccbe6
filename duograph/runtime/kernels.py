"""Compiling kernel specs once per structure: kernels that differ only in sizes and constants share one function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module

from duograph.codegen.emit import compile_kernels
from duograph.codegen.kernel import (
    Address,
    Border,
    CompiledKernel,
    ContractionKernel,
    FlowKernel,
    Gather,
    Instr,
    Keep,
    Kernel,
    Launch,
    LoopKernel,
    Philox,
    RowKernel,
    ScatterKernel,
    Walk,
    WindowKernel,
)
from duograph.codegen.target import get_target
from duograph.ir.dim import Dim, Expr, symbol
from duograph.ir.substitution import substitute

from .constants import share_constants


class _Canonical:
    """Replaces every size of a kernel that is not a compile-time fact (0 or 1) by a placeholder, equal ones by the same."""

    def __init__(self) -> None:
        self.places: dict[Expr, Dim] = {}

    def size(self, value: Expr) -> Expr:
        if value.__class__ is int and (value == 0 or value == 1):
            return value
        found = self.places.get(value)
        if found is None:
            found = self.places[value] = symbol(f"z{len(self.places)}")
        return found

    def sizes(self, values: Sequence[Expr]) -> tuple[Expr, ...]:
        return tuple(self.size(value) for value in values)

    def step(self, value: Expr) -> Expr:
        """Placeholders stand for sizes: a step backwards is a fact."""
        return value if value.__class__ is int and value < 0 else self.size(value)

    def walk(self, walk: Walk) -> Walk:
        return tuple((self.size(extent), self.step(stride)) for extent, stride in walk)

    def border(self, border: Border) -> Border:
        return Border(*map(self.step, border))

    def address(self, address: Address) -> Address:
        mask = tuple((dim, self.size(low), self.size(high)) for dim, low, high in address.mask)
        # strides of -1 and 2 are facts, too: vectors are read whole, and turned round or every second element taken
        strides = tuple(
            stride if stride.__class__ is int and stride in (-1, 2) else self.size(stride) for stride in address.strides
        )
        return Address(address.arg, strides, self.size(address.offset), mask)

    def indices(self, indices: Sequence[tuple[int, Expr, Expr]]) -> tuple[tuple[int, Expr, Expr], ...]:
        return tuple((number, self.size(stride), self.size(extent)) for number, stride, extent in indices)

    def instr(self, instr: Instr) -> Instr:
        attr = instr.attr
        if attr is None:
            return instr
        if isinstance(attr, Address):
            attr = self.address(attr)
        elif isinstance(attr, Gather):
            attr = Gather(self.address(attr.address), self.indices(attr.indices))
        elif isinstance(attr, Philox):
            attr = Philox(attr.arg, self.sizes(attr.strides), self.size(attr.offset))
        elif instr.op == "size":
            assert isinstance(attr, (int, Dim))
            attr = self.size(attr)
        else:
            return instr
        return Instr(instr.op, instr.inputs, instr.dtype, attr)

    def kernel(self, kernel: Kernel) -> Kernel:
        if isinstance(kernel, LoopKernel):
            extents = self.sizes(kernel.extents)
            return kernel._replace(extents=extents, body=tuple(map(self.instr, kernel.body)))
        if isinstance(kernel, FlowKernel):
            work = None if kernel.work is None else self.size(kernel.work)
            return replace(kernel, body=tuple(map(self.instr, kernel.body)), work=work)
        if isinstance(kernel, RowKernel):
            rows = tuple((self.address(place), self.size(length), self.size(inner)) for place, length, inner in kernel.rows)
            return kernel._replace(outer=self.sizes(kernel.outer), rows=rows, numbers=self.sizes(kernel.numbers))
        if isinstance(kernel, WindowKernel):
            return kernel._replace(
                planes=self.sizes(kernel.planes),
                sizes=self.sizes(kernel.sizes),
                counts=self.sizes(kernel.counts),
                taps=self.sizes(kernel.taps),
                low=self.sizes(kernel.low),
                x_strides=self.sizes(kernel.x_strides),
                other_strides=self.sizes(kernel.other_strides),
                epilogue=tuple(map(self.instr, kernel.epilogue)),
                plane=None if kernel.plane is None else self.sizes((kernel.plane,))[0],
            )
        if isinstance(kernel, ScatterKernel):
            return kernel._replace(
                extents=self.sizes(kernel.extents),
                body=tuple(map(self.instr, kernel.body)),
                target=self.address(kernel.target),
                indices=self.indices(kernel.indices),
            )
        return ContractionKernel(
            kernel.name,
            kernel.dtype,
            self.sizes(kernel.batch),
            self.sizes(kernel.m),
            self.sizes(kernel.n),
            self.sizes(kernel.k),
            self.sizes(kernel.a_strides),
            self.sizes(kernel.b_strides),
            self.sizes(kernel.c_strides),
            kernel.operands,
            tuple(map(self.instr, kernel.epilogue)),
            self.walk(kernel.a_walk),
            self.walk(kernel.b_walk),
            self.walk(kernel.columns),
            tuple(map(self.border, kernel.borders)),
            kernel.beyond,
            kernel.direct,
            kernel.narrow,
            kernel.taps,
            kernel.winograd,
            kernel.pairs,
            kernel.paired,
        )


@dataclass(frozen=True)
class CompiledUnit:
    """Object code and, for each kernel asked for, how to run it with its own sizes."""

    object: bytes
    kernels: tuple[CompiledKernel, ...]


def _key(kernel: Kernel) -> str:
    """Structure in full; text, because 1, 1.0 and True are equal but not the same constant."""
    return repr(kernel)


def compile_unit(kernels: Sequence[Kernel], decided: bool = False) -> CompiledUnit:
    """Compile kernels, one function for all that have one structure. `decided`: they say how contractions are made."""
    numbers: dict[str, int] = {}
    forms: list[Kernel] = []
    uses: list[tuple[int, dict[Dim, Expr]]] = []
    for kernel in kernels:
        if isinstance(kernel, ContractionKernel) and not decided:
            kernel = _by_rule(kernel)
        canonical = _Canonical()
        form = canonical.kernel(kernel)
        key = _key(form)
        number = numbers.get(key)
        if number is None:
            number = numbers[key] = len(forms)
            forms.append(form)
        uses.append((number, {place: value for value, place in canonical.places.items()}))
    distinct, shared = share_constants(forms)
    unit = compile_kernels(distinct, get_target())
    made = ((unit.kernels[shared[number][0]], sizes | shared[number][1]) for number, sizes in uses)
    return CompiledUnit(unit.object, tuple(_with_sizes(kernel, sizes) for kernel, sizes in made))


def _by_rule(kernel: ContractionKernel) -> ContractionKernel:
    """The kernel with what its sizes decide."""
    chosen: ContractionKernel = import_module("duograph.codegen.contraction.algorithms").by_rule(kernel)
    return chosen


def _with_sizes(compiled: CompiledKernel, sizes: dict[Dim, Expr]) -> CompiledKernel:
    """The kernel's launches with the placeholders' values in place."""
    memo: dict[Expr, Expr] = {place: size for place, size in sizes.items()}

    def value(expression: Expr) -> Expr:
        if isinstance(expression, int):
            return expression
        found = memo.get(expression)
        if found is None:
            found = memo[expression] = substitute(expression, sizes)
        return found

    launches = tuple(_launch(launch, value) for launch in compiled.launches)
    return compiled._replace(launches=launches, temporaries=tuple(map(value, compiled.temporaries)))


def _keep(keep: Keep, value: Callable[[Expr], Expr]) -> Keep:
    sizes = tuple(map(value, keep.size_exprs))
    return keep._replace(size_exprs=sizes, chunks=value(keep.chunks), bytes=value(keep.bytes))


def _launch(launch: Launch, value: object) -> Launch:
    assert callable(value)
    placed = launch._replace(
        size_exprs=tuple(map(value, launch.size_exprs)),
        chunks=value(launch.chunks),
        scratch=value(launch.scratch),
        cost=value(launch.cost),
        grain=value(launch.grain),
        keep=launch.keep and _keep(launch.keep, value),
    )
    if not placed.functions:
        return placed
    settled: Launch = import_module("duograph.codegen.contraction.parts").settle_parts(placed)
    return settled
