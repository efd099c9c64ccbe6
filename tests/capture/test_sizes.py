"""Sizes that change: one capture more, then none, and at each size the dynamic graph's very bits."""

import numpy as np
import pytest

import duograph as dg
from duograph import nn

SIZES = (4, 6, 1, 9, 0, 33, 2, 4, 128)


def make(*shape, seed=0):
    return dg.tensor(np.random.default_rng(seed).normal(size=shape).astype("float32"))


def equal(got, expected):
    if isinstance(expected, (tuple, list)):
        assert len(got) == len(expected)
        for a, b in zip(got, expected):
            equal(a, b)
    elif isinstance(expected, dg.Tensor):
        assert tuple(got.shape) == tuple(expected.shape) and got.dtype is expected.dtype
        np.testing.assert_array_equal(got.detach().numpy(), expected.detach().numpy())
    else:
        assert got == expected and type(got) is type(expected)


def check(function, calls, captures):
    """The function at each call against dynamic mode; no more than so many captures."""
    static = dg.static(function, strict=True)
    for args in calls:
        equal(static(*args), function(*args))
    assert static.captures <= captures, static.captures
    return static


W = make(7, 5, seed=1)
WIDE = make(7, seed=2)

FORWARD = {
    "elementwise": lambda x: (x * 2 + 1).relu().exp(),
    "bias": lambda x: x + WIDE,
    "matmul": lambda x: x @ W,
    "gram": lambda x: x.T @ x,
    "outer": lambda x: x @ x.T,
    "sum": lambda x: x.sum(),
    "sum 0": lambda x: x.sum(0),
    "sum 1": lambda x: x.sum(1, keepdim=True),
    "mean": lambda x: x.mean(1),
    "var": lambda x: x.var(1),
    "softmax": lambda x: x.softmax(1),
    "softmax 0": lambda x: x.exp().sum(0) + x.sum(0),
    "layer norm": lambda x: nn.functional.layer_norm(x, (7,)),
    "transpose": lambda x: x.T.reshape(-1),
    "reshape": lambda x: x.reshape(x.shape[0] * 7),
    "flatten": lambda x: x.flatten(),
    "unsqueeze": lambda x: (x.unsqueeze(1) * x.unsqueeze(0)).sum(2),
    "squeeze": lambda x: x.squeeze(),
    "slice": lambda x: x[1:, :-1],
    "step": lambda x: x[::2],
    "strided": lambda x: x[:, ::3] * 2,
    "half": lambda x: x[: x.shape[0] // 2],
    "pad": lambda x: dg.cat([x, x[:1]], 0),
    "cat": lambda x: dg.cat([x, x * 2]),
    "stack": lambda x: dg.stack([x, x + 1], 1),
    "flip": lambda x: x.flip(0),
    "where": lambda x: dg.where(x > 0, x, 0.0),
    "masked fill": lambda x: x.masked_fill(x > 0, 1.0),
    "expand": lambda x: WIDE.expand(x.shape[0], 7) + x,
    "zeros": lambda x: dg.zeros(x.shape[0], 3) + x[:, :3],
    "ones like": lambda x: dg.ones_like(x) * x,
    "arange": lambda x: dg.arange(x.shape[0]) * 2,
    "full": lambda x: dg.full((len(x), 2), 3.0),
    "one hot": lambda x: nn.functional.one_hot(dg.arange(x.shape[0]) % 5, 5),
    "argmax": lambda x: x.argmax(1),
    "gather": lambda x: x.gather(1, x.argmax(1, keepdim=True)),
    "index": lambda x: x[:, [0, 3]],
    "embedding": lambda x: W[(x[:, 0] > 0).long()],
    "windows": lambda x: x[:, 2:] - x[:, :-2],
    "mean by hand": lambda x: x.sum(0) / x.shape[0],
    "scale": lambda x: x * x.shape[0] ** -0.5 if x.shape[0] else x,
    "shape": lambda x: (x.shape, x.shape[0] + 1, x.numel(), x.size(0), x.size(), x.ndim, len(x), x.shape[-1]),
}


@pytest.mark.parametrize("name", FORWARD)
def test_forward(name):
    function = FORWARD[name]
    limit = {"transpose": 4}.get(name, 3)  # a sum over a size of 1 is none: strict bits want a capture of their own
    check(function, [(make(n, 7, seed=n),) for n in SIZES], limit)
    relaxed = dg.static(function)
    for n in (4, 6, 9, 33, 2, 128):
        relaxed(make(n, 7))
    assert relaxed.captures == 2


def test_two_sizes_that_change_in_turn():
    static = check(
        lambda x: (x.tanh() @ x.transpose(1, 2)).sum(0),
        [(make(b, t, 3, seed=b + t),) for b, t in ((2, 4), (3, 4), (5, 4), (5, 6), (1, 1), (7, 2), (2, 4), (9, 30))],
        4,
    )
    assert static.captures == 4  # one more for the sum over a batch of 1


def test_sizes_that_are_equal_by_chance_are_not_taken_for_equal():
    check(
        lambda x, y: (x.sum(1), y.sum(0)),
        [(make(n, 3), make(4, m)) for n, m in ((2, 2), (5, 5), (6, 6), (6, 8), (9, 2), (1, 4))],
        3,
    )


def test_sizes_that_meet_must_be_equal():
    static = check(
        lambda x, y: x * y + x.sum(),
        [(make(n, 3), make(m, 3)) for n, m in ((4, 4), (6, 6), (9, 9), (1, 1), (5, 1), (8, 1), (1, 7), (1, 2), (3, 3))],
        6,
    )
    before = static.captures
    for n in range(10, 20):
        equal(static(make(n, 3), make(n, 3)), static.__wrapped__(make(n, 3), make(n, 3)))
    assert static.captures == before
    with pytest.raises(dg.errors.ShapeError, match="sizes 21 and 22"):
        static(make(21, 3), make(22, 3))
    with pytest.raises(dg.errors.ShapeError, match=r"inner sizes differ.* 8.* 7"):
        wrong = dg.static(lambda x: x @ W)
        for n in (7, 8):
            wrong(make(3, n))


def test_a_size_that_steers_python():
    def f(x):
        if x.shape[0] > 8:
            return x[:8].sum()
        if x.shape[0] == 3:
            return x * 3
        return x.mean(0)

    static = check(f, [(make(n, 2),) for n in (4, 9, 3, 20, 8, 100, 5, 3, 7, 2, 30)], 5)
    assert static.captures <= 5


def test_a_size_as_a_plain_number_is_a_guard():
    def f(x):
        return x * [0.5, 1.5, 2.5, 3.5][int(x.shape[0]) % 4]

    check(f, [(make(n),) for n in (4, 5, 6, 5, 4)], 3)


def test_training_step():
    def build():
        dg.manual_seed(0)
        model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.LayerNorm(16), nn.Linear(16, 5))
        optimiser = dg.optim.Adam(model.parameters(), lr=1e-2)
        loss_of = nn.CrossEntropyLoss()

        def step(x, y):
            optimiser.zero_grad()
            out = model(x)
            loss = loss_of(out, y)
            loss.backward()
            optimiser.step()
            return loss, (out.argmax(1) == y).float().mean()

        return model, step

    (model, step), (twin, plain) = build(), build()
    static = dg.static(step, strict=True)
    for n in (8, 5, 16, 1, 7, 33, 2, 64):
        x, y = make(n, 12, seed=n), dg.tensor(np.random.default_rng(n).integers(0, 5, n))
        equal(static(x, y), plain(x, y))
        equal([p.detach() for p in model.parameters()], [p.detach() for p in twin.parameters()])
    assert static.captures == 3  # a batch of 1 has its own under strict


@pytest.mark.parametrize(
    "name", ["matmul", "outer", "softmax", "layer norm", "half", "cat", "windows", "expand", "unsqueeze", "var"]
)
def test_gradients_through_the_call(name):
    function = FORWARD[name]
    static = dg.static(function, strict=True)
    for n in (4, 6, 9, 33, 2):
        x = make(n, 7, seed=n).requires_grad_()
        other = make(n, 7, seed=n).requires_grad_()
        for leaf, call in ((x, static), (other, function)):
            out = call(leaf * 1.0)
            (out * out).sum().backward()
        equal(x.grad, other.grad)
    assert static.captures <= 3


def test_second_order():
    def f(x):
        return (x**3).sum(0).tanh()

    static = dg.static(f)
    for n in (3, 5, 8):
        results = []
        for call in (static, f):
            x = make(n, 2, seed=n).requires_grad_()
            (first,) = dg.autograd.grad(call(x).sum(), x, create_graph=True)
            (second,) = dg.autograd.grad((first * first).sum(), x)
            results.append((first.detach(), second))
        for a, b in zip(*results):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)
    assert static.captures == 2


def test_in_place_and_views_of_arguments():
    def f(x):
        x += 1
        x[0] = 5.0
        half = x[1:]
        half *= 2
        return half, x.T, x

    static = dg.static(f)
    for n in (3, 5, 8, 2):
        x, y = make(n, 4, seed=n), make(n, 4, seed=n)
        got, expected = static(x), f(y)
        equal(got, expected)
        equal(x, y)
        got[0].zero_()
        expected[0].zero_()
        equal(x, y)
        assert got[2] is x and [tuple(g.stride()) for g in got] == [tuple(e.stride()) for e in expected]
    assert static.captures <= 3


def test_results_that_share_memory():
    def f(x):
        y = x * 2
        return y, y[1:], y.T

    static = dg.static(f)
    for n in (3, 5, 8, 2):
        got, expected = static(make(n, 4)), f(make(n, 4))
        equal(got, expected)
        got[1].zero_()
        expected[1].zero_()
        equal(got, expected)
    assert static.captures <= 3


def test_lists_dicts_and_the_same_tensor_twice():
    def f(items, table, x, y):
        return [item.sum(0) for item in items], table["a"] * 2, x @ y.T

    calls = []
    for n in (3, 5, 8, 1):
        x = make(n, 4, seed=n)
        calls.append(([make(n, 2), make(n + 1, 3)], {"a": make(2, n)}, x, x))
    check(f, calls, 3)


def test_overlapping_arguments_keep_their_sizes():
    def f(a, b):
        return a[:-1] + b

    for n in (3, 5, 8):
        x = make(n)
        static = check(f, [(x, x[1:])], 1)
        assert static.captures == 1


def test_closures_over_an_argument():
    box = []

    def f(x):
        return x * 2 + box[0]

    static = dg.static(f)
    for n in (3, 5, 8):
        x = make(n)
        box[:] = [x]
        equal(static(x), f(x))


def test_captures_do_not_grow():
    static = dg.static(lambda x, y: (x @ y).relu().sum(0))
    for k in range(60):
        static(make(1 + k * 7 % 31, 4), make(4, 1 + k * 11 % 17))
    assert static.captures <= 4 and len(static.entries) <= 4


def test_explain_of_a_new_size():
    static = dg.static(lambda x: (x * 2).sum(1))
    for n in (3, 5):
        static(make(n, 4))
    assert "kernels" in str(static.explain(make(7, 4)))


def test_number_arguments_as_sizes():
    def f(x, n, k):
        return x[:n].sum(0) + dg.zeros(k, 3).sum(), dg.arange(n), x[n - 1], n * 2

    check(f, [(make(12, 3, seed=n), n, k) for n, k in ((3, 2), (5, 2), (7, 4), (9, 1), (2, 9), (12, 3), (1, 1))], 6)
    static = dg.static(lambda x, n: x[:n] * 2)
    for n in (3, 5, 0, -1, 20, 7):
        equal(static(make(8, 2), n), make(8, 2)[:n] * 2)


def test_recurrent_code_of_any_length():
    w = make(3, 3, seed=5).requires_grad_()

    def by_rows(xs, h):
        for x in xs:
            h = (x @ w + h).tanh()
        return h

    def by_number(xs, h):
        for t in range(xs.shape[0]):
            h = (xs[t] @ w + h).tanh()
        return h

    def by_argument(xs, h, n):
        for t in range(n):
            h = (xs[t] @ w + h).tanh()
        return h

    for function in (by_rows, by_number, by_argument):
        static = dg.static(function)
        for length, batch in ((11, 2), (13, 2), (17, 2), (17, 4), (40, 5), (12, 3), (9, 7)):
            args = [make(length, batch, 3, seed=length), make(batch, 3)] + ([length] if function is by_argument else [])
            results = []
            for call in (static, function):
                w.grad = None
                out = call(*args)
                (out * out).sum().backward()
                results.append((out.detach().numpy(), w.grad.numpy().copy()))
            for a, b in zip(*results):
                np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)
        assert static.captures == 3


def test_arguments_with_gaps():
    def f(x, y):
        y = y.contiguous()
        return (x @ y).sum(0), x * 2, x.reshape(-1), x.T.reshape(-1)

    def columns(n, m):
        return make(n, m + 3, seed=n)[:, :m]

    check(f, [(columns(n, m), make(2, m, seed=m).T) for n, m in ((3, 4), (5, 4), (9, 4), (5, 6), (6, 7), (8, 2), (30, 12))], 5)

    def writes(x):
        x += 1
        x[:, 0] = x.contiguous()[:, 1]
        return x.reshape(-1), x.T

    static = dg.static(writes)
    for n in (3, 5, 8, 12):
        x, y = make(n, 9, seed=n), make(n, 9, seed=n)
        equal(static(x[:, 2:6]), writes(y[:, 2:6]))
        equal(x, y)
    assert static.captures == 2
    equal(static(make(4, 3)), writes(make(4, 3)))  # without gaps it is another structure


def test_gradients_written_to_arguments():
    def f(x):
        (x * x).sum().backward()

    static = dg.static(f)
    for n in (2, 3, 4, 7):
        x, y = make(n, seed=n).requires_grad_(), make(n, seed=n).requires_grad_()
        for call, leaf in ((static, x), (f, y)):
            call(leaf)
        equal(x.grad, y.grad)
    assert static.captures == 2
    for n in (5, 6):  # onto a gradient that is there
        x, y = make(n, seed=n).requires_grad_(), make(n, seed=n).requires_grad_()
        for call, leaf in ((static, x), (static, x), (f, y), (f, y)):
            call(leaf)
        equal(x.grad, y.grad)
