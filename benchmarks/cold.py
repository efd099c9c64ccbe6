"""One work in one library, from a cold start: `python -m benchmarks.cold WORK LIBRARY` prints seconds as JSON.

first: seconds of the first call at each size, in order; steady: seconds of a later call at each.
"""

from __future__ import annotations

import compileall
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import jax_resnet, networks, peers, works

MLP, DEEP = (784, 512, 512, 10), (128,) * 51
STEADY = 5
SLOW = 30.0  # seconds of first calls after which once is enough


def _mlp_calls(library: str) -> Iterator[tuple[Any, Any]]:
    """20 batch sizes never seen before."""
    rng = np.random.default_rng(0)
    for batch in rng.permutation(np.arange(17, 257))[:20]:
        yield rng.standard_normal((int(batch), 784)).astype(np.float32), rng.standard_normal((int(batch), 10)).astype(np.float32)


def _rnn_calls(library: str) -> Iterator[tuple[Any, ...]]:
    """Two sizes so that all are symbolic, then 20 lengths and 20 batch sizes never seen before."""
    rng = np.random.default_rng(0)
    lengths, batches = rng.permutation(np.arange(60, 140))[:22], rng.permutation(np.arange(8, 40))[:22]
    for length, batch in [*zip(lengths[:2], batches[:2]), *((n, 16) for n in lengths[2:]), *((100, b) for b in batches[2:])]:
        yield (rng.standard_normal((int(length), int(batch), 128)).astype(np.float32),)


def _one(*shapes: tuple[int, ...]) -> Callable[[str], Iterator[tuple[Any, ...]]]:
    def calls(library: str) -> Iterator[tuple[Any, ...]]:
        rng = np.random.default_rng(0)
        yield tuple(rng.standard_normal(shape).astype(np.float32) for shape in shapes)

    return calls


def _images(library: str) -> Iterator[tuple[Any, Any]]:
    rng = np.random.default_rng(0)
    yield rng.random((8, 3, 224, 224), dtype=np.float32), rng.integers(0, jax_resnet.CLASSES, 8)


def _resnet_step(library: Any) -> Callable[[Any, Any], Any]:
    model = library.models.resnet18() if hasattr(library, "models") else networks.torch_resnet18(library.nn)
    return networks.make_step(library, model)


# work → (the function for duograph or torch, its JAX form or None, the arguments of the calls)
WORKS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any] | None, Callable[[str], Iterator[tuple[Any, ...]]]]] = {
    "sizes": (lambda lib: works.mlp_step(lib, MLP), lambda jax: works.jax_mlp_step(jax, MLP), _mlp_calls),
    "lengths": (works.rnn_gradients, works.jax_rnn, _rnn_calls),
    "depth": (works.random_depth_step, None, _one((64, 1000), (64, 10))),
    "deep": (lambda lib: works.mlp_step(lib, DEEP), lambda jax: works.jax_mlp_step(jax, DEEP), _one((64, 128), (64, 128))),
    "rnn": (works.rnn_gradients, works.jax_rnn, _one((100, 16, 128))),
    "resnet": (_resnet_step, jax_resnet.resnet18_step, _images),
}


def _program(work: str, library: str) -> tuple[Callable[..., Any], Callable[[Any], Any]]:
    """(the function as the library makes it static, how it takes an array)."""
    ours, in_jax, _ = WORKS[work]
    if library == "duograph":
        import duograph as dg

        peers.flush_denormals()
        return dg.static(ours(dg)), dg.from_numpy
    module = peers.load(library.partition("-")[0])
    assert module is not None
    if library == "jax":
        assert in_jax is not None
        return in_jax(module), module.numpy.asarray
    return module.compile(ours(module), dynamic=True if library == "torch-dynamic" else None), module.from_numpy


def inside(work: str, library: str) -> None:
    peers.prepare(1)
    function, take = _program(work, library)
    first, steady = [], []
    for arrays in WORKS[work][2](library):
        arguments = tuple(map(take, arrays))
        start = time.perf_counter()
        function(*arguments)
        first.append(time.perf_counter() - start)
        times = []
        for _ in range(STEADY):
            start = time.perf_counter()
            function(*arguments)
            times.append(time.perf_counter() - start)
        steady.append(statistics.median(times))
    print(json.dumps({"first": first, "steady": steady}))


def measure(work: str, library: str) -> dict[str, list[float]]:
    """In a process of its own, with empty caches."""
    with tempfile.TemporaryDirectory() as cold:
        environment = os.environ | {"DUOGRAPH_CACHE_DIR": cold, "TORCHINDUCTOR_CACHE_DIR": cold}
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.cold", work, library]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_all(work: str, libraries: tuple[str, ...], rounds: int) -> dict[str, list[dict[str, list[float]]]]:
    """`rounds` measurements of each library, one after the other in turn; one that took minutes is not asked again.

    Bytecode is written beforehand, as an installation does for every library.
    """
    compileall.compile_dir(str(Path(__file__).parent.parent / "duograph"), quiet=1)
    wanted = [x for x in libraries if x == "duograph" or peers.wanted()]
    found: dict[str, list[dict[str, list[float]]]] = {library: [] for library in wanted}
    for _ in range(rounds):
        for library in wanted:
            if not any(sum(run["first"]) > SLOW for run in found[library]):
                found[library].append(measure(work, library))
    return found


def verdict(title: str, text: str, ratio: float, asked: float, at_least: bool = True) -> None:
    """Print one figure beside the one asked for."""
    ok = ratio >= asked if at_least else ratio <= asked
    print(f"{title}: {text}, {ratio:.3g} ×   asked {'≥' if at_least else '≤'} {asked:g}: {'ok' if ok else 'SHORT'}", flush=True)


if __name__ == "__main__":
    inside(*sys.argv[1:])
