"""The ways in which a contraction can be made, by name. All but Winograd's give the same bits.

Which one is taken is a function of sizes (`direct_lower`, `taps_lower`), unless somebody has measured (`runtime.choices`).
"""

from __future__ import annotations

from collections.abc import Iterable

from duograph.codegen.contraction import direct_lower, taps_lower
from duograph.codegen.contraction.direct import NARROW_PART, PART
from duograph.codegen.contraction.direct_lower import PANEL, all_known, direct_form
from duograph.codegen.contraction.taps import FUNCTION
from duograph.codegen.contraction.taps_lower import taps_forms
from duograph.codegen.contraction.winograd import PART as WINOGRAD_PART
from duograph.codegen.contraction.winograd import PREPARE
from duograph.codegen.contraction.winograd_lower import is_winograd
from duograph.codegen.kernel import ContractionKernel

PRODUCT, DIRECT, NARROW, TAPS, WINOGRAD = "product", "direct", "narrow direct", "taps", "winograd"
# The kernel's fields `direct`, `narrow` and `taps`.
FIELDS = {PRODUCT: (False, False, False), DIRECT: (True, False, False), NARROW: (True, True, False), TAPS: (False, False, True)}
_SYMBOLS = {f"-{PART}:run": DIRECT, f"-{NARROW_PART}:run": NARROW, f"-{PART}:{FUNCTION}": TAPS, f"-{WINOGRAD_PART}:run": WINOGRAD}
_PREPARES = f"-{WINOGRAD_PART}:{PREPARE}"


def by_rule(kernel: ContractionKernel) -> ContractionKernel:
    """The kernel with what its sizes decide."""
    direct, narrow, taps = direct_lower.is_direct(kernel), direct_lower.is_narrow(kernel), taps_lower.is_taps(kernel)
    return kernel._replace(direct=direct, narrow=narrow, taps=taps)


def reads_around(kernel: ContractionKernel) -> bool:
    """Whether sizes decide for a way that never reads the zeros around B."""
    made, form = by_rule(kernel), direct_form(kernel)
    return form is not None and made.direct is True and not made.taps and direct_lower.spares_all(form)


def made_as(kernel: ContractionKernel, way: str) -> ContractionKernel:
    """The kernel, made in one of its `ways`."""
    if way == WINOGRAD:
        return kernel._replace(winograd=True)
    direct, narrow, taps = FIELDS[way]
    return kernel._replace(direct=direct, narrow=narrow, taps=taps)


def way_of(kernel: ContractionKernel) -> str:
    """How a kernel is made whose sizes are known."""
    if kernel.taps:
        return TAPS
    return NARROW if kernel.direct and kernel.narrow else DIRECT if kernel.direct else PRODUCT


def ways(kernel: ContractionKernel) -> tuple[str, ...]:
    """All ways in which a contraction can be made; one where only a run knows its sizes, one is 0, or B lacks its zeros.

    Of pairs, only what the sizes decide.
    """
    if kernel.beyond or kernel.pairs:  # others read the zeros
        return (way_of(by_rule(kernel)),)
    if not _is_known(kernel):
        return (PRODUCT,)
    found = [PRODUCT]
    direct = direct_form(kernel)
    if direct is not None and all_known(direct_lower.limits(direct, kernel.dtype)):
        over = direct.kernels % PANEL if isinstance(direct.kernels, int) else 0
        few = 0 < over <= PANEL // 2 or direct_lower.by_lines(direct) == 1
        found += [DIRECT, NARROW] if few else [DIRECT]
    if any(all_known(taps_lower.taps_limits(taps, kernel.dtype)) for taps in taps_forms(kernel)):
        found.append(TAPS)
    if is_winograd(kernel):
        found.append(WINOGRAD)
    return tuple(found)


def _is_known(kernel: ContractionKernel) -> bool:
    extents = (*kernel.batch, *kernel.m, *kernel.n, *kernel.k)
    walks = (number for walk in (kernel.a_walk, kernel.b_walk, kernel.columns) for dim in walk for number in dim)
    strides = (*kernel.a_strides, *kernel.b_strides, *kernel.c_strides, *walks)
    return all(isinstance(number, int) for number in (*extents, *strides)) and 0 not in extents


def signature(kernel: ContractionKernel) -> str:
    """What the speed of each way depends on: dtype, sizes and strides, but not what the epilogue computes."""
    strides = kernel.a_strides, kernel.b_strides, kernel.c_strides
    walks = kernel.a_walk, kernel.b_walk, kernel.columns, kernel.borders
    dtype = kernel.dtype + " by pairs" * bool(kernel.pairs)
    return repr((dtype, kernel.batch, kernel.m, kernel.n, kernel.k, strides, walks, len(kernel.operands)))


def ways_of_symbols(symbols: Iterable[str]) -> str:
    """How launches with these symbols make a contraction; where sizes of a run decide, all that they may do."""
    found: dict[str, None] = {}
    for symbol in symbols:
        if symbol.startswith("contraction-") and not symbol.endswith(_PREPARES):
            found.setdefault(next((way for ending, way in _SYMBOLS.items() if symbol.endswith(ending)), PRODUCT))
    return " or ".join(found)
