"""Vision transformers (Dosovitskiy et al. 2020): patches of an image as the tokens of a transformer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import _core as core
from .. import nn
from ..errors import DomainError, ShapeError
from ..nn import functional
from ..ops.shapes.joining import cat
from ..tensors.creation import empty, zeros
from .weights import with_weights

Tensor = core.Tensor
Norm = Callable[[int], nn.Module]


def _norm(features: int) -> nn.Module:
    return nn.LayerNorm(features, eps=1e-6)


class MLPBlock(nn.Sequential):
    """Two layers with a GELU between them and dropout after each.

    Shapes: x [*, width] → the same
    """

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        first, last = nn.Linear(width, inner), nn.Linear(inner, width)
        for layer in (first, last):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)  # type: ignore[arg-type]
        super().__init__(first, nn.GELU(), nn.Dropout(dropout), last, nn.Dropout(dropout))


class EncoderBlock(nn.Module):
    """Attention and then two layers, each added to what it is given after a normalisation.

    Shapes: x [n, tokens, hidden_dim] → the same
    """

    def __init__(
        self,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        norm_layer: Norm = _norm,
    ) -> None:
        super().__init__()
        self.ln_1 = norm_layer(hidden_dim)
        self.self_attention = nn.MultiheadAttention(hidden_dim, num_heads, attention_dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.ln_2 = norm_layer(hidden_dim)
        self.mlp = MLPBlock(hidden_dim, mlp_dim, dropout)

    def forward(self, x: Tensor) -> Tensor:
        normal = self.ln_1(x)
        attended, _ = self.self_attention(normal, normal, normal, need_weights=False)
        x = x + self.dropout(attended)
        return x + self.mlp(self.ln_2(x))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Places added to tokens, then blocks, then a normalisation.

    Shapes: x [n, tokens, hidden_dim], places [1, tokens, hidden_dim] → as x
    """

    def __init__(
        self,
        seq_length: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float,
        attention_dropout: float,
        norm_layer: Norm = _norm,
    ) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(nn.init.normal_(empty(1, seq_length, hidden_dim), std=0.02))
        self.dropout = nn.Dropout(dropout)
        blocks = [EncoderBlock(num_heads, hidden_dim, mlp_dim, dropout, attention_dropout, norm_layer) for _ in range(num_layers)]
        self.layers = nn.Sequential({f"encoder_layer_{number}": block for number, block in enumerate(blocks)})
        self.ln = norm_layer(hidden_dim)

    def forward(self, x: Tensor, places: Tensor | None = None) -> Tensor:
        return self.ln(self.layers(self.dropout(x + (self.pos_embedding if places is None else places))))  # type: ignore[no-any-return]


class VisionTransformer(nn.Module):
    """A transformer over an image's patches and a token for the class, on which a linear layer decides.

    Args:
        image_size, patch_size: of images and patches of equal sides.
        num_layers, num_heads, hidden_dim, mlp_dim: blocks, heads, features of a token, features inside of a block's last layers.
        dropout, attention_dropout: what is dropped in training of each layer's result, and of the weights of attention.
        num_classes: features of the result.
        norm_layer: what makes a normalisation of so many features; LayerNorm with ε = 1e-6.
        in_channels: channels of the images.

    Shapes: x [n, in_channels, h, w] → [n, num_classes]; h and w multiples of patch_size
    An image of another size than image_size has as many patches as there are, their places interpolated.
    Parameters have torchvision's names. The last layer starts at zero.
    Errors: DomainError where patches do not fill an image; ShapeError

    >>> import duograph as dg
    >>> small = dg.models.VisionTransformer(16, 8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=10)
    >>> small(dg.rand(2, 3, 16, 16)).shape
    duograph.Size([2, 10])
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        num_classes: int = 1000,
        norm_layer: Norm = _norm,
        *,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if patch_size < 1 or image_size % patch_size:
            raise DomainError(f"VisionTransformer: patches of {patch_size} do not fill images of {image_size}")
        self.image_size, self.patch_size, self.hidden_dim = image_size, patch_size, hidden_dim
        self.conv_proj = nn.Conv2d(in_channels, hidden_dim, patch_size, patch_size)
        self.class_token = nn.Parameter(zeros(1, 1, hidden_dim))
        self.side = image_size // patch_size
        settings = (num_layers, num_heads, hidden_dim, mlp_dim, dropout, attention_dropout, norm_layer)
        self.encoder = Encoder(self.side**2 + 1, *settings)
        self.heads = nn.Sequential({"head": nn.Linear(hidden_dim, num_classes)})
        self._fill()

    def _fill(self) -> None:
        deviation = math.sqrt(1 / (self.conv_proj.in_channels * self.patch_size**2))
        nn.init.trunc_normal_(self.conv_proj.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
        for tensor in (self.conv_proj.bias, *self.heads.parameters()):
            nn.init.zeros_(tensor)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        if height % self.patch_size or width % self.patch_size:
            raise ShapeError(f"VisionTransformer: patches of {self.patch_size} do not fill an image of {height}×{width}")
        patches = self.conv_proj(x).flatten(2).transpose(1, 2)
        tokens = cat([self.class_token.expand(batch, -1, -1), patches], 1)
        places = self._places(height // self.patch_size, width // self.patch_size)
        return self.heads(self.encoder(tokens, places)[:, 0])  # type: ignore[no-any-return]

    def _places(self, rows: int, columns: int) -> Tensor:
        """The places of an image's patches [1, 1 + rows · columns, hidden_dim]."""
        known: Tensor = self.encoder.pos_embedding
        if rows == self.side and columns == self.side:
            return known
        grid = known[:, 1:].transpose(1, 2).reshape(1, self.hidden_dim, self.side, self.side)
        grid = functional.interpolate(grid, (rows, columns), mode="bicubic")
        return cat([known[:, :1], grid.flatten(2).transpose(1, 2)], 1)


def vit_tiny(*, weights: str | None = None, **settings: Any) -> VisionTransformer:
    """ViT-Tiny (Touvron et al. 2020): 12 blocks of 192 features with 3 heads, patches of 16, 5.7 million parameters.

    Args:
        weights: a safetensors file with torchvision's names, as `dg.save(model.state_dict(), path)` writes it.
        settings: other values for `VisionTransformer`'s arguments.

    >>> import duograph as dg
    >>> sum(p.numel() for p in dg.models.vit_tiny().parameters())
    5717416
    """
    tiny = {"image_size": 224, "patch_size": 16, "num_layers": 12, "num_heads": 3, "hidden_dim": 192, "mlp_dim": 768}
    return with_weights(VisionTransformer(**{**tiny, **settings}), weights)
