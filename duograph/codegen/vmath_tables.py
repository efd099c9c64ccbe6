"""Looking up entries of small tables by lane."""

from __future__ import annotations

from collections.abc import Sequence

from duograph.codegen.llvm import float_literal
from duograph.codegen.vector import Vec, Vectors


def lookup(v: Vectors, name: str, table: Sequence[float], j: Vec) -> Vec:
    """Entry ``j mod 16`` of a table of 16 float32 or, for 64-bit j, float64; `name` is the table's where it lies in memory."""
    f, element = v.function, "float" if j.element == "i32" else "double"
    values = [float_literal(value, element) for value in table]
    if v.target.has("avx512f") and v.lanes == 16:
        return _permuted(v, values, j) if element == "float" else _permuted_pairs(v, values, j)
    if v.target.has("avx2") and v.lanes == 16 and element == "float":
        return _permuted_halves(v, values, j)
    size = 4 if element == "float" else 8
    place = f.module.table(name, element, values)
    index = v.and_(j, v.like(j, 15))
    type, ref = f"<{v.lanes} x {element}>", "poison"
    for lane in range(v.lanes):
        item = v.extract(index, lane)
        wide = f.op(f"zext i32 {item} to i64") if size == 4 else item
        entry = f.load(element, f.gep(place, wide, size), size)
        ref = f.op(f"insertelement {type} {ref}, {element} {entry}, i32 {lane}")
    return Vec(ref, element, v.lanes)


def tabled_polynomial(v: Vectors, name: str, rows: Sequence[Sequence[float]], j: Vec, t: Vec) -> Vec:
    """Horner's rule in t; each coefficient is `lookup`'s entry j of a row, rows from the highest power down."""
    result = lookup(v, f"{name}0", rows[0], j)
    for number, row in enumerate(rows[1:], 1):
        result = v.mul_add(result, t, lookup(v, f"{name}{number}", row, j))
    return result


def looks_up_doubles(v: Vectors) -> bool:
    """Whether looking up a float64 costs no more than arithmetic does."""
    return v.target.has("avx512f")


def _vector(element: str, values: Sequence[str]) -> str:
    return "<" + ", ".join(f"{element} {value}" for value in values) + ">"


def _permuted(v: Vectors, values: list[str], j: Vec) -> Vec:
    name = "llvm.x86.avx512.permvar.sf.512"
    return Vec(
        v.function.intrinsic(name, "<16 x float>", [("<16 x float>", _vector("float", values)), (j.type, j.ref)]), "float", 16
    )


def _permuted_pairs(v: Vectors, values: list[str], j: Vec) -> Vec:
    """One permutation of two registers per 8 lanes."""
    half, type, parts = v.narrowed(8), "<8 x double>", []
    low, high = _vector("double", values[:8]), _vector("double", values[8:])
    for start in (0, 8):
        index = half.shuffle(j, None, range(start, start + 8))
        found = [(type, low), (index.type, index.ref), (type, high)]
        parts.append(Vec(v.function.intrinsic("llvm.x86.avx512.vpermi2var.pd.512", type, found), "double", 8))
    return v.shuffle(parts[0], parts[1], range(16))


def _permuted_halves(v: Vectors, values: list[str], j: Vec) -> Vec:
    """Two permutations of 8 entries each per 8 lanes; bit 3 chooses."""
    half, parts = v.narrowed(8), []
    for start in (0, 8):
        index = half.shuffle(j, None, range(start, start + 8))
        found = []
        for i in (0, 8):
            operands = [("<8 x float>", _vector("float", values[i : i + 8])), (index.type, index.ref)]
            found.append(Vec(v.function.intrinsic("llvm.x86.avx2.permps", "<8 x float>", operands), "float", 8))
        upper = half.icmp("ne", half.and_(index, half.const("i32", 8)), half.const("i32", 0))
        parts.append(half.select(upper, found[1], found[0]))
    return v.shuffle(parts[0], parts[1], range(16))
