"""What is computed by NumPy's LAPACK: checks before, NumPy's results as tensors after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _core as core
from ..capture.outside.callbacks import HostCallback
from ..errors import DTypeError, Error, ShapeError

Tensor = core.Tensor


class LinAlgError(Error, RuntimeError, ValueError):
    """A matrix that cannot be factorised so: singular, or not positive definite."""


def check(name: str, x: Any, square: bool = False) -> None:
    """Errors: ShapeError unless these are matrices (square ones), DTypeError unless of float32 or float64."""
    if not isinstance(x, Tensor) or x.dtype not in (core.float32, core.float64):
        given = x.dtype.name if isinstance(x, Tensor) else type(x).__name__
        raise DTypeError(f"linalg.{name}: takes tensors of float32 or float64, got {given}", hint="convert with .float()")
    if x.dim() < 2:
        raise ShapeError(f"linalg.{name}: takes matrices, got shape {tuple(x.shape)}")
    if square and x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"linalg.{name}: takes square matrices, got shape {tuple(x.shape)}")


def lapack(name: str, compute: Callable[..., Any], like: Any, fault: str = "") -> Callable[..., Any]:
    """A function of tensors that NumPy computes, also in the middle of a static program.

    Args:
        compute: of NumPy and of arrays, gives an array or a tuple of them.
        like: what its results are like, as `host_callback` wants it.
        fault: what it means when NumPy cannot.
    """

    def run(*given: Any) -> Any:
        import numpy

        arrays = [x.detach().numpy() for x in given]
        try:
            found = compute(numpy, *arrays)
        except numpy.linalg.LinAlgError as error:
            raise LinAlgError(f"linalg.{name}: {fault or error}") from None
        dtype = arrays[0].dtype
        several = isinstance(found, tuple)
        made = [_as_tensor(numpy, x, dtype) for x in (found if several else (found,))]
        return tuple(made) if several else made[0]

    run.__name__ = run.__qualname__ = name
    return _with_signature(run, compute, like)


def _as_tensor(numpy: Any, x: Any, dtype: Any) -> Any:
    """A result in the operands' dtype; positions and counts of LAPACK stay int32."""
    kept = getattr(x, "dtype", None) == numpy.int32
    return core.from_numpy(numpy.array(x, numpy.int32 if kept else dtype, order="C"))


def _with_signature(run: Callable[..., Any], compute: Callable[..., Any], like: Any) -> Callable[..., Any]:
    """`run` as a host callback, whose parameters are those of `compute` after NumPy."""
    import inspect

    parameters = list(inspect.signature(compute).parameters.values())[1:]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return HostCallback(run, like, examples=True)


def transposed(x: Any) -> Any:
    """The matrices transposed."""
    return x.transpose(-1, -2)
