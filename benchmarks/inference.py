"""Bar 5: one static call of a tiny network from Python — mostly the cost of the call itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.harness import OURS, Case
from benchmarks.peers import load, onnx_session

THREADS = (1,)


def cases() -> Iterator[Case]:
    import duograph as dg

    net = dg.nn.Sequential(dg.nn.Linear(10, 20), dg.nn.ReLU(), dg.nn.Linear(20, 10)).eval()
    static = dg.static(net)
    x = dg.rand(1, 10)

    def ours() -> object:
        return static(x)

    with dg.no_grad():
        ours()
    contestants: dict[str, Callable[[], object]] = {OURS: ours}
    if torch := load("torch"):
        t_net = torch.nn.Sequential(torch.nn.Linear(10, 20), torch.nn.ReLU(), torch.nn.Linear(20, 10)).eval()
        tx = torch.rand(1, 10)
        frozen = torch.jit.freeze(torch.jit.trace(t_net, tx))
        compiled = torch.compile(t_net)
        torch.set_grad_enabled(False)
        contestants["torch.jit.trace frozen"] = lambda: frozen(tx)
        contestants["torch.compile"] = lambda: compiled(tx)
    rng = np.random.default_rng(0)
    run = onnx_session(
        lambda h: [
            h.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
            h.make_node("Relu", ["h"], ["r"]),
            h.make_node("Gemm", ["r", "w2", "b2"], ["y"]),
        ],
        {"x": rng.random((1, 10), np.float32)},
        {"y": (1, 10)},
        {
            "w1": rng.random((10, 20), np.float32),
            "b1": rng.random(20, np.float32),
            "w2": rng.random((20, 10), np.float32),
            "b2": rng.random(10, np.float32),
        },
    )
    if run:
        contestants["onnxruntime, bound"] = run
    dg.autograd.set_grad_enabled(False)
    yield Case(
        "bar 5: Linear(10,20)-ReLU-Linear(20,10), batch 1, one static call",
        contestants,
        {"torch.jit.trace frozen": 6, "torch.compile": 15, "onnxruntime, bound": 2},
    )
