"""Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), one block per lane."""

from __future__ import annotations

from duograph.codegen.llvm import Function, Value
from duograph.codegen.vector import Vec, Vectors

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


def random_bits(v: Vectors, dtype: str, key: Vec, counter: Vec, element: Vec) -> Vec:
    """uint32 or uint64 bits number ``element`` of the stream at (key, counter); all arguments are i64 lanes."""
    per_block = 2 if dtype == "uint32" else 1
    words = _call_block(v, key, v.add(counter, v.lshr(element, per_block)))
    if dtype == "uint64":
        wide = [v.convert("zext", word, "i64") for word in words]
        low = v.or_(wide[0], v.shl(wide[1], 32))
        high = v.or_(wide[2], v.shl(wide[3], 32))
        return v.select(v.bit(element, 0), high, low)
    second = v.bit(element, 1)
    even, odd = v.select(second, words[2], words[0]), v.select(second, words[3], words[1])
    return v.select(v.bit(element, 0), odd, even)


def consecutive(v: Vectors, dtype: str, key: Value, counter: Value, first: Value) -> Vec:
    """Like `random_bits`, the 16 numbers of the stream from number ``first`` on, without blocks made twice (arguments i64)."""
    f, name = v.function, f"philox_{dtype}"
    if not f.module.has(name):
        inner = Function(
            f.module, name, [("ptr", "out"), *(("i64", part) for part in ("key", "counter", "first"))], linkage="internal"
        )
        (_write_words if dtype == "uint32" else _write_pairs)(Vectors(inner, v.target, v.lanes))
        f.module.add(inner)
    out = f.alloca("[32 x i64]", 64)
    f.call(name, [("ptr", out), ("i64", key), ("i64", counter), ("i64", first)])
    if dtype == "uint32":
        return Vec(f.load("<16 x i32>", out, 64), "i32", v.lanes)
    return Vec(f.load("<16 x i64>", f.gep(out, f.and_(first, 1), 8), 8), "i64", v.lanes)


def _write_words(v: Vectors) -> None:
    """16 words: four blocks where the first word is the first of its block, else of eight blocks what is wanted."""
    f = v.function
    offset = f.and_("%first", 3)
    with f.when(f.icmp("eq", offset, 0)):
        f.store("<16 x i32>", _in_order(v, _blocks(v.narrowed(4), 2), 0).ref, "%out", 64)
    with f.when(f.icmp("ne", offset, 0)):
        words = _blocks(v.narrowed(8), 2)
        low, high = _in_order(v, words, 0), _in_order(v, words, 4)
        for bit in (1, 2):
            moved = [
                v.shuffle(low, high, range(bit, bit + v.lanes)),
                v.shuffle(high, high, [min(i + bit, 15) for i in range(16)]),
            ]
            away = v.bit(v.splat("i64", "%first"), bit - 1)
            low, high = (v.select(away, a, b) for a, b in zip(moved, (low, high)))
        f.store("<16 x i32>", low.ref, "%out", 64)


def _write_pairs(v: Vectors) -> None:
    """16 numbers of two words from an even number on; where the first is odd, the next ones, too."""
    f, half = v.function, v.narrowed(8)
    for part in (0, 1):
        with f.when("true" if part == 0 else f.icmp("ne", f.and_("%first", 1), 0)):
            wide = [half.convert("zext", word, "i64") for word in _blocks(half, 1, 8 * part)]
            low, high = (half.or_(wide[i], half.shl(wide[i + 1], 32)) for i in (0, 2))
            for side in (0, 4):
                ordered = half.shuffle(low, high, [i for block in range(side, side + 4) for i in (block, block + 8)])
                f.store("<8 x i64>", ordered.ref, f.gep("%out", 128 * part + 16 * side), 64)


def _blocks(v: Vectors, per_block: int, more: int = 0) -> list[Vec]:
    """The four words of the blocks from that of number ``%first`` on, one in each lane."""
    f = v.function
    block = f.add(f.add("%counter", f.lshr("%first", per_block)), more)
    return _block(v, v.splat("i64", "%key"), v.add(v.splat("i64", block), v.iota("i64")))


def _in_order(v: Vectors, words: list[Vec], start: int) -> Vec:
    """The words of four blocks, block by block."""
    n = words[0].lanes
    first_two, last_two = (v.shuffle(a, b, range(2 * n)) for a, b in (words[:2], words[2:]))
    return v.shuffle(first_two, last_two, [w % 2 * n + b + w // 2 * 2 * n for b in range(start, start + 4) for w in range(4)])


def _call_block(v: Vectors, key: Vec, block: Vec) -> list[Vec]:
    """The four words of each lane's block. A function by itself: it is long, and loops call it from several places."""
    f, name = v.function, f"philox_{v.lanes}"
    kind, wide = f"<{v.lanes} x i32>", f"<{v.lanes} x i64>"
    size = 4 * v.lanes
    if not f.module.has(name):
        inner = Function(f.module, name, [("ptr", "words"), (wide, "key"), (wide, "block")], linkage="internal")
        narrow = Vectors(inner, v.target, v.lanes)
        arguments = (Vec(argument, "i64", v.lanes) for argument in ("%key", "%block"))
        for i, word in enumerate(_block(narrow, *arguments)):
            inner.store(kind, word.ref, inner.gep("%words", i * size), size)
        f.module.add(inner)
    words = f.alloca(f"[4 x {kind}]", 64)
    f.call(name, [("ptr", words), (wide, key.ref), (wide, block.ref)])
    return [Vec(f.load(kind, f.gep(words, i * size), size), "i32", v.lanes) for i in range(4)]


def _block(v: Vectors, key: Vec, block: Vec) -> list[Vec]:
    """The rounds in 64-bit lanes, of which the upper halves mean nothing: the processor multiplies the lower ones."""
    x0, x1, k0, k1 = block, v.lshr(block, 32), key, v.lshr(key, 32)
    x2 = x3 = v.const("i64", 0)
    for i in range(_ROUNDS):
        if i:
            k0, k1 = v.add(k0, v.like(k0, _KEY_STEPS[0])), v.add(k1, v.like(k1, _KEY_STEPS[1]))
        first, second = _product(v, x0, _MULTIPLIERS[0]), _product(v, x2, _MULTIPLIERS[1])
        x0, x2 = v.xor(v.xor(v.lshr(second, 32), x1), k0), v.xor(v.xor(v.lshr(first, 32), x3), k1)
        x1, x3 = second, first
    return [v.convert("trunc", x, "i32") for x in (x0, x1, x2, x3)]


def _product(v: Vectors, a: Vec, multiplier: int) -> Vec:
    """The 64 bits of a product of lower halves."""
    return v.mul(v.and_(a, v.like(a, 0xFFFFFFFF)), v.like(a, multiplier))
