"""`dg.tune`: what it measures, takes, keeps and leaves alone. Times are made up where the test says which way is the fastest."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph.codegen.contraction import algorithms
from duograph.runtime import choices, measure


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No program and no choice from before."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("DUOGRAPH_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def fastest(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[tuple[str, ...]]]:
    """Makes one way the fastest wherever it is possible; gives what is measured, which is empty where nothing is."""
    measured: list[tuple[str, ...]] = []

    def make(way: str) -> list[tuple[str, ...]]:
        def race(ways: dict[str, Any], rule: str) -> dict[str, float]:
            measured.append(tuple(ways))
            return {name: 1e-3 if name == way else 2e-3 for name in ways}

        monkeypatch.setattr(measure, "race", race)
        return measured

    return make


def convolution(kernels: int = 32, size: int = 14) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    shapes = (2, 16, size, size), (kernels, 16, 3, 3)
    x, w = (dg.from_numpy(rng.standard_normal(shape).astype("float32")) for shape in shapes)

    def run(x: Any, w: Any) -> Any:
        return dg.nn.functional.conv2d(x, w, padding=1).relu()

    return run, x, w


def ways_of(function: Any, *args: Any) -> list[str]:
    return [kernel.way for kernel in function.explain(*args).static.kernel_list if kernel.way]


@pytest.mark.parametrize("way", ["product", "direct", "narrow direct"])
def test_the_fastest_way_is_taken_and_no_bit_changes(way: str, place: Path, fastest: Any) -> None:
    run, x, w = convolution(kernels=40)
    measured = fastest(way)
    function, strict = dg.static(run), dg.static(run, strict=True)
    before = function(x, w)
    assert ways_of(function, x, w) == ["product"]
    report = dg.tune(function, x, w)
    (row,) = report.contractions
    assert (row.rule, row.way, row.is_new) == ("product", way, True)
    assert measured == [("product", "direct", "narrow direct")]
    assert row.gain == (1.0 if way == "product" else 2.0) and report.folder == str(place)
    assert ways_of(function, x, w) == [way] and ways_of(strict, x, w) == ["product"]
    assert np.array_equal(function(x, w).numpy(), before.numpy()) and np.array_equal(strict(x, w).numpy(), before.numpy())
    assert ways_of(dg.static(run), x, w) == [way]  # in other functions, too
    assert not dg.tune(function, x, w).contractions[0].is_new and len(measured) == 1
    dg.tune.forget()
    assert ways_of(function, x, w) == ["product"]


def test_what_is_hardly_faster_is_not_taken(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, x, w = convolution()
    monkeypatch.setattr(measure, "race", lambda ways, rule: {name: 1.0 if name == "direct" else 0.98 for name in ways})
    (row,) = dg.tune(dg.static(run), x, w).contractions
    assert row.rule == row.way == "direct" and row.gain == 1.0


PROGRAM = """
import sys
import duograph as dg
from duograph.runtime import choices
run = dg.static(lambda x, w: dg.nn.functional.conv2d(x, w, padding=1).relu())
x, w = dg.ones(2, 16, 14, 14), dg.ones(40, 16, 3, 3)
dg.set_num_threads(int(sys.argv[1]))
if sys.argv[2] == "tune":
    from duograph.runtime import measure
    measure.race = lambda ways, rule: {name: 1.0 if name == "direct" else 2.0 for name in ways}
    dg.tune(run, x, w)
print(run(x, w).sum().item(), "llvmlite" in sys.modules)
print([kernel.way for kernel in run.explain(x, w).static.kernel_list if kernel.way], len(choices.table()))
"""


def test_other_processes_know(place: Path) -> None:
    environment = {**os.environ, "DUOGRAPH_CACHE_DIR": str(place)}

    def process(*arguments: str) -> list[str]:
        command = [sys.executable, "-c", PROGRAM, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        return done.stdout.splitlines()

    (value, _), plain = process("1", "")[0].split(), "['product'] 0"
    tuned = process("1", "tune")
    assert tuned[0].split()[0] == value and tuned[1] == "['direct'] 1"
    assert process("1", "") == [f"{value} False", "['direct'] 1"]  # found in the object cache
    assert process("2", "")[1] == "['product'] 1"  # measured on one thread
    assert plain == "['product'] 0"


def test_without_tuning_nothing_is_looked_at(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(algorithms, "ways", asked.append)
    run, x, w = convolution()
    dg.static(run)(x, w)
    assert not asked and not choices.table()


@pytest.mark.parametrize("kernels", [12, 40, 64])
@pytest.mark.parametrize("form", ["forward", "to the image", "to the kernels"])
def test_all_ways_give_the_same_bits(kernels: int, form: str, place: Path, fastest: Any) -> None:
    """Also those that the rule would not take: few pixels, few rows, few kernels."""
    found: dict[str, Any] = {}
    for way in (algorithms.PRODUCT, algorithms.DIRECT, algorithms.NARROW, algorithms.TAPS):
        made = []
        for size, stride in ((4, 1), (9, 2), (16, 1)):
            _, x, w = convolution(kernels, size)
            x.requires_grad_(form == "to the image")
            w.requires_grad_(form == "to the kernels")

            def run(x: Any, w: Any, stride: int = stride) -> Any:
                made = dg.nn.functional.conv2d(x, w, padding=1, stride=stride)
                if form == "forward":
                    return made
                return dg.autograd.grad(made, w if form == "to the kernels" else x, dg.cos(made.detach()))[0]

            function = dg.static(run)
            fastest(way)
            dg.tune(function, x, w)
            made.append(function(x, w).detach().numpy())
            dg.tune.forget()
        found[way] = made
    for made in found.values():
        assert all(np.array_equal(one, other) for one, other in zip(made, found[algorithms.PRODUCT]))


def test_a_training_step_is_tuned_without_being_run(place: Path) -> None:
    dg.manual_seed(0)
    layer = dg.nn.Conv2d(3, 40, 3)
    optimizer = dg.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    calls = []

    @dg.static
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (layer(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    x, before = dg.rand(2, 3, 12, 12), layer.weight.detach().clone()
    report = dg.tune(step, x)
    assert {row.rule for row in report.contractions} <= set(algorithms.FIELDS) and len(report.contractions) == 2
    assert all(min(row.seconds.values()) > 0 for row in report.contractions)
    assert np.array_equal(layer.weight.detach().numpy(), before.numpy()) and layer.weight.grad is None and not calls
    text = str(report)
    assert "step: " in text and "test_tune.py:" in text and "× 100]" in text and str(place) in text
    step(x)
    assert not np.array_equal(layer.weight.detach().numpy(), before.numpy())


def test_methods_and_modules_of_static_classes(place: Path, fastest: Any) -> None:
    @dg.static
    class Network(dg.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = dg.nn.Conv2d(16, 40, 3)

        def forward(self, x: Any) -> Any:
            return self.layer(x)

    network, x = Network(), dg.rand(2, 16, 9, 9)
    fastest("direct")
    with dg.no_grad():
        before = network(x)
        for given in (network, network.forward):
            assert [row.way for row in dg.tune(given, x).contractions] == ["direct"]
        assert np.array_equal(network(x).numpy(), before.numpy())


def test_sizes_that_only_a_run_knows_are_left(place: Path) -> None:
    run, x, w = convolution()
    function = dg.static(run)
    function(x, w), function(dg.cat([x, x]), w)
    report = dg.tune(function, x, w)
    assert report.unknown == 1 and not report.contractions and "1 more have sizes" in str(report)


def test_mistakes() -> None:
    run, x, w = convolution()
    with pytest.raises(dg.errors.ArgumentError, match=r"tune: run is not a static function[\s\S]*hint: dg\.tune\(dg\.static"):
        dg.tune(run, x, w)
    with pytest.raises(dg.errors.ArgumentError, match="tune: run is strict"):
        dg.tune(dg.static(run, strict=True), x, w)
    inner = dg.static(run)
    with pytest.raises(dg.errors.CaptureError, match="tune: it measures"):
        dg.static(lambda x, w: dg.tune(inner, x, w) and x)(x, w)


def test_a_folder_that_cannot_be_written_to(place: Path, fastest: Any) -> None:
    run, x, w = convolution(kernels=40)
    fastest("direct")
    place.write_text("a file")
    with pytest.warns(dg.errors.CaptureWarning, match="cannot be written to"):
        report = dg.tune(function := dg.static(run), x, w)
    assert report.folder is None and "this process alone" in str(report) and ways_of(function, x, w) == ["direct"]
    dg.tune.forget()


def test_a_forked_child_tunes(place: Path, fastest: Any) -> None:
    run, x, w = convolution(kernels=40)
    fastest("direct")
    child = os.fork()
    if child == 0:
        function = dg.static(run)
        dg.tune(function, x, w)
        os._exit(0 if ways_of(function, x, w) == ["direct"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    choices._tables.clear()
    assert ways_of(dg.static(run), x, w) == ["direct"]


def test_the_example(place: Path) -> None:
    from duograph.capture import tune

    assert doctest.testmod(tune) == doctest.TestResults(failed=0, attempted=4)
