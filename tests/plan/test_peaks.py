"""What static programs of common networks allocate, against what dynamic mode allocates and what must be alive."""

from __future__ import annotations

import gc
from typing import Any

import pytest

import duograph as dg
from duograph import _core as core
from duograph import nn
from duograph.ir.text import parse_graph
from duograph.passes.fusion.schedule import KernelStep
from duograph.passes.lowering.ordering import in_order
from duograph.passes.lowering.scheduling import schedule


class Training:
    """A step that trains parameters, and its arguments."""

    def __init__(self, forward: Any, parameters: Any, *arguments: Any, adam: bool = False, keep: bool = True) -> None:
        self.parameters = list(parameters)
        self.keep = keep  # gradients, after the step
        self.optimiser = dg.optim.Adam(self.parameters, lr=1e-3) if adam else dg.optim.SGD(self.parameters, lr=0.1)
        self.forward = forward
        self.arguments = arguments

    def step(self, *arguments: Any) -> Any:
        self.optimiser.zero_grad()
        loss = (self.forward(*arguments) ** 2).mean()
        loss.backward()
        self.optimiser.step()
        if not self.keep:
            self.optimiser.zero_grad()
        return loss

    def planned(self) -> int:
        """Bytes of the static program's arena and results, gradients included."""
        return int(dg.static(self.step).explain(*self.arguments).peak_bytes)

    def dynamic(self) -> int:
        """Bytes that dynamic mode allocates at most for one step, on one thread; a product's panels (0.6 MB) count, too."""
        threads = dg.get_num_threads()
        dg.set_num_threads(1)
        try:
            with dg.dynamic_mode():
                self.step(*self.arguments)
                self.optimiser.zero_grad()
                gc.collect()
                core.reset_peak()
                before = dg.memory_stats()["allocated"]
                self.step(*self.arguments)
                return int(dg.memory_stats()["peak"] - before)
        finally:
            dg.set_num_threads(threads)

    @property
    def gradients(self) -> int:
        return sum(parameter.numel() * 4 for parameter in self.parameters)


def mlp(layers: int, width: int, batch: int, adam: bool = False) -> Training:
    dg.manual_seed(0)
    model = nn.Sequential(*[part for _ in range(layers) for part in (nn.Linear(width, width), nn.ReLU())])
    return Training(model, model.parameters(), dg.randn(batch, width), adam=adam)


def rnn(steps: int, batch: int, width: int) -> Training:
    """Unrolled: the parts of a tensor come as a Python tuple."""
    dg.manual_seed(0)
    w, u = (dg.randn(width, width) * 0.05 for _ in range(2))
    bias = dg.zeros(width)
    for parameter in (w, u, bias):
        parameter.requires_grad_()

    def forward(*parts: Any) -> Any:
        state = dg.zeros(batch, width)
        for part in parts:
            state = dg.tanh(part @ w + state @ u + bias)
        return state

    return Training(forward, (w, u, bias), *(dg.randn(batch, width) for _ in range(steps)))


def single_head(batch: int, length: int, width: int) -> Training:
    """A transformer block of one head, its norms without parameters, in a step that ends with `zero_grad()`."""
    dg.manual_seed(0)
    q, k, v, out = (nn.Linear(width, width) for _ in range(4))
    up, down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(x: Any) -> Any:
        h = dg.layer_norm(x, (width,))
        weights = (q(h) @ k(h).transpose(-2, -1) * width**-0.5).softmax(-1)
        x = x + out(weights @ v(h))
        return x + down(dg.gelu(up(dg.layer_norm(x, (width,)))))

    parameters = [p for layer in (q, k, v, out, up, down) for p in layer.parameters()]
    return Training(forward, parameters, dg.randn(batch, length, width), keep=False)


class Block(nn.Module):
    """A transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Any) -> Any:
        batch, length, width = x.shape
        size = width // self.heads
        q, k, v = self.qkv(self.first(x)).reshape(batch, length, 3, self.heads, size).permute(2, 0, 3, 1, 4).unbind(0)
        weights = dg.softmax(q @ k.transpose(-1, -2) / size**0.5, -1)
        x = x + self.out((weights @ v).permute(0, 2, 1, 3).reshape(batch, length, width))
        return x + self.down(nn.functional.gelu(self.up(self.second(x))))


def transformer(batch: int, length: int, width: int) -> Training:
    dg.manual_seed(0)
    model = Block(width, 4)
    return Training(model, model.parameters(), dg.randn(batch, length, width), adam=True)


@pytest.mark.parametrize(
    ("training", "most"),
    [
        (mlp(4, 512, 256), 1.03),
        (mlp(4, 512, 256, adam=True), 0.84),
        (mlp(3, 256, 64), 1.001),
        (transformer(8, 64, 128), 0.76),
        (single_head(8, 64, 64), 0.75),
    ],
    ids=["mlp", "mlp with Adam", "small mlp", "transformer", "transformer block of one head"],
)
def test_what_a_static_step_allocates_of_what_a_dynamic_one_does(training: Training, most: float) -> None:
    assert training.planned() <= most * training.dynamic()


@pytest.mark.parametrize("layers", [4, 30])
def test_activations_lie_in_gradients_that_are_not_written_yet(layers: int) -> None:
    training = mlp(layers, 128, 64)
    activation = 64 * 128 * 4
    assert training.planned() <= training.gradients + 4 * activation + 1000 * layers


def test_the_terms_of_a_sum_over_time_are_not_kept() -> None:
    steps, batch, width = 40, 16, 64
    training = rnn(steps, batch, width)
    states = steps * batch * width * 4
    weight = width * width * 4
    assert training.planned() <= states + 5 * weight + 8 * batch * width * 4


def test_what_a_result_needs_runs_before_what_frees_nothing() -> None:
    """Updates of parameters run as soon as their gradients are there, not after the whole way back."""
    dg.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(64, 64) for _ in range(20)])
    optimiser = dg.optim.SGD(model.parameters(), lr=0.1)

    @dg.static
    def step(x: Any) -> None:
        model(x).sum().backward()
        optimiser.step()
        optimiser.zero_grad()

    gradient = 64 * 64 * 4
    activation = 8 * 64 * 4
    assert step.explain(dg.randn(8, 64)).peak_bytes <= 21 * activation + 3 * gradient
    assert in_order([]) == []


def test_a_long_sum_of_reductions_is_several_kernels() -> None:
    """Kernels with dozens of reductions take seconds to compile, and all that they reduce is alive until they run."""
    lines = ["graph g(%x: float32[16, 64]) {"]
    total = "r0"
    for i in range(40):
        lines.append(f"  %e{i}: float32[16, 64] = exp(%{f'e{i - 1}' if i else 'x'})")
        lines.append(f"  %r{i}: float32[64] = reduce(%e{i}) {{kind='sum', dims=(0,)}}")
        if i:
            lines.append(f"  %s{i}: float32[64] = add(%{total}, %r{i})")
            total = f"s{i}"
    graph = parse_graph("\n".join([*lines, f"  return %{total}", "}"]))
    steps = [step for step in schedule(graph).steps if isinstance(step, KernelStep)]
    assert max(sum(node.op == "reduce" for node in step.nodes) for step in steps) <= 9
    assert len(steps) < 60
