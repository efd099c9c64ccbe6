"""ONNX's backend interface: what its tests and tools call (`onnx.backend.base`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from duograph import _core as core

from .messages import library
from .model import load
from .operators.narrow import is_narrow

library()  # an error that names the extra, before the one below
from onnx.backend.base import Backend, BackendRep, Device, DeviceType  # noqa: E402


class Prepared(BackendRep):
    """A model that is ready to run."""

    def __init__(self, model: Any, **options: Any) -> None:
        self.model = load(model, **options)

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs as NumPy arrays, for inputs in order or by name."""
        if isinstance(inputs, dict):
            made = self.model(**inputs)
        else:
            made = self.model(*(inputs if isinstance(inputs, (list, tuple)) else [inputs]))
        results = (made,) if len(self.model.outputs) == 1 else made
        numbers = self.model.body.dtypes
        return tuple([array_of(x, numbers.get(name, 0)) for x, name in zip(results, self.model.outputs)])


class DuographBackend(Backend):
    """duograph as a backend of ONNX."""

    @classmethod
    def is_compatible(cls, model: Any, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether the model's operators are all known."""
        try:
            load(model)
        except Exception:
            return False
        return True

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> Prepared:
        """The model, ready to run."""
        if not cls.supports_device(device):
            raise ValueError(f"onnx.backend: there is no device {device!r}")
        options = {name: kwargs[name] for name in ("trainable", "sizes", "folder", "strict") if name in kwargs}
        return Prepared(model, **options)

    @classmethod
    def run_node(cls, node: Any, inputs: Any, device: str = "CPU", outputs_info: Any = None, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs of one node, for its inputs as NumPy arrays."""
        onnx = library()
        helper = onnx.helper
        names = [name for name in node.input if name]
        values = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.asarray(x).dtype), np.shape(x))
            for name, x in zip(names, inputs)
        ]
        results = [helper.make_tensor_value_info(name, 0, None) for name in node.output if name]
        graph = helper.make_graph([node], "node", values, results)
        version = kwargs.get("opset_version", onnx.defs.onnx_opset_version())
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, version)])
        return cls.prepare(model, device).run(list(inputs))

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether it is the CPU."""
        return bool(Device(device).type == DeviceType.CPU)


def array_of(value: Any, number: int = 0) -> Any:
    """A result as ONNX's tests have it; `number` is ONNX's for its type."""
    if isinstance(value, (list, tuple)):
        return [array_of(x) for x in value]
    if not isinstance(value, core.Tensor):
        return value
    value = value.detach()
    if value.dtype is core.bfloat16:
        import ml_dtypes

        return value.view(core.uint16).numpy().view(ml_dtypes.bfloat16)
    array = value.numpy()
    return array.astype(library().helper.tensor_dtype_to_np_dtype(number)) if is_narrow(number) else array


is_compatible = DuographBackend.is_compatible
prepare = DuographBackend.prepare
run_model = DuographBackend.run_model
run_node = DuographBackend.run_node
supports_device = DuographBackend.supports_device

__all__: Sequence[str] = [
    "DuographBackend", "Prepared", "is_compatible", "prepare", "run_model", "run_node", "supports_device",
]  # fmt: skip
