"""`duograph tune`: which way of making each product and convolution is the fastest on this machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from .models import load, tensors
from .output import say, show_json
from .values import Choice, inputs_for


def tune(path: str, files: Sequence[str], choice: Choice, threads: int, winograd: bool) -> Any:
    """The report of `dg.tune` for a file's program, with the sizes of the inputs fixed: ways depend on them."""
    import duograph as dg
    from duograph import _core as core

    arrays = inputs_for(load(path), files, choice)
    model = dg.onnx.load(path, sizes={name: x.shape for name, x in arrays.items() if x.ndim})
    arrays = {name: arrays[name] for name in model.inputs}
    plain = {name: tuple(x.tolist()) if x.ndim else x.item() for name, x in arrays.items() if name in model.steering}
    before = core.get_num_threads()
    core.set_num_threads(threads)
    try:
        return dg.tune(model.program, *(tensors(arrays) | plain).values(), winograd=winograd)
    finally:
        core.set_num_threads(before)


def show(report: Any, as_json: bool) -> None:
    """Print it."""
    if as_json:
        show_json(dataclasses.asdict(report))
    else:
        say(str(report))
