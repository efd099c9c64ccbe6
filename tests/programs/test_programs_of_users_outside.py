"""Programs that write outside of the function where a tensor's value steers: in branches and in loops."""

from types import SimpleNamespace

import pytest
from user_modes import Program, check, make

import duograph as dg
from duograph.errors import CaptureError

CNT = 0


def global_program():
    def start(i):
        global CNT
        CNT = 5 if i == 0 else CNT

    def f(x):
        global CNT
        CNT += 1
        if x.sum() > 0:
            CNT += 10
        return x * CNT

    return Program(f, *[(make(3, seed=i),) for i in range(4)], before=start, state=lambda: CNT)


def nonlocal_program():
    n = 0

    def f(x):
        nonlocal n
        n += 1
        if x.sum() > 0:
            n += 10
        return x

    return Program(f, *[(make(3, seed=i),) for i in range(4)], state=lambda: n)


class Stopper:
    def __init__(self, patience):
        self.patience = patience
        self.best = float("inf")
        self.bad = 0
        self.stop = False
        self.hist = None

    def __call__(self, loss):
        if loss < self.best - 1e-3:
            self.best = loss
            self.bad = 0
        else:
            self.bad += 1
            if self.bad >= self.patience:
                self.stop = True
        return self.stop


def stopper_program():
    s = Stopper(2)

    def f(x):
        return s((x**2).mean().detach()), x * 2

    return Program(f, *[(make(3, seed=i, grad=True),) for i in range(8)], state=lambda: (float(s.best), s.bad, s.stop))


def stopper_tensor_program():
    s = Stopper(2)
    s.best = dg.tensor(float("inf"))

    def f(x):
        return s((x**2).mean().detach())

    return Program(f, *[(make(3, seed=i),) for i in range(8)], state=lambda: (s.best, s.bad, s.stop))


class Meter:
    def __init__(self):
        self.sum = 0.0
        self.n = 0
        self.max = dg.tensor(-1e9)
        self.last = {}

    def update(self, v):
        self.n += 1
        self.sum += v
        if v > self.max:
            self.max = v
        self.last["v"] = v


def meter_program():
    m = Meter()

    def f(xs):
        for x in xs:
            m.update(x.sum())
        return m.sum / m.n

    return Program(f, (make(3, 2),), (make(4, 2),), (make(12, 2),), (make(13, 2),), state=lambda: (m.sum, m.n, m.max, m.last))


def while_places_program():
    o = SimpleNamespace(n=0, t=dg.zeros(2), name="a")

    def f(x):
        while x.sum() < 10:
            x = x * 1.5 + 0.1
            o.n += 1
            o.t = o.t + x
        return x * o.n

    return Program(f, (make(2).abs(),), (make(2).abs() + 20,), (make(2).abs() * 2,), state=lambda: (o.n, o.t, o.name))


def while_places_grad_program():
    o = SimpleNamespace(t=dg.zeros(2))

    def f(x):
        o.t = dg.zeros(2)
        while x.sum() < 10:
            x = x * 1.5 + 0.1
            o.t = o.t + x * x
        return o.t * x

    return Program(f, *[(make(2, seed=i).abs().requires_grad_(),) for i in range(3)], state=lambda: o.t)


def place_read_in_branch_program():
    o = SimpleNamespace(w=make(3, grad=True), k=2.0)

    def f(x):
        if x.sum() > 0:
            o.k = o.k * 2
            y = x * o.k * o.w
        else:
            y = x * o.k
        return y + o.k

    return Program(f, *[(make(3, seed=i, grad=True),) for i in range(5)], state=lambda: (o.k, o.w.grad))


def raise_after_state_program():
    o = SimpleNamespace(errors=0, ok=0)

    def f(x):
        if x.sum() > 0:
            o.errors += 1
            raise ValueError(f"bad {x.sum()}")
        o.ok += 1
        return x

    return Program(f, *[(make(3, seed=i),) for i in range(6)], state=lambda: (o.errors, o.ok))


def print_in_branch_program():
    o = SimpleNamespace(n=0)

    def f(x):
        if x.sum() > 0:
            o.n += 1
            print("n", o.n)
        else:
            print("no", o.n)
        o.n += 1
        print(o.n)
        return x

    return Program(f, *[(make(3, seed=i),) for i in range(4)], state=lambda: o.n)


def none_best_program():
    o = SimpleNamespace(best=None, arg=-1)

    def f(x, i: int):
        if o.best is None or x.sum() > o.best:
            o.best = x.sum()
            o.arg = i
        return o.best

    return Program(f, *[(make(3, seed=i), i) for i in range(6)], state=lambda: (o.best, o.arg))


def dict_state_program():
    st = {"step": 0, "m": dg.zeros(3), "skip": 0}

    def f(g):
        if g.isfinite().all():
            st["step"] += 1
            st["m"] = 0.9 * st["m"] + g
        else:
            st["skip"] += 1
        return st["m"] / (1 - 0.9 ** st["step"]) if st["step"] else st["m"]

    bad = dg.tensor([1.0, float("inf"), 2.0])
    return Program(f, (make(3),), (bad,), (make(3),), (bad,), (make(3),), state=lambda: st)


def missing_both_program():
    o = SimpleNamespace()

    def f(x):
        if x.sum() > 0:
            o.flag = x
        else:
            o.flag = -x
        return o.flag * 2

    return Program(f, *[(make(3, seed=i, grad=True),) for i in range(4)], state=lambda: o.flag.detach())


def listitem_program():
    L = [0, 0.0, dg.zeros(2)]

    def f(x):
        for i in range(3):
            if x[i] > 0:
                L[i] = L[i] + i + 1
        return x * L[0] + L[1]

    return Program(f, *[(make(3, seed=i),) for i in range(4)], state=lambda: L)


def nested_places_program():
    o = SimpleNamespace(a=0, b=1.0)

    class C:
        k = 0

    def inner(x):
        if x[0] > 0:
            o.a += 1
            if x[1] > 0:
                o.b *= 2
                C.k += 1
            elif x[2] > 0:
                o.a -= 5
        return o.a

    def f(x):
        for _ in range(2):
            x = x + inner(x) * o.b
            x = -x
        return x

    return Program(f, *[(make(3, seed=i, grad=True),) for i in range(6)], state=lambda: (o.a, o.b, C.k))


def for_long_places_program():
    o = SimpleNamespace(n=0, best=dg.tensor(-1e9), i=-1)

    def f(xs):
        for i, x in enumerate(xs):
            o.n += 1
            if x.sum() > o.best:
                o.best = x.sum().detach()
                o.i = i
        return o.best * xs

    return Program(
        f,
        (make(10, 2, grad=True),),
        (make(12, 2, grad=True),),
        (make(14, 2, grad=True),),
        (make(3, 2, grad=True),),
        state=lambda: (o.n, o.best.detach(), o.i),
    )


def bool_place_program():
    o = SimpleNamespace(done=False)

    def f(x):
        if x.sum() > 0:
            o.done = True
        if o.done:
            return x * 2
        return x

    return Program(f, *[(make(3, seed=i),) for i in range(6)], state=lambda: o.done)


def swap_place_program():
    o = SimpleNamespace(a=make(3), b=make(3, seed=4))

    def f(x):
        if (x * o.a).sum() > 0:
            o.a, o.b = o.b, o.a
        return x * o.a

    return Program(f, *[(make(3, seed=i, grad=True),) for i in range(6)], state=lambda: (o.a, o.b))


def inplace_place_program():
    o = SimpleNamespace(a=dg.zeros(3))

    def f(x):
        if x.sum() > 0:
            o.a += x
        else:
            o.a = x * 2
        o.a.mul_(2)
        return o.a + 1

    return Program(f, *[(make(3, seed=i),) for i in range(6)], state=lambda: o.a)


def property_branch_program():
    class T:
        def __init__(self):
            self._v = 0.0
            self.sets = 0

        @property
        def v(self):
            return self._v

        @v.setter
        def v(self, x):
            self._v = x
            self.sets += 1

    t = T()

    def f(x):
        if x.sum() > 0:
            t.v = t.v + 2
        return x * t.v

    return Program(f, *[(make(3, seed=i),) for i in range(4)], state=lambda: (t.v, t.sets))


PROGRAMS = [made for name, made in list(globals().items()) if name.endswith("_program")]
CAPTURES = {stopper_program: 5, for_long_places_program: 4}


@pytest.mark.filterwarnings("ignore::duograph.errors.CaptureWarning")
@pytest.mark.parametrize("maker", PROGRAMS, ids=lambda maker: maker.__name__)
def test_modes_agree(maker):
    check(maker, CAPTURES.get(maker, 3))


def test_written_on_one_side_only():
    holder = SimpleNamespace()

    @dg.static
    def f(x):
        if x.sum() > 0:
            holder.flag = x
        return x

    with pytest.raises(
        CaptureError, match="the attribute flag of SimpleNamespace is assigned on one side of a branch only"
    ) as raised:
        f(dg.ones(2))
    assert f"{__file__}:" in str(raised.value) and not vars(holder)


def test_a_callback_after_a_write_in_a_branch_is_refused():
    holder = SimpleNamespace(n=0)
    look = dg.host_callback(lambda x: None)

    @dg.static
    def f(x):
        if x.sum() > 0:
            holder.n += 1
            look(x)
        return x

    with pytest.raises(CaptureError, match="a host callback in a branch or loop .* writes outside the function") as raised:
        f(dg.ones(2))
    assert f"{__file__}:" in str(raised.value) and holder.n == 0


def test_gradients_of_gradients_beside_numbers_that_a_branch_decides():
    def f(x):
        steps, found = 0, False
        if x.sum() > 0:
            steps, found = 3, True
        return steps, x * x, found, x * x * x

    def second(function):
        x = dg.tensor([1.0, 2.0]).requires_grad_()
        steps, y, found, z = function(x)
        (first,) = dg.autograd.grad((y * z).sum(), [x], create_graph=True)
        return steps, found, dg.autograd.grad(first.sum(), [x])[0].tolist()

    assert second(dg.static(f)) == second(f) == (3, True, [20.0, 160.0])


def test_a_result_that_is_a_number_in_dynamic_mode_only_now_and_then():
    @dg.static
    def f(x):
        best = 1.0
        if x.sum() > 0:
            best = x.sum()
        return best, x * x

    x = dg.tensor([-1.0, -2.0]).requires_grad_()
    with pytest.warns(dg.errors.CaptureWarning):
        y = f(x)[1]
    with pytest.raises(dg.errors.GradError, match="a result was a number now and a tensor then"):
        dg.autograd.grad(y.sum(), [x], create_graph=True)[0].sum().backward()
