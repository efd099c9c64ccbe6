"""Object code: the same bytes each time, no call to a library function on any level."""

from __future__ import annotations

import struct

import pytest
from kernel_specs import M, N, elementwise, operands, reduction, store

from duograph.codegen.dtypes import DTYPES
from duograph.codegen.emit import compile_kernels
from duograph.codegen.kernel import Instr, LoopKernel, Operand, Philox
from duograph.codegen.scalar import PRIMITIVES
from duograph.codegen.target import LEVELS, get_target

ALLOWED = {"memcpy", "memset", "memmove"}
COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge", "isnan", "logical_and", "logical_or", "logical_xor", "logical_not"}
ARITY = {"fma": 3} | dict.fromkeys(["neg", "abs", "sign", "reciprocal", "floor", "ceil", "round", "trunc"], 1)
ARITY |= dict.fromkeys(["isnan", "logical_not", "bit_not", "sqrt", "rsqrt", "exp", "exp2", "expm1", "log", "log2", "log1p"], 1)
ARITY |= dict.fromkeys(["sin", "cos", "tan", "tanh", "erf"], 1)


def undefined_symbols(code):
    """Names an ELF object leaves undefined."""
    (offset,) = struct.unpack_from("<Q", code, 0x28)
    size, count = struct.unpack_from("<HH", code, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", code, offset + i * size) for i in range(count)]
    names = set()
    for section in sections:
        if section[1] == 2:  # the symbol table
            strings = sections[section[6]][4]
            for at in range(section[4] + 24, section[4] + section[5], 24):
                name, _, _, index = struct.unpack_from("<IBBH", code, at)
                if index == 0:
                    end = code.index(b"\0", strings + name)
                    names.add(code[strings + name : end].decode())
    return names


def primitive(op, dtype):
    result = "bool" if op in COMPARISONS else dtype
    inputs = [dtype] * ARITY.get(op, 2)
    return elementwise(op, inputs, result)


@pytest.mark.parametrize("isa", LEVELS)
@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int64"])
def test_no_library_calls(isa, dtype):
    kind = DTYPES[dtype].kind
    kernels = [primitive(op, dtype) for op, row in PRIMITIVES.items() if kind in row.kinds and op != "where"]
    casts = [Instr("cast", (0,), name) for name in DTYPES]
    body = [elementwise("neg", [dtype], dtype).body[0], *casts]
    body += [store(i + 1, i + 1, 1, dtype=name) for i, name in enumerate(DTYPES)]
    types = (Operand(dtype), *(Operand(name, "out") for name in DTYPES))
    kernels.append(LoopKernel("casts", (N,), frozenset(), types, tuple(body)))
    kernels += [reduction(name, (N, M), [0], (M, 1), (0, 1), dtype) for name in ("sum", "max")]
    bits = (Instr("philox", (), "uint32", Philox(0, (1,))), store(0, 1, 1, dtype="uint32"))
    kernels.append(LoopKernel("bits", (N,), frozenset(), operands(["uint64"], "uint32"), bits))
    unit = compile_kernels(kernels, get_target(isa))
    assert undefined_symbols(unit.object) <= ALLOWED
    assert len(unit.kernels) == len(kernels)


def test_same_specs_same_bytes():
    kernels = [primitive("tanh", "float32"), reduction("sum", (N, M), [1], (M, 1), (1, 0))]
    first = compile_kernels(kernels, get_target())
    assert compile_kernels(list(kernels), get_target()).object == first.object


def test_sizes_are_not_in_the_code():
    """Plain sizes travel at run time: other sizes, same bytes."""
    units = [compile_kernels([reduction("sum", (n, m), [1], (m, 1), (1, 0))], get_target()) for n, m in ((5, 7), (6, 100))]
    assert units[0].object == units[1].object
    assert units[0].kernels[0].launches[0].size_exprs != units[1].kernels[0].launches[0].size_exprs


def test_levels():
    assert get_target("x86-64-v3").fma
    assert not get_target("x86-64-v2").fma
    with pytest.raises(ValueError, match="unknown instruction level 'pentium'"):
        get_target("pentium")
