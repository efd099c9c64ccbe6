"""GPT-2 small: inference of 128 tokens, the training step of 2 × 128 tokens with AdamW, and generation with kept keys and values.

All sides have the same weights (nothing is dropped), and must give the same results before they are timed. Each case builds
its own sides and no others: a copy of the weights is half a gigabyte, a training step needs five times that.
Generation is compared with one read of the weights for each token, too: the fastest read of so many bytes at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.harness import OURS, Case
from benchmarks.jax_gpt2 import gpt2_inference, gpt2_step
from benchmarks.peers import load, onnxruntime_module, openvino_module
from benchmarks.torch_gpt2 import generate, torch_gpt2

THREADS = (1, 2)
ROUNDS = 9
TOKENS, BATCH, RATE = 128, 2, 1e-4
GIVEN, MADE = 16, 32  # tokens of a text, and what is added to it
VOCABULARY = 50257

Calls = dict[str, Callable[[], object]]
Weights = dict[str, np.ndarray]


def make_model() -> Any:
    """GPT-2 small without dropout."""
    import duograph as dg

    dg.manual_seed(0)
    return dg.models.gpt2(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)


def weights_of(model: Any) -> Weights:
    return {name: value.numpy() for name, value in model.state_dict().items()}


def tokens(batch: int, count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, VOCABULARY, (batch, count))


def text_and_next() -> tuple[np.ndarray, np.ndarray]:
    """What a training step is given: tokens, and those that follow them."""
    ids = tokens(BATCH, TOKENS + 1)
    return np.ascontiguousarray(ids[:, :-1]), np.ascontiguousarray(ids[:, 1:])


def _same(calls: Calls, tolerance: float = 2e-3) -> Calls:
    """The calls, all of which give what the first one gives, the first time and the second."""
    for _ in range(2):
        results = {name: np.asarray(call()) for name, call in calls.items()}
        first = next(iter(results.values()))
        for name, found in results.items():
            np.testing.assert_allclose(found.reshape(first.shape), first, atol=tolerance * np.abs(first).max(), err_msg=name)
    return calls


def _inference(static: bool) -> Case:
    import duograph as dg

    model, ids = make_model().eval(), tokens(1, TOKENS)
    given, run = dg.from_numpy(ids), dg.static(model) if static else model

    def ours() -> object:
        with dg.no_grad():
            return run(given)

    calls: Calls = {OURS: ours}
    if torch := load("torch"):
        torch.set_grad_enabled(False)
        network, x = torch_gpt2(torch, weights_of(model)).eval(), torch.from_numpy(ids)
        if not static:
            calls["torch eager"] = lambda: network(x)
        else:
            compiled = torch.compile(network)
            calls["torch.compile"] = lambda: compiled(x)
            for name, make in (("onnxruntime", onnxruntime_module), ("openvino", openvino_module)):
                if peer := make(network, x):
                    calls[name] = peer
    if static and (jax := load("jax")):
        calls["jax.jit"] = partial(gpt2_inference(jax, weights_of(model)), ids)
    asked = {"best": 1.03} if static else {"torch eager": 1.8}
    return Case(_title("inference, 128 tokens", static), _same(calls), asked if len(calls) > 1 else {})


def make_step(library: Any, model: Any) -> Callable[[Any, Any], Any]:
    """A training step written for duograph or PyTorch alike."""
    optimizer = library.optim.AdamW(model.parameters(), lr=RATE)
    loss_of = library.nn.CrossEntropyLoss()

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(model(x).flatten(0, 1), y.flatten())
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def _training(static: bool) -> Case:
    import duograph as dg

    x, y = text_and_next()
    model = make_model()
    calls: Calls = {}
    if torch := load("torch"):
        torch.set_grad_enabled(True)
        step = make_step(torch, torch_gpt2(torch, weights_of(model)))
        name, run = ("torch.compile", torch.compile(step)) if static else ("torch eager", step)
        calls[name] = partial(run, torch.from_numpy(x), torch.from_numpy(y))
    if static and (jax := load("jax")):
        calls["jax.jit"] = partial(gpt2_step(jax, weights_of(model), RATE), x, y)
    ours = make_step(dg, model)
    calls = {OURS: partial(dg.static(ours) if static else ours, dg.from_numpy(x), dg.from_numpy(y)), **calls}
    asked = {"best": 1.5} if static else {"torch eager": 1.5}
    return Case(_title("training step, 2 × 128 tokens", static), _same(calls), asked if len(calls) > 1 else {})


def _generation(static: bool) -> Case:
    import duograph as dg

    model, ids = make_model().eval(), tokens(1, GIVEN)
    given, run = dg.from_numpy(ids), dg.static(model.generate) if static else model.generate
    calls: Calls = {OURS: lambda: run(given, max_new_tokens=MADE)}
    if torch := load("torch"):
        torch.set_grad_enabled(False)
        network, x = torch_gpt2(torch, weights_of(model)).eval(), torch.from_numpy(ids)
        calls["torch eager"] = lambda: generate(torch, network, x, MADE)
    asked = {"torch eager": 1.5} if len(calls) > 1 else {}
    case = Case(_title(f"generation of {MADE} tokens", static), _same(calls), asked)
    case.contestants["read of the weights"] = _reading(sum(value.size for value in weights_of(model).values()), MADE)
    case.asked["read of the weights"] = 0.85
    return case


def _reading(count: int, times: int) -> Callable[[], object]:
    """Reads as many bytes as ``count`` floats have as often; the greatest of integers is found as fast as they come."""
    import duograph as dg

    values = dg.ones(count).view(dg.int32)
    largest = dg.static(lambda values: values.amax())

    def read() -> None:
        for _ in range(times):
            largest(values)

    return read


def _title(work: str, static: bool) -> str:
    return f"GPT-2, {work}, {'static' if static else 'dynamic'}"


def cases(wanted: Callable[[str], bool] = lambda title: True) -> Iterator[Case]:
    works = {
        "inference, 128 tokens": _inference,
        "training step, 2 × 128 tokens": _training,
        f"generation of {MADE} tokens": _generation,
    }
    for work, build in works.items():
        for static in (True, False):
            if wanted(_title(work, static)):
                yield build(static)
