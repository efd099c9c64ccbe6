"""Rows of a table, combined by bags."""

from __future__ import annotations

from typing import Any

from .. import _core as core
from ..errors import DomainError
from ..tensors.creation import empty
from . import functional, init
from .linear import check_count, given_table
from .module import Module
from .parameter import Parameter

Tensor = core.Tensor


class EmbeddingBag(Module):
    """Sums, means or maxima of rows of a table over bags of row numbers.

    Shapes: input [b, n], or [n] with offsets [b] at which bags begin → [b, embedding_dim]
        weight [num_embeddings, embedding_dim], from N(0, 1)
    `mode`: "sum", "mean" or "max". `include_last_offset`: the last offset is the end of the last bag. `padding_idx`: that row
    counts for nothing. `max_norm`, `norm_type`, `scale_grad_by_freq` and `sparse` as of `Embedding`.
    """

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if sparse:
            raise DomainError("EmbeddingBag: there are no sparse gradients", hint="leave out sparse=True")
        self.num_embeddings = check_count("EmbeddingBag", "num_embeddings", num_embeddings)
        self.embedding_dim = check_count("EmbeddingBag", "embedding_dim", embedding_dim)
        self.max_norm, self.norm_type, self.scale_grad_by_freq = max_norm, norm_type, scale_grad_by_freq
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise DomainError(f"EmbeddingBag: padding_idx {padding_idx} is outside a table of {num_embeddings} rows")
            padding_idx %= num_embeddings
        self.padding_idx = padding_idx
        self.mode = mode
        self.include_last_offset = include_last_offset
        if _weight is None:
            self.weight = Parameter(empty(num_embeddings, embedding_dim, device=device, dtype=dtype))
            self.reset_parameters()
        else:
            self.weight = Parameter(given_table("EmbeddingBag", _weight, num_embeddings, embedding_dim))

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> EmbeddingBag:
        """A table with these rows; `freeze`: not trained."""
        if embeddings.dim() != 2:
            raise DomainError(f"EmbeddingBag.from_pretrained: expected a table of 2 dimensions, got {list(embeddings.shape)}")
        rows, columns = embeddings.shape
        norms = (max_norm, norm_type, scale_grad_by_freq)
        table = cls(rows, columns, *norms, mode, sparse, embeddings, include_last_offset, padding_idx)
        table.weight.requires_grad_(not freeze)
        return table

    def reset_parameters(self) -> None:
        """Draws the table anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            init.zeros_(self.weight.detach()[self.padding_idx])

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        return functional.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            False,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )

    def extra_repr(self) -> str:
        limit = "" if self.max_norm is None else f", max_norm={self.max_norm}"
        order = "" if self.norm_type == 2 else f", norm_type={self.norm_type}"
        scaled = ", scale_grad_by_freq=True" if self.scale_grad_by_freq else ""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{limit}{order}{scaled}, mode={self.mode!r}{padding}"
