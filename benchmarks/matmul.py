"""Bars 8 and 9: whole matrix products against the best of everybody, B constant (packed ahead) or not, plain and transposed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.harness import OURS, Case
from benchmarks.peers import load, onnx_session, openvino_matmul

THREADS = (1, 2)
LARGE = ((1024, 1024, 1024), (512, 3072, 768), (4096, 4096, 4096))
SMALL = ((64, 1000, 100), (8, 768, 768), (1, 4096, 4096), (16, 16, 16))
CONSTANT = " (constant B)"


def cases() -> Iterator[Case]:
    for m, k, n in LARGE:
        for ta, tb in ((False, False), (True, False), (False, True)):
            yield _case(f"bar 8: {m}×{k}×{n}", (m, k), (k, n), ta, tb, large=True)
    for m, k, n in SMALL:
        yield _case(f"bar 9: {m}×{k}×{n}", (m, k), (k, n), False, False, large=False)
    yield _case("bar 9: 96 × 128×64×128", (96, 128, 64), (96, 64, 128), False, False, large=False)


def _case(title: str, a_shape: tuple[int, ...], b_shape: tuple[int, ...], ta: bool, tb: bool, large: bool) -> Case:
    import duograph as dg

    rng = np.random.default_rng(0)

    def array(shape: tuple[int, ...], transposed: bool) -> Any:
        stored = (*shape[:-2], shape[-1], shape[-2]) if transposed else shape
        return rng.random(stored, dtype=np.float32)

    a, b = array(a_shape, ta), array(b_shape, tb)
    out = (*a_shape[:-1], b_shape[-1])
    contestants: dict[str, Callable[[], object]] = {}

    def pair(convert: Callable[[Any], Any]) -> tuple[Any, Any]:
        x, y = convert(a), convert(b)
        return (x.T if ta else x), (y.T if tb else y)

    ours_a, ours_b = pair(dg.from_numpy)
    contestants[OURS] = lambda: dg.matmul(ours_a, ours_b)
    numpy_a, numpy_b = pair(lambda z: z)
    contestants["numpy"] = lambda: np.matmul(numpy_a, numpy_b)
    if torch := load("torch"):
        torch.set_grad_enabled(False)
        torch_a, torch_b = pair(torch.from_numpy)
        contestants["torch"] = lambda: torch.matmul(torch_a, torch_b)
    if jax := load("jax"):
        jax_a, jax_b = jax.numpy.asarray(a), jax.numpy.asarray(b)
        product = jax.jit(lambda x, y: jax.numpy.matmul(x.T if ta else x, y.T if tb else y))
        contestants["jax.jit"] = lambda: product(jax_a, jax_b).block_until_ready()
    if tf := load("tensorflow"):
        tf_a, tf_b = tf.constant(a), tf.constant(b)
        contestants["tensorflow"] = lambda: tf.linalg.matmul(tf_a, tf_b, transpose_a=ta, transpose_b=tb)

    def node(h: Any) -> list[Any]:
        if ta or tb:
            return [h.make_node("Gemm", ["a", "b"], ["c"], transA=int(ta), transB=int(tb))]
        return [h.make_node("MatMul", ["a", "b"], ["c"])]

    for constant in (False, True):
        suffix = CONSTANT if constant else ""
        if run := onnx_session(node, {"a": a} if constant else {"a": a, "b": b}, {"c": out}, {"b": b} if constant else {}):
            contestants["onnxruntime" + suffix] = run
        if run := openvino_matmul(a, b, constant, ta, tb):
            contestants["openvino" + suffix] = run
    plain = tuple(name for name in contestants if name != OURS and CONSTANT not in name)
    asked = {"best": 0.97, "torch": 1.8} if large else {"best": 1.0, "torch": 1.7}
    if large:
        asked |= {name: 0.94 for name in contestants if CONSTANT in name}
    marks = (" A^T" if ta else "") + (" B^T" if tb else "")
    return Case(title + marks, contestants, asked, best_of=plain)


ROUNDS = 11
