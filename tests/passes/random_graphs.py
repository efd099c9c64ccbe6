"""Random graphs of primitives over small tensors, for comparing ways to compile them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from duograph import _core as core
from duograph.ir import Builder, Graph, TensorType, Value

_UNARY = ("neg", "abs", "exp", "tanh", "floor", "sqrt")
_BINARY = ("add", "sub", "mul", "maximum", "minimum", "div")
_SIZES = (1, 2, 3, 4, 5, 6)


class RandomGraph:
    """Draws one graph; `graph` is it and `inputs` are arrays to run it on; `written` is what inputs end up as."""

    def __init__(self, seed: int, nodes: int = 25, cells: bool = False) -> None:
        self.random = random.Random(seed)
        self.builder = Builder(f"random{seed}")
        self.inputs: list[Any] = []
        rng = np.random.default_rng(seed)
        values = []
        for i in range(self.random.randint(1, 3)):
            shape = tuple(self.random.choice(_SIZES) for _ in range(self.random.randint(0, 3)))
            array, strides = self._array(rng, shape)
            self.inputs.append(array)
            kind = "cell" if cells and self.random.random() < 0.7 else "tensor"
            values.append(self.builder.input(TensorType(core.float32, shape), f"x{i}", kind, strides))
        self.values: list[Value] = values
        for _ in range(nodes):
            self.values.append(self._node())
        fresh = self.values[len(self.inputs) :]
        outputs = self.random.sample(fresh, min(len(fresh), self.random.randint(1, 4)))
        if self.values[-1] not in outputs:
            outputs.append(self.values[-1])
        self.written: dict[int, Value] = {}
        for i, argument in enumerate(self.builder.arguments):
            if argument.kind == "cell":
                self.written[i] = self._fit(self._pick(), values[i].shape)
        for i, value in self.written.items():
            self.builder.assign(values[i], value)
        self.graph: Graph = self.builder.finish(outputs)

    def _array(self, rng: Any, shape: tuple[int, ...]) -> tuple[Any, tuple[int, ...] | None]:
        """An array, sometimes not contiguous."""
        if len(shape) >= 2 and self.random.random() < 0.4:
            order = list(range(len(shape)))
            self.random.shuffle(order)
            base = rng.standard_normal([shape[d] + self.random.randint(0, 2) for d in order], dtype=np.float32)
            cut = base[tuple(slice(0, shape[d]) for d in order)]
            array = cut.transpose(np.argsort(order))
            return array, tuple(stride // 4 for stride in array.strides)
        return rng.standard_normal(shape, dtype=np.float32), None

    def emit(self, op: str, inputs: list[Value], shape: tuple[int, ...], dtype: Any = None, **attrs: Any) -> Value:
        return self.builder.emit(op, inputs, attrs, [TensorType(dtype or core.float32, shape)])[0]

    def _pick(self) -> Value:
        recent = self.values[-6:] if self.random.random() < 0.6 else self.values
        return self.random.choice(recent)

    def _fit(self, value: Value, shape: tuple[int, ...]) -> Value:
        """Some value of this shape made from another."""
        have = value.shape
        lead = len(shape) - len(have)
        if have == shape:
            return value
        if lead >= 0 and all(a in (1, b) for a, b in zip(have, shape[lead:])):
            return self.emit("broadcast", [value], shape)
        flat = self.emit("reduce", [value], (), kind="max", dims=tuple(range(len(have)))) if have else value
        return self.emit("broadcast", [flat], shape) if shape else flat

    def _node(self) -> Value:
        kind = self.random.choice(
            ["unary", "binary", "binary", "binary", "where", "reduce", "reduce", "reshape", "reshape", "permute", "slice", "flip"]
            + ["concat", "pad", "slice_update", "contraction", "take", "broadcast", "softmax", "take_add", "iota", "arg"]
        )
        made: Value = getattr(self, "_" + kind)(self._pick())
        return made

    def _unary(self, x: Value) -> Value:
        return self.emit(self.random.choice(_UNARY), [x], x.shape)

    def _binary(self, x: Value) -> Value:
        y = self._fit(self._pick(), x.shape)
        return self.emit(self.random.choice(_BINARY), [x, y], x.shape)

    def _where(self, x: Value) -> Value:
        y, z = (self._fit(self._pick(), x.shape) for _ in range(2))
        condition = self.emit("gt", [x, y], x.shape, core.bool)
        return self.emit("where", [condition, z, y], x.shape)

    def _reduce(self, x: Value) -> Value:
        dims = tuple(d for d in range(len(x.shape)) if self.random.random() < 0.6)
        shape = tuple(s for d, s in enumerate(x.shape) if d not in dims)
        if not dims:
            return x
        return self.emit("reduce", [x], shape, kind=self.random.choice(["sum", "max", "min", "sum"]), dims=dims)

    def _arg(self, x: Value) -> Value:
        if not x.shape:
            return x
        dim = self.random.randrange(len(x.shape))
        shape = x.shape[:dim] + x.shape[dim + 1 :]
        found = self.emit("reduce", [x], shape, core.int64, kind="argmax", dims=(dim,))
        return self.emit("cast", [found], shape)

    def _reshape(self, x: Value) -> Value:
        total = int(np.prod(x.shape, dtype=int))
        factors = [1, total]
        divisors = [d for d in range(1, total + 1) if total % d == 0]
        first = self.random.choice(divisors)
        rest = total // first
        second = self.random.choice([d for d in range(1, rest + 1) if rest % d == 0])
        factors = [first, second, rest // second]
        if self.random.random() < 0.3:
            factors = [total]
        return self.emit("reshape", [x], tuple(factors))

    def _permute(self, x: Value) -> Value:
        dims = list(range(len(x.shape)))
        self.random.shuffle(dims)
        return self.emit("permute", [x], tuple(x.shape[d] for d in dims), dims=tuple(dims))

    def _slice(self, x: Value) -> Value:
        starts = [self.random.randrange(s) for s in x.shape]
        steps = [self.random.randint(1, 2) for _ in x.shape]
        shape = tuple((s - a + t - 1) // t for s, a, t in zip(x.shape, starts, steps))
        return self.emit("slice", [x], shape, starts=tuple(starts), steps=tuple(steps))

    def _flip(self, x: Value) -> Value:
        dims = tuple(d for d in range(len(x.shape)) if self.random.random() < 0.5)
        return self.emit("flip", [x], x.shape, dims=dims)

    def _concat(self, x: Value) -> Value:
        if not x.shape:
            return x
        dim = self.random.randrange(len(x.shape))
        y = self._fit(self._pick(), x.shape)
        shape = tuple(2 * s if d == dim else s for d, s in enumerate(x.shape))
        return self.emit("concat", [x, y], shape, dim=dim) if np.prod(shape) < 400 else x

    def _pad(self, x: Value) -> Value:
        low, high = (tuple(self.random.randint(0, 2) for _ in x.shape) for _ in range(2))
        shape = tuple(a + s + b for a, s, b in zip(low, x.shape, high))
        return self.emit("pad", [x], shape, low=low, high=high) if np.prod(shape) < 400 else x

    def _slice_update(self, x: Value) -> Value:
        shape = tuple(self.random.randint(1, s) for s in x.shape)
        starts = tuple(self.random.randint(0, s - n) for s, n in zip(x.shape, shape))
        source = self._fit(self._pick(), shape)
        return self.emit("slice_update", [x, source], x.shape, starts=starts, steps=(1,) * len(shape))

    def _contraction(self, x: Value) -> Value:
        if len(x.shape) != 2:
            return self._unary(x)
        y = self._fit(self._pick(), (x.shape[1], 3))
        product = self.emit("contraction", [x, y], (x.shape[0], 3), a="mk", b="kn", out="mn")
        return self.emit("tanh", [product], product.shape) if self.random.random() < 0.5 else product

    def _indices(self, count: int, limit: int) -> Value:
        steps = self.emit("iota", [], (count,), core.int64, dim=0)
        three = self.builder.constant(3, core.int64, (count,))
        size = self.builder.constant(limit, core.int64, (count,))
        scaled = self.emit("mul", [steps, three], (count,), core.int64)
        return self.emit("mod", [scaled, size], (count,), core.int64)

    def _take(self, x: Value) -> Value:
        if not x.shape:
            return x
        dim = self.random.randrange(len(x.shape))
        index = self._indices(4, x.shape[dim])
        shape = (*x.shape[:dim], 4, *x.shape[dim + 1 :])
        return self.emit("take", [x, index], shape, dim=dim)

    def _take_add(self, x: Value) -> Value:
        if not x.shape:
            return x
        dim = self.random.randrange(len(x.shape))
        index = self._indices(3, x.shape[dim])
        source = self._fit(self._pick(), (*x.shape[:dim], 3, *x.shape[dim + 1 :]))
        return self.emit("take_add", [x, index, source], x.shape, dim=dim)

    def _broadcast(self, x: Value) -> Value:
        return self.emit("broadcast", [x], (self.random.randint(1, 4), *x.shape)) if len(x.shape) < 3 else x

    def _softmax(self, x: Value) -> Value:
        if not x.shape:
            return x
        dim = self.random.randrange(len(x.shape))
        kept = tuple(1 if d == dim else s for d, s in enumerate(x.shape))
        outer = tuple(s for d, s in enumerate(x.shape) if d != dim)
        top = self.emit("reduce", [x], outer, kind="max", dims=(dim,))
        shifted = self.emit("sub", [x, self._back(top, kept, x.shape)], x.shape)
        exps = self.emit("exp", [shifted], x.shape)
        total = self.emit("reduce", [exps], outer, kind="sum", dims=(dim,))
        return self.emit("div", [exps, self._back(total, kept, x.shape)], x.shape)

    def _back(self, x: Value, kept: tuple[int, ...], shape: tuple[int, ...]) -> Value:
        return self.emit("broadcast", [self.emit("reshape", [x], kept)], shape)

    def _iota(self, x: Value) -> Value:
        if not x.shape:
            return x
        made = self.emit("iota", [], x.shape, core.int64, dim=self.random.randrange(len(x.shape)))
        return self.emit("cast", [made], x.shape)
