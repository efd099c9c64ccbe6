"""Bar 12: inference under autocast to bfloat16, of ResNet-18 and GPT-2 small, against our float32 and others' bfloat16.

All sides have the same weights. Results are compared with float32's: to a few percent of the largest, as 16 bits have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks import language, networks
from benchmarks.harness import OURS, Case
from benchmarks.peers import load, openvino_module
from benchmarks.torch_gpt2 import torch_gpt2

THREADS = (1, 2)
ROUNDS = 15
OWN, OPENVINO = "duograph float32", "openvino bfloat16"
_TOLERANCE = 0.06  # of the largest result

Calls = dict[str, Callable[[], object]]


def _same(calls: Calls) -> Calls:
    """The calls, whose results are near those of float32."""
    results = {name: np.asarray(_floats(call())) for name, call in calls.items()}
    exact = results[OWN]
    for name, found in results.items():
        np.testing.assert_allclose(found.reshape(exact.shape), exact, atol=_TOLERANCE * np.abs(exact).max(), err_msg=name)
    return calls


def _floats(result: Any) -> Any:
    return result if isinstance(result, np.ndarray) else result.float().numpy()


def _case(title: str, model: Any, x: np.ndarray, twin: Callable[[Any], Any]) -> Case:
    import duograph as dg

    given, lowered, plain = dg.from_numpy(x), dg.static(model), dg.static(model)

    def ours() -> object:
        with dg.no_grad(), dg.autocast("cpu", dtype=dg.bfloat16):
            return lowered(given)

    def float32() -> object:
        with dg.no_grad():
            return plain(given)

    calls: Calls = {OURS: ours, OWN: float32}
    if torch := load("torch"):
        torch.set_grad_enabled(False)
        network, there = twin(torch).eval(), torch.from_numpy(x)

        def eager() -> object:
            with torch.autocast("cpu", torch.bfloat16):
                return network(there)

        calls["torch bfloat16"] = eager
        if run := openvino_module(network, there, "bf16"):
            calls[OPENVINO] = run
    asked = {OWN: 1.6, OPENVINO: 0.95}
    return Case(f"{title}, bfloat16, static", _same(calls), {name: ratio for name, ratio in asked.items() if name in calls})


def _images(batch: int) -> Case:
    import duograph as dg

    dg.manual_seed(0)
    model = dg.models.resnet18().eval()
    x = np.random.default_rng(0).random((batch, 3, 224, 224), dtype=np.float32)
    return _case(f"ResNet-18, inference, batch {batch}", model, x, lambda torch: networks.twin(torch, model))


def _text() -> Case:
    model, ids = language.make_model().eval(), language.tokens(1, language.TOKENS)
    weights = language.weights_of(model)
    return _case("GPT-2 small, inference, 128 tokens", model, ids, lambda torch: torch_gpt2(torch, weights))


def cases(wanted: Callable[[str], bool] = lambda title: True) -> Iterator[Case]:
    for batch in networks.BATCHES:
        if wanted(f"ResNet-18, inference, batch {batch}, bfloat16, static"):
            yield _images(batch)
    if wanted("GPT-2 small, inference, 128 tokens, bfloat16, static"):
        yield _text()
