"""y = (w + x)(w + 1): w is reached over two paths, and its gradient is the sum of both."""

import duograph as dg

w = dg.tensor(1.0, requires_grad=True)
x = dg.tensor(2.0, requires_grad=True)


def forward() -> tuple[dg.Tensor, dg.Tensor]:
    left = w + x
    return left, left * (w + 1)


left, y = forward()
y.backward()
assert w.grad.item() == 5.0  # (w + 1) + (w + x)
assert x.grad.item() == 2.0  # (w + 1)
assert w.is_leaf and not left.is_leaf and left.grad is None  # only leaves keep a gradient by default

left, again = forward()
left.retain_grad()
again.backward()
assert left.grad.item() == 2.0 and w.grad.item() == 10.0  # kept when asked; leaves add up

try:
    y.backward()
except RuntimeError as error:
    print(error)
    assert "retain_graph" in str(error)
else:
    raise AssertionError("the graph was freed by the first backward")
