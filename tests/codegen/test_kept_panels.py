"""Products whose panels of B were made before: the same bits."""

from __future__ import annotations

import numpy as np
import pytest
from contraction_calls import contract

from duograph.codegen.kernel import Address, Instr

SIZES = [(29, 5, 3), (40, 33, 70), (64, 512, 96), (130, 700, 1000), (100, 1030, 31)]


@pytest.mark.parametrize("isa", ["native", "x86-64-v3", "x86-64-v2"])
@pytest.mark.parametrize("layout", ["rows", "columns", "strided"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_do_not_depend_on_what_is_kept(dtype: str, layout: str, isa: str) -> None:
    draws = np.random.default_rng(0)
    for m, k, n in SIZES:
        a = draws.standard_normal((m, k)).astype(dtype)
        b = draws.standard_normal((k, n)).astype(dtype)
        if layout == "columns":
            b = np.asfortranarray(b)
        elif layout == "strided":
            b = draws.standard_normal((k, 2 * n)).astype(dtype)[:, ::2]
        without, kept = np.full((m, n), 7.0, dtype), np.full((m, n), 7.0, dtype)
        contract(a, b, without, batch=0, isa=isa)
        compiled = contract(a, b, kept, batch=0, isa=isa, kept=True, cuts=3)
        assert compiled.launches[0].keep is not None
        np.testing.assert_array_equal(without, kept)
        np.testing.assert_allclose(kept, a @ b, rtol=1e-3, atol=1e-3)


def test_an_epilogue_comes_after_as_ever() -> None:
    draws = np.random.default_rng(1)
    a, b, bias = (draws.standard_normal(shape).astype("float32") for shape in ((50, 60), (60, 70), (70,)))
    sums = Instr("accumulator", (), "float32")
    added = (sums, Instr("load", (), "float32", Address(3, (0, 1))), Instr("add", (0, 1), "float32"))
    results = [np.zeros((50, 70), "float32") for _ in range(2)]
    for kept, c in zip((False, True), results):
        contract(a, b, c, [bias], added, batch=0, kept=kept)
    np.testing.assert_array_equal(*results)
    np.testing.assert_allclose(results[0], a @ b + bias, rtol=1e-4, atol=1e-4)


def test_few_rows_want_no_panels() -> None:
    a, b = np.ones((8, 64), "float32"), np.ones((64, 64), "float32")
    compiled = contract(a, b, np.zeros((8, 64), "float32"), batch=0)
    keep = compiled.launches[0].keep
    assert keep is not None and keep.chunks == 0
