"""The object loader: code that links runs; anything else is refused, and nothing crashes."""

from __future__ import annotations

import ctypes
import gc
import random
import struct

import llvmlite.binding as llvm
import pytest
from llvm_objects import ADD, compile_object

from duograph import _core as core

LINKED = """
@table = private constant [4 x i64] [i64 10, i64 20, i64 30, i64 40]
@where = internal constant [2 x ptr] [ptr @helper, ptr @other]
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)

define internal i64 @helper(i64 %x) noinline { %y = add i64 %x, 1 ret i64 %y }
define internal i64 @other(i64 %x) noinline { %y = mul i64 %x, 3 ret i64 %y }

define i64 @direct(i64 %x) { %y = call i64 @helper(i64 %x) ret i64 %y }
define i64 @constant(i64 %i) {
  %p = getelementptr [4 x i64], ptr @table, i64 0, i64 %i
  %v = load i64, ptr %p
  ret i64 %v
}
define i64 @indirect(i64 %i, i64 %x) {
  %p = getelementptr [2 x ptr], ptr @where, i64 0, i64 %i
  %f = load ptr, ptr %p
  %v = call i64 %f(i64 %x)
  ret i64 %v
}
define void @copy(ptr %to, ptr %from, i64 %n) {
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %n, i1 false)
  ret void
}
define void @fill(ptr %to, i8 %v, i64 %n) {
  call void @llvm.memset.p0.i64(ptr %to, i8 %v, i64 %n, i1 false)
  ret void
}
define void @move(ptr %to, ptr %from, i64 %n) {
  call void @llvm.memmove.p0.p0.i64(ptr %to, ptr %from, i64 %n, i1 false)
  ret void
}
define i64 @switch(i64 %x) {
  switch i64 %x, label %d [ i64 0, label %a
                            i64 1, label %b
                            i64 2, label %c
                            i64 3, label %e
                            i64 4, label %f ]
a: ret i64 7
b: ret i64 -3
c: ret i64 99
e: ret i64 12345678901
f: ret i64 5
d: ret i64 0
}
define double @float_constant(double %x) { %y = fmul double %x, 3.25 ret double %y }
"""


def call(loaded: core.LoadedObject, name: str, result: object, *arguments: object) -> object:
    kinds = [
        ctypes.c_double if isinstance(a, float) else ctypes.c_void_p if isinstance(a, bytes) else ctypes.c_int64
        for a in arguments
    ]
    return ctypes.CFUNCTYPE(result, *kinds)(loaded.address(name))(*arguments)


def test_every_kind_of_reference_links() -> None:
    loaded = core.load_object(compile_object(LINKED))
    assert {"direct", "constant", "indirect", "copy", "fill", "move", "switch"} <= set(loaded.symbols())
    assert call(loaded, "direct", ctypes.c_int64, 41) == 42
    assert [call(loaded, "constant", ctypes.c_int64, i) for i in range(4)] == [10, 20, 30, 40]
    assert [call(loaded, "indirect", ctypes.c_int64, i, 5) for i in range(2)] == [6, 15]
    assert [call(loaded, "switch", ctypes.c_int64, i) for i in range(6)] == [7, -3, 99, 12345678901, 5, 0]
    assert call(loaded, "float_constant", ctypes.c_double, 2.0) == 6.5
    buffer = ctypes.create_string_buffer(b"abcdefgh", 8)
    address = ctypes.addressof(buffer)
    call(loaded, "move", None, address + 2, address, 4)
    assert buffer.raw == b"ababcdgh"
    call(loaded, "fill", None, address, ord("z"), 3)
    assert buffer.raw == b"zzzbcdgh"
    call(loaded, "copy", None, address, address + 4, 2)
    assert buffer.raw == b"cdzbcdgh"
    assert loaded.address("missing") == 0


def test_code_is_executable_and_never_writable() -> None:
    loaded = core.load_object(compile_object(LINKED))
    address = loaded.address("direct")
    with open("/proc/self/maps") as maps:
        for line in maps:
            span, permissions, *_ = line.split()
            begin, end = (int(text, 16) for text in span.split("-"))
            if begin <= address < end:
                assert permissions.startswith("r-x")
                break
        else:
            raise AssertionError("the code is not mapped")


def test_many_objects_share_few_mappings_and_memory_comes_back() -> None:
    code = compile_object(ADD)

    def mappings() -> int:
        with open("/proc/self/maps") as maps:
            return sum(1 for _ in maps)

    before = mappings()
    loaded = [core.load_object(code) for _ in range(2000)]
    assert mappings() - before < 20
    addresses = {item.address("add") for item in loaded}
    assert len(addresses) == 2000
    del loaded
    gc.collect()
    again = [core.load_object(code) for _ in range(2000)]
    assert addresses & {item.address("add") for item in again}
    del again


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "declare double @sin(double)\ndefine double @f(double %x) { %y = call double @sin(double %x) ret double %y }",
            "undefined symbol 'sin'",
        ),
        ("@g = global i64 5\ndefine i64 @f() { %v = load i64, ptr @g ret i64 %v }", "writable data"),
        ("@g = external global i64\ndefine i64 @f() { %v = load i64, ptr @g ret i64 %v }", "undefined symbol 'g'"),
        (
            "@g = thread_local global i64 5\ndefine i64 @f() { %v = load i64, ptr @g ret i64 %v }",
            "thread-local|undefined|writable",
        ),
        ("define double @f(double %x, double %z) { %y = frem double %x, %z ret double %y }", "undefined symbol 'fmod'"),
    ],
)
def test_what_kernels_may_not_use_is_refused(text: str, message: str) -> None:
    with pytest.raises(Exception, match=message):
        core.load_object(compile_object(text))


def test_absolute_code_is_refused() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple("x86_64-unknown-linux-gnu")
    machine = target.create_target_machine(reloc="static", codemodel="small")
    text = "@t = internal constant [4 x i64] [i64 1, i64 2, i64 3, i64 4]\n"
    text += "define i64 @f(i64 %i) { %p = getelementptr [4 x i64], ptr @t, i64 0, i64 %i\n %v = load i64, ptr %p\n ret i64 %v }"
    code = machine.emit_object(llvm.parse_assembly(text))
    with pytest.raises(Exception, match="not position independent"):
        core.load_object(code)


def test_other_machines_are_refused() -> None:
    code = bytearray(compile_object(ADD))
    struct.pack_into("<H", code, 18, 183)  # aarch64
    with pytest.raises(Exception, match="not a relocatable x86-64 object"):
        core.load_object(bytes(code))


@pytest.mark.parametrize("garbage", [b"", b"\x7fELF", b"not an object", bytes(1000), b"\xff" * 5000])
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(Exception, match="object code: "):
        core.load_object(garbage)


def test_truncated_objects_are_refused() -> None:
    code = compile_object(LINKED)
    for length in range(0, len(code), 7):
        with pytest.raises(Exception, match="object code: "):
            core.load_object(code[:length])


def test_mutated_objects_never_crash() -> None:
    """Every outcome but a crash is fine: damaged instructions cannot be seen, damaged structure must be."""
    rng = random.Random(0)
    refused = 0
    for code in (compile_object(LINKED), compile_object(ADD)):
        for _ in range(4000):
            damaged = bytearray(code)
            for _ in range(rng.choice((1, 1, 2, 8))):
                place = rng.randrange(len(damaged))
                damaged[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            try:
                core.load_object(bytes(damaged)).symbols()
            except RuntimeError as error:
                assert "object code: " in str(error)
                refused += 1
    assert refused > 500


def test_mutated_headers_never_crash() -> None:
    """The section headers, symbols and relocations are where offsets and sizes live: hit them harder."""
    rng = random.Random(1)
    code = compile_object(LINKED)
    (table,) = struct.unpack_from("<Q", code, 40)
    for _ in range(6000):
        damaged = bytearray(code)
        place = rng.randrange(table, len(code) - 8)
        struct.pack_into("<Q", damaged, place, rng.choice((0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, rng.getrandbits(64))))
        try:
            core.load_object(bytes(damaged)).symbols()
        except RuntimeError as error:
            assert "object code: " in str(error)
