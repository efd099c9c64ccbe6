"""Tells the core where its Python half lives. Each function is imported when it is first needed."""

from __future__ import annotations

import os

from . import _core as core
from ._forks import import_late

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HOOKS = {
    "compile_entry": "duograph.runtime.compile:compile_entry",
    "gradient_needs": "duograph.runtime.compile:gradient_needs",
    "compile_gradient": "duograph.runtime.compile:compile_gradient",
    "trace_op": "duograph.ops.tracing:trace_op",
    "python_gradient": "duograph.ops.gradient:python_gradient",
    "raise_error": "duograph.ops.failed_checks:raise_error",
    "getitem": "duograph.tensors.indexing:getitem",
    "setitem": "duograph.tensors.indexing:setitem",
    "tensor_repr": "duograph.tensors.text:tensor_repr",
    "tensor_format": "duograph.tensors.text:tensor_format",
    "tensor_new": "duograph.tensors.creation:tensor_new",
}

for _name, _target in HOOKS.items():
    core.set_hook(_name, _target)
core.set_package_folder(os.path.dirname(os.path.abspath(__file__)) + os.sep)


_rebuild = core._rebuild_tensor


def _rebuild_tensor(*args: Any) -> core.Tensor:
    """What pickle calls: a tensor may arrive in a process that has not used an operator yet."""
    import_late("duograph.tensors")  # gives Tensor its operators and methods
    return _rebuild(*args)


_rebuild_tensor.__module__ = core.__name__
core._rebuild_tensor = _rebuild_tensor
