"""`vmap` against `torch.func.vmap`: rules of the primitives, gradients, nesting, both modes, refusals."""

import numpy as np
import pytest
import torch
from test_transforms import agree, plain

import duograph as dg
from duograph.errors import ArgumentError, CaptureError, GradError

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

rng = np.random.default_rng(0)
A, B, C = rng.normal(size=(4, 3, 5)), rng.normal(size=(4, 5)), rng.normal(size=(5,))
I = rng.integers(0, 3, size=(4, 2, 5))
J = rng.integers(-3, 3, size=(4, 2))


def pad(lib, x):
    if lib is torch:
        return torch.nn.functional.pad(x, (1, 2))
    return dg.ops.definition.REGISTRY["zero_pad"].op(x, (0, 1), (0, 2))


def check(run, *arrays, static=True):
    """The same in torch, in dynamic mode and in static mode."""
    arrays = arrays or (A, B, C)
    theirs = plain(run(torch, torch.func, *(torch.tensor(a) for a in arrays)))
    agree(plain(run(dg, dg.func, *map(dg.tensor, arrays))), theirs)
    if static:
        agree(plain(dg.static(lambda *args: run(dg, dg.func, *args))(*map(dg.tensor, arrays))), theirs)


ONE = {
    "elementwise": lambda lib, x: (x.sin() * 2 + x.exp()).tanh() / (x * x + 1),
    "where": lambda lib, x: lib.where(x > 0, x, 0.5 * x),
    "sum": lambda lib, x: x.sum(),
    "sum over a dim": lambda lib, x: x.sum(0),
    "mean and keepdim": lambda lib, x: x - x.mean(-1, keepdim=True),
    "amax": lambda lib, x: x.amax(1),
    "argmax": lambda lib, x: x.argmax(0),
    "argmax of all": lambda lib, x: x.argmax(),
    "prod": lambda lib, x: x.prod(1),
    "any": lambda lib, x: (x > 1).any(0),
    "softmax": lambda lib, x: lib.softmax(x, -1),
    "logsumexp": lambda lib, x: lib.logsumexp(x, 0),
    "layer_norm": lambda lib, x: lib.nn.functional.layer_norm(x, (5,)),
    "reshape": lambda lib, x: x.reshape(5, 3),
    "flatten": lambda lib, x: x.flatten(),
    "transpose": lambda lib, x: x.T.contiguous(),
    "unsqueeze": lambda lib, x: x.unsqueeze(0).expand(2, 3, 5),
    "slice": lambda lib, x: x[1:, ::2],
    "negative select": lambda lib, x: x[-1],
    "flip": lambda lib, x: x.flip((0,)),
    "roll": lambda lib, x: x.roll(2, 1),
    "pad": lambda lib, x: pad(lib, x),
    "cat": lambda lib, x: lib.cat([x, x * 2, lib.ones(1, 5, dtype=x.dtype)], 0),
    "stack": lambda lib, x: lib.stack([x, x], 1),
    "diagonal": lambda lib, x: x.diagonal(),
    "tril": lambda lib, x: x.tril(),
    "unfold": lambda lib, x: x.unfold(1, 2, 2),
    "matmul": lambda lib, x: x @ x.T,
    "matmul with what is outside": lambda lib, x: x @ lib.ones(5, 2, dtype=x.dtype),
    "matmul from the left": lambda lib, x: lib.ones(2, 3, dtype=x.dtype) @ x,
    "einsum": lambda lib, x: lib.einsum("ij,kj->ik", x, x),
    "cumsum": lambda lib, x: x.cumsum(0),
    "cumprod": lambda lib, x: x.cumprod(1),
    "sort": lambda lib, x: tuple(x.sort(1)),
    "topk": lambda lib, x: tuple(x.topk(2, 1)),
    "median": lambda lib, x: tuple(x.median(0)),
    "norm": lambda lib, x: lib.linalg.norm(x) if lib is torch else lib.norm(x),
    "var": lambda lib, x: x.var(0),
    "max": lambda lib, x: tuple(x.max(1)),
    "index with what is outside": lambda lib, x: x[lib.tensor([2, 0])],
    "constant result": lambda lib, x: lib.ones(2, dtype=x.dtype),
    "cast": lambda lib, x: x.float().double(),
    "repeat": lambda lib, x: x.repeat(2, 1),
    "one_hot like": lambda lib, x: (x.argmax(1).unsqueeze(1) == lib.arange(5)).double(),
}


@pytest.mark.parametrize("name", ONE)
def test_functions_of_one_argument(name):
    function = ONE[name]
    check(lambda lib, f, a: f.vmap(lambda x: function(lib, x))(a), A, static=name in ("softmax", "sort", "matmul"))


MORE = {
    "gather": lambda lib, x, i, j: x.gather(0, i),
    "scatter_add": lambda lib, x, i, j: (x * 0).scatter_add(0, i, x[:2]),
    "scatter": lambda lib, x, i, j: x.scatter(0, i[:1], x[1:2] * 3),
    "take": lambda lib, x, i, j: x[j],
    "take along another dim": lambda lib, x, i, j: x[:, j],
    "take pairs": lambda lib, x, i, j: x[j, i[0, :2]],
    "index_select": lambda lib, x, i, j: x.index_select(1, j % 5),
    "index_add": lambda lib, x, i, j: x.index_add(0, j % 3, x[:2]),
    "embedding": lambda lib, x, i, j: lib.nn.functional.embedding(j % 3, x),
    "cross entropy": lambda lib, x, i, j: lib.nn.functional.cross_entropy(x[:2], j % 5),
    "searchsorted": lambda lib, x, i, j: lib.searchsorted(x[0].sort()[0], x[1]),
    "take_along_dim": lambda lib, x, i, j: lib.take_along_dim(x, i, 0),
}


@pytest.mark.parametrize("name", MORE)
@pytest.mark.parametrize("shared", [(), (0,), (1, 2)], ids=["all", "x shared", "indices shared"])
def test_indices(name, shared):
    function, arrays = MORE[name], [A, I, J]
    dims = tuple(None if n in shared else 0 for n in range(3))
    given = [a[0] if n in shared else a for n, a in enumerate(arrays)]

    def run(lib, *args):
        return [plain(function(lib, *(x if n in shared else x[k] for n, x in enumerate(args)))) for k in range(4)]

    one_by_one = np.stack(run(dg, *map(dg.tensor, given)))
    mapped = dg.vmap(lambda *args: function(dg, *args), in_dims=dims)(*map(dg.tensor, given))
    agree(plain(mapped), one_by_one)


def test_an_index_outside_of_one_example_is_an_error_there():
    with pytest.raises(IndexError):
        dg.vmap(lambda x, i: x[i])(dg.ones(4, 3), dg.tensor([[0], [1], [3], [0]]))


def test_dimensions_of_arguments_and_results():
    check(lambda lib, f, a, b, c: f.vmap(lambda x, y: x * y, in_dims=(2, None))(a, b[:, :3]))
    check(lambda lib, f, a, b, c: f.vmap(lambda x, y: (x * y, x.sum()), in_dims=(-1, 1), out_dims=(1, 0))(a.sum(1), b))
    check(lambda lib, f, a, b, c: f.vmap(lambda x, y: x @ y, out_dims=-1)(a, b))
    check(
        lambda lib, f, a, b, c: f.vmap(lambda d: {"s": d["a"].sum(0) + d["b"] * 2}, in_dims=({"a": 0, "b": None},))(
            {"a": a, "b": c}
        )
    )
    check(lambda lib, f, a, b, c: f.vmap(lambda x, k, *, y: x * k + y, in_dims=(0, None))(a, 3, y=c))
    check(lambda lib, f, a, b, c: f.vmap(f.vmap(lambda x, y: x.sin() @ y, in_dims=(0, None)), in_dims=(0, 0))(a, b))
    check(lambda lib, f, a, b, c: f.vmap(lambda x: f.vmap(lambda y: (x * y).sum(0) + c)(a))(b))


def test_gradients():
    def loss(x, w):
        return (x * w).tanh().sum() ** 2

    check(lambda lib, f, a, b, c: f.vmap(f.grad(loss), in_dims=(0, None))(b, c))
    check(lambda lib, f, a, b, c: f.vmap(f.grad(loss, argnums=1), in_dims=(0, None))(b, c))
    check(lambda lib, f, a, b, c: f.grad(lambda w: f.vmap(lambda x: loss(x, w))(b).sum())(c))
    check(lambda lib, f, a, b, c: f.grad(lambda x: f.vmap(lambda y: loss(y, c))(x).prod())(b))
    check(lambda lib, f, a, b, c: f.vmap(f.hessian(loss), in_dims=(0, None))(b[:2, :3], c[:3]))
    check(lambda lib, f, a, b, c: f.vmap(lambda x, v: f.jvp(lambda y: (y * c).sin(), (x,), (v,))[1])(b, b * 2))
    check(lambda lib, f, a, b, c: f.jvp(f.vmap(lambda y: (y * c).sin().sum()), (b,), (b * 2,)))
    check(lambda lib, f, a, b, c: f.jacrev(f.vmap(lambda y: (y * c).sin().sum()))(b))
    check(lambda lib, f, a, b, c: f.grad(lambda w: f.grad(lambda v: f.vmap(lambda x: loss(x, v))(b).sum())(w).sin().sum())(c))
    check(lambda lib, f, a, b, c: f.vmap(lambda v: f.vjp(lambda y: (a @ y).sin(), c)[1](v)[0])(lib.stack([a.sum(2), a.prod(2)])))


def test_parameters_get_their_gradients():
    def run(lib, net, x):
        total = lib.func.vmap(lambda row: net(row).sum() ** 2)(x)
        total.sum().backward()
        return [total, *(p.grad for p in net.parameters())]

    def network(lib):
        net = lib.nn.Sequential(lib.nn.Linear(5, 3), lib.nn.Tanh(), lib.nn.Linear(3, 2)).double()
        with lib.no_grad():
            for i, p in enumerate(net.parameters()):
                p.copy_((lib.arange(p.numel()).reshape(p.shape) + i) * 0.1 - 0.2)
        return net

    theirs = plain(run(torch, network(torch), torch.tensor(B)))
    agree(plain(run(dg, network(dg), dg.tensor(B))), theirs)

    net = network(dg)

    @dg.static
    def step(x):
        net.zero_grad()
        return run(dg, net, x)

    agree(plain(step(dg.tensor(B))), theirs)
    agree(plain(step(dg.tensor(B))), theirs)


def test_explicit_gradient_rules_hold_and_functions_with_their_own():
    class Twice(dg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 100 * x

    x = dg.tensor(B, requires_grad=True)
    dg.vmap(lambda row: Twice.apply(row).sum())(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 100 * B)
    y = dg.zeros(3, 2, requires_grad=True)
    dg.vmap(lambda row: dg.norm(row))(y).sum().backward()  # the rule gives 0 at 0, the square root's does not
    assert y.grad.tolist() == [[0, 0]] * 3


def test_random_operators():
    x = dg.zeros(1000, 2)
    with pytest.raises(CaptureError, match="vmap: a random operator cannot be mapped") as error:
        dg.vmap(lambda x: x + dg.rand(2))(x)
    assert "dg.rand(2)" in str(error.value) and "randomness=" in str(error.value)
    same = dg.vmap(lambda x: x + dg.rand(2), randomness="same")(x)
    assert (same == same[0]).all()
    different = dg.vmap(lambda x: x + dg.rand(2), randomness="different")(x)
    assert len({tuple(row) for row in different.tolist()}) == 1000
    again = dg.vmap(lambda x: x + dg.rand(2), randomness="different")(x)
    assert not (again == different).any()


def test_refusals_name_the_line():
    x = dg.tensor(A)

    def refused(function, match, line):
        for mapped in (dg.vmap(function), dg.static(lambda x: dg.vmap(function)(x))):
            with pytest.raises(CaptureError, match=match) as error:
                mapped(x)
            assert line in str(error.value), str(error.value)

    refused(lambda x: x[x > 0], "vmap", "x[x > 0]")
    with pytest.raises(CaptureError, match=r"vmap: .*item\(\)") as error:
        dg.vmap(lambda x: x * x.sum().item())(x)
    assert "x.sum().item()" in str(error.value)
    (x + 1).sum()  # nothing is left behind
    assert dg.vmap(lambda x: x.sum())(x).shape == (4,)


def test_errors_of_arguments():
    x = dg.tensor(A)
    with pytest.raises(ArgumentError, match="different numbers of examples: 4, 5"):
        dg.vmap(lambda x, y: x)(x, dg.tensor(C))
    with pytest.raises(ArgumentError, match=r"in_dims says 3 for argument 0, which is float64\[4, 3, 5\]"):
        dg.vmap(lambda x: x, in_dims=3)(x)
    with pytest.raises(ArgumentError, match="no argument has examples"):
        dg.vmap(lambda x: x, in_dims=None)(x)
    with pytest.raises(ArgumentError, match=r"in_dims = .* does not fit"):
        dg.vmap(lambda x: x, in_dims=(0, 0))(x)
    with pytest.raises(ArgumentError, match="must return tensors, got int"):
        dg.vmap(lambda x: 3)(x)
    with pytest.raises(ArgumentError, match="out_dims says 3"):
        dg.vmap(lambda x: x, out_dims=3)(x)
    with pytest.raises(ArgumentError, match="randomness"):
        dg.vmap(lambda x: x, randomness="maybe")
    y = dg.tensor(B, requires_grad=True)
    h = y * 1
    total = dg.vmap(lambda r: (r * r).sum())(h).sum()
    h.detach().add_(1)
    with pytest.raises(GradError, match="overwritten"):
        total.backward()


def test_a_static_function_takes_new_sizes():
    f = dg.static(lambda x, w: dg.vmap(lambda r: (r * w).sin().sum())(x))
    for n in (2, 3, 5, 7):
        x = dg.tensor(rng.normal(size=(n, 5)))
        np.testing.assert_allclose(f(x, dg.tensor(C)).numpy(), np.sin(x.numpy() * C).sum(1), rtol=1e-9)
