"""A network as deep as Python's dice say, trained dynamically and as one static graph: the same losses."""

import random

import duograph as dg
from duograph import nn


class Dice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(30, 16)
        self.again = nn.Linear(16, 16)
        self.leave = nn.Linear(16, 4)

    def forward(self, x: dg.Tensor) -> dg.Tensor:
        x = self.enter(x).tanh()
        for _ in range(random.randint(0, 4)):
            x = self.again(x).tanh()
        return self.leave(x)


def losses(make_static: bool) -> list[float]:
    random.seed(7)
    dg.manual_seed(7)
    model = Dice()
    optimizer = dg.optim.AdamW(model.parameters(), lr=3e-3)
    inputs, targets = dg.randn(32, 30), dg.randn(32, 4)

    def step(x: dg.Tensor, y: dg.Tensor) -> dg.Tensor:
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    run = dg.static(step, strict=True) if make_static else step
    found = [run(inputs, targets).item() for _ in range(60)]
    assert not make_static or run.captures == 1
    return found


dynamic, static = losses(False), losses(True)
print(f"after 60 steps: {dynamic[-1]:.6f} dynamic, {static[-1]:.6f} static")
assert dynamic == static and dynamic[-1] < dynamic[0]
