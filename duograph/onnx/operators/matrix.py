"""Products of matrices."""

from __future__ import annotations

import duograph as dg
from duograph.nn import functional

from .definition import Tensor, operator


@operator("MatMul", since=1)
def matmul(a: Tensor, b: Tensor) -> Tensor:
    return dg.matmul(a, b)


@operator("Gemm", since=7)
def gemm(
    a: Tensor, b: Tensor, c: Tensor | None = None, *, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0
) -> Tensor:
    if alpha == 1.0 and not transA and a.dtype.is_floating_point and (c is None or (beta == 1.0 and c.ndim == 1)):
        weight = b if transB else b.t()
        if c is None or c.shape[0] == weight.shape[0]:
            return functional.linear(a, weight, c)
    made = dg.matmul(a.t() if transA else a, b.t() if transB else b)
    made = made if alpha == 1.0 else (made * alpha).to(made.dtype)
    if c is None or beta == 0.0:
        return made
    return made + (c if beta == 1.0 else (c * beta).to(c.dtype))


@operator("Gemm", since=1, until=6)
def gemm_of_old(
    a: Tensor,
    b: Tensor,
    c: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    broadcast: int = 0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    return gemm(a, b, c, alpha=alpha, beta=beta, transA=transA, transB=transB)


@operator("Einsum", since=12)
def einsum(*inputs: Tensor, equation: str) -> Tensor:
    return dg.einsum(equation.replace(" ", ""), *inputs)


@operator("Det", since=11)
def determinant(x: Tensor) -> Tensor:
    return dg.det(x)
