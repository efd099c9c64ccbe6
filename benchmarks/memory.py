"""A training step under a memory budget, planned memory against dynamic mode's peak, and whole networks against PyTorch's."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from benchmarks import peaks, peers
from benchmarks.cold import verdict
from benchmarks.harness import OURS, Case, human, measure
from benchmarks.works import mlp_step, rnn_step


def _peak(function: Callable[..., object], *arguments: Any) -> int:
    """Bytes that one call needs at most beyond what was there before."""
    import duograph as dg
    from duograph import _core as core

    function(*arguments)
    gc.collect()
    before = dg.memory_stats()["allocated"]
    core.reset_peak()
    function(*arguments)
    return int(dg.memory_stats()["peak"] - before)


def _transformer_step(dg: Any) -> Callable[[Any], Any]:
    nn = dg.nn
    dg.manual_seed(0)
    q, k, v, out = (nn.Linear(64, 64) for _ in range(4))
    up, down = nn.Linear(64, 256), nn.Linear(256, 64)
    parameters = [p for layer in (q, k, v, out, up, down) for p in layer.parameters()]
    optimizer = dg.optim.SGD(parameters, lr=1e-3)

    def step(x: Any) -> Any:
        h = dg.layer_norm(x, (64,))
        weights = (q(h) @ k(h).transpose(-2, -1) * 0.125).softmax(-1)
        x = x + out(weights @ v(h))
        x = x + down(dg.gelu(up(dg.layer_norm(x, (64,)))))
        loss = (x * x).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return step


_ASKED = {"ResNet-18, batch 8": 0.7, "GPT-2 small, batch 2 × 128 tokens": 0.85}


def networks() -> None:
    """Peaks of whole training steps, each library's in a process of its own; PyTorch's least is what counts."""
    for work in peaks.WORKS:
        names = [name for name in peaks.LIBRARIES if name.startswith("duograph") or peers.wanted()]
        if not work.startswith("ResNet"):
            names = [name for name in names if name != peaks.LAST]
        found = {name: peaks.peak(work, name) for name in names}
        print(f"{work}, training step, peak: " + ", ".join(f"{name} {bytes / 1e6:.0f} MB" for name, bytes in found.items()))
        theirs = [bytes for name, bytes in found.items() if not name.startswith("duograph")]
        if theirs:
            text = f"{found['duograph'] / 1e6:.0f} of {min(theirs) / 1e6:.0f} MB"
            verdict(
                f"{work}, training step: peak / PyTorch's", text, found["duograph"] / min(theirs), _ASKED[work], at_least=False
            )


def main() -> None:
    import duograph as dg

    peers.flush_denormals()
    dg.set_num_threads(1)  # products on several threads take memory of their own, which plans do not count
    widths, x, y = (512,) * 101, dg.rand(256, 512), dg.rand(256, 512)
    free, tight = dg.static(mlp_step(dg, widths)), dg.static(mlp_step(dg, widths), memory_budget="30%")
    unbudgeted, planned = free.explain(x, y).peak_bytes, tight.explain(x, y).peak_bytes
    text = f"{planned / 1e6:.1f} of {unbudgeted / 1e6:.1f} MB"
    verdict("bar 7: 100-layer MLP, peak / unbudgeted peak", text, planned / unbudgeted, 0.3, at_least=False)
    result = measure(Case("bar 7", {OURS: lambda: tight(x, y), "free": lambda: free(x, y)}))
    slower = result.medians[OURS] / result.medians["free"]
    verdict("bar 7: time / unbudgeted time", human(result.medians[OURS]), slower, 1.35, at_least=False)
    steps: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]] = {
        "MLP": (mlp_step(dg, (512,) * 9), dg.static(mlp_step(dg, (512,) * 9)), (x, y)),
        "RNN": (rnn_step(dg), dg.static(rnn_step(dg)), (dg.randn(100, 16, 128),)),
        "transformer block": (_transformer_step(dg), dg.static(_transformer_step(dg)), (dg.randn(8, 64, 64),)),
    }
    for name, (dynamic, static, arguments) in steps.items():
        found = _peak(dynamic, *arguments), static.explain(*arguments).peak_bytes
        text = f"{found[1] / 1e6:.2f} / {found[0] / 1e6:.2f} MB"
        verdict(f"bar 8: {name}, training: peak static / dynamic", text, found[1] / found[0], 0.75, at_least=False)
    networks()
