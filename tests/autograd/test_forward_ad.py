"""Dual tensors against PyTorch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.autograd.forward_ad

import duograph as dg
import duograph.autograd.forward_ad as fwAD


def products(L: Any, x: Any, p: Any) -> Any:
    duals = L.autograd.forward_ad
    with duals.dual_level():
        dual = duals.make_dual(x, L.tensor([1.0, 10.0]))
        row = dual * 2
        row[0] = dual.sum()
        found = duals.unpack_dual((row * p).sin() + dual.cumsum(0))
        bare = duals.unpack_dual(p * 2)
    assert bare.tangent is None
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("outside", ["none", "the primal", "a factor", "no_grad"])
def test_against_torch(outside: str) -> None:
    made = []
    for L in (dg, torch):
        x = L.tensor([0.5, 2.0], requires_grad=outside == "the primal")
        p = L.tensor([3.0, 4.0], requires_grad=outside == "a factor")
        with L.set_grad_enabled(outside != "no_grad"):
            primal, tangent = products(L, x, p)
        slopes = [L.autograd.grad(tangent.sum(), v)[0].tolist() for v in (x, p) if v.requires_grad and outside != "no_grad"]
        made.append([primal.tolist(), tangent.tolist(), *slopes])
        assert L.is_grad_enabled()
    for ours, theirs in zip(*made, strict=True):
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs))


def test_in_static_functions() -> None:
    def function(x: Any) -> Any:
        return products(dg, x, dg.tensor([3.0, 4.0])).tangent

    x = dg.tensor([0.5, 2.0])
    assert dg.static(function)(x).tolist() == pytest.approx(function(x).tolist(), rel=1e-6)


def test_mistakes() -> None:
    x = dg.ones(2)
    with pytest.raises(dg.errors.GradError, match=r"(?s)make_dual: there is no open dual level.*dual_level\(\):"):
        fwAD.make_dual(x, x)
    with fwAD.dual_level():
        with pytest.raises(
            dg.errors.ArgumentError, match=r"the tangent must be float32\[2\], as the tensor is, not float32\[3\]"
        ):
            fwAD.make_dual(x, dg.ones(3))
        with pytest.raises(dg.errors.ArgumentError, match=r"make_dual: tensor must be a Tensor of floats, not int64\[1\]"):
            fwAD.make_dual(dg.tensor([1]), x)
        with pytest.raises(dg.errors.GradError, match="a dual level is open already"):
            fwAD.enter_dual_level()
    with pytest.raises(dg.errors.GradError, match="no open dual level to exit"):
        fwAD.exit_dual_level()
