"""Products of one row: with several matrices at once, with rows that no strip of vectors divides, with long ones."""

import numpy as np
import pytest

import duograph as dg

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("switch", [lambda f: f, dg.static], ids=["dynamic", "static"])
@pytest.mark.parametrize("columns", [1, 15, 16, 64, 100, 257, 333, 1040])
def test_a_row_has_the_bits_of_many_rows(switch, columns):
    a, b = RNG.standard_normal((3, 70), dtype="f"), RNG.standard_normal((70, columns), dtype="f")
    product = switch(lambda x, y: x @ y)
    many = product(dg.from_numpy(a), dg.from_numpy(b)).numpy()
    one = product(dg.from_numpy(a[:1]), dg.from_numpy(b)).numpy()
    np.testing.assert_array_equal(one, many[:1])


@pytest.mark.parametrize("switch", [lambda f: f, dg.static], ids=["dynamic", "static"])
@pytest.mark.parametrize("order", ["gnh", "ngh", "ghn", "nhg"])
def test_several_matrices_whose_columns_do_not_follow_each_other(switch, order):
    a, b = RNG.standard_normal((1, 40), dtype="f"), RNG.standard_normal((4, 40, 33), dtype="f")
    made = switch(lambda x, y: dg.einsum(f"nk,gkh->{order}", x, y))(dg.from_numpy(a), dg.from_numpy(b))
    np.testing.assert_allclose(made.numpy(), np.einsum(f"nk,gkh->{order}", a, b), rtol=1e-4, atol=1e-5)


def test_one_kernel_of_a_convolution_is_none():
    x, w = RNG.standard_normal((2, 3, 9, 11), dtype="f"), RNG.standard_normal((1, 3, 3, 3), dtype="f")
    made = dg.static(dg.nn.functional.conv2d)(dg.from_numpy(x), dg.from_numpy(w)).numpy()
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))
    np.testing.assert_allclose(made[:, 0], np.einsum("nchwij,cij->nhw", windows, w[0]), rtol=1e-4, atol=1e-5)
