"""duograph: a deep-learning framework in which the same program is a dynamic graph and a static graph.

Write it dynamic, run it static:

>>> import duograph as dg
>>> f = dg.static(lambda x: (x * 2 + 1).tanh())
>>> f(dg.zeros(2))
tensor([0.7616, 0.7616])

What is heavy (code generation, networks, optimisers, NumPy) is imported when it is first needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _core
from ._core import (
    DType,
    Tensor,
    bfloat16,
    bool,
    float16,
    float32,
    float64,
    get_default_dtype,
    int8,
    int16,
    int32,
    int64,
    set_default_dtype,
    uint8,
    uint16,
    uint32,
    uint64,
)
from .errors import Error

__version__ = "0.1.0"

from . import hooks as _hooks  # isort: skip  # the core finds its Python half by these names
from .ops import *  # isort: skip
from .tensor.creation import (  # isort: skip
    arange,
    as_tensor,
    empty,
    empty_like,
    eye,
    from_dlpack,
    from_numpy,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    tensor,
    zeros,
    zeros_like,
)
from .tensor.device import device  # isort: skip
from .tensor.size import Size  # isort: skip
