"""A convolutional autoencoder."""

from __future__ import annotations

from collections.abc import Sequence

from .. import _core as core
from .. import nn
from ..errors import ArgumentError, DomainError, ShapeError

Tensor = core.Tensor


class ConvAutoencoder(nn.Module):
    """An image through few numbers and back: convolutions with a stride of 2, a linear code, and the same way back.

    Args:
        in_channels, image_size: of images of equal sides; image_size is a multiple of 2 for each of `channels`.
        channels: of each halving.
        code_size: how many numbers stand for an image.

    Shapes: x [n, in_channels, image_size, image_size] → the same, each element in (0, 1)
        `encode`: x → code [n, code_size]; `decode`: code → image
    Errors: ArgumentError without any channels; DomainError where image_size cannot be halved so often; ShapeError

    >>> import duograph as dg
    >>> small = dg.models.ConvAutoencoder(image_size=8, channels=(4, 8), code_size=3)
    >>> x = dg.rand(2, 1, 8, 8)
    >>> small(x).shape, small.encode(x).shape
    (duograph.Size([2, 1, 8, 8]), duograph.Size([2, 3]))
    """

    def __init__(
        self, in_channels: int = 1, image_size: int = 32, channels: Sequence[int] = (16, 32), code_size: int = 16
    ) -> None:
        super().__init__()
        if not channels:
            raise ArgumentError("ConvAutoencoder: channels must name at least one halving")
        if image_size < 1 or image_size % 2 ** len(channels):
            raise DomainError(f"ConvAutoencoder: image_size={image_size} cannot be halved {len(channels)} times")
        self.in_channels, self.image_size = in_channels, image_size
        side = image_size // 2 ** len(channels)
        widths = (in_channels, *channels)
        down: list[nn.Module] = []
        for inputs, outputs in zip(widths, widths[1:]):
            down += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU()]
        up: list[nn.Module] = []
        for inputs, outputs in zip(widths[:0:-1], widths[-2::-1]):
            up += [nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1), nn.ReLU()]
        flat = channels[-1] * side * side
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(flat, code_size))
        unflat = nn.Unflatten(1, (channels[-1], side, side))
        self.decoder = nn.Sequential(nn.Linear(code_size, flat), nn.ReLU(), unflat, *up[:-1], nn.Sigmoid())

    def encode(self, x: Tensor) -> Tensor:
        """The code of each image."""
        if tuple(x.shape[1:]) != (self.in_channels, self.image_size, self.image_size):
            size = f"{self.in_channels}, {self.image_size}, {self.image_size}"
            raise ShapeError(f"ConvAutoencoder: expected images [n, {size}], got {list(x.shape)}")
        return self.encoder(x)  # type: ignore[no-any-return]

    def decode(self, code: Tensor) -> Tensor:
        """The image of each code."""
        return self.decoder(code)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))
