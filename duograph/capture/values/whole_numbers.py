"""Functions of whole numbers that change from run to run: the capture holds while they give the same."""

from __future__ import annotations

import math
from typing import Any

from .numbers import is_live

_GREATEST_DIVIDED = 1 << 16  # numbers beyond have too many divisors to ask for one by one


def of_whole_numbers(name: str, *args: Any) -> Any:
    """`math.gcd` of a changing number and a constant, `math.isqrt` of a changing one; None for anything else."""
    if name == "gcd" and len(args) == 2:
        number, constant = args if is_live(args[0]) else args[::-1]
        if _is_whole(number) and type(constant) is int and 0 < abs(constant) <= _GREATEST_DIVIDED:
            return _common_divisor(number, abs(constant))
    if name == "isqrt" and len(args) == 1 and _is_whole(args[0]) and args[0] >= 0:
        root = math.isqrt(args[0].value)
        if args[0] >= root * root and args[0] < (root + 1) ** 2:
            return root
    return None


def _is_whole(number: Any) -> bool:
    return is_live(number) and type(number.value) is int


def _common_divisor(number: Any, constant: int) -> int:
    """Each answer, from the greatest down, is a question about the number that runs can ask."""
    divisors = [d for d in range(1, math.isqrt(constant) + 1) if constant % d == 0]
    divisors += [constant // d for d in divisors]
    return next(d for d in sorted(divisors, reverse=True) if d == 1 or number % d == 0)
