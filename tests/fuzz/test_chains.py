"""Random chains of views, in-place writes, indexing and arithmetic: values, aliasing and gradients as in PyTorch.

The seed is printed; `python tests/fuzz/test_chains.py SEED [COUNT]` repeats chains. A failing one is shrunk and printed.
"""

from __future__ import annotations

import sys
from collections import Counter

import chain_sides
import pytest
from test_programs import first_seed

DEFAULT, LONG, PARTS = 200, 5000, 4


def run(start: int, count: int, stop: bool = True) -> Counter[str]:
    seen: Counter[str] = Counter()
    for seed in range(start, start + count):
        try:
            chain_sides.draw_and_run(seed, seen)
            seen["chains"] += 1
        except chain_sides.Difference as error:
            lines, text = chain_sides.shrink(error.lines, seed)
            text = f"seed {seed}: {text}\n" + "\n".join(lines) + "\n"
            if stop:
                pytest.fail(text, pytrace=False)
            print(text, flush=True)
            seen["failed"] += 1
    return seen


@pytest.mark.parametrize("part", range(PARTS))
def test_random_chains(part):
    count = DEFAULT // PARTS
    seen = run(part * count, count)
    print(dict(seen))
    assert seen["step"] > 5 * count, seen
    assert seen["gradient"] + seen["gradient of second order"] > count / 2, seen


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_random_chains():
    start = first_seed()
    print(f"seeds {start} to {start + LONG - 1}: python tests/fuzz/test_chains.py {start} {LONG}")
    print(dict(run(start, LONG)))


# What the fuzzer found, in few lines; with seeds of their outcomes (those divisible by 3 have second-order gradients).
FOUND = {
    "views_of_tensors_with_gaps": """
a1 = make(1, (2, 2, 3), 'float32', 'plain', False)
a2 = a1[:, :, 1]
a3 = a2.reshape((4,))
a4 = a2.view(4)
a5 = a2.flatten()
a3[3] = 2
a4[1:] *= 0.5
""",
    "parts_of_dimensions_of_tensors_with_gaps": """
a1 = make(1, (6, 4), 'float32', 'plain', True)
a0 = a1 * 2
a2 = a0.T[:, ::2]
a3 = a2.reshape(2, 2, 3)
a4 = a2.unflatten(0, (2, -1, 1))
a5 = a2.T.view(3, 2, 2)
a3[0] *= 2
a5[:, 1] += a1[0, 1:3]
""",
    "flatten_of_one_dimension_is_the_tensor": """
a1 = make(1, (3,), 'float64', 'strided', True)
a2 = a1.flatten()
a3 = a1.ravel()
""",
    "windows_of_a_scalar": """
a1 = make(1, (), 'float64', 'plain', True)
a2 = a1.unfold(0, 1, 3)
a3 = a1.unfold(-1, 0, 1)
a4 = a1.T
""",
    "parts_of_a_scalar": """
a1 = make(1, (), 'float64', 'plain', True)
a2 = a1.narrow(-1, 0, 1)
a3 = a1.unbind(0)[0]
a4 = a1.chunk(2, 0)[0]
a5 = a1.split(1)[0]
""",
    "no_elements_of_one": """
a1 = make(1, (2, 1), 'float64', 'plain', True)
a2 = a1.narrow(1, 1, 0)
a3 = a1[:, 1:] * a1
""",
    "nothing_is_overwritten_in_no_elements": """
a1 = make(1, (0,), 'float64', 'plain', True)
a2 = a1.tanh()
a2[given(2, (0,), 'bool')] = True
""",
    "second_order_through_a_write_to_a_view": """
a1 = make(1, (3, 4), 'float64', 'plain', True)
a2 = a1 ** 2
a3 = a2.transpose(0, 1)[1:]
a3[:, 0] *= a1[1, :3]
a2.select(1, 2).tanh_()
a3.diagonal().copy_(a1[0, 1] * a1[0])
""",
    "second_order_through_a_view_written_without_recording": """
a1 = make(1, (4,), 'float64', 'transposed', True)
a2 = a1 ** 2
a3 = a2[::2]
with lib.no_grad(): a2[1:].mul_(0.5)
a4 = a3 ** 2
""",
    "second_order_through_a_write_to_a_view_of_a_turned_tensor": """
a1 = make(1, (3, 4), 'float32', 'transposed', True)
a2 = make(2, (3, 4), 'float32', 'transposed', False)
a2[1:] += a1[1:] ** 2
a3 = a2.T.unfold(0, 2, 1)
a2[0] *= a1[2]
""",
    "second_order_of_rows_added_along_a_dimension_of_one": """
a1 = make(1, (2, 2, 1), 'float64', 'plain', True)
a2 = a1 ** 2
a2.index_add_(-1, lib.tensor([0], dtype=lib.int64), a1 * 3)
a3 = a2.index_select(2, lib.tensor([0, 0], dtype=lib.int64))
a4 = a1.gather(2, lib.tensor([[[0], [0]], [[0], [0]]], dtype=lib.int64)) ** 2
""",
    "a_leaf_overwritten_through_another_tensor": """
a1 = make(1, (2,), 'float64', 'plain', True)
a2 = a1.abs()
a3 = a1.detach()
a3 -= given(5, (2,), 'float64')
""",
    "a_view_of_a_leaf_that_repeats_its_memory_written_without_recording": """
a1 = make(1, (4, 3), 'float64', 'expanded', True)
a2 = a1[1]
with lib.no_grad(): a2.mul_(2)
a3 = a2 ** 2
""",
    "floats_written_into_integers": """
a1 = make(1, (2,), 'float64', 'plain', True)
a2 = make(2, (3, 2), 'int64', 'plain', False)
a2[1] = a1
a3 = a2 * a1
""",
}


@pytest.mark.parametrize("name", FOUND)
@pytest.mark.parametrize("seed", [1, 3, 6])
def test_found(name, seed):
    seen = chain_sides.run_lines(FOUND[name].split("\n")[1:-1], seed, careful=True)
    assert seen["step"] > 0, seen


def test_a_view_of_a_leaf_that_is_a_view_is_not_written():
    lines = ["a1 = lib.zeros(6)[::2].requires_grad_()", "a1[0] *= 2"]
    assert chain_sides.run_lines(lines, 0)["step refused by both"] == 1


PLANTED = {
    "values": "a2 = a1 * (2 if lib.__name__ == 'torch' else 3)",
    "dtype": "a2 = a1.detach() * 1 if lib.__name__ == 'torch' else (a1.detach() * 1).to(lib.float32)",
    "aliasing": "a2 = a1.detach() if lib.__name__ == 'torch' else a1.detach().clone()",
    "identity": "a2 = a1 if lib.__name__ == 'torch' else a1.view(3)",
    "requires_grad": "a2 = a1 * 2 if lib.__name__ == 'torch' else a1.detach() * 2",
    "gradient": "a2 = a1 * 2 if lib.__name__ == 'torch' else a1.detach() + a1",
    "only PyTorch raises": "a2 = a1[3] if lib.__name__ == 'torch' else a1[2]",
    "only duograph raises": "a2 = a1[2] if lib.__name__ == 'torch' else a1[3]",
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_differences_are_found(name):
    found = chain_sides.difference(["a1 = make(1, (3,), 'float64', 'plain', True)", PLANTED[name]], 2)
    assert found is not None, name


def test_planted_second_order_difference_is_found():
    line = "a2 = a1 ** 2 if lib.__name__ == 'torch' else a1 * a1.detach() * 2 - a1.detach() ** 2"
    lines = ["a1 = make(1, (3,), 'float64', 'plain', True)", line]
    assert "order 2" in str(chain_sides.difference(lines, 3))
    assert chain_sides.difference(lines, 2) is None  # values and first order agree


if __name__ == "__main__":
    print(dict(run(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1, stop=False)))
