"""`set_flush_denormal`: numbers too small for full precision, in every thread that works for the one that set it."""

from __future__ import annotations

import threading

import pytest

import duograph as dg

SMALL = 1e-39


@pytest.fixture(autouse=True)
def kept_afterwards():
    yield
    dg.set_flush_denormal(False)


def test_kept_at_first():
    assert (dg.full((3,), SMALL) * 0.5).min().item() > 0


@pytest.mark.parametrize("threads", [1, 2])
def test_flushed_by_all_workers(threads):
    before, x = dg.get_num_threads(), dg.full((1_000_000,), SMALL)
    dg.set_num_threads(threads)
    try:
        assert dg.set_flush_denormal(True)
        assert dg.count_nonzero(x * 0.5).item() == 0
        dg.set_flush_denormal(False)
        assert dg.count_nonzero(x * 0.5).item() == 1_000_000
    finally:
        dg.set_num_threads(before)


def test_in_static_functions_and_products():
    static = dg.static(lambda x, y: (x @ y, (x * 0.5).sum()))
    x, y = dg.full((8, 8), SMALL), dg.full((8, 8), 0.5)
    dg.set_flush_denormal(True)
    assert [t.abs().sum().item() for t in static(x, y)] == [0.0, 0.0]
    dg.set_flush_denormal(False)
    assert all(t.abs().sum().item() > 0 for t in static(x, y))


def test_another_thread_has_its_own_mode():
    x, found = dg.full((3,), SMALL), []
    begin, end = threading.Event(), threading.Event()

    def run():
        begin.wait()
        found.append((x * 0.5).min().item())
        dg.set_flush_denormal(True)
        found.append((x * 0.5).min().item())
        end.set()

    thread = threading.Thread(target=run)
    thread.start()
    dg.set_flush_denormal(True)
    begin.set()
    end.wait()
    dg.set_flush_denormal(False)
    thread.join()
    assert found[0] > 0 and found[1] == 0
    assert (x * 0.5).min().item() > 0
