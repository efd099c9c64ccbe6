"""Random programs: views, in-place writes, loops, nested functions. Strict static results are dynamic mode's bits."""

import linecache
import random

import numpy as np
import pytest

import duograph as dg

SCALE = 0.5
KINDS = ["binary", "binary", "unary", "view", "view", "write", "write", "write", "reduce", "copy", "loop"]


class Writer:
    """Draws the source of one function."""

    def __init__(self, seed: int, gradients: bool) -> None:
        self.random = random.Random(seed)
        self.gradients = gradients
        self.lines: list[str] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.count = 0

    def program(self) -> str:
        shape = (self.random.randint(1, 4), self.random.randint(1, 4))
        self.arguments = {"a": shape, "b": shape, "c": (shape[1],)}
        self.lines = ["def f(a, b, c, k):", "    def helper(x, y):", "        return (x * y).tanh() + k * SCALE"]
        if self.gradients:
            self.lines.append("    a, b, c = a * 1, b * 1, c * 1")
        self.shapes = dict(self.arguments)
        for _ in range(self.random.randint(3, 10)):
            self.statement("    ")
        names = list(self.shapes)
        self.lines.append(f"    return {', '.join(names)}, k * 2")
        return "\n".join(self.lines) + "\n"

    def name(self, shape: tuple[int, ...]) -> str:
        self.count += 1
        found = f"t{self.count}"
        self.shapes[found] = shape
        return found

    def pick(self, like: tuple[int, ...] | None = None, rank: int = 0) -> str | None:
        names = [n for n, s in self.shapes.items() if (like is None or s == like) and len(s) >= rank]
        return self.random.choice(names) if names else None

    def statement(self, indent: str) -> None:
        kind = self.random.choice(
            ["binary", "binary", "unary", "view", "view", "write", "write", "write", "reduce", "copy", "loop"]
        )
        x = self.pick(rank=1)
        assert x is not None
        shape = self.shapes[x]
        other = self.pick(like=shape)
        r = self.random
        if kind == "binary":
            expression = r.choice([f"{x} + {other}", f"{x} * {other} - 1", f"helper({x}, {other})", f"{x} - {other} * k"])
            self.lines.append(f"{indent}{self.name(shape)} = {expression}")
        elif kind == "unary":
            self.lines.append(f"{indent}{self.name(shape)} = {r.choice([f'({x} * 0.1).exp()', f'-{x}', f'{x}.tanh()'])}")
        elif kind == "view":
            self.view(indent, x, shape)
        elif kind == "write":
            self.write(indent, x, shape, other)
        elif kind == "reduce":
            dim = r.randrange(len(shape))
            self.lines.append(f"{indent}{self.name(shape[:dim] + shape[dim + 1 :])} = {x}.sum({dim})")
        elif kind == "copy":
            self.lines.append(f"{indent}{self.name(shape)} = {x}.clone()")
        elif len(indent) == 4:
            self.lines.append(f"{indent}for i in range({r.randint(1, 3)}):")
            for _ in range(r.randint(1, 2)):
                self.statement(indent + "    ")
            self.lines.append(f"{indent}    pass")

    def view(self, indent: str, x: str, shape: tuple[int, ...]) -> None:
        r = self.random
        size = shape[0]
        start = r.randrange(size)
        stop = r.randint(start + 1, size)
        total = int(np.prod(shape))
        choices = [(f"{x}[{start}]", shape[1:]), (f"{x}[{start}:{stop}]", (stop - start, *shape[1:]))]
        choices.append((f"{x}.reshape(-1)", (total,)))
        choices.append((f"{x}.unsqueeze(0)", (1, *shape)))
        if len(shape) == 2:
            choices += [(f"{x}.transpose(0, 1)", shape[::-1]), (f"{x}[:, {r.randrange(shape[1])}]", shape[:1])]
            choices.append((f"{x}[::2]", ((shape[0] + 1) // 2, shape[1])))
        expression, result = r.choice(choices)
        self.lines.append(f"{indent}{self.name(result)} = {expression}")

    def write(self, indent: str, x: str, shape: tuple[int, ...], other: str | None) -> None:
        r = self.random
        at = r.randrange(shape[0])
        self.lines.append(
            indent
            + r.choice([
                f"{x} += 1", f"{x} *= 0.5", f"{x}.add_({other})", f"{x}[{at}] = 0.25", f"{x}[{at}:] += k",
                f"{x}.copy_({other} * 2)",
                f"{x}[{at}] = {x}[{r.randrange(shape[0])}] * 2", f"{x} -= {other} * 0.1",
            ])
        )  # fmt: skip


def make(source: str, name: str):
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    scope = {"SCALE": SCALE, "__name__": "fuzz"}
    exec(compile(source, name, "exec"), scope)
    return scope["f"]


def arguments(writer: Writer, seed: int):
    generator = np.random.default_rng(seed)
    return [
        dg.from_numpy(generator.uniform(-1, 1, s).astype(np.float32)).requires_grad_(writer.gradients)
        for s in writer.arguments.values()
    ]


def run(function, writer, seed, k):
    given = arguments(writer, seed)
    results = function(*given, k)
    grads = []
    if writer.gradients:
        total = sum((r * r).sum() for r in results if isinstance(r, dg.Tensor) and r.requires_grad)
        if isinstance(total, dg.Tensor):
            total.backward()
            grads = [g.grad for g in given]
    return results, given, grads


def check(seed: int) -> None:
    writer = Writer(seed, gradients=seed % 3 == 0)
    source = writer.program()
    function = make(source, f"<fuzz {seed}>")
    static = dg.static(function, strict=True)
    for round_, k in enumerate((2.0, 3.0)):
        try:
            expected = run(function, writer, seed + round_, k)
        except dg.Error:
            return  # dynamic mode refuses it (an overwritten value, an expanded target)
        try:
            got = run(static, writer, seed + round_, k)
        except dg.errors.GradError as error:
            assert writer.gradients and "a view cannot be written in a captured function" in str(error)
            return
        for mine, theirs in zip(got, expected):
            for a, b in zip(mine, theirs, strict=True):
                if a is None and isinstance(b, dg.Tensor):  # no gradient and a gradient of zeros are the same
                    assert not b.any(), source
                    continue
                if not isinstance(b, dg.Tensor):
                    assert a == b, source
                    continue
                assert a.shape == b.shape and a.dtype is b.dtype, source
                left, right = a.detach().numpy(), b.detach().numpy()
                if theirs is expected[2]:
                    np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-4, err_msg=f"seed {seed}\n{source}")
                else:
                    np.testing.assert_array_equal(left, right, err_msg=f"seed {seed}\n{source}")
    assert static.captures == 1, source


@pytest.mark.parametrize("seed", range(24))
def test_random_programs(seed):
    check(seed)


@pytest.mark.long
def test_many_random_programs():
    start = random.SystemRandom().randrange(1_000_000)
    print("first seed", start)
    for seed in range(start, start + 1000):
        check(seed)
