"""Which numbers of a kernel its code may rely on."""

from __future__ import annotations

from typing import Any

import pytest

import duograph as dg
from duograph.codegen.kernel import Address
from duograph.runtime import kernels


def test_every_second_element_is_read_by_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stride of 2 reaches the code generator as a number, which has a way of its own for it; other sizes do not."""
    seen: list[Any] = []
    compile_kernels = kernels.compile_kernels

    def noted(given: Any, target: Any) -> Any:
        seen.extend(instr.attr for kernel in given for instr in kernel.body if isinstance(instr.attr, Address))
        return compile_kernels(given, target)

    monkeypatch.setattr(kernels, "compile_kernels", noted)
    monkeypatch.setattr("duograph.runtime.cache.folder", lambda: None)
    x = dg.arange(100.0).reshape(4, 25)
    assert (dg.static(lambda x: x[:, ::2] * 1.0)(x) == dg.tensor([[25.0 * i + 2 * j for j in range(13)] for i in range(4)])).all()
    assert any(address.strides[-1] == 2 for address in seen)
    assert all(isinstance(size, int) is (size in (-1, 0, 1, 2)) for address in seen for size in address.strides)
