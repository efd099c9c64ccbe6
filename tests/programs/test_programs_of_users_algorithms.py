"""Programs that users write: gradients of what they choose, Modules whose mode they change, rows of lengths of their own."""

import pytest
from user_modes import Program, check, make

import duograph as dg
from duograph import nn
from duograph.autograd import grad
from duograph.errors import CaptureError


def objective(x):
    return (x**4).sum() - (x * dg.arange(x.shape[0])).sum() + x.sum() ** 2


def newton_program():

    def minimise(x0):
        x = x0.detach().clone().requires_grad_()
        for turn in range(4):
            (g,) = grad(objective(x), x, create_graph=True)
            if g.norm() < 1e-4:
                break
            h = dg.stack([grad(g[i], x, retain_graph=True)[0] for i in range(3)])
            step = -dg.linalg.solve(h + 1e-3 * dg.eye(3), g.detach())
            x = (x + step).detach().requires_grad_()
        return x.detach(), turn

    return Program(minimise, (make(3),), (make(3, seed=5),))


def curvature_then_stop_program():

    def descend(x0):
        x = x0.detach().clone().requires_grad_()
        for _ in range(3):
            (g,) = grad((x**4).sum(), x, create_graph=True)
            (h,) = grad(g[1], x)
            if g.norm() < 0.1:
                break
            x = (x - 0.1 * h).detach().requires_grad_()
        return x.detach()

    return Program(descend, (make(3),), (make(3, seed=2) * 0.1,))


def chosen(y, find):
    y = y.detach().clone().requires_grad_()
    x = y
    if y.sum() > 0:
        x = (y * 2).detach().requires_grad_()
    return find(x, y)


def of_a_chosen_tensor_program():
    return Program(lambda y: chosen(y, lambda x, y: grad((x * x * y).sum(), [x, y])), (make(3),), (-make(3),))


def of_chosen_tensors_in_turn_program():

    def f(y):
        y = y.detach().clone().requires_grad_()
        w = (y * 2).detach().requires_grad_()
        x = w if y.sum() > 0 else y
        z = x if y.norm() > 1 else w
        return grad((x * w * y * z).sum(), [x, y, z, w])

    return Program(f, (make(3),), (-make(3),), (make(3) * 0.01,), (make(3) * -0.01,))


def of_the_best_program():

    def f(y):
        points = [(y * i).detach().requires_grad_() for i in (1, 2)]
        best = points[0]
        for point in points:
            if point.sum() < best.sum():
                best = point
        return grad((best**2).sum() + sum((point**3).sum() for point in points), [best, *points])

    return Program(f, (make(3),), (-make(3),))


def of_a_loops_variable_program():

    def f(y):
        y = y.detach().clone().requires_grad_()
        x, total, n = y, dg.zeros(3), 0
        while n < 4 and x.norm() < 20:
            (g,) = grad((x * x * y).sum(), x)
            total = total + g
            x = (x * 1.5).detach().requires_grad_()
            n += 1
        return total, x.detach()

    return Program(f, (make(3),), (make(3, seed=1) * 9,))


def of_what_a_loop_left_program():

    def f(y):
        y = y.detach().clone().requires_grad_()
        x = y
        while x.norm() < 2:
            x = x * 1.5
        return grad((x * x * y).sum(), [x, y])

    return Program(f, (make(3) * 0.1,), (make(3) * 10,))


def eval_on_a_plateau_program():
    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5))

    def f(x):
        if x.mean() > 0:
            net.eval()
        return net.training

    return Program(
        f, (make(6, 4) - 1,), (make(6, 4) + 1,), (make(6, 4) - 1,), state=lambda: [module.training for module in net.modules()]
    )


def train_and_eval_program():
    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5))
    optimizer = dg.optim.SGD(net.parameters(), lr=0.1)

    def fit(x, tolerance):
        loss, n = dg.tensor(10.0), 0
        while loss > tolerance and n < 20:
            net.train()
            optimizer.zero_grad()
            net(x).pow(2).mean().backward()
            optimizer.step()
            net.eval()
            with dg.no_grad():
                loss = net(x).pow(2).mean()
            n += 1
        return loss, n

    return Program(
        fit,
        (make(5, 4), 0.1),
        (make(5, 4), 0.1),
        (make(5, 4), 0.05),
        state=lambda: [net.training, net[1].training, *net.parameters()],
    )


def mode_of_the_turn_before_program():
    net = nn.Dropout(0.5)

    def f(x, n):
        rows = []
        for _ in range(n):
            rows.append(net(x))
            net.eval()
        return rows

    return Program(
        f, *[(make(5), n) for n in (3, 3, 12, 12)], before=lambda number: net.train(number % 2 == 0), state=lambda: net.training
    )


def write_up_to_a_number_program():

    def f(x, n):
        k = n.item()
        out = dg.zeros_like(x)
        out[:k] = x[:k] * 2
        return out

    return Program(f, *[(make(10, grad=True), dg.tensor(n)) for n in (5, 5, 10, 0)])


def padded_rows_program():

    def f(x, lengths):
        mean = dg.cat([x[i, :n] for i, n in enumerate(lengths.tolist())]).mean(0)
        padded = dg.zeros_like(x)
        for i, n in enumerate(lengths.tolist()):
            padded[i, :n] = x[i, :n] - mean
        return padded

    return Program(f, *[(make(len(n), 6, 2, grad=True), dg.tensor(n)) for n in ([1, 6, 3], [2, 2, 5], [4, 1])])


PROGRAMS = [
    write_up_to_a_number_program,
    padded_rows_program,
    newton_program,
    curvature_then_stop_program,
    of_a_chosen_tensor_program,
    of_chosen_tensors_in_turn_program,
    of_the_best_program,
    of_a_loops_variable_program,
    of_what_a_loop_left_program,
    eval_on_a_plateau_program,
    train_and_eval_program,
    mode_of_the_turn_before_program,
]


@pytest.mark.filterwarnings("ignore::duograph.errors.CaptureWarning")  # strict: gradients of gradients, to the last bit
@pytest.mark.parametrize("maker", PROGRAMS, ids=lambda maker: maker.__name__)
def test_modes_agree(maker):
    check(maker)


def descend(x):
    x = x.clone().requires_grad_()
    while True:
        ((x - 1) ** 2).sum().backward()
        if x.grad.norm() < 1:
            break
        x = (x - 0.05 * x.grad).detach().requires_grad_()
    return x.detach()


def gradient_left(y):
    def find(x, y):
        (x * x * y).sum().backward()
        return x.grad, y.grad

    return chosen(y, find)


def hooked(y):
    def find(x, y):
        x.register_hook(lambda g: g * 3)
        (x * x * y).sum().backward()
        return y.grad

    return chosen(y, find)


def retained(y):
    def find(x, y):
        x.retain_grad()
        (x * x * y).sum().backward()
        return y.grad

    return chosen(y, find)


def frozen(y):
    w = dg.ones(3, requires_grad=True)
    if y.sum() > 0:
        w.requires_grad_(False)
    return (w * y).sum()


layer = nn.Linear(3, 3)


def frozen_module(y):
    if y.sum() > 0:
        layer.requires_grad_(False)
    return layer(y)


REFUSED = [
    (descend, ".grad of x is read, which is one of several tensors", "if x.grad.norm() < 1"),
    (gradient_left, ".grad of x is read, which is one of several tensors", "return x.grad, y.grad"),
    (hooked, "register_hook of a variable that is another tensor on some ways", "x.register_hook("),
    (retained, "retain_grad of a variable that is another tensor on some ways", "x.retain_grad()"),
    (frozen, "changes requires_grad of a tensor from outside of it", "if y.sum() > 0"),
    (frozen_module, "changes requires_grad of a tensor from outside of it", "if y.sum() > 0"),
]


@pytest.mark.parametrize(("function", "message", "line"), REFUSED, ids=lambda value: getattr(value, "__name__", ""))
def test_what_only_dynamic_mode_knows_is_refused(function, message, line):
    with pytest.raises(CaptureError) as caught:
        dg.static(function)(make(3))
    assert message in str(caught.value)
    assert line in str(caught.value)
    assert "hint:" in str(caught.value)
    assert all(parameter.requires_grad for parameter in layer.parameters())
