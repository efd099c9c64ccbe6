"""Contractions beyond the bars: other shapes and layouts, float64, products with a fused bias."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.harness import OURS, Case
from benchmarks.peers import load

THREADS = (1, 2)
# (batch, m, k, n), B by columns (as a Linear's weight lies)
PRODUCTS = (
    ((), 336, 512, 1024, False),
    ((), 8, 768, 768, True),
    ((), 64, 128, 64, True),
    ((), 1, 4096, 4096, True),
    ((), 4096, 4096, 1, False),
    ((), 1000, 1000, 1000, False),
    ((96,), 128, 128, 64, False),
    ((96,), 128, 64, 128, True),
    ((1000,), 16, 16, 16, False),
)
LINEARS = ((64, 64, 128), (64, 128, 10), (512, 768, 3072), (1, 10, 20))


def cases() -> Iterator[Case]:
    for batch, m, k, n, by_columns in PRODUCTS:
        for dtype in ("float32", "float64"):
            yield _product(batch, m, k, n, by_columns, dtype)
    for m, k, n in LINEARS:
        yield _linear(m, k, n)


def _product(batch: tuple[int, ...], m: int, k: int, n: int, by_columns: bool, dtype: str) -> Case:
    import duograph as dg

    rng = np.random.default_rng(0)
    a = rng.random((*batch, m, k)).astype(dtype)
    b = rng.random((*batch, n, k) if by_columns else (*batch, k, n)).astype(dtype)
    contestants: dict[str, Callable[[], object]] = {}

    def pair(convert: Callable[[Any], Any]) -> tuple[Any, Any]:
        y = convert(b)
        return convert(a), (y.swapaxes(-1, -2) if isinstance(y, np.ndarray) else y.transpose(-1, -2)) if by_columns else y

    ours_a, ours_b = pair(dg.from_numpy)
    contestants[OURS] = lambda: dg.matmul(ours_a, ours_b)
    numpy_a, numpy_b = pair(lambda x: x)
    contestants["numpy"] = lambda: np.matmul(numpy_a, numpy_b)
    if torch := load("torch"):
        torch.set_grad_enabled(False)
        torch_a, torch_b = pair(torch.from_numpy)
        contestants["torch"] = lambda: torch.matmul(torch_a, torch_b)
    if (jax := load("jax")) and dtype == "float32":
        jax_a, jax_b = jax.numpy.asarray(a), jax.numpy.asarray(b)
        product = jax.jit(lambda x, y: jax.numpy.matmul(x, y.swapaxes(-1, -2) if by_columns else y))
        contestants["jax.jit"] = lambda: product(jax_a, jax_b).block_until_ready()
    shape = "×".join(map(str, (m, k, n)))
    title = f"{f'{batch[0]} × ' if batch else ''}{shape}{' B^T' if by_columns else ''} {dtype}"
    return Case(title, contestants, {"best": 1.0}, best_of=tuple(name for name in contestants if name != OURS))


def _linear(m: int, k: int, n: int) -> Case:
    import duograph as dg

    rng = np.random.default_rng(0)
    x, w, bias = (rng.random(shape, dtype=np.float32) for shape in ((m, k), (n, k), (n,)))
    ours = [dg.from_numpy(value) for value in (x, w, bias)]
    contestants: dict[str, Callable[[], object]] = {OURS: lambda: dg.nn.functional.linear(*ours)}
    if torch := load("torch"):
        torch.set_grad_enabled(False)
        theirs = [torch.from_numpy(value) for value in (x, w, bias)]
        contestants["torch"] = lambda: torch.nn.functional.linear(*theirs)
    if jax := load("jax"):
        arrays = [jax.numpy.asarray(value) for value in (x, w, bias)]
        linear = jax.jit(lambda x, w, b: x @ w.T + b)
        contestants["jax.jit"] = lambda: linear(*arrays).block_until_ready()
    return Case(f"linear {m}×{k}→{n}", contestants, {"best": 1.0}, best_of=tuple(c for c in contestants if c != OURS))


ROUNDS = 11
