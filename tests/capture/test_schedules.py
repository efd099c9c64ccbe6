"""Numbers of an optimiser that a schedule changes: read afresh by each step, never a new capture for each."""

from __future__ import annotations

import pytest
from user_modes import Program, check, make

import duograph as dg

schedules = dg.optim.lr_scheduler
STEPS = 50
MADE = {
    "StepLR": lambda o: schedules.StepLR(o, 5),
    "MultiStepLR": lambda o: schedules.MultiStepLR(o, [10, 20]),
    "ExponentialLR": lambda o: schedules.ExponentialLR(o, 0.9),
    "ConstantLR": lambda o: schedules.ConstantLR(o),
    "LinearLR": lambda o: schedules.LinearLR(o),
    "PolynomialLR": lambda o: schedules.PolynomialLR(o, total_iters=20),
    "CosineAnnealingLR": lambda o: schedules.CosineAnnealingLR(o, 20),
    "CosineAnnealingWarmRestarts": lambda o: schedules.CosineAnnealingWarmRestarts(o, 7),
    "OneCycleLR": lambda o: schedules.OneCycleLR(o, 0.1, total_steps=60),
    "CyclicLR": lambda o: schedules.CyclicLR(o, 0.01, 0.1, step_size_up=5),
    "LambdaLR": lambda o: schedules.LambdaLR(o, lambda epoch: 0.95**epoch),
    "MultiplicativeLR": lambda o: schedules.MultiplicativeLR(o, lambda epoch: 0.95),
    "ReduceLROnPlateau": lambda o: schedules.ReduceLROnPlateau(o, patience=2),
    "SequentialLR": lambda o: schedules.SequentialLR(o, [schedules.ConstantLR(o), schedules.ExponentialLR(o, 0.9)], [5]),
    "ChainedScheduler": lambda o: schedules.ChainedScheduler([schedules.ConstantLR(o), schedules.ExponentialLR(o, 0.9)]),
}


def test_every_schedule_is_here():
    assert set(MADE) == {name for name in dir(schedules) if name[0].isupper()} - {"LRScheduler"}


def losses(schedule, optimizer, static, inside=False):
    """(the loss of each step, how often the step was captured)."""
    dg.manual_seed(0)
    model = dg.nn.Linear(3, 2)
    optimizer = optimizer(model.parameters())
    scheduler = schedule(optimizer)

    def step(x):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        if inside:
            scheduler.step()
        return loss

    function = dg.static(step, strict=True) if static else step
    x, seen = make(4, 3), []
    for _ in range(STEPS):
        seen.append(function(x).item())
        if not inside:
            scheduler.step(*([seen[-1]] if isinstance(scheduler, schedules.ReduceLROnPlateau) else []))
    return seen, function.captures if static else 0


def agree(schedule, optimizer, inside=False):
    expected, _ = losses(schedule, optimizer, static=False, inside=inside)
    seen, captures = losses(schedule, optimizer, static=True, inside=inside)
    assert seen == expected
    assert captures <= 2


@pytest.mark.parametrize("name", list(MADE))
def test_a_schedule_captures_no_step_anew(name):
    agree(MADE[name], lambda p: dg.optim.AdamW(p, lr=0.01))


@pytest.mark.parametrize("optimizer", [dg.optim.SGD, dg.optim.Adam, dg.optim.NAdam, dg.optim.Adamax])
@pytest.mark.parametrize("inside", [False, True])
def test_momentum_that_changes_with_the_rate(optimizer, inside):
    extra = {"momentum": 0.9} if optimizer is dg.optim.SGD else {}
    agree(MADE["OneCycleLR"], lambda p: optimizer(p, lr=0.01, **extra), inside)


PAIR: tuple = (1.0, 2)


class Box:
    def __init__(self):
        self.pair = (1.0, 2)


def test_tuples_of_numbers_are_numbers_once_they_change():
    def program():
        box = Box()

        def f(x):
            a, b = PAIR
            return x * a + b, x * box.pair[0], box.pair, x**b if b > 100 else x, sum(PAIR)

        def before(number: int) -> None:
            global PAIR
            PAIR = (0.5 * number, number)
            box.pair = (1.0 + number, 2)

        return Program(f, *((make(3),) for _ in range(6)), before=before)

    check(program, captures=2)


def test_a_tuple_of_another_form_is_captured_anew():
    def program():
        box = Box()
        forms = [(1.0, 2), (2.0, 3), (3.0, 4), (3, 4), (1.0, 2, 5.0), (1.0,), "text", (2.0, 7)]

        def f(x):
            pair = box.pair
            return x * len(pair), pair

        def before(number: int) -> None:
            box.pair = forms[number]

        return Program(f, *((make(3),) for _ in forms), before=before)

    check(program)
