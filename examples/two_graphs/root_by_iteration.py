"""A loop that runs until its tensor is good enough: one static graph for any number of turns, differentiated twice."""

import duograph as dg


def cube_root(x: dg.Tensor) -> dg.Tensor:
    guess = x
    while (guess * guess * guess - x).abs() > 1e-4 * x:
        guess = (2 * guess + x / (guess * guess)) / 3
    return guess


def derivatives(function, value: float) -> tuple[float, float, float]:
    x = dg.tensor(value, requires_grad=True)
    y = function(x)
    (slope,) = dg.autograd.grad(y, x, create_graph=True)
    (bend,) = dg.autograd.grad(slope, x)
    return y.item(), slope.item(), bend.item()


static = dg.static(cube_root)
for value in (2.0, 8.0, 125.0, 1000.0):
    dynamic, found = derivatives(cube_root, value), derivatives(static, value)
    print(f"{value:7.1f}  root {found[0]:.4f}  slope {found[1]:.6f}  bend {found[2]:.8f}")
    assert abs(found[0] - value ** (1 / 3)) < 1e-3 * value ** (1 / 3)
    for ours, theirs in zip(found, dynamic):
        assert abs(ours - theirs) <= 1e-4 * max(abs(theirs), 1e-6), (found, dynamic)
assert static.captures == 1
