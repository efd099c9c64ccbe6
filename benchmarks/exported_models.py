"""Twelve networks as strangers export them: written in PyTorch, with random weights, through PyTorch's own exporters."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from benchmarks.networks import torch_resnet18


class Exported(NamedTuple):
    """A network's name, the module, what it is called with, and the file PyTorch made of it."""

    name: str
    module: Any
    args: tuple[Any, ...]
    file: bytes


def exported(torch: Any, small: bool = False, wanted: Callable[[str], bool] = lambda name: True) -> Iterator[Exported]:
    """The networks, one after another; ``small`` ones for tests of what they compute."""
    for name, make in _MAKERS.items():
        if not wanted(name):
            continue
        torch.manual_seed(0)
        module, args = make(torch, small)
        module.eval()
        _shake(torch, module)
        yield Exported(name, module, args, _export(torch, module, args, name in _BY_GRAPH))


def _shake(torch: Any, module: Any) -> None:
    """Running statistics that are not those of a new network."""
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)


def _export(torch: Any, module: Any, args: tuple[Any, ...], by_graph: bool) -> bytes:
    """By the exporter of captured graphs, or by the older one that traces."""
    file = io.BytesIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            if by_graph:
                torch.onnx.export(module, args, dynamo=True, verbose=False).save(file)
            else:
                torch.onnx.export(module, args, file, dynamo=False)
        finally:
            logging.disable(logging.NOTSET)
    return file.getvalue()


def _resnet(torch: Any, small: bool) -> Any:
    return torch_resnet18(torch.nn), (torch.randn(1, 3, *(64, 64) if small else (224, 224)),)


def _mobilenet(torch: Any, small: bool) -> Any:
    nn = torch.nn

    def layer(inputs: int, outputs: int, taps: int, stride: int = 1, groups: int = 1) -> Any:
        convolution = nn.Conv2d(inputs, outputs, taps, stride, taps // 2, groups=groups, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU6())

    class Inverted(nn.Module):  # type: ignore[misc]
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            wide = 6 * inputs
            narrowed = nn.Sequential(nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
            self.body = nn.Sequential(layer(inputs, wide, 1), layer(wide, wide, 3, stride, wide), narrowed)
            self.adds = stride == 1 and inputs == outputs

        def forward(self, x: Any) -> Any:
            return x + self.body(x) if self.adds else self.body(x)

    sizes = ((32, 16, 1), (16, 24, 2), (24, 24, 1), (24, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 96, 1), (96, 160, 2))
    blocks = [Inverted(*each) for each in sizes]
    head = [layer(160, 640, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(640, 1000)]
    return nn.Sequential(layer(3, 32, 3, 2), *blocks, *head), (torch.randn(1, 3, *(64, 64) if small else (224, 224)),)


def _efficient(torch: Any, small: bool) -> Any:
    nn = torch.nn

    class Squeeze(nn.Module):  # type: ignore[misc]
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.down, self.up = nn.Conv2d(channels, channels // 4, 1), nn.Conv2d(channels // 4, channels, 1)

        def forward(self, x: Any) -> Any:
            weight = nn.functional.silu(self.down(x.mean((2, 3), keepdim=True)))
            return x * torch.sigmoid(self.up(weight))

    parts = [nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.SiLU()]
    for inputs, outputs in ((32, 32), (32, 64), (64, 128), (128, 192)):
        parts += [
            nn.Conv2d(inputs, inputs, 5, 2, 2, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.SiLU(),
            Squeeze(inputs),
        ]
        parts += [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.Hardswish()]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(192, 100)), (
        torch.randn(1, 3, *(64, 64) if small else (256, 256)),
    )


def _autoencoder(torch: Any, small: bool) -> Any:
    nn = torch.nn
    width = 16 if small else 64
    down = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 2 * width, 4, 2, 1), nn.InstanceNorm2d(2 * width)]
    up = [nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.ELU(), nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh()]
    return nn.Sequential(*down, nn.PReLU(), *up), (torch.randn(1, 3, 64, 64),)


def _unet(torch: Any, small: bool) -> Any:
    nn = torch.nn

    def block(inputs: int, outputs: int) -> Any:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 1, 1), nn.GroupNorm(8, outputs), nn.GELU())

    class Network(nn.Module):  # type: ignore[misc]
        def __init__(self, width: int) -> None:
            super().__init__()
            self.first, self.second, self.third = block(1, width), block(width, 2 * width), block(2 * width, 4 * width)
            self.up, self.last = block(6 * width, 2 * width), block(3 * width, width)
            self.out = nn.Conv2d(width, 2, 1)

        def forward(self, x: Any) -> Any:
            pool, grow = nn.functional.max_pool2d, nn.functional.interpolate
            first = self.first(x)
            second = self.second(pool(first, 2))
            third = self.third(pool(second, 2))
            joined = self.up(torch.cat([grow(third, scale_factor=2, mode="bilinear", align_corners=False), second], 1))
            joined = self.last(torch.cat([grow(joined, scale_factor=2, mode="nearest"), first], 1))
            return self.out(joined).softmax(1)

    return Network(8 if small else 32), (torch.randn(1, 1, *(32, 32) if small else (128, 128)),)


def _waves(torch: Any, small: bool) -> Any:
    nn = torch.nn

    class Gated(nn.Module):  # type: ignore[misc]
        def __init__(self, width: int, dilation: int) -> None:
            super().__init__()
            self.wide = nn.Conv1d(width, 2 * width, 3, padding=dilation, dilation=dilation)
            self.norm = nn.LayerNorm(width)

        def forward(self, x: Any) -> Any:
            a, b = self.wide(x).chunk(2, 1)
            return x + self.norm((torch.tanh(a) * torch.sigmoid(b)).transpose(1, 2)).transpose(1, 2)

    width = 16 if small else 128
    layers = [Gated(width, 2**i) for i in range(5)]
    return nn.Sequential(nn.Conv1d(20, width, 1), *layers, nn.AvgPool1d(4), nn.Conv1d(width, 40, 1), nn.LogSoftmax(1)), (
        torch.randn(1, 20, 64 if small else 400),
    )


def _lstm(torch: Any, small: bool) -> Any:
    nn = torch.nn
    words, width, steps = (50, 16, 7) if small else (5000, 256, 64)

    class Network(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.out = nn.Embedding(words, width), nn.Linear(width, words)
            self.rnn = nn.LSTM(width, width, 2, batch_first=True)

        def forward(self, tokens: Any) -> Any:
            return self.out(self.rnn(self.embedding(tokens))[0])

    return Network(), (torch.randint(0, words, (1, steps)),)


def _gru(torch: Any, small: bool) -> Any:
    nn = torch.nn
    width, steps = (8, 5) if small else (128, 100)

    class Network(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = nn.GRU(40, width, 2, bidirectional=True), nn.Linear(2 * width, 10)

        def forward(self, x: Any) -> Any:
            made, _ = self.rnn(x)
            return self.out(torch.relu(made).amax(0)).log_softmax(-1)

    return Network(), (torch.randn(steps, 1, 40),)


def _encoder(torch: Any, small: bool) -> Any:
    width, layers, steps = (16, 2, 5) if small else (256, 4, 128)
    layer = torch.nn.TransformerEncoderLayer(width, 4, 4 * width, activation="gelu", batch_first=True)
    return torch.nn.TransformerEncoder(layer, layers, enable_nested_tensor=False), (torch.randn(1, steps, width),)


def _vit(torch: Any, small: bool) -> Any:
    nn = torch.nn
    width, layers, side = (24, 2, 32) if small else (192, 6, 224)

    class Network(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, width, 16, 16)
            self.first = nn.Parameter(torch.randn(1, 1, width))
            self.places = nn.Parameter(torch.randn(1, (side // 16) ** 2 + 1, width))
            layer = nn.TransformerEncoderLayer(width, 3, 4 * width, activation="gelu", batch_first=True, norm_first=True)
            self.layers = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
            self.out = nn.Linear(width, 100)

        def forward(self, x: Any) -> Any:
            patches = self.patches(x).flatten(2).transpose(1, 2)
            tokens = torch.cat([self.first.expand(x.shape[0], -1, -1), patches], 1) + self.places
            return self.out(self.layers(tokens)[:, 0])

    return Network(), (torch.randn(1, 3, side, side),)


def _decoder(torch: Any, small: bool) -> Any:
    """One token with the keys and values of those before."""
    nn = torch.nn
    words, width, heads, layers, before = (50, 16, 2, 2, 5) if small else (8000, 384, 6, 6, 128)

    class Layer(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: Any, past: Any) -> Any:
            parts = self.qkv(self.norm(x)).view(x.shape[0], x.shape[1], 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            keys, values = torch.cat([past[0], parts[1]], 2), torch.cat([past[1], parts[2]], 2)
            scores = (parts[0] @ keys.transpose(-1, -2)) / (width // heads) ** 0.5
            seen = (scores.softmax(-1) @ values).transpose(1, 2).reshape(x.shape[0], x.shape[1], width)
            x = x + self.proj(seen)
            wide = self.up(self.norm2(x))
            wide = 0.5 * wide * (1 + torch.tanh(0.7978845608028654 * (wide + 0.044715 * wide**3)))
            return x + self.down(wide), torch.stack([keys, values])

    class Network(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(words, width)
            self.layers = nn.ModuleList([Layer() for _ in range(layers)])
            self.norm = nn.LayerNorm(width)

        def forward(self, tokens: Any, past: Any) -> Any:
            x, kept = self.tokens(tokens), []
            for number, layer in enumerate(self.layers):
                x, own = layer(x, past[number])
                kept.append(own)
            return self.norm(x) @ self.tokens.weight.T, torch.stack(kept)

    past = torch.randn(layers, 2, 1, heads, before, width // heads)
    return Network(), (torch.randint(0, words, (1, 1)), past)


def _detector(torch: Any, small: bool) -> Any:
    """Boxes of a small convolutional network, the best of which are picked, and counted in a loop."""
    nn = torch.nn

    class Pick(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(context: Any, boxes: Any, scores: Any) -> Any:
            return torch.zeros(1, 3, dtype=torch.int64)

        @staticmethod
        def symbolic(graph: Any, boxes: Any, scores: Any) -> Any:
            most = graph.op("Constant", value_t=torch.tensor([20], dtype=torch.int64))
            limits = [graph.op("Constant", value_t=torch.tensor([x])) for x in (0.5, 0.3)]
            return graph.op("NonMaxSuppression", boxes, scores, most, *limits)

    @torch.jit.script
    def areas(boxes):  # type: ignore[no-untyped-def]
        total = torch.zeros(1)
        for i in range(boxes.shape[0]):
            corner = boxes[i]
            total = total + (corner[2] - corner[0]).abs() * (corner[3] - corner[1]).abs()
        return total

    class Network(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            width = 8 if small else 32
            parts = [nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU()]
            self.body, self.head = nn.Sequential(*parts), nn.Conv2d(width, 7, 1)

        def forward(self, x: Any) -> Any:
            made = self.head(self.body(x)).flatten(2)
            boxes = torch.sigmoid(made[:, :4]).transpose(1, 2) * torch.tensor([1.0, 1.0, 0.3, 0.3])
            boxes = torch.cat([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], -1)
            scores = made[:, 4:].softmax(1)
            found = Pick.apply(boxes, scores)
            kept = boxes[0].index_select(0, found[:, 2])
            return kept, scores[0, found[:, 1], found[:, 2]], areas(kept)

    return Network(), (torch.randn(1, 3, *(32, 32) if small else (160, 160)),)


_MAKERS: dict[str, Callable[[Any, bool], Any]] = {
    "ResNet-18": _resnet,
    "MobileNet": _mobilenet,
    "EfficientNet-like": _efficient,
    "autoencoder": _autoencoder,
    "U-Net": _unet,
    "gated convolutions": _waves,
    "LSTM": _lstm,
    "bidirectional GRU": _gru,
    "transformer encoder": _encoder,
    "vision transformer": _vit,
    "decoder with a cache": _decoder,
    "detector": _detector,
}
NAMES = tuple(_MAKERS)
_BY_GRAPH = {"MobileNet", "U-Net", "transformer encoder", "vision transformer", "decoder with a cache"}
