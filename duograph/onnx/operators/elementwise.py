"""Operators that work element by element."""

from __future__ import annotations

import duograph as dg

from .definition import Tensor, operator


@operator("Relu", since=1)
def relu(x: Tensor) -> Tensor:
    return dg.relu(x)


@operator("Sigmoid", since=1)
def sigmoid(x: Tensor) -> Tensor:
    return dg.sigmoid(x)


@operator("Add", since=7)
def add(a: Tensor, b: Tensor) -> Tensor:
    return a + b
