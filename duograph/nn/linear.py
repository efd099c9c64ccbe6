"""Layers that multiply by a weight."""

from __future__ import annotations

import math
from typing import Any

from .. import _core as core
from ..errors import DomainError
from ..ops.matrix.contractions import linear
from ..tensors.creation import empty
from . import functional, init
from .module import Module
from .parameter import Parameter

Tensor = core.Tensor


def check_count(owner: str, name: str, value: object) -> int:
    """A layer size: an int that is at least 0."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DomainError(f"{owner}: {name} must be an int of at least 0, got {value!r}")
    return value


class Linear(Module):
    """y = x @ weight.T + bias.

    Shapes: x [*, in_features] → [*, out_features]; weight [out_features, in_features]; bias [out_features]
    Both start uniform in ±1/√in_features (He et al. 2015 with a = √5, as in PyTorch).

    >>> import duograph as dg
    >>> dg.nn.Linear(3, 2)(dg.ones(4, 3)).shape
    duograph.Size([4, 2])
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.in_features = check_count("Linear", "in_features", in_features)
        self.out_features = check_count("Linear", "out_features", out_features)
        self.weight = Parameter(empty(out_features, in_features, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_features, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """y[k] = x1 · weight[k] · x2 + bias[k].

    Shapes: x1 [*, in1_features], x2 [*, in2_features] → [*, out_features]; weight [out_features, in1_features, in2_features]
    Both start uniform in ±1/√in1_features.
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in1_features = check_count("Bilinear", "in1_features", in1_features)
        self.in2_features = check_count("Bilinear", "in2_features", in2_features)
        self.out_features = check_count("Bilinear", "out_features", out_features)
        self.weight = Parameter(empty(out_features, in1_features, in2_features, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_features, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias anew."""
        bound = 1 / math.sqrt(max(self.in1_features, 1))
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return functional.bilinear(x1, x2, self.weight, self.bias)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        sizes = f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}"
        return f"{sizes}, bias={self.bias is not None}"


def given_table(owner: str, table: Tensor, rows: int, columns: int) -> Tensor:
    """A table that a layer is made with; it must have these sizes."""
    if tuple(table.shape) != (rows, columns):
        raise DomainError(f"{owner}: the table must have shape {(rows, columns)}, got {tuple(table.shape)}")
    return table


class Embedding(Module):
    """Rows of a table by their number.

    Shapes: indices [*] (integers) → [*, embedding_dim]; weight [num_embeddings, embedding_dim], from N(0, 1)
    `padding_idx`: that row starts at zero and gets no gradient. `max_norm`: rows that are read and whose norm of order
    `norm_type` is greater are brought down to it first, in place. `scale_grad_by_freq`: gradients are divided by how often
    their row is read. `sparse`: must be False.
    """

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if sparse:
            raise DomainError("Embedding: there are no sparse gradients", hint="leave out sparse=True")
        self.max_norm, self.norm_type, self.scale_grad_by_freq = max_norm, norm_type, scale_grad_by_freq
        self.num_embeddings = check_count("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = check_count("Embedding", "embedding_dim", embedding_dim)
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise DomainError(f"Embedding: padding_idx {padding_idx} is outside a table of {num_embeddings} rows")
            padding_idx %= num_embeddings
        self.padding_idx = padding_idx
        if _weight is None:
            self.weight = Parameter(empty(num_embeddings, embedding_dim, device=device, dtype=dtype), requires_grad=not _freeze)
            self.reset_parameters()
        else:
            self.weight = Parameter(given_table("Embedding", _weight, num_embeddings, embedding_dim), requires_grad=not _freeze)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """A table with these rows; `freeze`: not trained."""
        if embeddings.dim() != 2:
            raise DomainError(f"Embedding.from_pretrained: expected a table of 2 dimensions, got {list(embeddings.shape)}")
        rows, columns = embeddings.shape
        return cls(rows, columns, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, embeddings, freeze)

    def reset_parameters(self) -> None:
        """Draws the table anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            init.zeros_(self.weight.detach()[self.padding_idx])

    def forward(self, indices: Tensor) -> Tensor:
        return functional.embedding(
            indices, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq
        )

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        limit = "" if self.max_norm is None else f", max_norm={self.max_norm}"
        order = "" if self.norm_type == 2 else f", norm_type={self.norm_type}"
        scaled = ", scale_grad_by_freq=True" if self.scale_grad_by_freq else ""
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}{limit}{order}{scaled}"
