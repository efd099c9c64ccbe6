"""Bar 6: gelu(x*w+b)*x over 16M elements; with the user's settings, and once more without the peers' page faults."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from benchmarks.harness import OURS, Case
from benchmarks.peers import load

THREADS = (1, 2)
ROUNDS = 9
NO_FAULTS = "glibc.malloc.mmap_max=0:glibc.malloc.top_pad=1073741824:glibc.malloc.trim_threshold=4294967296"
ENVIRONMENTS: tuple[dict[str, str], ...] = ({}, {"GLIBC_TUNABLES": NO_FAULTS})
SIZE = 1 << 24


def cases() -> Iterator[Case]:
    import duograph as dg

    faults = "GLIBC_TUNABLES" not in os.environ
    x, w, b = (dg.rand(SIZE) for _ in range(3))

    def work(x: object, w: object, b: object) -> object:
        return dg.nn.functional.gelu(x * w + b) * x  # type: ignore[operator]

    static = dg.static(work)
    peers: dict[str, Callable[[], object]] = {}
    if torch := load("torch"):
        torch.set_grad_enabled(False)
        tx, tw, tb = (torch.rand(SIZE) for _ in range(3))
        gelu = torch.nn.functional.gelu
        compiled = torch.compile(lambda x, w, b: gelu(x * w + b) * x)
        peers["torch eager"] = lambda: gelu(tx * tw + tb) * tx
        peers["torch.compile"] = lambda: compiled(tx, tw, tb)
    if jax := load("jax"):
        jx, jw, jb = (jax.numpy.asarray(t.numpy()) for t in (x, w, b))
        fn = jax.jit(lambda x, w, b: jax.nn.gelu(x * w + b, approximate=False) * x)
        peers["jax.jit"] = lambda: fn(jx, jw, jb).block_until_ready()
    if tf := load("tensorflow"):
        fx, fw, fb = (tf.constant(t.numpy()) for t in (x, w, b))
        tf_fn = tf.function(lambda x, w, b: tf.nn.gelu(x * w + b) * x, jit_compile=True)
        peers["tensorflow XLA"] = lambda: tf_fn(fx, fw, fb)
    kind = "default settings" if faults else "no page faults"
    yield Case(
        f"bar 6: gelu(x*w+b)*x, 16M, static, {kind}",
        {OURS: lambda: static(x, w, b), **peers},
        {"torch.compile": 4 if faults else 1.4, "best": 1.7 if faults else 1.4},
    )
    torch_eager = {k: v for k, v in peers.items() if k == "torch eager"}
    yield Case(
        f"bar 6: gelu(x*w+b)*x, 16M, dynamic, {kind}",
        {OURS: lambda: work(x, w, b), **torch_eager},
        {"torch eager": 4 if faults else 1.5},
    )
