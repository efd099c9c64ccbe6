"""`memory_format=` and `layout=` against PyTorch, and questions that have one answer here."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

import duograph as dg

OF_MEMORY: Callable[[Any], Any] = lambda L: (L.ones(2).is_set_to(L.ones(2)), (lambda x: x.is_set_to(x[:]))(L.ones(2)))  # noqa: E731
CASES: list[Callable[[Any], Any]] = [
    lambda L: L.ones(2, 3, 4, 4).contiguous(memory_format=L.channels_last),
    lambda L: L.ones(2, 3, 4, 4).contiguous(memory_format=L.channels_last).is_contiguous(memory_format=L.channels_last),
    lambda L: L.ones(2, 3, 4, 4).contiguous(memory_format=L.channels_last).is_contiguous(),
    lambda L: L.ones(2, 3, 4, 4).is_contiguous(memory_format=L.channels_last),
    lambda L: L.ones(2, 3, 4, 4).to(L.float64, memory_format=L.channels_last),
    lambda L: L.ones(2, 3, 4, 4).clone(memory_format=L.channels_last),
    lambda L: L.ones(2, 3, 4, 4, 4).contiguous(memory_format=L.channels_last_3d),
    lambda L: L.ones(2, 3).clone(memory_format=L.preserve_format),
    lambda L: L.zeros(2, layout=L.strided, pin_memory=False),
    lambda L: L.zeros_like(L.ones(2), memory_format=L.contiguous_format),
    lambda L: L.arange(3, layout=L.strided),
    lambda L: L.tensor([1.0], pin_memory=False),
    lambda L: (L.ones(2).is_complex(), L.is_complex(L.ones(2)), L.ones(2).is_pinned(), L.ones(2).layout == L.strided),
    lambda L: L.ones(2, 3).t().dim_order(),
    OF_MEMORY,
    lambda L: L.split_with_sizes(L.arange(3), [1, 2]),
]


def shown(x: Any) -> Any:
    if isinstance(x, (dg.Tensor, torch.Tensor)):
        return x.tolist(), tuple(x.stride())
    return [shown(part) for part in x] if isinstance(x, (tuple, list)) else x


def values(x: Any) -> Any:
    return [values(part) for part in x] if isinstance(x, (tuple, list)) else x.tolist() if isinstance(x, dg.Tensor) else x


@pytest.mark.parametrize("case", CASES)
def test_as_in_torch(case: Callable[[Any], Any]) -> None:
    assert shown(case(dg)) == shown(case(torch))
    if case is not OF_MEMORY:
        assert values(dg.static(lambda: case(dg))()) == values(case(dg))


def test_modules() -> None:
    module = dg.nn.Conv2d(2, 3, 2).to(memory_format=dg.channels_last)
    assert module.weight.is_contiguous(memory_format=dg.channels_last) and module.bias is not None and module.bias.shape == (3,)


def test_mistakes() -> None:
    with pytest.raises(dg.errors.ShapeError, match="contiguous: channels_last is for tensors of 4 dimensions"):
        dg.ones(2, 3).contiguous(memory_format=dg.channels_last)
    with pytest.raises(dg.errors.ArgumentError, match=r"is_contiguous: memory_format must be one as .*, not tuple"):
        dg.ones(2).is_contiguous(())
    with pytest.raises(dg.errors.ArgumentError, match="zeros: new tensors are strided and row-major, layout cannot be 3"):
        dg.zeros(2, layout=3)
    with pytest.raises(dg.errors.ArgumentError, match=r"Tensor\.to|to: memory_format must be one of"):
        dg.ones(2).to(memory_format="channels_last")


def test_what_a_static_function_cannot_say() -> None:
    with pytest.raises(dg.errors.CaptureError, match="is_set_to"):
        dg.static(lambda x: x.is_set_to(x[:]))(dg.ones(2))


def test_names() -> None:
    assert repr(dg.channels_last) == "duograph.channels_last" and repr(dg.strided) == "duograph.strided"
    assert pickle.loads(pickle.dumps(dg.channels_last)) is dg.channels_last
    assert dg.ones(2, requires_grad=True).numpy(force=True).tolist() == [1, 1]
    dg.use_deterministic_algorithms(True)
    dg.set_float32_matmul_precision("high")
    with pytest.raises(dg.errors.DomainError, match="precision must be 'highest'"):
        dg.set_float32_matmul_precision("low")
