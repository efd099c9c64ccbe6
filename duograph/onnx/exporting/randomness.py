"""Random numbers: ONNX's own generators draw them, with the same distributions and not the same numbers."""

from __future__ import annotations

from duograph import _core as core
from duograph.ir.graph import Node

from .names import element_type
from .table import exports
from .writer import Ref, Writer


@exports("random_key")
def random_key(w: Writer, node: Node) -> None:
    w.refs[node.output] = Ref("", ())  # generators of a file have their own state


@exports("random_uniform")
def random_uniform(w: Writer, node: Node) -> None:
    w.set(node.output, _uniform(w, node, node.output.dtype))


def _uniform(w: Writer, node: Node, dtype: object) -> str:
    """Numbers from [0, 1)."""
    w.model.generators.update(node.inputs)
    inner = dtype if getattr(dtype, "name", "") in ("float32", "float64") else core.float32
    like = w.emit("ConstantOfShape", [w.shape(node.output.shape)])
    made = w.emit("RandomUniformLike", [like], dtype=element_type(inner))
    return made if inner is dtype else w.cast(made, dtype)


@exports("random_bits")
def random_bits(w: Writer, node: Node) -> None:
    """Whole numbers below two to the power of the dtype's bits; 53 of these are drawn."""
    bits = min(8 * node.output.dtype.itemsize, 53)
    scaled = w.emit("Mul", [_uniform(w, node, core.float64), w.number(2.0**bits, core.float64)])
    w.set(node.output, w.cast(w.cast(w.emit("Floor", [scaled]), core.int64), node.output.dtype))
