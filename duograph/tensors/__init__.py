"""Tensors as the user meets them: creation, indexing, text, devices. The class itself is the core's."""

from . import methods, size

__all__ = ["methods", "size"]
