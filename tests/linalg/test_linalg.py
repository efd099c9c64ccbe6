"""Linear algebra against PyTorch: values, first and second gradients, static functions, mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import duograph as dg

INF = float("inf")
RANDOM = np.random.default_rng(5)


def numbers(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape)


SQUARE, TALL, WIDE, BATCH = numbers(4, 4), numbers(5, 3), numbers(3, 5), numbers(2, 3, 4, 4)


def parts(x: Any) -> Any:
    """What does not depend on the signs of singular or eigenvectors."""
    return tuple(v.abs() if v.ndim > 1 else v for v in x)


def positive_of(torch_or_dg: Any, f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: f(x @ x.transpose(-1, -2) + 0.5 * torch_or_dg.eye(x.shape[-1], dtype=torch_or_dg.float64))


# Name: a function of the module and the operands, the operands.
CASES: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "inv": (lambda m, x: m.linalg.inv(x), (SQUARE,)),
    "inv of a batch": (lambda m, x: m.linalg.inv(x), (BATCH,)),
    "lu": (lambda m, x: tuple(m.linalg.lu(x)[1:]), (SQUARE,)),
    "lu of a batch": (lambda m, x: m.linalg.lu_factor(x)[0], (BATCH,)),
    "lu_solve": (lambda m, x, b: m.linalg.lu_solve(*m.linalg.lu_factor(x), b), (SQUARE, numbers(4, 2))),
    "lu_solve, transposed": (
        lambda m, x, b: m.linalg.lu_solve(*m.linalg.lu_factor(x), b, left=False, adjoint=True),
        (BATCH, numbers(2, 3, 2, 4)),
    ),
    "inv_ex": (lambda m, x: m.linalg.inv_ex(x)[0], (BATCH,)),
    "solve_ex": (lambda m, x, b: m.linalg.solve_ex(x, b)[0], (SQUARE, numbers(4))),
    "cholesky_ex": (lambda m, x: positive_of(m, lambda y: m.linalg.cholesky_ex(y, upper=True)[0])(x), (BATCH,)),
    "det": (lambda m, x: m.linalg.det(x), (SQUARE,)),
    "det of a batch": (lambda m, x: m.linalg.det(x), (BATCH,)),
    "slogdet": (lambda m, x: tuple(m.linalg.slogdet(x)), (BATCH,)),
    "logdet": (lambda m, x: (m.logdet if m is torch else m.linalg.logdet)(x @ x.transpose(-1, -2)), (BATCH,)),
    "solve": (lambda m, a, b: m.linalg.solve(a, b), (SQUARE, numbers(4, 2))),
    "solve of a vector": (lambda m, a, b: m.linalg.solve(a, b), (SQUARE, numbers(4))),
    "solve of batches": (lambda m, a, b: m.linalg.solve(a, b), (BATCH, numbers(3, 4, 2))),
    "solve of vectors": (lambda m, a, b: m.linalg.solve(a, b), (BATCH, numbers(2, 3, 4))),
    "solve from the right": (lambda m, a, b: m.linalg.solve(a, b, left=False), (SQUARE, numbers(2, 4))),
    "lower": (lambda m, a, b: m.linalg.solve_triangular(a, b, upper=False), (SQUARE, numbers(4, 2))),
    "upper": (lambda m, a, b: m.linalg.solve_triangular(a, b, upper=True, unitriangular=True), (SQUARE, numbers(4, 2))),
    "upper from the right": (lambda m, a, b: m.linalg.solve_triangular(a, b, upper=True, left=False), (SQUARE, numbers(2, 4))),
    "cholesky": (lambda m, x: positive_of(m, m.linalg.cholesky)(x), (SQUARE,)),
    "cholesky of a batch": (lambda m, x: positive_of(m, lambda y: m.linalg.cholesky(y, upper=True))(x), (BATCH,)),
    "qr": (lambda m, x: parts(m.linalg.qr(x)), (TALL,)),
    "qr of a batch": (lambda m, x: parts(m.linalg.qr(x)), (BATCH,)),
    "eigh": (lambda m, x: parts(m.linalg.eigh(x + x.transpose(-1, -2))), (SQUARE,)),
    "eigh of upper": (lambda m, x: parts(m.linalg.eigh(x + x.transpose(-1, -2), "U")), (BATCH,)),
    "eigvalsh": (lambda m, x: m.linalg.eigvalsh(x + x.transpose(-1, -2)), (BATCH,)),
    "svd": (lambda m, x: parts(m.linalg.svd(x, full_matrices=False)), (TALL,)),
    "svd of wide": (lambda m, x: parts(m.linalg.svd(x, full_matrices=False)), (WIDE,)),
    "svd of a batch": (lambda m, x: parts(m.linalg.svd(x)), (BATCH,)),
    "matrix_exp": (lambda m, x: m.linalg.matrix_exp(x), (SQUARE,)),
    "matrix_exp of a batch": (lambda m, x: m.matrix_exp(x * 3), (BATCH,)),
    "householder_product": (lambda m, x, t: m.linalg.householder_product(x, t), (TALL, numbers(3))),
    "lstsq": (lambda m, a, b: m.linalg.lstsq(a, b).solution, (TALL, numbers(5, 2))),
    "cholesky_solve": (lambda m, b, x: m.cholesky_solve(b, x.tril()), (numbers(4, 2), SQUARE)),
    "cholesky_inverse": (lambda m, x: m.cholesky_inverse(x.triu(), upper=True), (SQUARE,)),
    "tensorinv": (lambda m, x: m.linalg.tensorinv(x), (numbers(2, 3, 6),)),
    "tensorsolve": (lambda m, a, b: m.linalg.tensorsolve(a, b), (numbers(2, 3, 6), numbers(2, 3))),
    "pinv of a tolerance": (lambda m, x: m.linalg.pinv(x, rtol=1e-3), (TALL,)),
    "svdvals": (lambda m, x: m.linalg.svdvals(x), (WIDE,)),
    "pinv": (lambda m, x: m.linalg.pinv(x), (TALL,)),
    "pinv of wide": (lambda m, x: m.linalg.pinv(x), (WIDE,)),
    "cond": (lambda m, x: m.linalg.cond(x), (TALL,)),
    "matrix_power": (lambda m, x: m.linalg.matrix_power(x, -3), (SQUARE,)),
    "multi_dot": (lambda m, *x: m.linalg.multi_dot(x), (numbers(3), numbers(3, 4), numbers(4, 2))),
    "vecdot": (lambda m, a, b: m.linalg.vecdot(a, b, dim=0), (TALL, numbers(5, 1))),
    "cross": (lambda m, a, b: m.linalg.cross(a, b), (TALL, numbers(5, 3))),
    "diagonal": (lambda m, x: m.linalg.diagonal(x, offset=1), (BATCH,)),
    "vander": (lambda m, x: m.linalg.vander(x, N=3), (TALL,)),
    "norm": (lambda m, x: m.linalg.norm(x), (BATCH,)),
    "norm of a vector": (lambda m, x: m.linalg.norm(x, 3), (numbers(5),)),
    "norm along": (lambda m, x: m.linalg.norm(x, INF, 1, True), (TALL,)),
    "vector_norm": (lambda m, x: m.linalg.vector_norm(x, 1.5, (0, 2)), (BATCH[0],)),
    **{
        f"matrix norm {ord}": (lambda m, x, ord=ord: m.linalg.matrix_norm(x, ord, (0, 2), True), (numbers(3, 2, 4),))
        for ord in ("fro", "nuc", 1, -1, 2, -2, INF, -INF)
    },
}


def weights_for(values: Any) -> list[np.ndarray]:
    """A weight for each element."""
    shapes = [tuple(v.shape) for v in (values if isinstance(values, (tuple, list)) else (values,))]
    return [np.random.default_rng(1).uniform(0.5, 1.5, shape) for shape in shapes]


def total(values: Any, weights: list[Any]) -> Any:
    """The weighted sum."""
    made: Any = 0
    for v, w in zip(values if isinstance(values, (tuple, list)) else (values,), weights):
        made = made + (v * w).sum()
    return made


def listed(values: Any) -> list[np.ndarray]:
    return [
        v.detach().numpy(force=True) if isinstance(v, torch.Tensor) else v.detach().numpy()
        for v in (values if isinstance(values, (tuple, list)) else (values,))
    ]


def close(found: Any, expected: Any) -> None:
    for a, b in zip(listed(found), listed(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_against_torch(name: str) -> None:
    f, arrays = CASES[name]
    ours = [dg.tensor(a).requires_grad_() for a in arrays]
    theirs = [torch.tensor(a).requires_grad_() for a in arrays]
    found, expected = f(dg, *ours), f(torch, *theirs)
    close(found, expected)
    weights = weights_for(found)
    our_weights = [dg.tensor(w) for w in weights]
    first = dg.autograd.grad(total(found, our_weights), ours, create_graph=True)
    their_first = torch.autograd.grad(total(expected, [torch.tensor(w) for w in weights]), theirs, create_graph=True)
    close(first, their_first)
    if any(g.requires_grad for g in their_first):
        slopes = [dg.tensor(w) for w in weights_for(first)]
        second = dg.autograd.grad(total(first, slopes), ours, allow_unused=True) if any(g.requires_grad for g in first) else []
        loss = total(their_first, [torch.tensor(w) for w in weights_for(first)])
        for i, want in enumerate(torch.autograd.grad(loss, theirs, allow_unused=True)):
            got = second[i] if second else None
            if want is None or got is None:
                assert not any(abs(x.detach().numpy(force=True)).max() > 1e-12 for x in (want,) if x is not None)
                assert got is None or got.abs().max().item() < 1e-12
            else:
                np.testing.assert_allclose(got.numpy(), want.numpy(force=True), rtol=1e-8, atol=1e-8)

    def step(*given: Any) -> Any:
        value = f(dg, *given)
        return value, dg.autograd.grad(total(value, our_weights), given)

    value, slopes = step(*ours)
    static_value, static_slopes = dg.static(step, strict=True)(*ours)
    for a, b in zip([*listed(value), *listed(slopes)], [*listed(static_value), *listed(static_slopes)], strict=True):
        np.testing.assert_array_equal(a, b)


def test_full_matrices_and_ranks() -> None:
    x = dg.tensor(TALL)
    u, s, v = dg.linalg.svd(x)
    assert u.shape == (5, 5) and v.shape == (3, 3) and ((u[:, :3] * s) @ v - x).abs().max().item() < 1e-12
    q, r = dg.linalg.qr(x, "complete")
    assert q.shape == (5, 5) and r.shape == (5, 3) and (q @ r - x).abs().max().item() < 1e-12
    assert dg.linalg.qr(x, "r").Q.numel() == 0
    ranks = dg.tensor(np.stack([np.eye(3), np.ones((3, 3)), np.zeros((3, 3))]))
    assert dg.linalg.matrix_rank(ranks).tolist() == [3, 1, 0]
    assert dg.linalg.matrix_rank(ranks.float(), atol=2.0).tolist() == [0, 1, 0]
    for make in (dg.linalg.svd, lambda y: dg.linalg.qr(y, "complete"), lambda y: dg.linalg.qr(y.T).Q.sum().backward()):
        with pytest.raises(dg.errors.GradError):
            make(dg.tensor(TALL).requires_grad_())
    assert dg.linalg.svd(dg.zeros(0, 3), full_matrices=False).S.shape == (0,) and dg.linalg.det(dg.zeros(0, 0)).item() == 1


def test_the_gradient_of_a_singular_determinant() -> None:
    x = dg.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]], dtype=dg.float64).requires_grad_()
    dg.linalg.det(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), [[4, 4, -4], [-2, -2, 2], [0, 0, 0]], atol=1e-12)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: dg.linalg.inv(dg.zeros(2, 2)), dg.linalg.LinAlgError, "linalg.inv: the matrix is singular"),
        (lambda: dg.linalg.cholesky(-dg.eye(2)), RuntimeError, "linalg.cholesky: the matrix is not positive definite"),
        (lambda: dg.linalg.inv(dg.zeros(2, 3)), dg.errors.ShapeError, r"linalg.inv: takes square matrices, got shape \(2, 3\)"),
        (lambda: dg.linalg.svd(dg.zeros(3)), dg.errors.ShapeError, r"linalg.svd: takes matrices, got shape \(3,\)"),
        (
            lambda: dg.linalg.det(dg.eye(2).half()),
            dg.errors.DTypeError,
            "linalg.det: takes tensors of float32 or float64, got float16",
        ),
        (
            lambda: dg.linalg.solve(dg.eye(2), dg.ones(3, 1)),
            dg.errors.ShapeError,
            "solve: 2 unknowns, but right sides of 3",
        ),
        (lambda: dg.linalg.matrix_norm(dg.eye(2), "two"), dg.errors.ArgumentError, "linalg.matrix_norm: ord must be"),
        (lambda: dg.linalg.matrix_norm(dg.eye(2), dim=(0, -2)), dg.errors.ArgumentError, "two different dimensions"),
        (
            lambda: dg.linalg.multi_dot([dg.eye(2)]),
            dg.errors.ArgumentError,
            "multi_dot: needs at least two tensors, got 1",
        ),
        (lambda: dg.linalg.norm(dg.zeros(2, 2, 2), 1), dg.errors.ShapeError, "an order without dim is of a vector or a matrix"),
    ],
)
def test_mistakes(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_singular_while_a_static_program_runs() -> None:
    f = dg.static(lambda x: dg.linalg.inv(x) * 2)
    assert f(dg.eye(2)).tolist() == [[2, 0], [0, 2]]
    with pytest.raises(dg.linalg.LinAlgError, match=r"linalg.inv: the matrix is singular"):
        f(dg.zeros(2, 2))
    assert f(dg.eye(3) * 2).tolist() == dg.eye(3).tolist()  # another size


def test_names_of_the_namespace_and_methods() -> None:
    x = dg.tensor(SQUARE)
    for name in ("det", "slogdet", "inverse", "pinverse"):
        a, b = getattr(dg, name)(x), getattr(x, name)()
        close(a, b)
        close(a, getattr(torch, name)(torch.tensor(SQUARE)))
    assert dg.cholesky(dg.eye(2) * 4).tolist() == (dg.eye(2) * 4).cholesky().tolist() == [[2, 0], [0, 2]]
    assert dg.logdet(dg.eye(2)).item() == dg.eye(2).logdet().item() == 0


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (2, 2, 3)])
def test_orthogonal_initialisation(shape: tuple[int, ...]) -> None:
    dg.manual_seed(0)
    x = dg.nn.init.orthogonal_(dg.empty(shape, dtype=dg.float64), gain=2.0).flatten(1)
    product = x @ x.T if x.shape[0] <= x.shape[1] else x.T @ x
    assert (product - 4 * dg.eye(product.shape[0])).abs().max().item() < 1e-12
    with pytest.raises(dg.errors.ShapeError, match="orthogonal_: needs at least 2 dimensions"):
        dg.nn.init.orthogonal_(dg.empty(3))


@pytest.mark.parametrize("shape", [(150, 150), (5, 3), (3, 5), (2, 3, 70, 66), (0, 0), (2, 0, 3), (1, 1)])
def test_triangular_factors(shape: tuple[int, ...]) -> None:
    x = RANDOM.standard_normal(shape)
    found, expected = dg.linalg.lu_factor_ex(dg.tensor(x)), torch.linalg.lu_factor_ex(torch.tensor(x))
    close(found, expected)
    close(dg.lu_unpack(*found[:2]), torch.lu_unpack(*expected[:2]))
    static = dg.static(lambda y: dg.linalg.lu(y))(dg.tensor(x))
    close(static, torch.linalg.lu(torch.tensor(x)))
    if shape[0] == 5:
        with pytest.raises(dg.errors.GradError, match="the gradient is known only for square matrices"):
            dg.linalg.lu(dg.tensor(x).requires_grad_()).U.sum().backward()


def test_failures_are_said_in_info() -> None:
    singular = np.stack([np.eye(3), np.ones((3, 3)), np.zeros((3, 3))])
    right = RANDOM.standard_normal((3, 3, 2))
    for name, more in (("lu_factor_ex", ()), ("inv_ex", ()), ("solve_ex", (right,))):
        found = getattr(dg.linalg, name)(dg.tensor(singular), *map(dg.tensor, more))
        expected = getattr(torch.linalg, name)(torch.tensor(singular), *map(torch.tensor, more))
        assert found.info.tolist() == expected.info.tolist()
        np.testing.assert_allclose(found[0][0].numpy(), expected[0][0].numpy())
        with pytest.raises(dg.linalg.LinAlgError):
            getattr(dg.linalg, name)(dg.tensor(singular), *map(dg.tensor, more), check_errors=True)
    indefinite = np.stack([np.eye(3), np.diag([1.0, -1, 1]), np.diag([1.0, 1, -1]), np.diag([-1.0, 1, 1])])
    found = dg.linalg.cholesky_ex(dg.tensor(indefinite))
    assert found.info.tolist() == torch.linalg.cholesky_ex(torch.tensor(indefinite)).info.tolist() == [0, 2, 3, 1]
    assert found.L[0].tolist() == np.eye(3).tolist() and bool(found.L[1:].isnan().any(-1).any(-1).all())
    assert dg.static(lambda x: dg.linalg.cholesky_ex(x).info)(dg.tensor(indefinite)).tolist() == [0, 2, 3, 1]


@pytest.mark.parametrize(("name", "way"), [("eig", "linalg.eigh"), ("eigvals", "linalg.eigvalsh")])
def test_complex_results_are_refused(name: str, way: str) -> None:
    with pytest.raises(
        dg.errors.DTypeError, match=rf"(?s)linalg.{name}: eigenvalues are complex numbers.*{way}\(x\).*numpy\.linalg"
    ):
        getattr(dg.linalg, name)(dg.eye(2))
