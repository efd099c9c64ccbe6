"""A forward that looks at its own activations decides anew at each call; a trace would keep one decision, so it is refused."""

import duograph as dg
from duograph import nn


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.widen = nn.Linear(10, 20)
        self.narrow = nn.Linear(20, 10)

    def forward(self, x: dg.Tensor) -> dg.Tensor:
        hidden = dg.relu(self.widen(x))
        if hidden.mean() > 0.5:
            hidden = self.narrow(hidden)
        return hidden


dg.manual_seed(0)
gated = Gated()
quiet, loud = dg.zeros(1, 10), dg.full((1, 10), 50.0)
assert gated(quiet).shape == (1, 20)
assert gated(loud).shape == (1, 10)
try:
    dg.jit.trace(gated, quiet)
except dg.Error as error:
    print(error)
    assert "branch_on_a_value.py" in str(error) and "hidden.mean() > 0.5" in str(error)
else:
    raise AssertionError("a trace must not keep one side of a branch in silence")
