"""Views share memory, as PyTorch's do; writes through them show in the base, also in gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import duograph as dg

VIEWS: dict[str, Callable[[dg.Tensor], dg.Tensor]] = {
    "reshape": lambda x: x.reshape(4, 6),
    "view": lambda x: x.view(-1),
    "flatten": lambda x: x.flatten(1),
    "squeeze": lambda x: x.unsqueeze(1).squeeze(1),
    "unsqueeze": lambda x: x.unsqueeze(-1),
    "permute": lambda x: x.permute(2, 0, 1),
    "transpose": lambda x: x.transpose(0, -1),
    "slice": lambda x: x[1:, ::2],
    "select": lambda x: x[:, -1],
    "narrow": lambda x: x.narrow(2, 1, 2),
    "split": lambda x: x.split(2, 1)[1],
    "chunk": lambda x: x.chunk(2, 2)[0],
    "unbind": lambda x: x.unbind(1)[2],
    "detach": lambda x: x.detach(),
    "chain": lambda x: x.permute(1, 0, 2)[1:].flatten(1, 2).t()[::3],
}


def base() -> dg.Tensor:
    return dg.arange(24, dtype=dg.float32).reshape(2, 3, 4).clone()


@pytest.mark.parametrize("name", [n for n in VIEWS if n != "chain"])
def test_shares_memory(name: str) -> None:
    x = base()
    y = VIEWS[name](x)
    before = x.clone()
    y.fill_(-1)
    changed = (x != before).sum().item()
    assert changed == y.numel()
    assert (y == -1).all().item()


def test_copies_where_no_view_can_show_it() -> None:
    x = base()
    y = x.transpose(0, 1).reshape(-1)
    y.fill_(-1)
    assert (x >= 0).all().item()
    with pytest.raises(dg.errors.ShapeError, match="view") as caught:
        x.transpose(0, 1).view(-1)
    assert "reshape" in str(caught.value)


def test_view_of_parts() -> None:
    """Splitting a dimension of a tensor with gaps is a view: attention heads."""
    x = base()
    y = x[:, :, :2].view(2, 3, 2, 1)
    np.testing.assert_array_equal(y.numpy().ravel(), x.numpy()[:, :, :2].ravel())
    y.fill_(0)
    assert x[:, :, :2].sum().item() == 0


def test_expand_refuses_writes() -> None:
    with pytest.raises(dg.errors.ShapeError, match="expanded"):
        dg.zeros(1, 3).expand(2, 3).add_(1)


@pytest.mark.parametrize("name", [n for n in VIEWS if n not in ("detach",)])
def test_gradient_through_written_view(name: str) -> None:
    """x's view is multiplied in place by 3: where the view lies the gradient is 3, elsewhere 1."""
    x = base().requires_grad_()
    z = x * 1
    VIEWS[name](z).mul_(3)
    z.sum().backward()
    expected = dg.ones(2, 3, 4)
    VIEWS[name](expected).mul_(3)
    np.testing.assert_array_equal(x.grad.numpy(), expected.numpy())
