"""Values of many small dimensions that are looked up at places which a kernel computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import duograph as dg
from duograph.ir.dim import product
from duograph.ops.definition import REDUCTION, REGISTRY, op
from duograph.ops.reduction.extrema import max_along
from duograph.ops.selection.indexing import gather
from duograph.ops.shapes.creation import iota
from duograph.ops.shapes.movement import reshape, unsqueeze

if TYPE_CHECKING:
    from duograph import Tensor
    from duograph.ops.definition import Sizes


def test_a_reshape_whose_indices_only_memory_can_answer() -> None:
    @op(kind=REDUCTION, public=False, method=False)
    def greatest_of_windows(x: Tensor, kernel: Sizes, size: Sizes) -> tuple[Tensor, Tensor]:
        flat = 0
        for axis, (n, k) in enumerate(zip(size, kernel)):
            shape = [1] * 4
            shape[axis], shape[2 + axis] = n, k
            flat = flat * x.shape[axis] + reshape(unsqueeze(iota(n), 1) + iota(k), tuple(shape))
        windows, taps = product(tuple(size)), product(tuple(kernel))
        places = reshape(flat, (windows, taps))
        parts = gather(reshape(x, (product(tuple(x.shape)),)), 0, reshape(places, (windows * taps,)))
        greatest, tap = max_along(reshape(parts, (windows, taps)), 1)
        return greatest, gather(places, 1, unsqueeze(tap, 1))

    try:
        x = dg.rand(5, 6)
        greatest, places = greatest_of_windows(x, (2, 3), (3, 2))
    finally:
        del REGISTRY["greatest_of_windows"]
    array = x.numpy()
    expected = [array[i : i + 2, j : j + 3].max() for i in range(3) for j in range(2)]
    np.testing.assert_array_equal(greatest.numpy(), np.array(expected, "float32"))
    np.testing.assert_array_equal(array.reshape(-1)[places.numpy()[:, 0]], greatest.numpy())
