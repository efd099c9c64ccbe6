"""Bar 7: softmax and layer_norm over 4096 × 1024 in dynamic mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.harness import OURS, Case
from benchmarks.peers import load

THREADS = (1, 2)


def cases() -> Iterator[Case]:
    import duograph as dg

    functional = dg.nn.functional
    x, w, b = dg.randn(4096, 1024), dg.rand(1024), dg.rand(1024)
    soft: dict[str, Callable[[], object]] = {OURS: lambda: functional.softmax(x, dim=-1)}
    norm: dict[str, Callable[[], object]] = {OURS: lambda: functional.layer_norm(x, (1024,), w, b)}
    if torch := load("torch"):
        torch.set_grad_enabled(False)
        tx, tw, tb = (torch.from_numpy(t.numpy()) for t in (x, w, b))
        soft["torch"] = lambda: torch.softmax(tx, -1)
        norm["torch"] = lambda: torch.nn.functional.layer_norm(tx, (1024,), tw, tb)
    if tf := load("tensorflow"):
        fx = tf.constant(x.numpy())
        soft["tensorflow"] = lambda: tf.nn.softmax(fx)
    if jax := load("jax"):
        jx, jw, jb = (jax.numpy.asarray(t.numpy()) for t in (x, w, b))
        soft_fn = jax.jit(lambda x: jax.nn.softmax(x, -1))

        def layer_norm(x: object, w: object, b: object) -> object:
            mean = x.mean(-1, keepdims=True)  # type: ignore[attr-defined]
            var = ((x - mean) ** 2).mean(-1, keepdims=True)
            return (x - mean) * jax.lax.rsqrt(var + 1e-5) * w + b

        norm_fn = jax.jit(layer_norm)
        soft["jax.jit"] = lambda: soft_fn(jx).block_until_ready()
        norm["jax.jit"] = lambda: norm_fn(jx, jw, jb).block_until_ready()
    yield Case("bar 7: softmax, 4096×1024, dynamic", soft, {"best": 1.2})
    yield Case("bar 7: layer_norm, 4096×1024, dynamic", norm, {"best": 1.0})
