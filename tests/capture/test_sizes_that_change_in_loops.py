"""Variables that change their size from turn to turn of a loop that a tensor steers."""

import numpy as np
import pytest

import duograph as dg


def rows(*shape, seed=0):
    return dg.tensor(np.random.default_rng(seed).standard_normal(shape).astype("float32"))


def gradients(function, args, order):
    """The gradients of a weighted sum of the results, then those of the sum of their squares."""
    xs = [a.clone().detach().requires_grad_() if a.dtype.is_floating_point else a for a in args]
    dg.manual_seed(0)
    out = function(*xs)
    outs = [o for o in (out if isinstance(out, tuple) else (out,)) if isinstance(o, dg.Tensor) and o.requires_grad]
    wanted = [x for x in xs if x.requires_grad]
    if not outs or not wanted:
        return []
    loss = sum((o * dg.linspace(0.5, 1.5, o.numel()).reshape(o.shape)).sum() for o in outs)
    found = dg.autograd.grad(loss, wanted, allow_unused=True, create_graph=order > 1)
    second = sum((g * g).sum() for g in found if g is not None) if order > 1 else None
    if second is not None and second.requires_grad:
        found = (*found, *dg.autograd.grad(second, wanted, allow_unused=True))
    return [None if g is None else g.detach().numpy() for g in found]


def check(function, *calls, captures=2):
    static = dg.static(function)
    for args in calls:
        results = []
        for one in (static, function):
            dg.manual_seed(0)
            out = one(*args)
            results.append(out if isinstance(out, tuple) else (out,))
        for got, expected in zip(*results, strict=True):
            if isinstance(expected, dg.Tensor):
                assert got.dtype is expected.dtype and got.shape == expected.shape
                np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
            else:
                assert type(got) is type(expected) and got == expected
        for order in (1, 2):
            for got, expected in zip(gradients(static, args, order), gradients(function, args, order), strict=True):
                if got is None or expected is None:
                    assert got is None or not got.any()
                else:
                    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert static.captures <= captures + 2  # with gradients


def test_tokens_are_generated_one_after_the_other():
    def generate(ids, w):
        n = dg.tensor(0)
        while n < 7:
            logits = w @ w[ids].mean(0)
            following = (logits.argmax().reshape(1) + n) % 12
            ids = dg.cat([ids, following])
            n = n + 1
        return ids

    check(generate, (dg.tensor([1, 2, 3]), rows(12, 4)), (dg.tensor([1, 5]), rows(12, 4, seed=5)))


def test_until_the_end_or_the_greatest_length():
    """What is tested has one element, but other shapes than a Python number."""
    table, w = rows(20, 8), rows(8, 20, seed=1)

    def generate(ids):
        following = ids[-1:]
        while following != 0 and ids.shape[0] < 15:
            following = dg.multinomial((table[ids].mean(0) @ w).softmax(-1), 1)
            ids = dg.cat([ids, following])
        return ids

    def generate_until_break(ids):
        while True:
            following = (table[ids].sum(0) @ w).argmax().reshape(1)
            ids = dg.cat([ids, (following + ids.shape[0]) % 20])
            if not (following != 3 and ids.shape[0] <= 9) or following < 0:
                break
        return ids

    for function in (generate, generate_until_break):
        check(function, (dg.tensor([1, 2]),), (dg.tensor([3, 4, 5]),), (dg.tensor([7, 2, 2, 9]),))


def test_keys_and_values_are_kept():
    def attend(x, w):
        kept, n = x[:1], dg.tensor(0)
        while n < 5:
            query = kept[-1] @ w
            weights = dg.softmax(kept @ query, 0)
            kept = dg.cat([kept, (weights[:, None] * kept).sum(0)[None]])
            n += 1
        return kept

    check(attend, (rows(6, 3), rows(3, 3)), (rows(9, 3), rows(3, 3, seed=2)))


def test_parts():
    def first_goes(x):
        x = x.abs()
        while x.sum() > 1:
            x = x[1:] * 0.9
        return x, x.shape[0]

    def last_goes(x):
        y = x
        while y.abs().sum() > 2:
            y = y[:-1]
        m = y.mean() if y.shape[0] > 1 else y.sum()
        return (x[: y.shape[0]] * y).sum() + m

    def outliers_go(x):
        n, y = dg.tensor(0.0), x
        while y.abs().sum() > 0.5 and n < 6:
            y = y[y.abs() < 1.5 - 0.3 * n]
            n = n + 1
        return y, n

    for function in (first_goes, last_goes, outliers_go):
        check(function, (rows(5),), (rows(5, seed=3),), (rows(9),), (rows(12, seed=4),))


def test_several_variables_and_dimensions():
    def one_after_the_other(x):
        a, b = x[:1].abs() + 1, x[:2].abs() + 1
        while b.sum() < 100:
            a, b = b, dg.cat([a, b])
        return a, b

    def both_dimensions(x):
        y = x.abs() + 0.5
        while y.sum() < 60:
            y = dg.cat([y, y[:, :1]], 1)
            y = dg.cat([y, y[:1]], 0)
        return y

    check(one_after_the_other, (rows(3),), (rows(4),), (rows(5, seed=2),))
    check(both_dimensions, (rows(2, 3),), (rows(4, 2),))


def test_loops_in_branches_and_loops():
    def in_branch(x, c):
        if c > 0:
            while x.abs().sum() > 2:
                x = x[1:]
            return x.sum()
        return x.prod()

    def in_loop(x):
        total = x.sum()
        for row in x:
            y = x
            while y.abs().sum() > 2 + row.abs():
                y = y[1:]
            total = total + (y * row).sum()
        return total

    check(in_branch, (rows(6), dg.tensor(1)), (rows(9), dg.tensor(1)), (rows(9), dg.tensor(-1)))
    check(in_loop, (rows(6),), (rows(9),))


def test_written_in_place_and_random():
    def written(x):
        y = x.clone()
        while y.abs().sum() > 1:
            y = y[1:] * 1.0
            y[:1] = 0.5
            y += 0.1
            y = y * 0.7
        return y

    def drawn(x):
        y = x
        while y.abs().sum() > 1:
            y = y[1:] * dg.rand((1,))
            y = y + dg.rand_like(y) * 0.01
        return y

    check(written, (rows(6),), (rows(9),))
    check(drawn, (rows(6),), (rows(9),))


def test_a_range_of_any_length_is_captured_once():
    def f(x):
        y = x[:1]
        for i in range(x.shape[0]):
            y = dg.cat([y, x[i : i + 1] * y.sum()])
        return y

    static = dg.static(f)
    for n in (9, 10, 11, 15, 40):
        x = rows(n) * 0.1
        np.testing.assert_allclose(static(x).numpy(), f(x).numpy(), rtol=1e-4)
    assert static.captures == 2


def test_gradient_inside():
    def f(x):
        y = x
        while y.abs().sum() > 1:
            y = y[1:] * 1.5 if y.shape[0] > 2 else y * 0.4
        return dg.autograd.grad((y * y).sum(), x)[0]

    static = dg.static(f)
    for n in (4, 6, 9):
        x = rows(n).requires_grad_()
        np.testing.assert_allclose(static(x).numpy(), f(x).numpy(), rtol=1e-4)


def test_tangents():
    def f(x):
        y = x.abs()
        while y.sum() < 30:
            y = dg.cat([y, y[-1:] * 1.5])
        return y * y

    x = rows(4)
    got, expected = (dg.func.jvp(g, (x,), (dg.ones(4),)) for g in (dg.static(f), f))
    for a, b in zip(got, expected):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5)


def test_memory_stays_flat():
    def f(x):
        n = dg.tensor(0)
        while n < 20_000:
            x = dg.cat([x[1:], x[:1]]) if x.shape[0] > 3 else dg.cat([x, x[:1]])
            n += 1
        return x

    assert dg.static(f)(rows(2)).shape == f(rows(2))[:4].shape


def test_what_differs_otherwise_is_refused():
    def dtype(x):
        while x.sum() < 10:
            x = dg.cat([x.double(), x[:1].double()])
        return x

    def rank(x):
        while x.sum() < 10:
            x = x[None]
        return x

    def second(x):
        y = x
        while y.abs().sum() > 1:
            y = y[1:] * y[1:] * 0.9
        (g,) = dg.autograd.grad(y.sum(), x, create_graph=True)
        return dg.autograd.grad((g * g).sum(), x)[0]

    for function, text in ((dtype, "dtype"), (rank, "shape"), (second, "change their size")):
        with pytest.raises(dg.errors.CaptureError, match=text) as error:
            dg.static(function)((rows(4) * 0.5).requires_grad_())
        assert "test_sizes_that_change_in_loops.py" in str(error.value)
