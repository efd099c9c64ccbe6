"""Random graphs give the same bits fused, unfused and unoptimised, and the values NumPy gives."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from graph_interpreter import interpret
from random_graphs import RandomGraph

import duograph as dg
from duograph.ir.text import parse_graph, print_graph
from duograph.passes.pipeline import Options, optimise
from duograph.runtime.build import build


def run(drawn: RandomGraph, fuse: bool) -> list[Any]:
    """Results and written inputs."""
    tensors = [dg.from_numpy(memory_of(x)) for x in drawn.inputs]
    outputs = build(drawn.graph, fuse=fuse, views=not drawn.written).program.run(tensors, [], [])
    return [out.numpy() for out in [*outputs, *(tensors[i] for i in drawn.written)]]


def memory_of(x: Any) -> Any:
    """A copy with the same strides."""
    if x.flags.c_contiguous:
        return x.copy()
    base = x.base.copy()
    return np.lib.stride_tricks.as_strided(base, x.shape, x.strides)


def check(seed: int, cells: bool = False) -> None:
    drawn = RandomGraph(seed, nodes=random.Random(seed).randint(3, 30), cells=cells)
    graph = drawn.graph
    text = print_graph(graph)
    assert print_graph(parse_graph(text)) == text
    optimised = optimise(graph, Options(strict=True, verify=True))
    again = optimise(optimised, Options(strict=True, verify=True))
    assert print_graph(again) == print_graph(optimised)
    with np.errstate(all="ignore"):
        expected = interpret(graph, drawn.inputs)
    for x, y, reference in zip(run(drawn, fuse=True), run(drawn, fuse=False), expected, strict=True):
        np.testing.assert_array_equal(x, y, err_msg=f"seed {seed}: fused and unfused differ")
        if np.isfinite(reference).all() and np.abs(reference).max(initial=0) < 1e6:
            np.testing.assert_allclose(x, reference, rtol=2e-3, atol=2e-3, err_msg=f"seed {seed}")


@pytest.mark.parametrize("seed", range(60))
def test_random_graph(seed: int) -> None:
    check(seed)


@pytest.mark.parametrize("seed", range(500, 560))
def test_random_graph_that_writes_its_inputs(seed: int) -> None:
    check(seed, cells=True)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 3000))
def test_many_random_graphs(seed: int) -> None:
    check(seed, cells=seed % 2 == 1)
