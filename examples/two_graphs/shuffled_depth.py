"""A network that draws its own depth at each step, the hidden layer's weights shared between the turns."""

import random

import duograph as dg
from duograph import nn


class ShuffledDepth(nn.Module):
    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.again = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, outputs)

    def forward(self, x: dg.Tensor) -> dg.Tensor:
        h = dg.relu(self.first(x))
        for _ in range(random.randint(0, 3)):
            h = dg.relu(self.again(h))
        return self.last(h)


random.seed(1)
dg.manual_seed(1)
device = dg.device("cuda:0" if dg.cuda.is_available() else "cpu")
inputs, targets = dg.randn(64, 1000).to(device), dg.randn(64, 10).to(device)
network = ShuffledDepth(1000, 100, 10).to(device)
distance = nn.MSELoss(reduction="sum")
optimizer = dg.optim.Adam(network.parameters(), lr=1e-4)
losses = []
for _ in range(100):
    loss = distance(network(inputs), targets)
    losses.append(loss.item())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"loss {losses[0]:.1f} → {min(losses):.1f}")
assert 500 < losses[0] < 900
assert min(losses) < 0.75 * losses[0]
