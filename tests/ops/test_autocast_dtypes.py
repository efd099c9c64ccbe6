"""What autocast converts: the dtypes of every operator's results under it are PyTorch's; generated from the registry."""

from __future__ import annotations

from typing import Any

import operator_harness as harness
import pytest
import torch
import torch_reference as reference

import duograph as dg
from duograph.ops.definition import CREATION, VIEW, Definition

COMPARED = [
    d for d in harness.definitions() if reference.is_compared(d) and (d.public or d.functional) and d.kind not in (CREATION, VIEW)
]
# What differs from PyTorch, and why.
OTHERWISE = {
    "nextafter": "takes float32 and float64 only",
    "einsum": "what is no product of matrices is computed element by element there, as given",
    "inner": "that of two vectors is `dot` there, which takes what it is given",
    "matrix_power": "powers 0 and 1 are no products there",
    "local_response_norm": "the mean in it is over three dimensions there, in float32",
    "max_pool3d": "with indices it is another operator there",
}


def dtypes_of(results: Any) -> Any:
    """The dtypes of the floating-point tensors, by name; None for an error."""
    if isinstance(results, Exception):
        return None
    names = [str(x.dtype).rpartition(".")[2] for x in results if isinstance(x, (torch.Tensor, dg.Tensor))]
    return [name for name in names if "float" in name]


@pytest.mark.parametrize("definition", [d for d in COMPARED if d.name not in OTHERWISE], ids=harness.name_of)
def test_dtypes_of_results(definition: Definition) -> None:
    function = reference.function_of(definition)
    for dtype in ("float32", "bfloat16"):
        for i, call in enumerate(harness.calls(definition, dtype)[:4]):
            theirs, ours = reference.arguments(call, dtype), harness.tensors(call, dtype)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                expected = dtypes_of(reference.run(lambda theirs=theirs: function(*theirs.args, **theirs.kwargs)))
            if expected is None:
                continue
            with dg.autocast("cpu", dtype=dg.bfloat16):
                found = dtypes_of(harness.flat(definition.exported(*ours.args, **ours.kwargs)))
            assert found == expected, f"{definition.name} {dtype} sample {i}"
