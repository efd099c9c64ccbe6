"""Autocast in both modes, beside PyTorch's."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
import torch

import duograph as dg
from duograph.errors import ArgumentError, DTypeError
from duograph.passes.rewriting.unrounded import multiplies_pairs

RNG = np.random.default_rng(5)
X = RNG.standard_normal((4, 8), np.float32)
W = RNG.standard_normal((6, 8), np.float32)


def name(x):
    return str(x.dtype).rpartition(".")[2]


def both(function):
    """The names that a function of (framework, autocast) gives, ours dynamic and static, and PyTorch's."""
    ours = function(dg, dg.autocast, dg.tensor(X))
    static = dg.static(lambda x: function(dg, dg.autocast, x))(dg.tensor(X))
    assert ours == static
    return ours, function(torch, torch.autocast, torch.tensor(X))


def test_nested_contexts():
    def run(lib, autocast, x):
        found = []
        with autocast("cpu", dtype=lib.bfloat16):
            found.append(name(x @ x.T))
            with autocast("cpu", enabled=False):
                found.append(name(x @ x.T))
                with autocast("cpu", dtype=lib.float16):
                    found.append(name(x @ x.T))
                found.append(name(x @ x.T))
            found.append(name(x @ x.T))
        found.append(name(x @ x.T))
        return found

    ours, theirs = both(run)
    assert ours == theirs == ["bfloat16", "float32", "float16", "float32", "bfloat16", "float32"]


def test_an_error_inside_ends_it():
    with pytest.raises(ZeroDivisionError), dg.autocast("cpu"):
        raise ZeroDivisionError
    assert not dg.is_autocast_enabled("cpu")


def test_what_is_never_converted():
    def run(lib, autocast, x):
        whole = x.to(lib.int64)
        with autocast("cpu"):
            double = x.double() @ x.double().T
            return [name(double), name(whole @ whole.T), name(x + x), name(x.exp()), name(x.sum())]

    ours, theirs = both(run)
    assert ours == theirs


def test_mixed_operands():
    def run(lib, autocast, x):
        half, other = x.to(lib.bfloat16), x.to(lib.float16)
        with autocast("cpu", dtype=lib.bfloat16):
            made = [lib.cat([half, x]), lib.stack([half, x]), half + x, other @ x.T, lib.nn.functional.mse_loss(half, x)]
            made.append(x.index_copy(0, lib.tensor([1]), half[:1]))
            made.append(lib.nn.functional.layer_norm(half, (8,), x[0], x[1]))
            return [name(m) for m in made]

    ours, theirs = both(run)
    assert ours == theirs


def test_in_place_forms_take_what_they_are_given():
    a = dg.zeros(4, 4)
    with dg.autocast("cpu"):
        a.addmm_(dg.tensor(X), dg.tensor(X).T)
        out = dg.zeros(4, 4)
        assert dg.mm(dg.tensor(X), dg.tensor(X).T, out=out) is out
    np.testing.assert_allclose(a.numpy(), X @ X.T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(out.numpy(), X @ X.T, rtol=1e-5, atol=1e-5)


def loss_of(lib, autocast, x, w, b):
    with autocast("cpu", dtype=lib.bfloat16):
        h = lib.nn.functional.linear(x, w, b).relu()
        h = h @ w
        h = lib.nn.functional.linear(h, w)  # the weight once more
        return lib.nn.functional.mse_loss(h, lib.ones_like(h))


def test_gradients_arrive_in_float32_and_are_those_of_torch():
    def gradients(lib, autocast, run=None):
        x, w, b = lib.tensor(X), lib.tensor(W).requires_grad_(), lib.zeros(6).requires_grad_()
        loss = (run or loss_of)(lib, autocast, x, w, b)
        loss.backward()
        assert name(loss) == name(w.grad) == name(b.grad) == "float32"
        return [loss.detach().numpy(), w.grad.numpy(), b.grad.numpy()]

    ours = gradients(dg, dg.autocast)
    for found, expected in zip(ours, gradients(torch, torch.autocast)):
        np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.02 * np.abs(expected).max())
    static = dg.static(lambda x, w, b: loss_of(dg, dg.autocast, x, w, b), strict=True)
    for found, expected in zip(ours, gradients(dg, dg.autocast, lambda lib, autocast, *given: static(*given))):
        assert found.tobytes() == expected.tobytes()


def test_a_static_step_is_the_dynamic_one_to_the_bit():
    def train(switch):
        dg.manual_seed(1)
        model = dg.nn.Sequential(dg.nn.Conv2d(2, 4, 3), dg.nn.BatchNorm2d(4), dg.nn.ReLU(), dg.nn.Flatten(), dg.nn.Linear(64, 3))
        optimizer = dg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        def step(x, y):
            optimizer.zero_grad()
            with dg.autocast("cpu"):
                loss = dg.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        step = switch(step)
        x, y = dg.randn(5, 2, 6, 6), dg.randint(0, 3, (5,))
        losses = [step(x, y).item() for _ in range(4)]
        return losses, [p.detach().numpy().tobytes() for p in model.parameters()]

    assert train(lambda f: f) == train(lambda f: dg.static(f, strict=True))


def test_a_static_function_is_captured_for_the_autocast_around():
    f = dg.static(lambda x: x @ x.T)
    x = dg.tensor(X)
    found = []
    for _ in range(2):
        found.append(name(f(x)))
        with dg.autocast("cpu"):
            found.append(name(f(x)))
        with dg.autocast("cpu", dtype=dg.float16):
            found.append(name(f(x)))
    assert found == ["float32", "bfloat16", "float16"] * 2 and f.captures == 3
    assert any("autocast was off, autocast was on, to bfloat16 now" in s.reason for s in f.signatures())


def test_a_weight_is_converted_once_in_a_run():
    w = dg.tensor(W).requires_grad_()

    @dg.static
    def f(x):
        with dg.autocast("cpu"):
            return dg.nn.functional.linear(x, w), dg.nn.functional.linear(x * 2, w)

    kernels = str(f.explain(dg.tensor(X))).splitlines()
    by_itself = not multiplies_pairs()  # otherwise products round it while they pack it
    assert sum("bfloat16(w)" in line for line in kernels) == int(by_itself)


def test_casts_of_parameters_are_kept_until_somebody_writes_to_them():
    w, x = dg.tensor(W).requires_grad_(), dg.tensor(X)
    with dg.autocast("cpu"):
        first = dg.nn.functional.linear(x, w)
        with dg.no_grad():
            w.mul_(2)
        second = dg.nn.functional.linear(x, w)
        w.data = w.data * 2
        third = dg.nn.functional.linear(x, w)
    np.testing.assert_array_equal((first * 2).float().detach().numpy(), second.float().detach().numpy())
    np.testing.assert_array_equal((first * 4).float().detach().numpy(), third.float().detach().numpy())


def test_casts_made_without_gradients_do_not_cut_off_those_made_with():
    w, x = dg.tensor(W).requires_grad_(), dg.tensor(X)
    with dg.autocast("cpu"):
        with dg.inference_mode():
            dg.nn.functional.linear(x, w)
        loss = dg.nn.functional.linear(x, w).float().sum()
    loss.backward()
    np.testing.assert_allclose(w.grad.numpy(), np.broadcast_to(X.astype(np.float32).sum(0), W.shape), rtol=0.02, atol=0.05)


@pytest.mark.parametrize("cache", [True, False])
def test_casts_are_freed_at_the_end(cache):
    w, x = dg.rand(1000, 1000, requires_grad=True), dg.rand(1, 1000)
    with dg.no_grad(), dg.autocast("cpu", cache_enabled=cache):
        with dg.autocast("cpu"):
            dg.nn.functional.linear(x, w)
        inside = dg.memory_stats()["allocated"]
    assert (inside - dg.memory_stats()["allocated"] >= 2_000_000) == cache


def test_nothing_is_kept_where_no_context_ends():
    x, before = dg.rand(1, 1000), dg.memory_stats()["allocated"]
    try:
        dg.set_autocast_enabled("cpu", True)
        dg.nn.functional.linear(x, dg.rand(1000, 1000, requires_grad=True))
    finally:
        held = dg.memory_stats()["allocated"]
        dg.set_autocast_enabled("cpu", False)
    assert held - before < 1_000_000


def test_a_thread_has_its_own():
    found = []
    with dg.autocast("cpu"):
        thread = threading.Thread(target=lambda: found.append(dg.is_autocast_enabled("cpu")))
        thread.start()
        thread.join()
    assert found == [False]


def test_decorators():
    @dg.autocast("cpu", dtype=dg.float16)
    def product(x):
        return x @ x.T

    @dg.amp.autocast("cpu")
    def several(x):
        yield name(x @ x.T)
        yield name(x @ x.T)

    x = dg.tensor(X)
    assert name(product(x)) == name(dg.static(product)(x)) == "float16"
    rows = several(x)
    assert next(rows) == "bfloat16" and name(x @ x.T) == "float32" and next(rows) == "bfloat16"


def test_settings_of_the_thread():
    try:
        dg.set_autocast_dtype("cpu", dg.float16)
        dg.set_autocast_enabled("cpu", True)
        assert name(dg.tensor(X) @ dg.tensor(W).T) == "float16"
        assert dg.get_autocast_dtype("cpu") is dg.float16
        with dg.autocast("cpu", enabled=False):
            assert not dg.is_autocast_enabled("cpu")
        assert dg.is_autocast_cache_enabled() and dg.is_autocast_enabled("cpu")
    finally:
        dg.set_autocast_enabled("cpu", False)
        dg.set_autocast_dtype("cpu", dg.bfloat16)


def test_bad_arguments():
    with pytest.raises(DTypeError, match="must be bfloat16 or float16, got float32"):
        dg.autocast("cpu", dtype=dg.float32)
    with pytest.raises(ArgumentError, match="no device type 'gpu'"):
        dg.autocast("gpu")
    with pytest.raises(ArgumentError, match="must be a string"):
        dg.autocast(dg.float16)
    dg.autocast("cpu", dtype=dg.float32, enabled=False)
    with pytest.warns(UserWarning, match="nothing is converted"):
        context = dg.autocast("cuda", dtype=dg.float16)
    with context:
        assert name(dg.tensor(X) @ dg.tensor(W).T) == "float32"


def test_branches_and_loops_of_a_static_function():
    w = dg.tensor(W[:, :6].copy()).requires_grad_()

    def f(x):
        with dg.autocast("cpu"):
            h = x @ w
            while h.float().abs().max() < 100:
                h = h @ w
            return h * 2 if h.sum() > 0 else h @ w

    x = dg.tensor(X[:, :6].copy())
    expected, found = f(x), dg.static(f, strict=True)(x)
    assert name(expected) == name(found)
    np.testing.assert_array_equal(found.detach().float().numpy(), expected.detach().float().numpy())


def test_checkpoint_runs_again_as_the_first_time():
    def gradient(run):
        w = dg.tensor(W).requires_grad_()
        with dg.autocast("cpu"):
            y = run(lambda x: dg.nn.functional.linear(x, w).relu() @ w, dg.tensor(X))
        y.float().sum().backward()  # outside of the context
        return w.grad.numpy()

    np.testing.assert_array_equal(gradient(dg.utils.checkpoint.checkpoint), gradient(lambda f, x: f(x)))


def test_functions_of_functions():
    w = dg.tensor(W)

    def f(x):
        with dg.autocast("cpu"):
            return dg.nn.functional.linear(x, w).float()

    x = dg.tensor(X)
    np.testing.assert_allclose(dg.vmap(f)(x).numpy(), f(x).numpy(), rtol=1e-2, atol=1e-2)
    value, tangent = dg.func.jvp(f, (x,), (dg.ones_like(x),))
    np.testing.assert_array_equal(value.numpy(), f(x).numpy())
    np.testing.assert_array_equal(tangent.numpy(), f(dg.ones_like(x)).numpy())
    with dg.autocast("cpu"):
        assert name(dg.vmap(lambda x: w @ x)(x)) == "bfloat16"


def test_second_gradients():
    w = dg.tensor(W).requires_grad_()
    with dg.autocast("cpu"):
        y = (dg.nn.functional.linear(dg.tensor(X), w).float() ** 3).sum()
        (g,) = dg.autograd.grad(y, [w], create_graph=True)
    g.sum().backward()
    assert name(g) == name(w.grad) == "float32"

    def plain(w):
        return (dg.nn.functional.linear(dg.tensor(X), w) ** 3).sum()

    v = dg.tensor(W).requires_grad_()
    (h,) = dg.autograd.grad(plain(v), [v], create_graph=True)
    h.sum().backward()
    scale = np.abs(v.grad.numpy()).max()
    np.testing.assert_allclose(w.grad.numpy(), v.grad.numpy(), atol=0.05 * scale)


def test_recorded_again_under_the_autocast_of_the_call():
    w = dg.tensor(W).requires_grad_()
    f = dg.static(lambda x: (dg.nn.functional.linear(x, w).float() ** 2).sum())
    with dg.autocast("cpu"):
        y = f(dg.tensor(X))
    (g,) = dg.autograd.grad(y, [w], create_graph=True)
    g.sum().backward()
    with dg.autocast("cpu"):
        y = (dg.nn.functional.linear(dg.tensor(X), v := dg.tensor(W).requires_grad_()).float() ** 2).sum()
    (h,) = dg.autograd.grad(y, [v], create_graph=True)
    h.sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), v.grad.numpy(), rtol=1e-2, atol=1e-2 * np.abs(v.grad.numpy()).max())


def test_methods_of_functions():
    seen = []

    class Product(dg.autograd.Function):
        @staticmethod
        @dg.amp.custom_fwd(device_type="cpu")
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return x @ w.T

        @staticmethod
        @dg.amp.custom_bwd(device_type="cpu")
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            seen.append(name(g.T @ x))
            return (g @ w).float(), (g.T @ x).float()

    x, w = dg.tensor(X).requires_grad_(), dg.tensor(W).requires_grad_()
    with dg.autocast("cpu"):
        y = Product.apply(x, w)
    y.float().sum().backward()
    assert name(y) == "bfloat16" and seen == ["bfloat16"] and name(w.grad) == "float32"


@pytest.mark.parametrize(
    ("given", "state"), [("float32", None), ("bfloat16", None), ("float32", "bfloat16"), ("bfloat16", "float32")]
)
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"])
def test_recurrent_layers(kind, state, given):
    """Results, and gradients of weights and input: dtypes as PyTorch's, values near them."""
    is_cell = kind.endswith("Cell")
    values = RNG.standard_normal((4, 8) if is_cell else (3, 4, 8), np.float32)

    def run(lib, x):
        layer = getattr(lib.nn, kind)(8, 5)
        for p in layer.parameters():
            p.data.fill_(0.1)
        x = x.clone().to(getattr(lib, given)).requires_grad_()
        h = None if state is None else lib.ones(*(4, 5) if is_cell else (1, 4, 5), dtype=getattr(lib, state))
        with lib.autocast("cpu", dtype=lib.bfloat16):
            found = layer(x, (h, h) if "LSTM" in kind and state else h)
        found = found if is_cell else found[0]
        found = found[0] if isinstance(found, tuple) else found
        found.float().pow(2).sum().backward()
        return found, x.grad, layer.weight_hh.grad if is_cell else layer.weight_hh_l0.grad

    theirs = run(torch, torch.tensor(values))
    for ours in (run(dg, dg.tensor(values)), dg.static(lambda x: run(dg, x))(dg.tensor(values))):
        assert [name(x) for x in ours] == [name(x) for x in theirs]
        for x, y in zip(ours, theirs):
            np.testing.assert_allclose(x.detach().float().numpy(), y.detach().float().numpy(), atol=0.05, rtol=0.03)


def test_normalisations_of_16_bits_with_float32_parameters():
    x = RNG.standard_normal((4, 6, 8), np.float32)
    g, b = RNG.standard_normal((2, 8), np.float32)

    def run(lib, f):
        half = lib.tensor(x).to(lib.bfloat16)
        weight, bias = lib.tensor(g).requires_grad_(), lib.tensor(b).requires_grad_()
        y = f(lib.nn.functional, half, weight, bias)
        y.float().pow(2).sum().backward()
        return [name(y), name(weight.grad)], [y.detach().float().numpy(), weight.grad.numpy()]

    for f in (lambda F, x, w, b: F.layer_norm(x, (8,), w, b), lambda F, x, w, b: F.rms_norm(x, (8,), w)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            names, expected = run(torch, f)
        found, values = run(dg, f)
        assert found == names == ["bfloat16", "float32"]
        for value, want in zip(values, expected):
            np.testing.assert_allclose(value, want, atol=0.02 * np.abs(want).max())


AS_IN_TORCH = ("cholesky", "qr", "eigh", "eigvalsh", "svd", "svdvals", "inv", "cond", "inv_ex", "cholesky_ex")


def test_linear_algebra_computes_in_float32():
    matrix = X[:, :4] @ X[:, :4].T + 4 * np.eye(4, dtype=np.float32)

    def names(lib, function, *args):
        with lib.autocast("cpu", dtype=lib.bfloat16):
            found = getattr(lib.linalg, function)(*(lib.tensor(x).to(lib.bfloat16) for x in args))
        return [name(x) for x in (found if isinstance(found, tuple) else (found,))]

    for function in AS_IN_TORCH:
        assert names(dg, function, matrix) == names(torch, function, matrix), function
    for function in ("lu", "lu_factor", "pinv", "det", "slogdet", "matrix_exp"):
        assert names(dg, function, matrix)[0] == "float32", function
    for function in ("solve", "vecdot"):
        assert names(dg, function, matrix, matrix) == names(torch, function, matrix, matrix), function
    with dg.autocast("cpu"):
        assert name(dg.linalg.matrix_power(dg.tensor(matrix), 2)) == "bfloat16"
        found = dg.linalg.pinv(dg.tensor(matrix))  # nothing inside is rounded to 16 bits
    np.testing.assert_allclose(found.numpy(), np.linalg.pinv(matrix), rtol=1e-3, atol=1e-4)
