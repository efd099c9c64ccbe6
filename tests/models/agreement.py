"""A network here and the same one in PyTorch, trained from the same weights on the same data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch

import duograph as dg

Batches = list[tuple[np.ndarray, ...]]


class Training(NamedTuple):
    """What came out of a training: the first step's results and gradients, all losses, the state at the end."""

    outputs: np.ndarray
    gradients: dict[str, np.ndarray]
    losses: list[float]
    state: dict[str, np.ndarray]


def copied(ours: Any, state: dict[str, Any]) -> None:
    """PyTorch's parameters and buffers into our model: the same names in the same order."""
    assert list(ours.state_dict()) == list(state)  # names, in order
    ours.load_state_dict({name: dg.tensor(value.numpy()) for name, value in state.items()})


def as_written(step: Any) -> Any:
    return step


def trained(
    library: Any,
    model: Any,
    batches: Batches,
    loss_of: Callable[[Any, Any, Any], Any],
    optimizer: Any,
    switch: Callable[[Any], Any] = as_written,
) -> Training:
    """Trains with `loss_of(functional, outputs, target)`, a batch a step."""

    def step(*batch: Any) -> Any:
        *inputs, target = batch
        outputs = model(*inputs)
        loss = loss_of(library.nn.functional, outputs, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return outputs, loss

    step = switch(step)
    losses = []
    for number, batch in enumerate(batches):
        outputs, loss = step(*(library.tensor(array) for array in batch))
        losses.append(loss.item())
        if number == 0:
            first = numpy(outputs).copy()
            gradients = {name: numpy(p.grad).copy() for name, p in model.named_parameters()}
    state = {name: numpy(value) for name, value in model.state_dict().items()}
    return Training(first, gradients, losses, state)


def numpy(tensor: Any) -> np.ndarray:
    return tensor.detach().numpy()  # type: ignore[no-any-return]


def close(found: Training, expected: Training, rounding: float, losses: float) -> None:
    """Results and gradients up to a share of their largest element, each of the losses up to a share of it."""
    alike(found.outputs, expected.outputs, rounding, "outputs")
    assert list(found.gradients) == list(expected.gradients)
    for name, gradient in expected.gradients.items():
        alike(found.gradients[name], gradient, rounding, name)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=losses, atol=0)


def alike(found: np.ndarray, expected: np.ndarray, rounding: float, name: str) -> None:
    assert found.shape == expected.shape, name
    np.testing.assert_allclose(found, expected, rtol=0, atol=rounding * max(np.abs(expected).max(), 1e-3), err_msg=name)


def images(count: int, batch: int, size: int, classes: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Batches of images, each class with a pattern of its own under noise."""
    random = np.random.default_rng(seed)
    patterns = random.standard_normal((classes, 3, size, size)).astype("float32")
    batches = []
    for _ in range(count):
        labels = random.integers(0, classes, batch)
        noise = random.standard_normal((batch, 3, size, size)).astype("float32")
        batches.append((patterns[labels] + 0.5 * noise, labels))
    return batches


def classified(functional: Any, outputs: Any, target: Any) -> Any:
    return functional.cross_entropy(outputs, target)


def against_torch(
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    batches: Batches,
    loss_of: Callable[[Any, Any, Any], Any] = classified,
    optimizer: Callable[[Any, Any], Any] = lambda library, parameters: library.optim.SGD(parameters, lr=0.001, momentum=0.9),
    seed: int = 0,
) -> None:
    """All steps of both in float64, to the last digits, ours dynamic and static; all of them static in float32, too.

    The latter for a seed with which no input of a ReLU is so near to zero that rounding decides its side. With others
    PyTorch's own losses in float32, on one thread and on two, differ by a thousandth after ten steps.
    """
    torch.manual_seed(seed)
    twin = theirs()
    start = {name: value.clone() for name, value in twin.state_dict().items()}
    twin = twin.double()
    data = [in_precision(batch, "double") for batch in batches]
    with one_thread_of_torch():
        expected = trained(torch, twin, data, loss_of, optimizer(torch, twin.parameters()))

    def ours_trained(precision: str, switch: Callable[[Any], Any]) -> Training:
        model = ours()
        copied(model, start)
        model = getattr(model, precision)()
        given = [in_precision(batch, precision) for batch in batches]
        return trained(dg, model, given, loss_of, optimizer(dg, model.parameters()), switch)

    close(ours_trained("double", as_written), expected, 1e-9, 1e-9)
    close(ours_trained("double", dg.static), expected, 1e-9, 1e-9)
    close(ours_trained("float", dg.static), expected, 2e-4, 1e-4)


@contextmanager
def one_thread_of_torch() -> Iterator[None]:
    """Its threads spin while they wait for each other, which takes minutes where other processes are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def in_precision(batch: tuple[np.ndarray, ...], precision: str) -> tuple[np.ndarray, ...]:
    return tuple(x.astype("float64") if precision == "double" and x.dtype.kind == "f" else x for x in batch)


def strict_is_dynamic(ours: Callable[[], Any], batches: Batches, loss_of: Callable[[Any, Any, Any], Any] = classified) -> None:
    """Two steps of each, from the same seed: the very bits."""
    runs = []
    for switch in (as_written, lambda step: dg.static(step, strict=True)):
        dg.manual_seed(0)
        model = ours()
        runs.append(trained(dg, model, batches[:2], loss_of, dg.optim.Adam(model.parameters(), lr=0.01), switch))
    assert runs[0].losses == runs[1].losses
    for one, other in ((runs[0].gradients, runs[1].gradients), (runs[0].state, runs[1].state)):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
