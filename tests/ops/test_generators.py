"""Generators beside the default one: `generator=` of everything that draws, in both modes."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import duograph as dg
from duograph.errors import ArgumentError, CaptureError

init = dg.nn.init

DRAWS = {
    "rand": lambda g: dg.rand(5, generator=g),
    "rand_like": lambda g: dg.rand_like(dg.zeros(5), generator=g),
    "randn": lambda g: dg.randn((2, 3), generator=g, dtype=dg.float64),
    "randn_like": lambda g: dg.randn_like(dg.zeros(5), generator=g),
    "randint": lambda g: dg.randint(3, 90, (6,), generator=g),
    "randint_like": lambda g: dg.randint_like(dg.zeros(6), 9, generator=g),
    "normal": lambda g: dg.normal(1.0, 2.0, (3,), generator=g),
    "normal around": lambda g: dg.normal(dg.arange(3.0), 2.0, generator=g),
    "bernoulli": lambda g: dg.bernoulli(dg.full((30,), 0.5), generator=g),
    "bernoulli by number": lambda g: dg.zeros(30).bernoulli(0.3, generator=g),
    "multinomial": lambda g: dg.multinomial(dg.ones(9), 4, generator=g),
    "multinomial again": lambda g: dg.ones(9).multinomial(4, True, generator=g),
    "uniform_": lambda g: dg.zeros(3).uniform_(generator=g),
    "normal_": lambda g: dg.zeros(3).normal_(1, 2, generator=g),
    "exponential_": lambda g: dg.zeros(3).exponential_(2.0, generator=g),
    "geometric_": lambda g: dg.zeros(9).geometric_(0.3, generator=g),
    "cauchy_": lambda g: dg.zeros(3).cauchy_(generator=g),
    "log_normal_": lambda g: dg.zeros(3).log_normal_(generator=g),
    "bernoulli_": lambda g: dg.zeros(30).bernoulli_(0.5, generator=g),
    "random_": lambda g: dg.zeros(3).random_(generator=g),
    "init.uniform_": lambda g: init.uniform_(dg.zeros(3), -1, 1, generator=g),
    "init.normal_": lambda g: init.normal_(dg.zeros(3), generator=g),
    "init.xavier_uniform_": lambda g: init.xavier_uniform_(dg.zeros(3, 2), generator=g),
    "init.xavier_normal_": lambda g: init.xavier_normal_(dg.zeros(3, 2), generator=g),
    "init.kaiming_uniform_": lambda g: init.kaiming_uniform_(dg.zeros(3, 2), generator=g),
    "init.kaiming_normal_": lambda g: init.kaiming_normal_(dg.zeros(3, 2), generator=g),
}
DYNAMIC = {
    "randperm": lambda g: dg.randperm(20, generator=g),
    "poisson": lambda g: dg.poisson(dg.full((9,), 5.0), generator=g),
    "binomial": lambda g: dg.binomial(dg.full((9,), 9.0), dg.full((9,), 0.5), generator=g),
    "init.trunc_normal_": lambda g: init.trunc_normal_(dg.zeros(30), generator=g),
    "init.sparse_": lambda g: init.sparse_(dg.zeros(9, 2), 0.3, generator=g),
    "init.orthogonal_": lambda g: init.orthogonal_(dg.zeros(3, 2), generator=g),
}


def seeded(seed=5):
    return dg.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", [*DRAWS, *DYNAMIC])
def test_draws_as_the_default_generator_would(name):
    draw, g = {**DRAWS, **DYNAMIC}[name], seeded()
    dg.manual_seed(1)
    before = dg.get_rng_state()
    found = draw(g)
    assert dg.get_rng_state() == before
    dg.manual_seed(5)
    assert found.tolist() == draw(None).tolist() == draw(seeded()).tolist()
    assert g.get_state() == dg.get_rng_state()
    dg.manual_seed(5)
    assert draw(dg.default_generator).tolist() == found.tolist()


@pytest.mark.parametrize("name", DRAWS)
def test_static_functions_draw_the_same(name):
    dynamic, g = seeded(), seeded()
    static = dg.static(lambda: DRAWS[name](g), strict=True)
    for _ in range(2):
        assert static().tolist() == DRAWS[name](dynamic).tolist()
        assert g.get_state() == dynamic.get_state()


def test_generators_in_branches_and_loops_of_static_functions():
    def walk(x, g):
        y = dg.randn(4, generator=g)
        if x.sum() > 0:
            y = y + dg.rand(4, generator=g)
        while y.sum() < 5:
            y = y + dg.rand(4, generator=g) + dg.rand(1)
        return y

    static, mine, its = dg.static(walk), seeded(), seeded()
    for value in (1.0, -1.0, 1.0):
        for seed in (1, 2):
            mine.manual_seed(seed), its.manual_seed(seed)
            dg.manual_seed(9)
            expected = walk(dg.tensor([value]), mine)
            dg.manual_seed(9)
            assert static(dg.tensor([value]), its).tolist() == pytest.approx(expected.tolist())
            assert mine.get_state() == its.get_state()


def test_states():
    g = seeded()
    state = g.get_state()
    first = dg.rand(3, generator=g).tolist()
    clone = g.clone_state()
    copies = clone, copy.deepcopy(g), pickle.loads(pickle.dumps(g))
    second = dg.rand(3, generator=g).tolist()
    assert all(dg.rand(3, generator=each).tolist() == second for each in copies)
    assert dg.rand(3, generator=g.set_state(state)).tolist() == first != second
    assert g.initial_seed() == 5 and g.seed() == g.initial_seed() != 5
    assert str(g.device) == "cpu"


def test_state_of_the_default_generator():
    dg.manual_seed(3)
    state = dg.get_rng_state()
    first = dg.rand(3).tolist()
    dg.set_rng_state(state)
    assert dg.rand(3).tolist() == first
    dg.set_rng_state(*state)
    assert dg.rand(3).tolist() == first
    assert dg.default_generator.set_state(state).get_state() == state and dg.rand(3).tolist() == first
    assert dg.initial_seed() == 3 == dg.default_generator.initial_seed()
    assert dg.seed() == dg.initial_seed() != 3


def test_loaders_and_splits():
    items = dg.utils.data.TensorDataset(dg.arange(10))

    def order(**keywords):
        return [int(i) for (batch,) in dg.utils.data.DataLoader(items, 4, **keywords) for i in batch]

    dg.manual_seed(1)
    before = dg.get_rng_state()
    first = order(shuffle=True, generator=seeded())
    assert first == order(shuffle=True, generator=seeded()) != list(range(10)) and sorted(first) == list(range(10))
    sampler = dg.utils.data.RandomSampler(items, True, 30, generator=seeded())
    assert list(sampler) == list(dg.utils.data.RandomSampler(items, True, 30, generator=seeded()))
    splits = [dg.utils.data.random_split(items, [7, 3], generator=seeded()) for _ in range(2)]
    assert splits[0][1].indices == splits[1][1].indices
    assert dg.get_rng_state() == before


def test_what_is_no_generator():
    for wrong in (3, "cpu", torch.Generator()):
        with pytest.raises(ArgumentError, match="generator must be a Generator or None"):
            dg.rand(2, generator=wrong)
        with pytest.raises(ArgumentError, match="generator must be a Generator or None"):
            dg.zeros(2).uniform_(generator=wrong)
    with pytest.raises(ArgumentError, match="on the cpu, not on 'cuda'"):
        dg.Generator("cuda")


def test_what_static_functions_refuse():
    g = seeded()
    with pytest.raises(CaptureError, match="outside of static functions"):
        dg.static(lambda: dg.tensor(g.get_state()))()
    with pytest.raises(CaptureError, match=r"manual_seed\(\) changes or reads what holds for the whole process"):
        dg.static(lambda: g.manual_seed(3) and dg.rand(2, generator=g))()
    with pytest.raises(CaptureError, match="draws from the default generator only"):
        dg.static(lambda: dg.poisson(dg.ones(2), generator=g))()


def test_threads_have_generators_of_their_own():
    from concurrent.futures import ThreadPoolExecutor

    def draw(seed):
        g = seeded(seed)
        return [dg.rand(2, generator=g).tolist() for _ in range(50)]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(draw, range(8))) == [draw(seed) for seed in range(8)]
