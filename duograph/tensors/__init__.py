"""Tensors as the user meets them: creation, indexing, text, devices. The class itself is the core's."""

from duograph.runtime import compile as _compile  # what the first call of any operator needs  # noqa: F401

from . import indexing as _indexing  # the core's hooks for x[...], which operators use, too  # noqa: F401
from . import methods, size

__all__ = ["methods", "size"]
