"""Windows: weights that fall off towards the ends of a stretch of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import DomainError, DTypeError

from ..definition import CREATION, op
from ..elementwise.arithmetic import abs
from ..elementwise.bessel import i0
from ..elementwise.choice import maximum, where
from ..elementwise.unary import cos, sqrt
from ..tracing import require, user_operator
from .copying import cast
from .creation import full, iota

if TYPE_CHECKING:
    from collections.abc import Callable

    from duograph._core import DType, Tensor

    from ..definition import Number, Size

_TURN = 6.283185307179586


def _window(length: Any, periodic: bool, dtype: Any, weight: Callable[[Any], Any]) -> Tensor:
    """`weight` of places from 0 to 1, both included, or without the 1 if periodic; 1 for a single place."""
    name = user_operator("window")
    dtype = dtype or core.get_default_dtype()
    if not dtype.is_floating_point:
        raise DTypeError(f"{name}: needs a floating-point dtype, got {dtype.name}")
    require("le", 0, length, DomainError, f"{name}: the length must not be negative, got {length}")
    count: Any = full((), length, core.int64)
    steps = count if periodic else count - 1
    found = weight(cast(iota(length), core.float64) / cast(maximum(steps, 1), core.float64))
    return cast(where(count == 1, 1.0, found), dtype)


def _samples(*settings: float) -> Any:
    calls = [(7,), (8, False), (1,), (1, False), (0,), (2,), (2, False)]
    return lambda m: [*calls, *[(6, True, value) for value in settings]]


@op(kind=CREATION, method=False, tolerance=4, samples=_samples())
def bartlett_window(window_length: Size, periodic: bool = True, dtype: DType | None = None) -> Tensor:
    """A triangle: 0 at the ends, 1 in the middle.

    A periodic window is one sample longer without its last one, as a Fourier transform wants it.

    Shapes:   [window_length]
    Dtypes:   dtype, a float, or the default float
    Gradient: none
    Errors:   DomainError for a negative length; DTypeError
    Source:   torch.bartlett_window

    >>> bartlett_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return _window(window_length, periodic, dtype, lambda place: 1.0 - abs(place * 2.0 - 1.0))


@op(kind=CREATION, method=False, tolerance=4, samples=_samples())
def hann_window(window_length: Size, periodic: bool = True, dtype: DType | None = None) -> Tensor:
    """Half of 1 minus a cosine: 0 at the ends, 1 in the middle.

    A periodic window is one sample longer without its last one, as a Fourier transform wants it.

    Shapes:   [window_length]
    Dtypes:   dtype, a float, or the default float
    Gradient: none
    Errors:   DomainError for a negative length; DTypeError
    Source:   torch.hann_window

    >>> hann_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return _window(window_length, periodic, dtype, lambda place: 0.5 - 0.5 * cos(place * _TURN))


@op(kind=CREATION, method=False, tolerance=4, samples=_samples(0.6))
def hamming_window(
    window_length: Size, periodic: bool = True, alpha: Number = 0.54, beta: Number = 0.46, dtype: DType | None = None
) -> Tensor:
    """alpha minus beta times a cosine.

    A periodic window is one sample longer without its last one, as a Fourier transform wants it.

    Shapes:   [window_length]
    Dtypes:   dtype, a float, or the default float
    Gradient: none
    Errors:   DomainError for a negative length; DTypeError
    Source:   torch.hamming_window

    >>> hamming_window(4)
    tensor([0.0800, 0.5400, 1.0000, 0.5400])
    """
    return _window(window_length, periodic, dtype, lambda place: alpha - beta * cos(place * _TURN))


@op(kind=CREATION, method=False, tolerance=4, samples=_samples())
def blackman_window(window_length: Size, periodic: bool = True, dtype: DType | None = None) -> Tensor:
    """0.42 minus half a cosine plus 0.08 cosines of twice the angle.

    A periodic window is one sample longer without its last one, as a Fourier transform wants it.

    Shapes:   [window_length]
    Dtypes:   dtype, a float, or the default float
    Gradient: none
    Errors:   DomainError for a negative length; DTypeError
    Source:   torch.blackman_window

    >>> blackman_window(4)[1:]
    tensor([0.3400, 1.0000, 0.3400])
    """
    return _window(
        window_length, periodic, dtype, lambda place: 0.42 - 0.5 * cos(place * _TURN) + 0.08 * cos(place * (2 * _TURN))
    )


def _kaiser(place: Any, beta: Any) -> Any:
    away = place * 2.0 - 1.0
    width: Any = full((), beta, core.float64)
    return i0(width * sqrt(1.0 - away * away)) / i0(width)


@op(kind=CREATION, method=False, tolerance=4, samples=_samples(0.5))
def kaiser_window(window_length: Size, periodic: bool = True, beta: Number = 12.0, dtype: DType | None = None) -> Tensor:
    """The Bessel function i0 of beta times a half circle, over i0 of beta.

    A periodic window is one sample longer without its last one, as a Fourier transform wants it.

    Shapes:   [window_length]
    Dtypes:   dtype, a float, or the default float
    Gradient: none
    Errors:   DomainError for a negative length; DTypeError
    Source:   torch.kaiser_window

    >>> kaiser_window(4, beta=2.0)
    tensor([0.4387, 0.8348, 1.0000, 0.8348])
    """
    return _window(window_length, periodic, dtype, lambda place: _kaiser(place, beta))
