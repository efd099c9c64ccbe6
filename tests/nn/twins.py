"""A module here and PyTorch's of the same name with the same weights: results, gradients of two orders, and state."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

import duograph as dg

Arrays = Sequence[np.ndarray]


def pair(name: str, *args: Any, **settings: Any) -> tuple[Any, Any]:
    """Our module and PyTorch's, in float64, with the same parameters and buffers under the same names in the same order."""
    theirs = getattr(torch.nn, name)(*args, **settings).double()
    ours = getattr(dg.nn, name)(*args, **settings).double()
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    assert [tuple(v.shape) for v in ours.state_dict().values()] == [tuple(v.shape) for v in state.values()]
    rng = np.random.default_rng(7)
    for key, value in state.items():
        if value.is_floating_point():
            value.copy_(
                torch.from_numpy(rng.uniform(0.1, 0.6, value.shape) if "var" in key else rng.uniform(-0.5, 0.5, value.shape))
            )
    load(ours, theirs)
    return ours, theirs


def load(ours: Any, theirs: Any) -> None:
    """PyTorch's state into our module."""
    ours.load_state_dict({key: dg.tensor(value.numpy()) for key, value in theirs.state_dict().items()})


def results(library: Any, call: Callable[..., Any], arrays: Arrays, leaves: Sequence[Any], second: bool = False) -> list[Any]:
    """Floats that come out, then the gradients of inputs and leaves of a curved sum of them, then those of these gradients."""
    if library is torch:  # the other ways of attention have no second gradients
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return _results(library, call, arrays, leaves, second)
    return _results(library, call, arrays, leaves, second)


def _results(library: Any, call: Callable[..., Any], arrays: Arrays, leaves: Sequence[Any], second: bool) -> list[Any]:
    inputs = [library.tensor(np.array(a)) for a in arrays]
    wanted = [x.requires_grad_() for x in inputs if x.dtype.is_floating_point] + list(leaves)
    found = [x for x in flat(call(*inputs)) if x.dtype.is_floating_point]
    total = sum((x * x * weights(library, x)).sum() for x in found)
    if not wanted or not total.requires_grad:
        return [x.detach().numpy() for x in found]
    first = library.autograd.grad(total, wanted, create_graph=second, allow_unused=True)
    made = [x.detach().numpy() for x in (*found, *(x for x in first if x is not None))]
    if second:
        bent = sum((x * x * weights(library, x)).sum() for x in first if x is not None and x.requires_grad)
        made += [x.numpy() for x in library.autograd.grad(bent, wanted, allow_unused=True) if x is not None]
    return made


def weights(library: Any, x: Any) -> Any:
    """Numbers that differ from element to element, so that no gradient is zero by symmetry."""
    return library.tensor(np.cos(np.arange(x.numel(), dtype=np.float64)).reshape(tuple(x.shape)))


def flat(found: Any) -> list[Any]:
    if isinstance(found, (tuple, list)):
        return [x for part in found for x in flat(part)]
    return [] if found is None else [found]


def compare(
    ours: Any, theirs: Any, arrays: Arrays, call: Callable[..., Any] | None = None, second: bool = True, static: bool = True
) -> None:
    """Both on the same inputs; static graphs give the dynamic one's very bits, state included."""
    call = call or (lambda module, *x: module(*x))
    again = copy.deepcopy(ours)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = results(torch, lambda *x: call(theirs, *x), arrays, list(theirs.parameters()), second)
    found = results(dg, lambda *x: call(ours, *x), arrays, list(ours.parameters()), second)
    close(found, expected)
    close(state_of(ours), state_of(theirs))
    if static:
        frozen = dg.static(lambda *x: call(again, *x), strict=True)
        same_bits(
            results(dg, frozen, arrays, list(again.parameters())),
            results(dg, lambda *x: call(ours, *x), arrays, list(ours.parameters())),
        )


def state_of(module: Any) -> list[np.ndarray]:
    return [x.detach().numpy() for x in module.state_dict().values()]


def close(found: Sequence[np.ndarray], expected: Sequence[np.ndarray], tolerance: float = 1e-9) -> None:
    assert len(found) == len(expected)
    for got, want in zip(found, expected):
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


def same_bits(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> None:
    assert len(found) == len(expected)
    for got, want in zip(found, expected):
        np.testing.assert_array_equal(got, want)
