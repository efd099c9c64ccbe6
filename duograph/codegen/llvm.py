"""A builder for final LLVM IR text: functions, blocks, loops, masks.

Integers known while generating are Python ints and are folded; everything else is the name of an SSA value. No pass
pipeline runs on the text, so what is written here is what instruction selection sees.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

Value = str | int  # an i64 known now, or the name of a value

_ICMP: dict[str, Callable[[int, int], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "slt": lambda a, b: a < b,
    "sle": lambda a, b: a <= b,
    "sgt": lambda a, b: a > b,
    "sge": lambda a, b: a >= b,
    "ult": lambda a, b: a < b,
    "ule": lambda a, b: a <= b,
    "ugt": lambda a, b: a > b,
    "uge": lambda a, b: a >= b,
}
# Instructions that may give another value when they stand elsewhere or run again: never taken for one met before.
_OWN_VALUE = ("load", "phi", "call", "alloca")

_MINMAX: dict[str, Callable[[int, int], int]] = {"umin": min, "umax": max, "smin": min, "smax": max}


def float_literal(value: float, type: str = "float") -> str:
    """The LLVM literal of a float32 ("float") or float64 ("double") constant, rounded to it."""
    return f"0x{struct.unpack('<Q', struct.pack('<d', _rounded(value, type)))[0]:016X}"


def float_bits(value: float, type: str = "float") -> int:
    """The bits of a float32 ("float") or float64 ("double") constant, as a signed integer."""
    kinds = ("<i", "<f") if type == "float" else ("<q", "<d")
    bits: int = struct.unpack(kinds[0], struct.pack(kinds[1], _rounded(value, type)))[0]
    return bits


def _rounded(value: float, type: str) -> float:
    if type != "float":
        return value
    try:
        result: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        result = float("inf") if value > 0 else float("-inf")
    return result


def vector_type(lanes: int, element: str) -> str:
    return f"<{lanes} x {element}>"


def mangle(type: str) -> str:
    """The suffix of an overloaded intrinsic: ``<16 x float>`` → ``v16f32``."""
    names = {"float": "f32", "double": "f64", "half": "f16", "ptr": "p0"}
    if type.startswith("<"):
        lanes, element = type[1:-1].split(" x ")
        return f"v{lanes}{names.get(element, element)}"
    return names.get(type, type)


class Module:
    """The text of one module: functions, the intrinsics they call, constant tables."""

    def __init__(self) -> None:
        self._functions: dict[str, str] = {}
        self._declarations: dict[str, str] = {}
        self._globals: dict[str, str] = {}

    def add(self, function: Function) -> None:
        """Append a finished function; a second one of the same name must be the same text."""
        text = function.text()
        if self._functions.setdefault(function.name, text) != text:
            raise ValueError(f"two different functions are called {function.name}")

    @property
    def empty(self) -> bool:
        return not self._functions

    def has(self, name: str) -> bool:
        return name in self._functions

    def declare(self, name: str, result: str, parameters: Sequence[str]) -> None:
        if name not in self._declarations:
            self._declarations[name] = f"declare {result} @{name}({', '.join(parameters)})"

    def table(self, name: str, element: str, values: Sequence[str], align: int = 64, *, exported: bool = False) -> str:
        """A constant array; returns the pointer to it."""
        linkage = "dso_local" if exported else "internal unnamed_addr"
        body = ", ".join(f"{element} {value}" for value in values)
        text = f"@{name} = {linkage} constant [{len(values)} x {element}] [{body}], align {align}"
        if self._globals.setdefault(name, text) != text:
            raise ValueError(f"two different tables are called {name}")
        return f"@{name}"

    def text(self) -> str:
        parts = [*self._globals.values(), *self._functions.values(), *self._declarations.values()]
        # metadata used by nontemporal() below
        return "\n".join([*parts, "!0 = !{i32 1}", ""])


class Function:
    """One function under construction. ``parameters`` are (type, name) pairs."""

    def __init__(
        self,
        module: Module,
        name: str,
        parameters: Sequence[tuple[str, str]],
        *,
        linkage: str = "",
        result: str = "void",
        attributes: str = "",
    ) -> None:
        self.module = module
        self.name = name
        self.block = "entry"
        self._lines: list[str] = []
        self._allocas: list[str] = []
        self._count = 0
        # of the present block and those it is surely reached from: the values by their text, conditions known to be false
        self._known: dict[str, str] = {}
        self._refuted: set[str] = set()
        signature = ", ".join(f"{type} %{parameter}" for type, parameter in parameters)
        self._head = f"define {linkage}{' ' if linkage else ''}{result} @{name}({signature}) nounwind"
        self._end = ["ret void"] if result == "void" else []
        self.written: Counter[str] = Counter()  # functions of single values, how often each is written out or called
        # dropped where an instruction is asked for by name that has registers of its own width
        self.attributes = attributes

    # ---- text ----

    def name_value(self) -> str:
        self._count += 1
        return f"%v{self._count}"

    def label(self, hint: str = "b") -> str:
        self._count += 1
        return f"{hint}{self._count}"

    def emit(self, line: str) -> None:
        self._lines.append(line)

    def op(self, text: str) -> str:
        """``%vN = text``; returns the name. What this block has computed before is not computed again."""
        if text.startswith(_OWN_VALUE):
            return self._new(text)
        return self._known.get(text) or self._keep(text)

    def _new(self, text: str) -> str:
        self._count += 1
        name = f"%v{self._count}"
        self._lines.append(f"{name} = {text}")
        return name

    def _keep(self, text: str) -> str:
        name = self._known[text] = self._new(text)
        return name

    def prelude(self, text: str) -> str:
        """Like `op`, at the start of the entry block: available everywhere."""
        name = self.name_value()
        self._allocas.append(f"{name} = {text}")
        return name

    def place(self, label: str) -> None:
        """Begin the block ``label``; the block before must have been ended by a branch."""
        self._lines.append(f"{label}:")
        self.block = label
        self._known, self._refuted = {}, set()

    def reserve(self) -> int:
        """A line to be filled later by `fill` (phis whose back edge is not known yet)."""
        self._lines.append("")
        return len(self._lines) - 1

    def fill(self, line: int, text: str) -> None:
        self._lines[line] = text

    def br(self, label: str) -> None:
        self._lines.append(f"br label %{label}")

    def cond_br(self, condition: str, then: str, otherwise: str) -> None:
        self._lines.append(f"br i1 {condition}, label %{then}, label %{otherwise}")

    def ret(self, value: str = "void") -> None:
        self._lines.append(f"ret {value}")

    def text(self) -> str:
        """The finished function; one without a result falls off the end into ``ret void``."""
        return "\n".join([f"{self._head} {self.attributes} {{", "entry:", *self._allocas, *self._lines, *self._end, "}"])

    # ---- i64 arithmetic with folding ----

    def _binary(self, op: str, a: Value, b: Value, fold: Callable[[int, int], int]) -> Value:
        if isinstance(a, int) and isinstance(b, int):
            return fold(a, b)
        return self.op(f"{op} i64 {a}, {b}")

    def add(self, a: Value, b: Value) -> Value:
        if a == 0:
            return b
        if b == 0:
            return a
        return self._binary("add", a, b, lambda x, y: x + y)

    def sub(self, a: Value, b: Value) -> Value:
        return a if b == 0 else self._binary("sub", a, b, lambda x, y: x - y)

    def mul(self, a: Value, b: Value) -> Value:
        for x, y in ((a, b), (b, a)):
            if x == 0:
                return 0
            if x == 1:
                return y
            if isinstance(x, int) and isinstance(y, str) and x > 0 and x & (x - 1) == 0:
                return self.shl(y, x.bit_length() - 1)
        return self._binary("mul", a, b, lambda x, y: x * y)

    def udiv(self, a: Value, b: Value) -> Value:
        if isinstance(b, int) and b & (b - 1) == 0:
            return self.lshr(a, b.bit_length() - 1)
        return self._binary("udiv", a, b, lambda x, y: x // y)

    def urem(self, a: Value, b: Value) -> Value:
        if isinstance(b, int) and b & (b - 1) == 0:
            return self.and_(a, b - 1)
        return self._binary("urem", a, b, lambda x, y: x % y)

    def ceildiv(self, a: Value, b: Value) -> Value:
        """ceil(a / b) for a >= 0, b > 0."""
        return self.udiv(self.add(a, self.sub(b, 1)), b)

    def shl(self, a: Value, b: Value) -> Value:
        return a if b == 0 else self._binary("shl", a, b, lambda x, y: x << y)

    def lshr(self, a: Value, b: Value) -> Value:
        return a if b == 0 else self._binary("lshr", a, b, lambda x, y: x >> y)

    def and_(self, a: Value, b: Value) -> Value:
        return self._binary("and", a, b, lambda x, y: x & y)

    def or_(self, a: Value, b: Value) -> Value:
        return self._binary("or", a, b, lambda x, y: x | y)

    def _minmax(self, kind: str, a: Value, b: Value) -> Value:
        if isinstance(a, int) and isinstance(b, int):
            return _MINMAX[kind](a, b)
        return self.intrinsic(f"llvm.{kind}.i64", "i64", [("i64", a), ("i64", b)])

    def umin(self, a: Value, b: Value) -> Value:
        return self._minmax("umin", a, b)

    def umax(self, a: Value, b: Value) -> Value:
        return self._minmax("umax", a, b)

    def smin(self, a: Value, b: Value) -> Value:
        return self._minmax("smin", a, b)

    def smax(self, a: Value, b: Value) -> Value:
        return self._minmax("smax", a, b)

    def icmp(self, predicate: str, a: Value, b: Value, type: str = "i64") -> str:
        if isinstance(a, int) and isinstance(b, int):
            return "true" if _ICMP[predicate](a, b) else "false"
        return self.op(f"icmp {predicate} {type} {a}, {b}")

    def select(self, condition: str, a: Value, b: Value, type: str = "i64") -> Value:
        if condition in ("true", "false"):
            return a if condition == "true" else b
        return self.op(f"select i1 {condition}, {type} {a}, {type} {b}")

    def phi(self, type: str, incoming: Sequence[tuple[Value, str]]) -> str:
        pairs = ", ".join(f"[{value}, %{block}]" for value, block in incoming)
        return self.op(f"phi {type} {pairs}")

    # ---- memory ----

    def gep(self, pointer: str, offset: Value, scale: int = 1) -> str:
        """``pointer + offset * scale`` bytes; scale 1, 2, 4 or 8 folds into the addressing mode."""
        if isinstance(offset, int):
            offset, scale = offset * scale, 1
            if offset == 0:
                return pointer
        element = "i8" if scale == 1 else f"i{8 * scale}" if scale in (2, 4, 8) else f"[{scale} x i8]"
        return self.op(f"getelementptr {element}, ptr {pointer}, i64 {offset}")

    def load(self, type: str, pointer: str, align: int | None = None) -> str:
        return self.op(f"load {type}, ptr {pointer}" + (f", align {align}" if align else ""))

    def store(self, type: str, value: Value, pointer: str, align: int | None = None, *, nontemporal: bool = False) -> None:
        suffix = f", align {align}" if align else ""
        if nontemporal:
            suffix += ", !nontemporal !0"
        self.emit(f"store {type} {value}, ptr {pointer}{suffix}")

    def masked_load(self, type: str, pointer: str, mask: str, align: int, other: str = "zeroinitializer") -> str:
        lanes = vector_type(_lanes(type), "i1")
        name = f"llvm.masked.load.{mangle(type)}.p0"
        self.module.declare(name, type, ["ptr", lanes, type])
        return self.op(f"call {type} @{name}(ptr align {align} {pointer}, {lanes} {mask}, {type} {other})")

    def masked_gather(self, type: str, pointers: str, mask: str, align: int) -> str:
        """Elements from anywhere; 0 where the mask is false."""
        lanes, places = vector_type(_lanes(type), "i1"), vector_type(_lanes(type), "ptr")
        name = f"llvm.masked.gather.{mangle(type)}.v{_lanes(type)}p0"
        self.module.declare(name, type, [places, lanes, type])
        return self.op(f"call {type} @{name}({places} align {align} {pointers}, {lanes} {mask}, {type} zeroinitializer)")

    def masked_store(self, type: str, value: str, pointer: str, mask: str, align: int) -> None:
        lanes = vector_type(_lanes(type), "i1")
        name = f"llvm.masked.store.{mangle(type)}.p0"
        self.module.declare(name, "void", [type, "ptr", lanes])
        self.emit(f"call void @{name}({type} {value}, ptr align {align} {pointer}, {lanes} {mask})")

    def prefetch(self, pointer: str, *, write: bool = False, locality: int = 3) -> None:
        self.module.declare("llvm.prefetch.p0", "void", ["ptr", "i32", "i32", "i32"])
        self.emit(f"call void @llvm.prefetch.p0(ptr {pointer}, i32 {int(write)}, i32 {locality}, i32 1)")

    def alloca(self, type: str, align: int | None = None, count: int = 1) -> str:
        """A stack slot, allocated in the entry block."""
        name = self.name_value()
        many = f", i32 {count}" if count > 1 else ""
        self._allocas.append(f"{name} = alloca {type}{many}" + (f", align {align}" if align else ""))
        return name

    def variable(self, type: str, initial: Value) -> str:
        """A mutable slot for outer loops (it stays on the stack: nothing promotes it)."""
        slot = self.alloca(type)
        self.store(type, initial, slot)
        return slot

    # ---- calls ----

    def intrinsic(self, name: str, result: str, arguments: Sequence[tuple[str, Value]]) -> str:
        """A call of an intrinsic that touches no memory: same arguments, same value."""
        if name.startswith("llvm.x86."):
            self.attributes = ""
        self.module.declare(name, result, [type for type, _ in arguments])
        text = f"call {result} @{name}(" + ", ".join(f"{type} {value}" for type, value in arguments) + ")"
        return self._known.get(text) or self._keep(text)

    def call(self, name: str, arguments: Sequence[tuple[str, Value]]) -> None:
        self.emit(f"call void @{name}(" + ", ".join(f"{type} {value}" for type, value in arguments) + ")")

    # ---- vectors ----

    def shuffle(self, type: str, a: str, b: str, indices: Sequence[int]) -> str:
        mask = ", ".join(f"i32 {i}" for i in indices)
        return self.op(f"shufflevector {type} {a}, {type} {b}, <{len(indices)} x i32> <{mask}>")

    def splat(self, lanes: int, element: str, value: Value) -> str:
        """All lanes the scalar ``value``."""
        type = vector_type(lanes, element)
        one = self.op(f"insertelement {type} poison, {element} {value}, i32 0")
        return one if lanes == 1 else self.op(f"shufflevector {type} {one}, {type} poison, <{lanes} x i32> zeroinitializer")

    def low_mask(self, lanes: int, count: Value) -> str:
        """``<lanes x i1>`` with the first ``count`` (0..lanes) lanes set."""
        bits = self.sub(self.shl(1, count), 1)
        type = vector_type(lanes, "i1")
        if isinstance(bits, int):
            return "<" + ", ".join(f"i1 {bits >> i & 1}" for i in range(lanes)) + ">"
        narrow = self.op(f"trunc i64 {bits} to i{lanes}")
        return self.op(f"bitcast i{lanes} {narrow} to {type}")

    # ---- control flow ----

    @contextmanager
    def loop(self, low: Value, high: Value, step: Value = 1) -> Iterator[str]:
        """``for (i = low; i < high; i += step)``, unsigned; yields i."""
        before, head, body, done = self.block, self.label("head"), self.label("body"), self.label("done")
        index, following = self.name_value(), self.name_value()
        self.br(head)
        self.place(head)
        line = self.reserve()
        self.cond_br(self.icmp("ult", index, high), body, done)
        self.place(body)
        yield index
        self.emit(f"{following} = add i64 {index}, {step}")
        self.fill(line, f"{index} = phi i64 [{low}, %{before}], [{following}, %{self.block}]")
        self.br(head)
        self.place(done)

    @contextmanager
    def pieces(self, low: Value, high: Value) -> Iterator[tuple[str, str]]:
        """``while (at < high) { ... }``, unsigned, from ``low`` on; yields (at, slot): the body stores there where to go on."""
        slot = self.variable("i64", low)
        head, inside, done = self.label("pieces"), self.label("piece"), self.label("done")
        self.br(head)
        self.place(head)
        at = self.load("i64", slot)
        self.cond_br(self.icmp("ult", at, high), inside, done)
        self.place(inside)
        yield at, slot
        self.br(head)
        self.place(done)

    def hot_loop(
        self,
        low: Value,
        high: Value,
        step: Value,
        carried: Sequence[tuple[str, Value]],
        body: Callable[[str, list[str]], Sequence[Value]],
    ) -> list[Value]:
        """A loop with carried values, tested at the bottom: low < high must hold.

        ``carried`` are (type, initial value); ``body(i, values)`` returns the next ones. Returns the last ones.
        """
        before, label, done = self.block, self.label("loop"), self.label("done")
        self.br(label)
        self.place(label)
        index, following = self.name_value(), self.name_value()
        names = [self.name_value() for _ in carried]
        lines = [self.reserve() for _ in range(len(carried) + 1)]
        after = list(body(index, names))
        self.emit(f"{following} = add i64 {index}, {step}")
        self.fill(lines[0], f"{index} = phi i64 [{low}, %{before}], [{following}, %{self.block}]")
        for line, name, (type, initial), value in zip(lines[1:], names, carried, after):
            self.fill(line, f"{name} = phi {type} [{initial}, %{before}], [{value}, %{self.block}]")
        self.cond_br(self.icmp("ult", following, high), label, done)
        self.place(done)
        return after

    def carried_loop(
        self,
        low: Value,
        high: Value,
        step: Value,
        carried: Sequence[tuple[str, Value]],
        body: Callable[[str, list[str]], Sequence[Value]],
    ) -> list[str]:
        """Like `hot_loop`, but tested at the top: no iteration where low >= high."""
        before, head, inside, done = self.block, self.label("head"), self.label("body"), self.label("done")
        self.br(head)
        self.place(head)
        index, following = self.name_value(), self.name_value()
        names = [self.name_value() for _ in carried]
        lines = [self.reserve() for _ in range(len(carried) + 1)]
        self.cond_br(self.icmp("ult", index, high), inside, done)
        self.place(inside)
        after = list(body(index, names))
        self.emit(f"{following} = add i64 {index}, {step}")
        self.fill(lines[0], f"{index} = phi i64 [{low}, %{before}], [{following}, %{self.block}]")
        for line, name, (type, initial), value in zip(lines[1:], names, carried, after):
            self.fill(line, f"{name} = phi {type} [{initial}, %{before}], [{value}, %{self.block}]")
        self.br(head)
        self.place(done)
        return names

    def leave_if(self, condition: str, report: Callable[[], None], hint: str = "fail") -> None:
        """Return from the function where the i1 ``condition`` holds, after ``report``; once is enough."""
        if condition in self._refuted:
            return
        leave, stay = self.label(hint), self.label("good")
        self.cond_br(condition, leave, stay)
        known, refuted = self._known, self._refuted
        self.place(leave)
        report()
        self.ret()
        self.place(stay)
        self._known, self._refuted = known, refuted | {condition}

    def cut(self, never: str) -> None:
        """Begin another block by asking for an i1 that never holds, which LLVM cannot know.

        Instruction selection sees one block at a time. On long chains of shuffles it spends several times as long.
        """
        leave, stay = self.label("leave"), self.label("stay")
        self.cond_br(never, leave, stay)
        self.place(leave)
        self.ret()
        self.place(stay)

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """``if (condition) { ... }``"""
        then, done = self.label("then"), self.label("done")
        self.cond_br(condition, then, done)
        self.place(then)
        yield
        self.br(done)
        self.place(done)


def _lanes(type: str) -> int:
    return int(type[1 : type.index(" ")])
