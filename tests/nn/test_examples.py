"""The examples in the docstrings of tensors, networks, optimisers and data run as written."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from typing import Any

import pytest

import duograph as dg

PACKAGES = (
    "duograph.amp",
    "duograph.linalg",
    "duograph.tensors",
    "duograph.autograd",
    "duograph.func",
    "duograph.models",
    "duograph.nn",
    "duograph.optim",
    "duograph.utils",
)
SINGLE = ("duograph", "duograph.serialization", "duograph.cuda")


def modules() -> list[str]:
    names = list(SINGLE)
    for package in PACKAGES:
        names.append(package)
        names += [info.name for info in pkgutil.walk_packages(importlib.import_module(package).__path__, package + ".")]
    return names


@pytest.mark.parametrize("name", modules())
def test_examples(name: str) -> None:
    module: Any = importlib.import_module(name)
    dg.manual_seed(0)
    dg.set_printoptions(profile="default")
    result = doctest.testmod(module, extraglobs={"dg": dg, "tensor": dg.tensor}, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
