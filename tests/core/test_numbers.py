"""The dtype table's conversions: exact, rounded once to nearest even, saturating."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest

from duograph import _core as core

CODES = {
    "bool": 0,
    "uint8": 1,
    "int8": 2,
    "int16": 3,
    "int32": 4,
    "int64": 5,
    "uint16": 6,
    "uint32": 7,
    "uint64": 8,
    "float16": 9,
    "bfloat16": 10,
    "float32": 11,
    "float64": 12,
}


def to_bits(value: object, dtype: str) -> int:
    return int.from_bytes(core.number_to_bytes(value, CODES[dtype]), "little")


def test_every_half_reads_exactly_and_stores_back() -> None:
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    for bits, half in enumerate(halves.tolist()):
        value = core.number_from_bytes(struct.pack("<H", bits), CODES["float16"])
        if math.isnan(half):
            assert math.isnan(value)
        else:
            assert value == half and math.copysign(1, value) == math.copysign(1, half)
            assert to_bits(value, "float16") == bits


def test_every_bfloat16_reads_exactly_and_stores_back() -> None:
    for bits in range(65536):
        value = core.number_from_bytes(struct.pack("<H", bits), CODES["bfloat16"])
        (expected,) = struct.unpack("<f", struct.pack("<I", bits << 16))
        if math.isnan(expected):
            assert math.isnan(value)
        else:
            assert value == expected
            assert to_bits(value, "bfloat16") == bits


def test_doubles_round_once_to_half() -> None:
    rng = np.random.default_rng(0)
    values = np.ldexp(rng.uniform(-1, 1, 20_000), rng.integers(-30, 18, 20_000))
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16).view(np.uint16)
    for value, bits in zip(values.tolist(), halves.tolist()):
        assert to_bits(value, "float16") == bits
    # Just above the middle of two halves, but on it after rounding to float32.
    value = 1 + 2.0**-11 + 2.0**-40
    assert to_bits(value, "float16") == 0x3C01
    assert to_bits(1 + 2.0**-11, "float16") == 0x3C00
    assert to_bits(65519.999, "float16") == 0x7BFF
    assert to_bits(65520.0, "float16") == 0x7C00
    assert to_bits(2.0**-25, "float16") == 0
    assert to_bits(2.0**-25 * 1.0001, "float16") == 1
    assert to_bits(-0.0, "float16") == 0x8000


def test_doubles_round_once_to_bfloat16() -> None:
    for value, bits in [
        (1 + 2.0**-8, 0x3F80),
        (1 + 2.0**-8 + 2.0**-40, 0x3F81),
        (1 + 3 * 2.0**-8, 0x3F82),
        (3.39e38, 0x7F7F),
        (3.4e38, 0x7F80),
        (2.0**-134, 0),
        (2.0**-134 * 1.01, 1),
        (2.0**-133, 1),
        (math.inf, 0x7F80),
        (-math.inf, 0xFF80),
    ]:
        assert to_bits(value, "bfloat16") == bits, value
        assert to_bits(-value, "bfloat16") == bits ^ 0x8000


def test_integers_round_once() -> None:
    # Through a double these would lose the bit that decides.
    big = (1 << 62) + (1 << 54) + 1
    assert to_bits(big, "bfloat16") == 0x5E81
    assert to_bits(-big, "bfloat16") == 0xDE81
    assert to_bits((1 << 62) + (1 << 54), "bfloat16") == 0x5E80
    near = (1 << 24) + 1
    assert core.number_from_bytes(core.number_to_bytes(near, CODES["float32"]), CODES["float32"]) == 1 << 24
    for value in ((1 << 60) + (1 << 36) + 1, 2**64 - 1, 2**63, -(2**63)):
        expected = np.array(value).astype(np.float32)
        assert core.number_to_bytes(value, CODES["float32"]) == expected.tobytes()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"])
def test_floats_saturate_and_integers_wrap(dtype: str) -> None:
    limits = np.iinfo(dtype)
    code = CODES[dtype]
    read = lambda value: core.number_from_bytes(core.number_to_bytes(value, code), code)  # noqa: E731
    assert read(1e300) == limits.max
    assert read(-1e300) == limits.min
    assert read(math.inf) == limits.max
    assert read(-math.inf) == limits.min
    assert read(math.nan) == 0
    assert read(3.99) == 3
    assert read(-0.5) == 0
    assert read(float(limits.max)) == limits.max
    assert read(limits.max) == limits.max
    assert read(limits.min) == limits.min
    if limits.bits < 64:
        assert read(limits.max + 1) == limits.min


def test_bool_and_float64() -> None:
    for value, bit in [(0, 0), (5, 1), (0.0, 0), (0.1, 1), (-0.0, 0), (math.nan, 1), (True, 1)]:
        assert to_bits(value, "bool") == bit
    for value in (0.1, -1e308, 5e-324, math.pi):
        assert core.number_from_bytes(core.number_to_bytes(value, 12), 12) == value
    with pytest.raises(OverflowError):
        core.number_to_bytes(2**64, CODES["int64"])
    with pytest.raises(OverflowError):
        core.number_to_bytes(-(2**63) - 1, CODES["int64"])
