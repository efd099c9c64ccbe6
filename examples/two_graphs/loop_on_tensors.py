"""A race between two counters: an ordinary Python loop whose condition is a tensor."""

import duograph as dg

hare, tortoise = dg.Tensor([0]), dg.Tensor([10])
turns = 0
while (hare < tortoise)[0]:
    hare += 2
    tortoise += 1
    turns += 1
print(f"after {turns} turns: {hare} and {tortoise}")
assert turns == 10
assert hare.item() == tortoise.item() == 20.0
assert hare.dtype == dg.float32
