"""Object code for the tests of the core, from LLVM text: the kernels here are written by hand."""

from __future__ import annotations

import functools

import llvmlite.binding as llvm

SIGNATURE = "(ptr %args, ptr %sizes, i64 %begin, i64 %end, ptr %scratch, ptr %status)"


@functools.cache
def _machine() -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple("x86_64-unknown-linux-gnu")
    return target.create_target_machine(cpu="x86-64-v3", reloc="pic", codemodel="small", opt=2)


@functools.cache
def compile_object(text: str) -> bytes:
    """The ELF object of an LLVM module in text form."""
    module = llvm.parse_assembly(text)
    module.verify()
    result: bytes = _machine().emit_object(module)
    return result


def chunk_kernel(name: str, body: str, chunk: int = 1024) -> str:
    """A kernel that runs `body` for each %i of its chunks, %i < sizes[0]; %p0, %p1, ... are its arguments."""
    return f"""
define void @{name}{SIGNATURE} {{
entry:
  %p0 = load ptr, ptr %args
  %a1 = getelementptr ptr, ptr %args, i64 1
  %p1 = load ptr, ptr %a1
  %a2 = getelementptr ptr, ptr %args, i64 2
  %p2 = load ptr, ptr %a2
  %n = load i64, ptr %sizes
  %first = mul i64 %begin, {chunk}
  %last0 = mul i64 %end, {chunk}
  %less = icmp slt i64 %last0, %n
  %last = select i1 %less, i64 %last0, i64 %n
  %some = icmp slt i64 %first, %last
  br i1 %some, label %loop, label %done
loop:
  %i = phi i64 [%first, %entry], [%next, %tail]
{body}
  br label %tail
tail:
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %last
  br i1 %more, label %loop, label %done
done:
  ret void
}}
"""


ADD = chunk_kernel(
    "add",
    """
  %x = getelementptr float, ptr %p0, i64 %i
  %y = getelementptr float, ptr %p1, i64 %i
  %z = getelementptr float, ptr %p2, i64 %i
  %xv = load float, ptr %x
  %yv = load float, ptr %y
  %zv = fadd float %xv, %yv
  store float %zv, ptr %z
""",
)


def add_spec(chunk: int = 1024, rank: int = 1) -> dict[str, object]:
    """out = a + b over contiguous float32 of one rank; 16 bytes of cost per element."""
    regs: list[list[object]] = []
    total: int = 0
    base = 4 * rank
    for d in range(1, rank):
        regs.append(["mul", total, d])
        total = base + len(regs) - 1
    regs += [["const", chunk], ["ceildiv", total, base + len(regs)], ["const", 12], ["mul", total, base + len(regs) + 2]]
    n = base + len(regs)
    return {
        "inputs": [rank, rank],
        "numbers": [],
        "n_sizes": 0,
        "regs": regs,
        "checks": [],
        "slots": [["input", 0], ["input", 1], ["output", 0]],
        "arena": None,
        "data": None,
        "steps": [["kernel", 0, [0, 1, 2], [total], n - 3, None, 0, n - 1]],
        "outputs": [[11, list(range(rank)), None]],
        "symbols": ["add"],
        "nodes": [["add"]],
    }
