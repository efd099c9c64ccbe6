"""Kernels read no byte in front of or behind their operands: these lie between pages that nobody may touch."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from duograph.codegen.target import get_target

CODE = """
import ctypes, mmap, numpy as np, duograph as dg

F = dg.nn.functional
libc = ctypes.CDLL(None, use_errno=True)
PAGE = mmap.PAGESIZE

def fenced(shape, dtype, behind):
    '''An array that begins behind a page without access, or ends in front of one.'''
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    pages = -(-size // PAGE)
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for fence in (start, start + (pages + 1) * PAGE):
        assert libc.mprotect(ctypes.c_void_p(fence), PAGE, 0) == 0
    offset = PAGE if behind else (pages + 1) * PAGE - size
    array = np.frombuffer(memory, dtype, int(np.prod(shape)), offset).reshape(shape)
    array[...] = np.random.default_rng(0).uniform(-1, 1, shape)
    kept.append(memory)
    return array

kept = []
programs = [
    *(lambda x, pool=pool, k=k, s=s, p=p: pool(x, k, s, p)
      for pool in (F.max_pool2d, F.avg_pool2d) for k, s, p in ((5, 2, 2), (4, 2, 2), (3, 2, 1), (5, 1, 2), (2, 2, 0), (7, 3, 3))),
    lambda x: F.pad(x[..., ::2], (2, 1)) * 2,
    lambda x: F.pad(x, (-1, 3))[..., 1::2] + 1,
    lambda x: F.pad(x, (2, 2, 1, 1)).flip(-1),
    lambda x: F.unfold(x, 5, padding=2, stride=2).sum(1),
    lambda x: F.conv2d(x, dg.ones(4, 3, 5, 5, dtype=x.dtype), stride=2, padding=2),
    lambda x: F.conv2d(x, dg.ones(3, 1, 3, 3, dtype=x.dtype), stride=2, padding=2, groups=3),
    lambda x: x[..., 1:] - x[..., :-1],
    lambda x: x.transpose(2, 3) + 1,
    lambda x: x.sum(-1),
]
for shape in ((1, 3, 9, 11), (1, 3, 21, 74)):
    for dtype in (np.float32,):
        for behind in (True, False):
            array = fenced(shape, dtype, behind)
            x, y = dg.from_numpy(array), dg.tensor(array.copy())
            assert x.data_ptr() == array.ctypes.data
            for program in programs:
                wanted = program(y).numpy()
                for found in (program(x), dg.static(program)(x)):
                    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-5)
print("fine", flush=True)
import os
os._exit(0)
"""


@pytest.mark.parametrize("isa", ["", "x86-64-v3", "x86-64-v2"])
def test_nothing_beside_operands_is_read(isa: str) -> None:
    if isa == "x86-64-v3" and not get_target().has("avx2"):
        pytest.skip("a processor without AVX2")
    environment = {**os.environ, "DUOGRAPH_ISA": isa} if isa else dict(os.environ)
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout == "fine\n", f"{done.returncode}: {done.stderr[-2000:]}"
