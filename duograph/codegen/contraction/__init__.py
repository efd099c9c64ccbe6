"""Contractions: matrix products of any strides, with fused epilogues. See `lower` for the launches, `driver` for the code."""

from duograph.codegen.contraction.library import build_library, library_names
from duograph.codegen.contraction.pairs_lower import emit_contraction

__all__ = ["build_library", "emit_contraction", "library_names"]
