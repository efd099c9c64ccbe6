"""What programs ask about CUDA. There is no CUDA backend yet: everything answers "none"."""

from __future__ import annotations


def is_available() -> bool:
    """False: there is no CUDA backend."""
    return False


def device_count() -> int:
    """0: there is no CUDA backend."""
    return 0


def manual_seed(seed: int) -> None:
    """Does nothing; `duograph.manual_seed` seeds the generator of the CPU."""


def manual_seed_all(seed: int) -> None:
    """Does nothing; `duograph.manual_seed` seeds the generator of the CPU."""


def synchronize(device: object = None) -> None:
    """Does nothing: no work is ever pending."""


def empty_cache() -> None:
    """Does nothing; `duograph.empty_cache` frees the host's."""
