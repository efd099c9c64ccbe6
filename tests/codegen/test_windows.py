"""Sums over windows called by the kernel ABI: values, bounds of what is written, the same bits on levels with multiply-add."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from duograph.codegen.contraction.library import build_library
from duograph.codegen.kernel import Operand, WindowKernel
from duograph.codegen.target import get_target
from duograph.codegen.windows.launch import launch_windows
from tests.codegen.contraction_calls import function, load_object, new_status, scratch, strides_of

RANDOM = np.random.default_rng(0)
STRIDE, DILATION, LOW = (2, 1, 1), (1, 1, 3), (1, 2, -1)
ENGINES: dict[tuple[str, str], Any] = {}


def run(
    op: Literal["sums", "taps"], x: np.ndarray, other: np.ndarray, shape: tuple[int, ...], isa: str, step: int = 1
) -> np.ndarray:
    """The result of a launch in pieces of ``step`` chunks."""
    sums = op == "sums"
    planes = (*x.shape[:2], other.shape[1] if sums else other.shape[2], x.shape[2])
    counts, taps = (shape[3:], other.shape[3:]) if sums else (other.shape[3:], shape[2:])
    dtype = str(x.dtype)
    operands = tuple(Operand(dtype, role) for role in ("in", "in", "out"))  # type: ignore[arg-type]
    places = x.shape[3:], counts, taps, LOW, STRIDE, DILATION
    launch = launch_windows(WindowKernel("windows", op, dtype, planes, *places, strides_of(x), strides_of(other), operands))
    library, _, name = launch.symbol.rpartition(":")
    if (library, isa) not in ENGINES:
        ENGINES[library, isa] = load_object(build_library(library, get_target(isa)), isa)
    guarded = np.full(int(np.prod(shape)) + 64, 77, x.dtype)
    out = guarded[32:-32].reshape(shape)
    args = np.array([x.ctypes.data, other.ctypes.data, out.ctypes.data], np.uint64)
    sizes = np.array(launch.size_exprs, np.int64)
    status, _ = new_status()
    room = scratch()
    room[launch.scratch : launch.scratch + 64] = 99
    for begin in range(0, int(launch.chunks), step):
        end = min(begin + step, int(launch.chunks))
        function(ENGINES[library, isa], name)(
            args.ctypes.data, sizes.ctypes.data, begin, end, room.ctypes.data, status.ctypes.data
        )
    assert (guarded[:32] == 77).all() and (guarded[-32:] == 77).all() and (room[launch.scratch : launch.scratch + 64] == 99).all()
    return out


def reference(x: np.ndarray, counts: tuple[int, ...], taps: tuple[int, ...]) -> np.ndarray:
    """Windows [n, g, c, *counts, *taps] of x."""
    found = np.zeros((*x.shape[:3], *counts, *taps))
    for index in np.ndindex(*counts, *taps):
        place = [o * s + t * d - low for o, t, s, d, low in zip(index[:3], index[3:], STRIDE, DILATION, LOW)]
        if all(0 <= p < size for p, size in zip(place, x.shape[3:])):
            found[(..., *index)] = x[(..., *place)]
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_levels(dtype: str) -> None:
    x = RANDOM.uniform(-1, 1, (2, 3, 2, 5, 9, 33)).astype(dtype)
    weight = RANDOM.uniform(-1, 1, (3, 2, 2, 2, 2, 3)).astype(dtype)
    counts = (3, 11, 27)
    windows = reference(x, counts, weight.shape[3:])
    wanted = np.einsum("ngcxyzuvw,gfcuvw->ngfxyz", windows, weight)
    given = RANDOM.uniform(-1, 1, wanted.shape).astype(dtype)
    taps = np.einsum("ngxyzuvw,ngfxyz->gfuvw", windows[:, :, 0], given)
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    results = []
    for isa in ("native", "x86-64-v3", "x86-64"):
        made = run("sums", x, weight, wanted.shape, isa, step=4)
        np.testing.assert_allclose(made, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())
        found = run("taps", np.ascontiguousarray(x[:, :, :1]), given, taps.shape, isa)
        np.testing.assert_allclose(found, taps, rtol=0, atol=tolerance * np.abs(taps).max())
        turned = np.ascontiguousarray(given.swapaxes(4, 5)).swapaxes(4, 5)
        np.testing.assert_array_equal(run("taps", np.asfortranarray(x[:, :, :1]), turned, taps.shape, isa), found)
        results.append((made, found))
    for ours, theirs in zip(results[0], results[1]):
        np.testing.assert_array_equal(ours, theirs)


def test_no_taps_are_zeros() -> None:
    """Phases of a transposed convolution may have none."""
    x, weight = np.ones((1, 2, 1, 1, 4, 5), np.float32), np.ones((2, 1, 1, 1, 0, 2), np.float32)
    assert not run("sums", x, weight, (1, 2, 1, 1, 4, 20), "native").any()
