"""The same bits on any number of threads, run after run, and at every instruction level where the contract says so."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LEVELS = ("x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4", "native")

TRAINING = """
import hashlib
import duograph as dg
from duograph import nn
dg.manual_seed(1)
x, y = dg.rand(64 * 25, 64), dg.randint(0, 10, (64 * 25,))
for make in (lambda f: f, dg.static, lambda f: dg.static(f, strict=True)):
    dg.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = dg.optim.Adam(model.parameters(), lr=3e-3)

    @make
    def step(images, labels):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    bits = hashlib.sha256()
    for start in range(0, 64 * 25, 64):
        bits.update(step(x[start : start + 64], y[start : start + 64]).detach().numpy().tobytes())
    for parameter in model.parameters():
        bits.update(parameter.detach().numpy().tobytes())
    print(bits.hexdigest()[:16])
"""

# One line per group of operators: "any": the same at every level; "fma": among levels with fused multiply-add.
OPERATORS = """
import hashlib
import duograph as dg
F = dg.nn.functional

def show(promise, name, *tensors):
    bits = hashlib.sha256()
    for t in tensors:
        bits.update(t.detach().contiguous().numpy().tobytes())
    print(promise, name, bits.hexdigest()[:16])

dg.manual_seed(0)
a, b = dg.rand(67, 131) * 6 - 3, dg.rand(67, 131) * 6 - 3  # randn takes logarithms
i = (a * 100).to(dg.int32)
k = dg.where(i == 0, 7, (b * 9).to(dg.int32) | 1)
show("any", "random", dg.rand(1000), dg.randint(0, 99, (100,)), dg.randperm(50))
show("any", "arithmetic", a + b, a - b, a * b, a / b, -a, a.abs(), a.sqrt(), dg.maximum(a, b), a.floor(), a.round(), a // b)
show("any", "integers", i // k, i % k, i << 3, i >> 2, i * k, (a * 1e30).to(dg.int64), (a * 1e9).to(dg.uint8))
show("any", "16 bits", a.half(), a.to(dg.bfloat16).float(), a.half() + b.half(), a.double().half(), (a * 1e6).half())
show("any", "sums", a.sum(), a.sum(0), a.sum(1), a.mean(), dg.rand(70_001).sum(), a.double().sum(0), a.prod(1), i.sum())
show("any", "choices", a.max(), a.amin(0), a.argmax(1), dg.where(a > b, a, b), a[i[:, 0] % 67], F.one_hot(i[0] % 5, 5))
show("fma", "matmul", a @ b.T, a.T @ b, a[:1] @ b.T, a.double() @ b.double().T, a[None] @ b.T[None])
show("fma", "elementary", a.exp(), a.abs().log(), a.sin(), a.tanh(), a.erf(), a.sigmoid(), a.abs() ** b, a.double().exp())
show("fma", "compositions", F.softmax(a, 1), F.layer_norm(a, (131,)), F.gelu(a), a.var(1))
x = a.clone().requires_grad_()
(F.softmax(x @ b.T, 1) * 3).square().sum().backward()
show("fma", "gradients", x.grad)
"""


def run(code: str, level: str, threads: int = 1) -> list[str]:
    environment = {**os.environ, "DUOGRAPH_ISA": level, "DUOGRAPH_NUM_THREADS": str(threads)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def has(level: str) -> bool:
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        flags = set(next(line for line in file if line.startswith("flags")).split())
    return {
        "x86-64-v3": {"avx2", "fma", "bmi2"} <= flags,
        "x86-64-v4": {"avx512f", "avx512bw", "avx512vl"} <= flags,
        "native": {"fma"} <= flags,
    }.get(level, True)


def test_training_on_one_and_two_threads() -> None:
    first = run(TRAINING, "native", 1)
    assert first[0] == first[2]  # strict static has the dynamic graph's bits
    assert run(TRAINING, "native", 2) == first
    assert run(TRAINING, "native", 1) == first


@pytest.mark.parametrize("fused", [pytest.param(False, marks=pytest.mark.long), True])
def test_training_at_every_level(fused: bool) -> None:
    levels = [level for level in LEVELS if has(level) and (level not in LEVELS[:2]) == fused]
    results = {level: run(TRAINING, level, threads) for threads, level in enumerate(levels, 1)}
    assert len({tuple(lines) for lines in results.values()}) <= 1, results


def test_operators_at_every_level() -> None:
    levels = [level for level in LEVELS if has(level)]
    results = {level: run(OPERATORS, level) for level in levels}
    assert len({len(lines) for lines in results.values()}) == 1 and len(results["x86-64"]) == 10
    for lines in zip(*results.values(), strict=True):
        everywhere = lines[0].startswith("any")
        compared = {line for level, line in zip(levels, lines, strict=True) if everywhere or level not in LEVELS[:2]}
        assert len(compared) <= 1, lines
