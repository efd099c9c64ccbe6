"""How each dtype lies in memory and what its values are in registers."""

from __future__ import annotations

from typing import NamedTuple


class DTypeInfo(NamedTuple):
    """``storage`` is the LLVM type in memory, ``element`` the one computed with.

    bool is a byte in memory and i1 in registers; 16-bit floats are float32 values that are exact in 16 bits.
    """

    name: str
    kind: str  # b, u, i, f
    bits: int
    storage: str
    element: str

    @property
    def size(self) -> int:
        return 1 if self.kind == "b" else self.bits // 8

    @property
    def narrow(self) -> bool:
        """A 16-bit float."""
        return self.kind == "f" and self.bits == 16

    @property
    def signed(self) -> bool:
        return self.kind in "if"


def _integers() -> list[DTypeInfo]:
    return [
        DTypeInfo(f"{'u' if kind == 'u' else ''}int{bits}", kind, bits, f"i{bits}", f"i{bits}")
        for kind in "iu"
        for bits in (8, 16, 32, 64)
    ]


DTYPES: dict[str, DTypeInfo] = {
    info.name: info
    for info in [
        DTypeInfo("bool", "b", 1, "i8", "i1"),
        *_integers(),
        DTypeInfo("float16", "f", 16, "i16", "float"),
        DTypeInfo("bfloat16", "f", 16, "i16", "float"),
        DTypeInfo("float32", "f", 32, "float", "float"),
        DTypeInfo("float64", "f", 64, "double", "double"),
    ]
}
