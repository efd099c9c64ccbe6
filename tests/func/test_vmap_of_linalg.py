"""What NumPy's LAPACK computes, mapped over examples."""

import numpy as np
import pytest
import torch
from test_transforms import agree, plain

import duograph as dg

rng = np.random.default_rng(5)
A, B = rng.normal(size=(4, 3, 3)) + 3 * np.eye(3), rng.normal(size=(4, 3))
FIXED = A[0] @ A[0].T

CASES = {
    "solve": lambda lib, a, b: lib.linalg.solve(a, b),
    "solve with one matrix for all": lambda lib, a, b: lib.linalg.solve(lib.tensor(FIXED), b),
    "several systems": lambda lib, a, b: lib.linalg.solve(a, lib.stack([a, a @ a])),
    "inv": lambda lib, a, b: lib.linalg.inv(a) @ b,
    "det": lambda lib, a, b: lib.linalg.det(a) * b,
    "slogdet": lambda lib, a, b: lib.linalg.slogdet(a)[1] + b.sum(),
    "cholesky": lambda lib, a, b: lib.linalg.cholesky(a @ a.T),
    "qr": lambda lib, a, b: lib.linalg.qr(a)[1].abs(),
    "eigvalsh": lambda lib, a, b: lib.linalg.eigvalsh(a + a.T),
    "svdvals": lambda lib, a, b: lib.linalg.svdvals(a),
    "pinv": lambda lib, a, b: lib.linalg.pinv(a),
    "matrix_rank": lambda lib, a, b: lib.linalg.matrix_rank(a).to(lib.float64) + b,
}


@pytest.mark.parametrize("case", CASES)
def test_mapped_as_one_by_one(case):
    def run(lib, a, b, each):
        f = CASES[case]
        value = each(lambda x, y: f(lib, x, y))(a, b)
        loss = lambda a, b: (each(lambda x, y: f(lib, x, y))(a, b) ** 2).sum()  # noqa: E731
        return value, lib.func.grad(loss, argnums=(0, 1))(a, b)

    def stacked(f):
        return lambda a, b: torch.stack([f(x, y) for x, y in zip(a, b)])

    wanted = plain(run(torch, torch.tensor(A), torch.tensor(B), stacked))
    agree(plain(run(dg, dg.tensor(A), dg.tensor(B), dg.vmap)), wanted)
    agree(plain(dg.static(lambda a, b: run(dg, a, b, dg.vmap))(dg.tensor(A), dg.tensor(B))), wanted)
    with dg.dynamic_mode():
        agree(plain(dg.vmap(lambda x, y: CASES[case](dg, x, y))(dg.tensor(A), dg.tensor(B))), wanted[0])


def test_singular_matrices_are_named():
    with pytest.raises(dg.linalg.LinAlgError, match="inv"):
        dg.vmap(dg.linalg.inv)(dg.zeros(2, 3, 3))
