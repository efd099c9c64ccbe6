"""Draws random programs as Python source (arithmetic, branches, loops, in-place writes, views, closures); shrinks them."""

from __future__ import annotations

import random
from collections.abc import Callable

# What the grammar may use; what the library does not have would be left out here. Two of these may be refused:
# `aliased_writes`: writing in place to what is one tensor or another by the way a branch or loop went;
# `differentiated_writes`: writing in place inside branches and loops to what takes part in differentiation.
FEATURES = frozenset({
    "arithmetic", "reductions", "matmul", "views", "writes", "view_writes", "python_branches", "tensor_branches",
    "conditional_expressions", "python_loops", "tensor_loops", "while", "break", "rows", "lists", "tuples", "closures",
    "early_return", "aliased_writes", "differentiated_writes", "calls",
})  # fmt: skip
ARGUMENTS = {"x": "NM", "y": "NM", "v": "M", "s": ""}  # then k, a float, n, an int, and t, an int tensor
_THRESHOLDS = ("-0.73", "-0.31", "0.13", "0.47", "0.91")


class Scope:
    """The variables that a statement may use, by kind."""

    def __init__(self, shapes: dict[str, str]) -> None:
        self.shapes = shapes

    def copy(self) -> Scope:
        return Scope(dict(self.shapes))

    def of(self, shape: str) -> list[str]:
        return [name for name, has in self.shapes.items() if has == shape]


class Writer:
    """Draws the source of one function `f(x, y, v, s, k, n, t)`."""

    def __init__(self, seed: int, gradients: bool = False, features: frozenset[str] = FEATURES, large: bool = False) -> None:
        self.random = random.Random(seed)
        self.gradients = gradients
        self.features = features
        self.most, self.deepest = (7, 4) if large else (4, 3)
        self.differentiated_writes = "differentiated_writes" in features and self.random.random() < 0.2
        self.lines: list[str] = []
        self.count = 0
        self.loops = 0
        self.helpers: list[str] = []

    def program(self) -> str:
        self.lines = ["SCALE = 0.75"]
        if "calls" in self.features:
            self.lines += ["SAID = []", "", "", "@dg.host_callback", "def say(*values):"]
            self.line(1, "SAID.append([v.tolist() if isinstance(v, dg.Tensor) else v for v in values])")
        self.lines += ["", "", f"def f({', '.join(ARGUMENTS)}, k, n, t):"]
        if self.gradients or self.random.random() < 0.5:
            self.line(1, "x, y, v, s = x * 1.0, y * 1.0, v * 1.0, s * 1.0")
        scope = Scope(dict(ARGUMENTS))
        if "closures" in self.features and self.random.random() < 0.6:
            self.helper(1)
        for _ in range(self.random.randint(2, self.most)):
            self.statement(1, scope)
        names = ", ".join(scope.shapes)
        self.line(1, f"return {names}, k * 2")
        return "\n".join(self.lines) + "\n"

    # ---- statements

    def line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def fresh(self) -> str:
        self.count += 1
        return f"a{self.count}"

    def call(self, depth: int, scope: Scope) -> None:
        """A call into Python, or an error that is not raised."""
        self.count += 1
        name = self.pick(scope, self.random.choice(("NM", "M", "")))
        self.line(depth, f"assert {name}.sum() < 1e30" if self.random.random() < 0.3 else f"say({self.count}, {name})")

    def pick(self, scope: Scope, shape: str) -> str:
        names = scope.of(shape)
        return self.random.choice(names) if names else f"({self.random.choice(scope.of('NM'))}{_REDUCE[shape]})"

    def statement(self, depth: int, scope: Scope) -> None:
        kinds: list[tuple[str, Callable[[int, Scope], None], int]] = [
            ("arithmetic", self.assign, 6),
            ("writes", self.write, 2),
            ("view_writes", self.view_write, 1),
            ("tuples", self.swap, 1),
            ("calls", self.call, 1),
        ]
        if depth < self.deepest:
            kinds += [
                ("python_branches", self.python_branch, 1),
                ("tensor_branches", self.tensor_branch, 2),
                ("python_loops", self.python_loop, 1),
                ("tensor_loops", self.tensor_loop, 1),
                ("while", self.while_loop, 1),
                ("rows", self.row_loop, 1),
                ("lists", self.list_loop, 1),
            ]
        if depth == 1:
            kinds.append(("early_return", self.early_return, 1))
        without = {"writes", "view_writes"} if self.gradients and depth > 1 and not self.differentiated_writes else set()
        allowed = [(draw, weight) for name, draw, weight in kinds if name in self.features - without]
        (draw,) = self.random.choices([d for d, _ in allowed], [w for _, w in allowed])
        draw(depth, scope)

    def block(self, depth: int, scope: Scope) -> None:
        """A few statements; the variables they make are gone when it ends."""
        inner = scope.copy()
        for _ in range(self.random.randint(1, self.deepest - 1)):
            self.statement(depth, inner)
        name = self.random.choice(list(scope.shapes))
        self.line(depth, f"{name} = {self.expression(inner, scope.shapes[name])}")

    def assign(self, depth: int, scope: Scope) -> None:
        shape = self.random.choice(("NM", "NM", "M", "N", ""))
        reuse = scope.of(shape)
        name = self.random.choice(reuse) if reuse and (depth > 1 or self.random.random() < 0.5) else self.fresh()
        self.line(depth, f"{name} = {self.expression(scope, shape)}")
        scope.shapes[name] = shape

    def expression(self, scope: Scope, shape: str) -> str:
        """Of bounded size, so that nothing grows in loops."""
        r = self.random
        a, b = self.pick(scope, shape), self.pick(scope, shape)
        choices = [f"({a} + {b}).tanh()", f"{a} * 0.5 - {b} * 0.25", f"({a} * {b}).sin()", f"{a}.tanh() * k * 0.5",
                   f"({a} * SCALE + n * 0.1).cos()", f"dg.where({a} > {b}, {a} * 0.5, {b})", f"({a} - {b}).abs().tanh()",
                   f"{a}.sigmoid()"]  # fmt: skip
        if "reductions" in self.features and shape != "NM":
            choices += [f"{r.choice(scope.of('NM'))}{_REDUCE[shape]}"] * 3
        if shape == "NM":
            choices += [f"({a} + {self.pick(scope, 'M')}).tanh()", f"{a} * {self.pick(scope, '')}.tanh()"]
            if "matmul" in self.features:
                choices.append(f"(({a} @ {b}.transpose(0, 1)) @ {b}).tanh()")
        if "views" in self.features:
            choices += self.views(scope, shape)
        if "closures" in self.features and self.helpers:
            choices += [f"{r.choice(self.helpers)}({a}, {b})"] * 2
        if "conditional_expressions" in self.features and r.random() < 0.15:
            choices = [f"({a} if {self.condition(scope)} else {b} * 0.5)"]
        return r.choice(choices)

    def views(self, scope: Scope, shape: str) -> list[str]:
        a = self.random.choice(scope.of("NM"))
        if shape == "M":
            return [f"{a}[0]", f"{a}[-1]", f"({a}[1:] - {a}[:-1]).mean(0)", f"{a}[::2].mean(0)", f"{a}.transpose(0, 1)[:, 0]"]
        if shape == "N":
            return [f"{a}[:, 0]", f"{a}[:, 1:].mean(1)", f"{a}.transpose(0, 1)[-1]"]
        if shape == "":
            return [f"{a}.reshape(-1)[1]", f"{a}[0, -1]", f"{a}[1:, 1:].mean()"]
        return [f"dg.cat([{a}[1:], {a}[:1]], 0)", f"{a}.flip(0)", f"{a}.transpose(0, 1).contiguous().transpose(0, 1)"]

    def write(self, depth: int, scope: Scope) -> None:
        a, b, row = (self.random.choice(scope.of(s)) if scope.of(s) else "v" for s in ("NM", "NM", "M"))
        self.own(depth, a)
        self.line(depth, self.random.choice((
            f"{a} += {b} * 0.25", f"{a} *= 0.5", f"{a}.add_({b})", f"{a}.mul_(0.5)",
            f"{a}[0] = {row}", f"{a}[1:] *= 0.5", f"{a}[:, 0] = 0.25", f"{a}[-1] = {a}[0] * 0.5", f"{a}[:, 1:] += k * 0.1",
            f"{a}.copy_({b} * 0.5)",
        )))  # fmt: skip

    def view_write(self, depth: int, scope: Scope) -> None:
        a, view = self.random.choice(scope.of("NM")), self.fresh()
        self.own(depth, a)
        part, shape = self.random.choice((("[0]", "M"), ("[:, 0]", "N"), ("[-1]", "M"), (".transpose(0, 1)[0]", "N")))
        self.line(depth, f"{view} = {a}{part}")
        self.line(depth, self.random.choice((f"{view} += 0.25", f"{view}.mul_(0.5)", f"{view}[1:] = 0.5", f"{a} *= 0.5")))
        scope.shapes[view] = shape

    def own(self, depth: int, name: str) -> None:
        if "aliased_writes" not in self.features or self.random.random() < 0.7:
            self.line(depth, f"{name} = {name} * 1.0")

    def swap(self, depth: int, scope: Scope) -> None:
        a, b = self.pick(scope, "NM"), self.pick(scope, "NM")
        if a == b:
            self.assign(depth, scope)
            return
        pair = self.fresh() + "p"
        self.line(depth, f"{pair} = ({a}, {{'b': {b} * 0.5}})")
        self.line(depth, f"{a}, {b} = {pair}[1]['b'], {pair}[0]")

    # ---- conditions and branches

    def condition(self, scope: Scope) -> str:
        r = self.random
        a, threshold = self.pick(scope, "NM"), r.choice(_THRESHOLDS)
        plain = [f"{a}.mean() > {threshold}", f"{a}.max() < {threshold}", f"{self.pick(scope, '')} > {threshold}",
                 f"{a}[0, 0] < {threshold}"]  # fmt: skip
        both = [f"{r.choice(plain)} and not {r.choice(plain)}", f"{r.choice(plain)} or k > 1", f"{threshold} < {a}.min() < 0.95"]
        return r.choice(plain * 2 + both)

    def branches(self, depth: int, scope: Scope, conditions: list[str], last: bool) -> None:
        for number, condition in enumerate(conditions):
            self.line(depth, f"{'elif' if number else 'if'} {condition}:")
            self.block(depth + 1, scope)
        if last:
            self.line(depth, "else:")
            self.block(depth + 1, scope)

    def python_branch(self, depth: int, scope: Scope) -> None:
        conditions = self.random.sample(("k > 1", "n % 2 == 0", "SCALE < k", "n > 1", "x.shape[0] > 3"), 2)
        self.branches(depth, scope, conditions[: self.random.randint(1, 2)], self.random.random() < 0.5)

    def tensor_branch(self, depth: int, scope: Scope) -> None:
        conditions = [self.condition(scope) for _ in range(self.random.randint(1, 2))]
        self.branches(depth, scope, conditions, self.random.random() < 0.6)

    def early_return(self, depth: int, scope: Scope) -> None:
        """Of the same structure as the end cannot be known yet: in a function of its own."""
        name, a, b = f"early{self.count}", self.pick(scope, "NM"), self.pick(scope, "NM")
        self.count += 1
        self.line(depth, f"def {name}(p, q):")
        self.line(depth + 1, f"if p.mean() > {self.random.choice(_THRESHOLDS)}:")
        self.line(depth + 2, "return p * 0.5 + q * 0.25")
        if self.random.random() < 0.5:
            self.line(depth + 1, f"if q.max() < {self.random.choice(_THRESHOLDS)}:")
            self.line(depth + 2, "q = q.tanh()")
        self.line(depth + 1, "return (p - q).sin()")
        made = self.fresh()
        self.line(depth, f"{made} = {name}({a}, {b})")
        scope.shapes[made] = "NM"

    def may_write(self, depth: int) -> bool:
        return "writes" in self.features and (not self.gradients or self.differentiated_writes)

    # ---- loops

    def loop_body(self, depth: int, scope: Scope) -> None:
        if "break" in self.features and self.random.random() < 0.3:
            self.line(depth, f"if {self.condition(scope)}:")
            self.line(depth + 1, self.random.choice(("break", "continue")))
        self.block(depth, scope)

    def python_loop(self, depth: int, scope: Scope) -> None:
        self.loops += 1
        i = f"i{self.loops}"
        self.line(depth, f"for {i} in range({self.random.choice(('2', '3', 'n', 'x.shape[0] - 1'))}):")
        self.loop_body(depth + 1, scope)

    def tensor_loop(self, depth: int, scope: Scope) -> None:
        self.loops += 1
        i = f"i{self.loops}"
        self.line(depth, f"for {i} in range({self.random.choice(('t', 't + 1', 't - 1'))}):")
        self.loop_body(depth + 1, scope)
        if self.may_write(depth) and self.random.random() < 0.3:
            name, part = self.random.choice(scope.of("NM")), f"part{self.loops}"
            self.line(depth + 1, f"{part} = {self.random.choice((f'{name}[{i} % 2]', f'{name}[:, {i} % 2]', f'{name}[-1]'))}")
            self.line(depth + 1, self.random.choice((f"{part} *= 0.5", f"{part}[0] = 0.25", f"{name} *= {part}.mean()")))
        if self.random.random() < 0.4:
            name = self.random.choice(scope.of("NM"))
            self.line(depth + 1, f"{name} = {name} * 0.5 + {i} * 0.1")

    def while_loop(self, depth: int, scope: Scope) -> None:
        self.loops += 1
        count = f"c{self.loops}"
        self.line(depth, f"{count} = 0")
        self.line(depth, f"while ({self.condition(scope)}) and {count} < {self.random.randint(1, 4)}:")
        self.line(depth + 1, f"{count} += 1")
        self.loop_body(depth + 1, scope)

    def row_loop(self, depth: int, scope: Scope) -> None:
        a, row = self.pick(scope, "NM"), f"row{self.loops}"
        self.loops += 1
        target = self.random.choice(scope.of("M"))
        self.line(depth, self.random.choice((f"for {row} in {a}:", f"for _, {row} in enumerate({a} * 1.0):")))
        self.line(depth + 1, f"{target} = ({target} * 0.5 + {row}).tanh()")
        if self.may_write(depth) and self.random.random() < 0.3:
            self.line(depth + 1, self.random.choice((f"{row} *= 0.5", f"{row}[0] = 0.25", f"{row}.add_({target})")))
        if self.random.random() < 0.4:
            self.line(depth + 1, f"if {row}.sum() > {self.random.choice(_THRESHOLDS)}:")
            self.line(depth + 2, f"{target} = {target} * 0.5")

    def list_loop(self, depth: int, scope: Scope) -> None:
        self.loops += 1
        items, i, a = f"items{self.loops}", f"i{self.loops}", self.pick(scope, "M")
        made = self.fresh()
        start = "[]" if self.random.random() < 0.4 else f"[{a}]"
        steps = self.random.choice(("x.shape[0]", "3", "n + 1", "t", "t + 8", "12"))
        self.line(depth, f"{items} = {start}")
        self.line(depth, f"for {i} in range({steps}):")
        inner, some = depth + 1, start != "[]" and self.random.random() < 0.4
        if some:
            how = self.random.choice(("if {}:", "if {}: continue", "if {}: break"))
            self.line(inner, how.format(f"{a}.sum() > {self.random.choice(_THRESHOLDS)}"))
            inner += how.endswith(":")
        self.line(
            inner,
            f"{items}.append({a})"
            if self.random.random() < 0.15 and not some
            else f"{items}.append(({a} + {self.pick(scope, 'M')} * 0.5).sin() * {self.random.choice(('0.5', 'k', i))})",
        )
        if self.may_write(depth) and self.random.random() < 0.3 and not some:
            self.line(depth + self.random.randint(0, 1), f"{a} *= 0.5" if "(" not in a else f"{items}[-1].mul_(0.5)")
        self.line(depth, f"{made} = dg.stack({items}).mean(0)")
        scope.shapes[made] = "M"

    def helper(self, depth: int) -> None:
        name = f"helper{len(self.helpers)}"
        self.line(depth, f"def {name}(p, q):")
        self.line(depth + 1, self.random.choice(("p = p * k", "p = p + s.tanh()", "q = q * SCALE")))
        if "tensor_branches" in self.features and self.random.random() < 0.5:
            self.line(depth + 1, f"if p.mean() > {self.random.choice(_THRESHOLDS)}:")
            self.line(depth + 2, "q = q * 0.5")
        self.line(depth + 1, "return (p * 0.5 - q).tanh()")
        self.helpers.append(name)


_REDUCE = {"M": ".mean(0)", "N": ".mean(1)", "": ".mean()", "NM": ""}


def shrink(source: str, fails: Callable[[str], bool], budget: int = 120) -> str:
    """The program with whole statements taken out, as long as it still fails."""
    lines = source.splitlines()
    at = len(lines) - 2
    while at > 3 and budget > 0:
        indent = len(lines[at]) - len(lines[at].lstrip())
        end = at + 1
        while end < len(lines) and len(lines[end]) - len(lines[end].lstrip()) > indent:
            end += 1
        for candidate in _without(lines, at, end, indent):
            budget -= 1
            if fails("\n".join(candidate) + "\n"):
                lines = candidate
                break
        at = min(at, len(lines)) - 1
    return "\n".join(lines) + "\n"


def _without(lines: list[str], at: int, end: int, indent: int) -> list[list[str]]:
    """The block out; its first line out and the rest moved up; and the block emptied."""
    made = [lines[:at] + lines[end:]]
    if end > at + 1:
        body = [line[4:] for line in lines[at + 1 : end]]
        made.append(lines[:at] + body + lines[end:])
        made.append([*lines[: at + 1], " " * (indent + 4) + "pass", *lines[end:]])
    if lines[-1].strip().startswith("return") and at == len(lines) - 2:
        names = lines[-1].strip()[7:].split(", ")
        made += [
            [*lines[:-1], "    return " + ", ".join(names[:i] + names[i + 1 :])] for i in range(len(names)) if len(names) > 1
        ]
    return made
