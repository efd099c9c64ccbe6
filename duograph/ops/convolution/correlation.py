"""The three products that convolutions and their gradients of any order are: each one's gradients are the others.

`padded`: windows may reach beyond x; otherwise `low` is 0. `single`: each group reads one channel (see `single`). The callers
have checked all sizes.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from ..definition import CONTRACTION, op
from ..dtypes import same
from ..matrix.contractions import contraction
from ..shapes.movement import reshape
from .phases import MOST_PHASES, divided_taps, gathered_back, reached, taps_of
from .single import single_back, single_sums, single_taps
from .windows import windows

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Sizes
    from .geometry import Numbers

_PLACES, _TAPS, _REMAINDERS = "xyz", "uvw", "pqr"


def _grouped(x: Any, dim: int, groups: int) -> Any:
    """x with a dimension of channels as groups and channels of one."""
    if groups == 1:
        return x
    shape = tuple(x.shape)
    return reshape(x, *shape[:dim], groups, shape[dim] // groups, *shape[dim + 1 :])


def _joined(x: Any, dim: int, groups: int) -> Tensor:
    """The groups at a dimension and the channels behind it as one dimension."""
    if groups == 1:
        return x  # type: ignore[no-any-return]
    shape = tuple(x.shape)
    return reshape(x, *shape[:dim], shape[dim] * shape[dim + 1], *shape[dim + 2 :])


def _equation(groups: int, *terms: str) -> str:
    """Terms "a,b,c" as "a,b->c"; without groups no letter for them."""
    a, b, out = (term if groups > 1 else term.replace("g", "") for term in terms)
    return f"{a},{b}->{out}"


@op(kind=CONTRACTION, dtypes=same, method=False, public=False)
def correlate(
    x: Tensor,
    weight: Tensor,
    low: Sizes,
    counts: Sizes,
    stride: Numbers,
    dilation: Numbers,
    groups: int,
    padded: bool,
    single: bool = False,
) -> Tensor:
    """Sums over windows of x times a kernel: out[n, f, o] = sum of x[n, c, o · stride + k · dilation - low] · weight[f, c, k].

    Shapes:   x [n, groups · c, *S], weight [groups · f, c, *K] → [n, groups · f, *counts]; low and counts as many as S
    Dtypes:   one dtype; 16-bit floats accumulate in float32
    Gradient: `correlate_back` to x, `correlate_taps` to weight
    Errors:   none: the callers have checked the sizes; without `padded`, low is 0 and no window reaches beyond x
    Source:   torch.nn.functional.conv2d
    """
    if single:
        return single_sums(x, weight, low, counts, stride, dilation, groups)  # type: ignore[no-any-return]
    dims = len(stride)
    places, taps = _PLACES[:dims], _TAPS[:dims]
    view = windows(_grouped(x, 1, groups), weight.shape[2:], low, counts, stride, dilation, padded)
    equation = _equation(groups, f"ngc{places}{taps}", f"gfc{taps}", f"ngf{places}")
    return _joined(contraction(view, _grouped(weight, 0, groups), equation), 1, groups)


@correlate.vjp
def _(g: Any, out: Any, x: Any, weight: Any, low: Any, counts: Any, *form: Any) -> Any:
    dims = len(low)
    return (
        correlate_back(g, weight, low, tuple(x.shape[-dims:]), *form),
        correlate_taps(x, g, low, tuple(weight.shape[-dims:]), *form),
    )


@op(kind=CONTRACTION, dtypes=same, method=False, public=False)
def correlate_taps(
    x: Tensor,
    g: Tensor,
    low: Sizes,
    kernel: Sizes,
    stride: Numbers,
    dilation: Numbers,
    groups: int,
    padded: bool,
    single: bool = False,
) -> Tensor:
    """Windows of x times g, summed over the windows: the kernel whose product with g `correlate` takes from x.

    Shapes:   x [n, groups · c, *S], g [n, groups · f, *counts] → [groups · f, c, *kernel]
    Dtypes:   one dtype; 16-bit floats accumulate in float32
    Gradient: `correlate_back` to x, `correlate` to g
    Errors:   none: the callers have checked the sizes
    Source:   torch.nn.grad.conv2d_weight
    """
    if single:
        return single_taps(x, g, low, kernel, stride, dilation, groups)  # type: ignore[no-any-return]
    dims = len(stride)
    places, taps = _PLACES[:dims], _TAPS[:dims]
    view = windows(_grouped(x, 1, groups), kernel, low, tuple(g.shape[2:]), stride, dilation, padded)
    equation = _equation(groups, f"ngc{places}{taps}", f"ngf{places}", f"gfc{taps}")
    return _joined(contraction(view, _grouped(g, 1, groups), equation), 0, groups)


@correlate_taps.vjp
def _(h: Any, out: Any, x: Any, g: Any, low: Any, kernel: Any, *form: Any) -> Any:
    dims = len(low)
    return (
        correlate_back(g, h, low, tuple(x.shape[-dims:]), *form),
        correlate(x, h, low, tuple(g.shape[-dims:]), *form),
    )


@op(kind=CONTRACTION, dtypes=same, method=False, public=False)
def correlate_back(
    g: Tensor,
    weight: Tensor,
    low: Sizes,
    sizes: Sizes,
    stride: Numbers,
    dilation: Numbers,
    groups: int,
    padded: bool,
    single: bool = False,
) -> Tensor:
    """What each element of x gets of windows' results: out[n, c, i] sums g[n, f, o] · weight[f, c, k].

    Summed over o · stride + k · dilation - low = i. The elements of one remainder of stride are a product of their own.

    Shapes:   g [n, groups · f, *counts], weight [groups · f, c, *K] → [n, groups · c, *sizes]
    Dtypes:   one dtype; 16-bit floats accumulate in float32
    Gradient: `correlate` to g, `correlate_taps` to weight
    Errors:   none: the callers have checked the sizes
    Source:   torch.nn.functional.conv_transpose2d
    """
    if single and prod(stride) <= MOST_PHASES:
        return single_back(g, weight, low, sizes, stride, dilation, groups)  # type: ignore[no-any-return]
    dims, kernel = len(stride), tuple(weight.shape[2:])
    given, taps = _grouped(g, 1, groups), _grouped(weight, 0, groups)
    first = len(taps.shape) - dims
    places, letters = _PLACES[:dims], _TAPS[:dims]
    each = _equation(groups, f"ngf{places}{letters}", f"gfc{letters}", f"ngc{places}")
    remainders = _REMAINDERS[:dims]
    whole = _equation(groups, f"ngf{places}{letters}", f"gfc{letters}{remainders}", f"ngc{places}{remainders}")

    def of_phase(padded: Any, rounds: Any, chosen: Any) -> Any:
        return contraction(reached(padded, rounds, chosen), taps_of(taps, first, chosen), each)

    def of_all(padded: Any, rounds: Any, filled: Any) -> Any:
        return contraction(reached(padded, rounds, filled), divided_taps(taps, first, filled, stride), whole)

    return _joined(gathered_back(given, kernel, low, sizes, stride, dilation, of_phase, of_all), 1, groups)


@correlate_back.vjp
def _(h: Any, out: Any, g: Any, weight: Any, low: Any, sizes: Any, *form: Any) -> Any:
    dims = len(low)
    return (
        correlate(h, weight, low, tuple(g.shape[-dims:]), *form),
        correlate_taps(h, g, low, tuple(weight.shape[-dims:]), *form),
    )
