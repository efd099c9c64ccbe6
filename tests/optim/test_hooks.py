"""Hooks around steps and states, states that go on elsewhere, and what starts in the middle; as in PyTorch."""

import pytest
import torch

import duograph as dg
from duograph.errors import ArgumentError

LIBRARIES = [pytest.param(torch, id="torch"), pytest.param(dg, id="duograph")]
both = pytest.mark.parametrize("lib", LIBRARIES)


def parameter(lib, *values):
    made = lib.tensor([float(v) for v in values], requires_grad=True)
    made.grad = lib.ones(len(values))
    return made


@both
def test_hooks_around_steps(lib):
    log = []
    optimizer = lib.optim.SGD([parameter(lib, 1, 2)], lr=0.1)
    before = optimizer.register_step_pre_hook(lambda o, args, kwargs: log.append((o is optimizer, len(args), kwargs)))
    optimizer.register_step_post_hook(lambda o, args, kwargs: log.append("after"))
    optimizer.step()
    optimizer.step(lambda: log.append("closure"))
    before.remove()
    before.remove()
    optimizer.step()
    assert log == [(True, 1, {}), "after", (True, 2, {}), "closure", "after", "after"]


@both
def test_a_hook_before_a_step_may_put_another_closure_in_place(lib):
    optimizer = lib.optim.SGD([parameter(lib, 1, 2)], lr=0.1)
    optimizer.register_step_pre_hook(lambda o, args, kwargs: ((*args[:-1], lambda: "other"), {}))
    assert optimizer.step(lambda: "given") == "other"


@both
def test_hooks_of_lbfgs(lib):
    log, p = [], parameter(lib, 3)
    optimizer = lib.optim.LBFGS([p], max_iter=1)
    optimizer.register_step_pre_hook(lambda *_: log.append("before"))
    optimizer.register_step_post_hook(lambda *_: log.append("after"))

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert log == ["before", "after"]


@both
def test_hooks_around_states(lib):
    log = []
    optimizer = lib.optim.SGD([parameter(lib, 1, 2)], lr=0.1)
    optimizer.register_state_dict_pre_hook(lambda o: log.append("saves"))
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "more": 1})
    optimizer.register_state_dict_post_hook(lambda o, state: log.append("saved"), prepend=True)
    optimizer.register_load_state_dict_pre_hook(lambda o, state: log.append(state["more"]))
    optimizer.register_load_state_dict_post_hook(lambda o: log.append("loaded"))
    optimizer.load_state_dict(optimizer.state_dict())
    assert log == ["saves", "saved", 1, "loaded"]


def test_a_hook_must_be_a_function_and_give_what_replaces_the_arguments():
    optimizer = dg.optim.SGD([parameter(dg, 1)], lr=0.1)
    with pytest.raises(ArgumentError, match="a hook must be a function, got int"):
        optimizer.register_step_post_hook(3)
    optimizer.register_step_pre_hook(lambda *_: 3)
    with pytest.raises(ArgumentError, match="SGD: a hook before step must return None or"):
        optimizer.step()


def test_a_static_step_runs_the_hooks_that_are_there_when_it_runs():
    p, count = parameter(dg, 1, 2), dg.zeros(())
    optimizer = dg.optim.SGD([p], lr=0.1)
    step = dg.static(lambda: optimizer.step())
    step()
    handle = optimizer.register_step_post_hook(lambda o, args, kwargs: count.add_(1))
    step()
    step()
    assert count.item() == 2
    handle.remove()
    step()
    assert count.item() == 2 and [round(v, 4) for v in p.tolist()] == [0.6, 1.6]


@both
@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_goes_on_from_its_state(lib, search):
    def run(restart):
        ps = [lib.tensor([1.0, -2.0, 3.0], requires_grad=True), lib.tensor([[0.5, 1.5]], requires_grad=True)]

        def made():
            return lib.optim.LBFGS(ps, lr=0.3, max_iter=3, history_size=4, line_search_fn=search)

        optimizer, losses = made(), []

        def closure():
            optimizer.zero_grad()
            loss = ((ps[0] - 1) ** 2).sum() + (ps[1] ** 4).sum() + ps[0].sum() * ps[1].sum() * 0.1
            loss.backward()
            return loss

        for number in range(5):
            if number == 2 and restart:
                state = optimizer.state_dict()
                optimizer = made()
                optimizer.load_state_dict(state)
            losses.append(optimizer.step(closure).item())
        return losses

    assert run(True) == run(False)


def test_adam_with_decoupled_weight_decay_is_adamw():
    def run(make):
        p = parameter(dg, 1, -2)
        optimizer = make([p])
        for _ in range(3):
            optimizer.step()
        return p.tolist()

    options = {"lr": 0.1, "weight_decay": 0.3}
    decoupled = run(lambda ps: dg.optim.Adam(ps, decoupled_weight_decay=True, **options))
    assert decoupled == run(lambda ps: dg.optim.AdamW(ps, **options)) != run(lambda ps: dg.optim.Adam(ps, **options))
    theirs = torch.tensor([1.0, -2.0], requires_grad=True)
    theirs.grad = torch.ones(2)
    optimizer = torch.optim.Adam([theirs], decoupled_weight_decay=True, **options)
    for _ in range(3):
        optimizer.step()
    assert decoupled == pytest.approx(theirs.tolist(), rel=1e-6)


SCHEDULES = {
    "ExponentialLR": {"gamma": 0.9},
    "LinearLR": {"start_factor": 0.5, "total_iters": 9},
    "PolynomialLR": {"total_iters": 9},
    "CosineAnnealingLR": {"T_max": 9},
    "MultiplicativeLR": {"lr_lambda": lambda epoch: 0.9},
    "StepLR": {"step_size": 5},
    "MultiStepLR": {"milestones": [5, 6]},
    "ConstantLR": {"total_iters": 5},
    "LambdaLR": {"lr_lambda": lambda epoch: 0.9**epoch},
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_that_start_in_the_middle(name):
    def run(lib):
        optimizer = lib.optim.SGD([parameter(lib, 1)], lr=0.1)
        for group in optimizer.param_groups:
            group["initial_lr"] = 0.2
        schedule = getattr(lib.optim.lr_scheduler, name)(optimizer, last_epoch=4, **SCHEDULES[name])
        rates = [optimizer.param_groups[0]["lr"], *schedule.get_last_lr()]
        for _ in range(3):
            optimizer.step()
            schedule.step()
            rates += [optimizer.param_groups[0]["lr"], *schedule.get_last_lr(), schedule.last_epoch]
        return rates

    assert run(dg) == pytest.approx(run(torch), rel=1e-6)
