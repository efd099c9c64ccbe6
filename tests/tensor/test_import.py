"""What importing the package costs, and that names imported later are all there."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import duograph as dg


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_loads_the_core_alone() -> None:
    heavy = run(
        "import sys; before = set(sys.modules); import duograph; "
        "new = {name for name in set(sys.modules) - before if name.split('.')[0] == 'duograph'}; "
        "print(sorted(new), [m for m in ('numpy', 'llvmlite', 'inspect', 'ast', 'json') if m in set(sys.modules) - before])"
    )
    assert heavy == "['duograph', 'duograph._core', 'duograph._forks', 'duograph._hooks'] []"


def test_printing_a_sum_needs_no_numpy() -> None:
    program = "import sys, duograph as dg; print((dg.ones(3) * 2 + 1).sum(), 'numpy' in sys.modules)"
    run(program)  # fills the kernel cache
    assert run(program) == "tensor(9.) False"


def test_every_name_resolves() -> None:
    for name in dir(dg):
        getattr(dg, name)
    for name in (
        "Tensor",
        "relu",
        "zeros",
        "nn",
        "optim",
        "utils",
        "save",
        "load",
        "static",
        "compile",
        "jit",
        "no_grad",
        "Error",
    ):
        assert name in dir(dg)
    assert isinstance(dg.tensor(1.0), dg.Tensor) and callable(dg.tensor)
    with pytest.raises(AttributeError, match="module 'duograph' has no attribute 'nothing'"):
        dg.nothing  # noqa: B018


def test_a_fresh_process_unpickles_whole_tensors(tmp_path: Path) -> None:
    path = tmp_path / "x.pickle"
    path.write_bytes(pickle.dumps(dg.tensor([1.0, 2.0])))
    assert run(f"import pickle; x = pickle.load(open({str(path)!r}, 'rb')); print(x + x.exp() * 0)") == "tensor([1., 2.])"


def test_methods_that_are_no_operators() -> None:
    x = dg.tensor([[1.5, -2.0, 0.0]])
    assert (
        x.to(dg.int64).tolist()
        == x.long().tolist()
        == x.to("cpu", dg.int64).tolist()
        == x.to(dg.tensor(1)).tolist()
        == [[1, -2, 0]]
    )
    assert x.to(dg.float32) is x and x.cpu() is x and x.float() is x and x.to(x) is x
    assert x.to(dg.float32, copy=True) is not x
    assert x.bool().tolist() == [[True, True, False]] and x.to(float).dtype is dg.float32 and x.double().dtype is dg.float64
    assert x.type() == "duograph.float32" and x.type(dg.int32).dtype is dg.int32 and x.type_as(dg.tensor(1)).dtype is dg.int64
    assert x.T.shape == (3, 1) and dg.zeros(2, 3, 4).mT.shape == (2, 4, 3)
    assert x.T.contiguous().is_contiguous() and x.contiguous() is x
    assert x.new_zeros(2).tolist() == [0, 0] and x.new_full((1,), 7).dtype is dg.float32 and x.new_tensor([1]).dtype is dg.float32
    with pytest.raises(TypeError, match=r"expected a device, a dtype or a tensor, got \[\]"):
        x.to([])
    with pytest.raises(TypeError, match="unknown argument 'where'"):
        x.to(where=1)
