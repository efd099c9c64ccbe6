"""Random graphs give the same bits fused, unfused and unoptimised, and the values NumPy gives."""

from __future__ import annotations

import random

import numpy as np
import pytest
from graph_interpreter import interpret
from random_graphs import RandomGraph

import duograph as dg
from duograph.ir.text import parse_graph, print_graph
from duograph.passes.pipeline import Options, optimise
from duograph.runtime.build import build


def check(seed: int) -> None:
    drawn = RandomGraph(seed, nodes=random.Random(seed).randint(3, 30))
    graph = drawn.graph
    text = print_graph(graph)
    assert print_graph(parse_graph(text)) == text
    optimised = optimise(graph, Options(strict=True, verify=True))
    again = optimise(optimised, Options(strict=True, verify=True))
    assert print_graph(again) == print_graph(optimised)
    tensors = [dg.from_numpy(x) for x in drawn.inputs]
    with np.errstate(all="ignore"):
        expected = interpret(graph, drawn.inputs)
    fused = build(graph).program.run(tensors, [], [])
    unfused = build(graph, fuse=False).program.run(tensors, [], [])
    for a, b, reference in zip(fused, unfused, expected):
        x, y = a.numpy(), b.numpy()
        np.testing.assert_array_equal(x, y, err_msg=f"seed {seed}: fused and unfused differ")
        if np.isfinite(reference).all() and np.abs(reference).max(initial=0) < 1e6:
            np.testing.assert_allclose(x, reference, rtol=2e-3, atol=2e-3, err_msg=f"seed {seed}")


@pytest.mark.parametrize("seed", range(60))
def test_random_graph(seed: int) -> None:
    check(seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 3000))
def test_many_random_graphs(seed: int) -> None:
    check(seed)
