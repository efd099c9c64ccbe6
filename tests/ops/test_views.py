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


PLACES = {
    "all": ((256, 128), (128, 1), 0),
    "turned": ((128, 256), (1, 128), 0),
    "every second": ((128, 128), (256, 2), 1),
    "three": ((16, 32, 40), (2048, 1, 32), 7),
    "one in front": ((1, 32000), (0, 1), 5),
}


@pytest.mark.parametrize("name", PLACES)
def test_as_strided_scatter_of_many_elements(name: str) -> None:
    """Large copies go by strides where each place is seen once; the operator itself writes by positions."""
    size, stride, offset = PLACES[name]
    x, src = dg.arange(40000.0), -1 - dg.arange(float(np.prod(size))).reshape(size)
    made = dg.as_strided_scatter(x, src.to(dg.float64), size, stride, offset)
    assert made.dtype is dg.float32 and dg.equal(made, dg.ops.as_strided_scatter(x, src, size, stride, offset))
    expected = np.arange(40000.0, dtype=np.float32)
    np.lib.stride_tricks.as_strided(expected[offset:], size, [4 * s for s in stride])[...] = src.numpy()
    np.testing.assert_array_equal(made.numpy(), expected)
    assert x[7].item() == 7.0


def test_as_strided_scatter_of_many_elements_over_one_another() -> None:
    x, src = dg.zeros(40000), dg.ones(200, 200)
    assert dg.as_strided_scatter(x, src, (200, 200), (1, 1)).sum().item() == 399
    with pytest.raises(dg.errors.ShapeError, match="reach beyond 40000 elements"):
        dg.as_strided_scatter(x, src, (200, 200), (300, 1))
    leaf = dg.zeros(40000, requires_grad=True)
    dg.as_strided_scatter(leaf, src, (200, 200), (200, 1)).sum().backward()
    assert leaf.grad is not None and leaf.grad.sum().item() == 0


def test_dimensions_of_a_scalar_that_are_moved() -> None:
    x = dg.tensor(1.0)
    assert x.movedim(0, -1).shape == ()
    for source, destination in ((0, 1), (-2, 0), ((0,), (0, 0))):
        with pytest.raises(dg.errors.DimensionError, match="movedim"):
            x.movedim(source, destination)
