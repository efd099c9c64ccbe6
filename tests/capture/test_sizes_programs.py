"""Whole programs at sizes that change: images, attention, random numbers, the user's own gradients."""

import numpy as np
import pytest

import duograph as dg
from duograph import nn

KERNEL = dg.tensor(np.random.default_rng(9).normal(size=(3, 3)).astype("float32"))
DROP = nn.Dropout(0.5)


def make(*shape, seed=0):
    return dg.tensor(np.random.default_rng(seed).normal(size=shape).astype("float32"))


class Cube(dg.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        ctx.rows = x.shape[0]
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x if g.shape[0] == ctx.rows else g


def convolution(x):
    total = 0.0
    height, width = x.shape
    for i in range(3):
        for j in range(3):
            total = total + KERNEL[i, j] * x[i : height - 2 + i, j : width - 2 + j]
    return total


def pooling(x):
    h, w = x.shape
    return x[: h // 2 * 2, : w // 2 * 2].reshape(h // 2, 2, w // 2, 2).mean((1, 3))


def patches(x):
    n, m = x.shape
    return x.reshape(n, m // 2, 2).permute(1, 0, 2).reshape(m // 2, -1).sum(1)


def attention(x):
    n = x.shape[0]
    scores = (x @ x.T) * x.shape[-1] ** -0.5
    mask = dg.arange(n).unsqueeze(1) >= dg.arange(n).unsqueeze(0)
    return dg.where(mask, scores, float("-inf")).softmax(-1) @ x


def blocks_in_place(x):
    made = dg.zeros(x.shape[0], 8)
    made[:, :4] = x[:, :4]
    made[1:, 4:] += x[:-1, :4]
    made[0] = 1.0
    return made


def normalised(x):
    return (x - x.mean(0)) / (x.std(0) + 1e-5)


def hooked(x):
    y = x * 2
    if y.requires_grad:
        y.register_hook(lambda g: g * 2 if g.shape[0] > 1 else g)
    return y.exp()


PROGRAMS = {
    "convolution": (convolution, 3),
    "pooling": (pooling, 4),
    "patches": (patches, 3),
    "attention": (attention, 3),
    "in place": (blocks_in_place, 3),
    "normalised": (normalised, 3),
    "hook": (hooked, 4),
    "own gradient": (lambda x: Cube.apply(x), 3),
    "dropout": (lambda x: DROP(x), 3),
    "random": (lambda x: x + dg.rand(x.shape[0], x.shape[1]) * dg.randn(*x.shape), 3),
    "ends": (lambda x: x[max(0, x.shape[0] - 3) :] * 2, 4),
    "number": (lambda x: x / float(x.shape[0] * x.shape[1]), 3),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name):
    function, captures = PROGRAMS[name]
    static = dg.static(function, strict=True)
    for shape in ((4, 8), (6, 8), (6, 12), (8, 10), (11, 14), (3, 8), (20, 30), (7, 8)):
        results = []
        for call in (static, function):
            dg.manual_seed(3)
            x = make(*shape, seed=shape[0]).requires_grad_()
            out = call(x)
            (out * out).sum().backward()
            results.append((out.detach().numpy(), x.grad.numpy()))
        np.testing.assert_array_equal(results[0][0], results[1][0])
        np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-5, atol=1e-6)
    assert static.captures <= captures


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm, self.mixed = nn.LayerNorm(width), nn.Linear(width, 3 * width)
        self.out, self.up = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.mixed(self.norm(x)).reshape(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q @ k.transpose(-2, -1)) * (d // self.heads) ** -0.5
        x = x + self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, d))
        return x + self.up(x).relu()


def test_transformer_step():
    def build():
        dg.manual_seed(0)
        table, block, head = nn.Embedding(20, 16), Block(16, 4), nn.Linear(16, 20)
        parameters = [*table.parameters(), *block.parameters(), *head.parameters()]
        optimiser = dg.optim.AdamW(parameters, lr=1e-3)

        def step(ids, target):
            optimiser.zero_grad()
            logits = head(block(table(ids)))
            loss = nn.functional.cross_entropy(logits.reshape(-1, 20), target.reshape(-1))
            loss.backward()
            optimiser.step()
            return loss

        return parameters, step

    (mine, step), (theirs, plain) = build(), build()
    static = dg.static(step, strict=True)
    random = np.random.default_rng(0)
    for shape in ((2, 8), (3, 8), (3, 12), (4, 5), (2, 2), (5, 16)):
        ids, target = dg.tensor(random.integers(0, 20, shape)), dg.tensor(random.integers(0, 20, shape))
        assert static(ids, target).item() == plain(ids, target).item()
        for a, b in zip(mine, theirs):
            np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    assert static.captures == 3


def test_gradients_read_after_a_loop_of_any_length_need_no_new_capture() -> None:
    w = dg.tensor([[0.5, -0.25], [0.125, 0.75]], requires_grad=True)

    def gradient(x: dg.Tensor) -> dg.Tensor:
        h = dg.zeros(x.shape[1], 2)
        for t in range(x.shape[0]):
            h = (x[t] + h @ w).tanh()
        h.sum().backward()
        found, w.grad = w.grad, None
        return found

    static = dg.static(gradient, strict=True)
    for length, batch in ((12, 3), (14, 4), (20, 2), (9, 5), (33, 3)):
        x = dg.randn(length, batch, 2)
        assert static(x).tolist() == gradient(x).tolist()
    assert static.captures <= 3
