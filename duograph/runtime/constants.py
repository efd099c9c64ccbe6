"""Kernels that differ only in floating-point constants, as layers of unlike sizes do, become one that takes them at run time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from duograph.codegen.dtypes import DTYPES
from duograph.codegen.kernel import ContractionKernel, Instr, Kernel, LoopKernel, WindowKernel
from duograph.codegen.llvm import float_bits
from duograph.ir.dim import Dim, Expr, symbol

Use = tuple[int, dict[Dim, Expr]]  # the number of a kernel, and the values of its parameters


def share_constants(kernels: Sequence[Kernel]) -> tuple[list[Kernel], list[Use]]:
    """(the kernels to compile, how each of those given is one of them).

    What has the same value in all that are alike stays a constant, and so does all of what has no like.
    """
    alike: dict[str, list[int]] = {}
    for number, kernel in enumerate(kernels):
        opened = _with_body(kernel, [instr._replace(attr=None) if _is_open(instr) else instr for instr in _body(kernel)])
        alike.setdefault(repr(opened), []).append(number)
    made: list[Kernel] = []
    uses: dict[int, Use] = {}
    for numbers in alike.values():
        values = {number: _bits(_body(kernels[number])) for number in numbers}
        first = values[numbers[0]]
        places = [place for place, bits in first.items() if any(others[place] != bits for others in values.values())]
        parameters = {place: symbol(f"c{place}") for place in places}
        uses |= {n: (len(made), {parameters[place]: values[n][place] for place in places}) for n in numbers}
        made.append(_with_parameters(kernels[numbers[0]], parameters))
    return made, [uses[number] for number in range(len(kernels))]


def _body(kernel: Kernel) -> Sequence[Instr]:
    """The instructions whose constants may be taken at run time."""
    if isinstance(kernel, LoopKernel):
        return kernel.body
    return kernel.epilogue if isinstance(kernel, (ContractionKernel, WindowKernel)) else ()


def _with_body(kernel: Kernel, body: Iterable[Instr]) -> Kernel:
    if isinstance(kernel, LoopKernel):
        return kernel._replace(body=tuple(body))
    return kernel._replace(epilogue=tuple(body)) if isinstance(kernel, (ContractionKernel, WindowKernel)) else kernel


def _is_open(instr: Instr) -> bool:
    return instr.op == "const" and DTYPES[instr.dtype].kind == "f"


def _bits(body: Sequence[Instr]) -> dict[int, int]:
    """The bits of the floating-point constants, by their places."""
    found: dict[int, int] = {}
    for place, instr in enumerate(body):
        if _is_open(instr):
            assert isinstance(instr.attr, (bool, int, float))
            found[place] = float_bits(instr.attr, DTYPES[instr.dtype].element)
    return found


def _with_parameters(kernel: Kernel, parameters: Mapping[int, Dim]) -> Kernel:
    if not parameters:
        return kernel
    body = enumerate(_body(kernel))
    return _with_body(kernel, [Instr("parameter", (), i.dtype, parameters[n]) if n in parameters else i for n, i in body])
