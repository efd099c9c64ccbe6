"""Draws random chains of views, in-place writes, indexing and arithmetic, as lines that run with PyTorch and with duograph.

`lib` is the library; `make`, `given` and `other` come from whoever runs the chain (see `chain_sides.py`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

Shape = tuple[int, ...]
Tensors = dict[str, Any]  # live tensors of PyTorch, for their shapes and dtypes

DTYPES = ("float32", "float32", "float64", "float64", "int64", "bool")
LAYOUTS = ("plain", "plain", "transposed", "expanded", "strided")
UNARY = (
    "sin", "cos", "tanh", "sigmoid", "relu", "abs", "square", "neg", "exp", "floor", "sign", "logical_not", "isnan", "clone",
    "contiguous", "detach", "softmax", "cumsum",
)  # fmt: skip
REDUCTIONS = ("sum", "mean", "amax", "amin", "prod", "any", "all", "argmax", "logsumexp", "var", "max", "cumsum", "sort")
MOST_ELEMENTS = 150


class Draw:
    """Draws the lines of one chain, each for the tensors that live when it is drawn."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.count = 0
        self.seeds = 0
        self.wild = self.random.random() < 0.3  # whether arguments may be wrong on purpose

    # ---- small choices

    def fresh(self) -> str:
        self.count += 1
        return f"a{self.count}"

    def seed(self) -> int:
        self.seeds += 1
        return self.seeds

    def shape(self, most: int = 3) -> Shape:
        return tuple(self.random.choice((0, 1, 1, 2, 2, 3, 3, 4)) for _ in range(self.random.randrange(most + 1)))

    def dim(self, t: Any) -> int:
        rank = max(t.dim(), 1)
        return self.random.randrange(-rank, rank + (self.wild and self.random.random() < 0.05))

    def number(self) -> str:
        return self.random.choice(("0.5", "-1.25", "2", "0", "1.5", "-1", "True"))

    def constant(self, shape: Sequence[int], dtype: str | None = None) -> str:
        return f"given({self.seed()}, {tuple(shape)}, {dtype or self.random.choice(DTYPES)!r})"

    def leaf(self) -> str:
        dtype = self.random.choice(DTYPES)
        grad = dtype.startswith("float") and self.random.random() < 0.75
        layout = self.random.choice(LAYOUTS)
        return f"{self.fresh()} = make({self.seed()}, {self.shape()}, {dtype!r}, {layout!r}, {grad})"

    def pick(self, live: Tensors) -> str:
        """A live tensor, later ones more often."""
        names = list(live)
        return names[max(self.random.randrange(len(names)), self.random.randrange(len(names)))]

    def target(self, live: Tensors) -> str:
        """One to write to: seldom one that refuses it."""
        name = self.pick(live)
        for _ in range(4):
            t = live[name]
            if not (t.is_leaf and t.requires_grad) and single(t):
                break
            name = self.pick(live)
        return name

    def partner(self, live: Tensors, shape: Sequence[int], dtype: str | None = None, into: bool = False) -> str:
        """Something that broadcasts with a shape (or, `into`, to it)."""
        r = self.random
        if r.random() < 0.15:
            return self.number()
        if self.wild and r.random() < 0.1:
            return self.pick(live)
        fitting = [n for n, t in live.items() if _fits(t.shape, shape, into) and (dtype is None or _dtype(t) == dtype)]
        if fitting and r.random() < 0.75:
            return r.choice(fitting)
        sizes = [r.choice((n, n, 1)) for n in shape]
        return self.constant(sizes[r.randrange(len(sizes) + 1) if r.random() < 0.3 else 0 :], dtype)

    def source(self, live: Tensors, target: str, dtype: str | None = None) -> str:
        """What is written to a target: `other` stands for "as it was before", which PyTorch refuses or leaves undefined."""
        name = self.partner(live, live[target].shape, dtype or (None if self.wild else _dtype(live[target])), into=True)
        return f"other({name}, {target})" if name in live else name

    # ---- chains

    def line(self, live: Tensors) -> str:
        if not live:
            return self.leaf()
        kinds: list[tuple[Callable[[Tensors], str], int]] = [
            (self.view, 6), (self.write, 6), (self.arithmetic, 4), (self.read, 2), (self.reduce, 1), (self.leaf_again, 1),
        ]  # fmt: skip
        (draw,) = self.random.choices([k for k, _ in kinds], [w for _, w in kinds])
        text = draw(live)
        return f"with lib.no_grad(): {text}" if self.random.random() < 0.12 and text.count(";") == 0 else text

    def leaf_again(self, live: Tensors) -> str:
        return self.leaf()

    # ---- views

    def view(self, live: Tensors) -> str:
        name = self.pick(live)
        t = live[name]
        kinds = (
            self.reshaped, self.turned, self.stretched, self.narrowed, self.squeezed, self.diagonal, self.windows, self.selected,
            self.sliced, self.sliced, self.parts, self.strided, self.flattened,
        )  # fmt: skip
        return f"{self.fresh()} = {name}{self.random.choice(kinds)(t)}"

    def reshaped(self, t: Any) -> str:
        r = self.random
        shape = _factors(r, t.numel()) if t.numel() else tuple(r.sample(tuple(t.shape), t.dim()))
        if self.wild and r.random() < 0.1:
            shape = (*shape, 2)
        elif shape and t.numel() and r.random() < 0.3:
            at = r.randrange(len(shape))
            shape = (*shape[:at], -1, *shape[at + 1 :])
        return f".{r.choice(('view', 'reshape'))}({', '.join(map(str, shape)) if shape and r.random() < 0.5 else shape})"

    def turned(self, t: Any) -> str:
        r, order = self.random, self.random.sample(range(t.dim()), t.dim())
        choices = [f".transpose({self.dim(t)}, {self.dim(t)})", f".movedim({self.dim(t)}, {self.dim(t)})",
                   f".swapaxes({self.dim(t)}, {self.dim(t)})", f".permute({tuple(order)})"]  # fmt: skip
        if t.dim() == 2 or self.wild:
            choices += [".T", ".t()"] + [".mT"] * (t.dim() > 0)
        return r.choice(choices)

    def stretched(self, t: Any) -> str:
        r = self.random
        sizes = [r.choice((n, -1)) if n != 1 else r.choice((1, 2, 3, -1, 0)) for n in t.shape]
        sizes = [r.choice((1, 2, 3)) for _ in range(r.choice((0, 0, 1)))] + sizes
        return f".expand({tuple(sizes)})" if t.numel() * 6 < MOST_ELEMENTS else ".expand_as(lib.zeros(()))"

    def narrowed(self, t: Any) -> str:
        d, r = self.dim(t), self.random
        n = _size(t, d)
        start = r.randrange(n + 1)
        return f".narrow({d}, {start}, {r.randrange(n - start + 1 + self.wild)})"

    def squeezed(self, t: Any) -> str:
        r = self.random
        at = r.randrange(-t.dim() - 1, t.dim() + 1)
        return r.choice((f".unsqueeze({at})", f".unsqueeze({at})", ".squeeze()", f".squeeze({self.dim(t)})"))

    def diagonal(self, t: Any) -> str:
        if t.dim() < 2 and not self.wild:
            return self.squeezed(t)
        d, e = self.random.sample(range(max(t.dim(), 2)), 2)
        return f".diagonal({self.random.choice((0, 0, 1, -1, 3))}, {d}, {e})"

    def windows(self, t: Any) -> str:
        d = self.dim(t)
        return f".unfold({d}, {self.random.randrange(0, _size(t, d) + 1 + self.wild)}, {self.random.choice((1, 1, 2, 3))})"

    def selected(self, t: Any) -> str:
        d = self.dim(t)
        n = _size(t, d)
        return f".select({d}, {self.random.randrange(-n, n + self.wild) if n else 0})" if t.dim() or self.wild else "[None]"

    def sliced(self, t: Any) -> str:
        return f"[{', '.join(self.index(t, arrays=False))},]" if t.dim() else self.random.choice(("[...]", "[None]", "[()]"))

    def parts(self, t: Any) -> str:
        r, d = self.random, self.dim(t)
        n = _size(t, d)
        if t.dim() == 0 or n == 0:
            return r.choice((f".chunk(2, {d})[0]", f".unbind({d})", ".squeeze()"))
        k = r.randrange(1, n + 1)
        choices = [f".unbind({d})[{r.randrange(n)}]", f".chunk({k}, {d})[-1]", f".split({k}, {d})[0]",
                   f".split([{k}, {n - k}], {d})[{r.randrange(2)}]", f".tensor_split({k}, {d})[0]"]  # fmt: skip
        return r.choice(choices)

    def strided(self, t: Any) -> str:
        r = self.random
        total = t.untyped_storage().nbytes() // t.element_size()
        if total == 0:
            return self.squeezed(t)
        start = r.randrange(total)
        sizes, strides, reach = [], [], start
        for _ in range(r.randrange(3)):
            step = r.choice((1, 1, 2, 3, 0))
            most = (total - 1 - reach) // step + 1 if step else 2
            sizes.append(r.randrange(1, min(most, 4) + 1))
            strides.append(step)
            reach += (sizes[-1] - 1) * step
        if self.wild and r.random() < 0.1:
            sizes, strides = [*sizes, total + 1], [*strides, 1]
        return f".as_strided({tuple(sizes)}, {tuple(strides)}, {start})"

    def flattened(self, t: Any) -> str:
        r = self.random
        if t.dim() < 2:
            return r.choice((".flatten()", ".ravel()", ".detach()"))
        d = r.randrange(t.dim() - 1)
        choices = [".flatten()", ".ravel()", f".flatten({d}, {r.randrange(d, t.dim())})", ".detach()",
                   f".unflatten({d}, {(t.shape[d], 1)})"]  # fmt: skip
        return r.choice(choices)

    # ---- indices

    def index(self, t: Any, arrays: bool, distinct: bool = False) -> list[str]:
        """Of the first dimensions; `distinct`: no place twice."""
        r = self.random
        found: list[str] = []
        taken = r.randrange(1, t.dim() + 1) if t.dim() else 0
        lengths = r.choice((1, 2, 3))
        skips = r.random() < 0.15
        for d in range(t.dim() - taken, t.dim()) if skips else range(taken):
            if r.random() < 0.12:
                found.append("None")
            found.append(self.index_of(t.shape[d], arrays, lengths, distinct))
            arrays = arrays and not (distinct and "[" in found[-1])
        return ["...", *found] if skips else found + ["..."] * (r.random() < 0.1)

    def index_of(self, n: int, arrays: bool, length: int, distinct: bool) -> str:
        r, kind = self.random, self.random.random()
        if arrays and kind < 0.5:
            if kind < 0.15:
                return f"lib.tensor({[r.random() < 0.5 for _ in range(n)]}, dtype=lib.bool)"
            length = min(length, n)
            picked = r.sample(range(n), length) if distinct else [r.randrange(-n, n) for _ in range(length)]
            return f"lib.tensor({picked}, dtype=lib.int64)" if r.random() < 0.7 or not picked else f"{picked}"
        if kind < 0.65 and n:
            return str(r.randrange(-n, n + (self.wild and r.random() < 0.1)))
        bounds = [r.choice(("", "", str(r.randrange(-n - 1, n + 2)))) for _ in range(2)]
        return f"{bounds[0]}:{bounds[1]}" + r.choice(("", "", ":1", ":2", ":3"))

    def mask(self, live: Tensors, name: str) -> str:
        t, r = live[name], self.random
        fitting = [n for n, m in live.items() if m.shape == t.shape and _dtype(m) == "bool"]
        if fitting and r.random() < 0.4:
            return r.choice(fitting)
        return r.choice((f"{name} > 0.1", self.constant(t.shape, "bool"), f"{name}.detach() < 0.3"))

    def read(self, live: Tensors) -> str:
        r, name = self.random, self.pick(live)
        t, d = live[name], self.dim(live[name])
        n = _size(t, d)
        places = f"lib.tensor({[r.randrange(n) for _ in range(3 * (n > 0))]}, dtype=lib.int64)"
        choices = [f"{name}[{self.mask(live, name)}]", f"lib.where({self.mask(live, name)}, {name}, {self.number()})"]
        if t.dim():
            choices += [f"{name}[{', '.join(self.index(t, arrays=True))},]"] * 4
            choices += [f"{name}.index_select({d}, {places})", f"{name}.flip({d})", f"{name}.roll(1, {d})",
                        f"{name}.gather({d}, {self.places(t, d)})", f"{name}.masked_select({self.mask(live, name)})",
                        f"{name}.nonzero()", f"{name}.repeat_interleave(2, {d})"]  # fmt: skip
        return f"{self.fresh()} = {r.choice(choices)}"

    def places(self, t: Any, d: int, distinct: bool = False) -> str:
        """An index tensor for gather and scatter along a dimension."""
        if distinct:
            return f"places({self.seed()}, {tuple(t.shape)}, {d}, True)"
        return f"places({self.seed()}, {tuple(t.shape)}, {d})"

    # ---- writes

    def write(self, live: Tensors) -> str:
        r, name = self.random, self.target(live)
        t = live[name]
        kinds = (self.write_all, self.write_all, self.write_all, self.write_some, self.write_index, self.write_index)
        text = r.choice(kinds)(live, name, t)
        if text.startswith(name + ".") and r.random() < 0.1:
            return f"{self.fresh()} = {text}"
        return text

    def write_all(self, live: Tensors, name: str, t: Any) -> str:
        r = self.random
        source = self.source(live, name)
        choices = [f".add_({source})", f".mul_({source})", f".sub_({source})", f".copy_({source})",
                   ".zero_()", f".fill_({self.number()})", ".clamp_(-0.7, 0.8)", ".neg_()", f".clamp_(min={self.number()})",
                   ".abs_()"]  # fmt: skip
        if _dtype(t).startswith("float") or self.wild:
            choices += [".relu_()", ".tanh_()", ".sin_()", ".sigmoid_()", ".div_(1.5)", ".mul_(0.5)", ".pow_(2)", ".exp_()",
                        f".addcmul_({source}, {source}, value=0.5)" if source[0] in "og" else ".square_()",
                        f".lerp_({source}, 0.25)" if source[0] in "og" else ".cos_()"]  # fmt: skip
        if r.random() < 0.3:
            return f"{name} {r.choice(('+=', '*=', '-='))} {source}"
        return name + r.choice(choices)

    def write_some(self, live: Tensors, name: str, t: Any) -> str:
        r, d = self.random, self.dim(t)
        n = _size(t, d)
        count = r.choice((1, 2, 3)) if n else 0
        shape = list(t.shape)
        if shape:
            shape[d if -t.dim() <= d < t.dim() else 0] = count
        many = [r.randrange(n) for _ in range(count)]
        once = r.sample(range(n), min(n, count))
        rows, dtype = self.constant(shape, _dtype(t)), _dtype(t)
        if t.dim() == 0:
            return f"{name}.masked_fill_({self.mask(live, name)}, {self.number()})"
        if len(once) < count:
            many = once = []
            rows = f"{rows}.narrow({d}, 0, 0)"
        index = f"lib.tensor({many}, dtype=lib.int64)"
        single = f"lib.tensor({once}, dtype=lib.int64)"
        choices = [f"masked_fill_({self.mask(live, name)}, {self.number()})", f"index_add_({d}, {index}, {rows})",
                   f"index_copy_({d}, {single}, {rows})", f"index_fill_({d}, {index}, {self.number()})",
                   f"scatter_({d}, {self.places(t, d, True)}, {self.constant(t.shape, dtype)})",
                   f"scatter_add_({d}, {self.places(t, d)}, {self.constant(t.shape, dtype)})",
                   f"scatter_({d}, {self.places(t, d)}, 0.5)",
                   f"masked_scatter_({self.mask(live, name)}, {self.constant(t.shape, dtype)})",
                   f"cumsum_({d})" if dtype != "bool" else "logical_not_()", "tril_()"]  # fmt: skip
        return f"{name}.{r.choice(choices)}"

    def write_index(self, live: Tensors, name: str, t: Any) -> str:
        r = self.random
        how = r.choice(("=", "=", "+=", "*="))
        if r.random() < 0.3 or t.dim() == 0:
            value = self.number()
            return f"{name}[{self.mask(live, name)}] {how} {value}"
        index = ", ".join(self.index(t, arrays=r.random() < 0.5, distinct=True)) + ","
        scope = {"lib": _torch(), "t": t.detach()}
        try:
            shape = tuple(eval(f"t[{index}]", scope).shape)
        except (IndexError, RuntimeError, ValueError):
            shape = ()
        value = self.partner(live, shape, None if self.wild else _dtype(t), into=True)
        return f"{name}[{index}] {how} " + (f"other({value}, {name})" if value in live else value)

    # ---- arithmetic

    def arithmetic(self, live: Tensors) -> str:
        r, name = self.random, self.pick(live)
        t = live[name]
        if r.random() < 0.35:
            call = r.choice(UNARY)
            if call == "softmax" and not _dtype(t).startswith("float"):
                call = "tanh"
            dim = f"{self.dim(t)}" if call in ("softmax", "cumsum") else ""
            return f"{self.fresh()} = {name}.{call}({dim})"
        partner = self.partner(live, t.shape)
        choices = [f"{name} + {partner}", f"{name} - {partner}", f"{name} * {partner}", f"{partner} * {name}",
                   f"{name} > {partner}",
                   f"{name} / 1.5", f"{name} == {partner}", f"{name}.to(lib.{r.choice(DTYPES)})", f"{name} ** 2"]  # fmt: skip
        if not partner[0].isdigit() and partner[0] not in "-T":
            choices += [f"lib.maximum({name}, {partner})", f"lib.where({self.mask(live, name)}, {name}, {partner})"]
        choices += self.joined(live, name, t)
        return f"{self.fresh()} = {r.choice(choices)}"

    def joined(self, live: Tensors, name: str, t: Any) -> list[str]:
        r = self.random
        same = r.choice([n for n, u in live.items() if u.shape == t.shape])
        choices = [f"lib.stack([{name}, {same}], {r.randrange(t.dim() + 1)})"]
        if t.dim() and t.numel() * 2 <= MOST_ELEMENTS:
            choices.append(f"lib.cat([{name}, {same}, {name}], {self.dim(t)})")
        fitting = [n for n, u in live.items() if u.dim() and t.dim() and u.shape[-min(u.dim(), 2)] == t.shape[-1]]
        fitting = [n for n in fitting if _dtype(live[n]) == _dtype(t) != "bool" or self.wild]
        if fitting:
            choices += [f"({name} @ {r.choice(fitting)}) * 0.5"] * 3
        return choices

    def reduce(self, live: Tensors) -> str:
        r, name = self.random, self.pick(live)
        t = live[name]
        call, d = r.choice(REDUCTIONS), self.dim(t)
        if call in ("sum", "mean", "any", "all", "prod", "amax") and r.random() < 0.4:
            text = f"{name}.{call}()"
        elif call in ("max", "sort"):
            text = f"{name}.{call}(dim={d})[0]"
        elif call in ("cumsum", "prod", "argmax"):
            text = f"{name}.{call}({d})"
        else:
            dims = r.choice((f"{d}", f"({d},)"))
            # One number has no variance but with the correction 0: PyTorch's second derivative of it depends on the rank.
            freedom = ", correction=0" if call == "var" and t.dim() == 0 else ""
            text = f"{name}.{call}({dims}{freedom}{r.choice(('', '', ', keepdim=True'))})"
        return f"{self.fresh()} = {text}"


def _torch() -> Any:
    import torch

    return torch


def _dtype(t: Any) -> str:
    return str(t.dtype).split(".")[-1]


def _size(t: Any, d: int) -> int:
    return t.shape[d] if t.dim() and -t.dim() <= d < t.dim() else 1


def single(t: Any) -> bool:
    """Whether no element is shown twice by a stride of 0."""
    return all(s != 0 or n < 2 for n, s in zip(t.shape, t.stride()))


def _fits(shape: Sequence[int], to: Sequence[int], into: bool) -> bool:
    if into and len(shape) > len(to):
        return False
    return all(a == b or a == 1 or (b == 1 and not into) for a, b in zip(reversed(shape), reversed(to)))


def _factors(r: random.Random, n: int) -> Shape:
    """A shape of n elements."""
    sizes: list[int] = []
    for _ in range(r.randrange(3)):
        k = r.choice([k for k in range(1, n + 1) if n % k == 0])
        sizes.append(k)
        n //= k
    if n != 1 or r.random() < 0.3:
        sizes.insert(r.randrange(len(sizes) + 1), n)
    return tuple(sizes)
