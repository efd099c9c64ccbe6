"""Train ResNet-18, ResNet-50, MobileNetV2 or ViT-Tiny on scanned digits, and classify digits of other sizes.

Run it as `python examples/classify.py --model resnet18`; `--resume` goes on from the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from training import digits, parser, shuffled, train

import duograph as dg
from duograph import models, nn

SIZE = 32
SIZES = (32, 32, 48, 32, 32, 64)  # of the images of the steps by turns: one static step serves them all
SMALL: dict[str, dict[str, Any]] = {
    "resnet18": {"width": 8},
    "resnet50": {"width": 4},
    "mobilenet_v2": {"width_mult": 0.1},
    "vit_tiny": {"hidden_dim": 24, "num_layers": 2, "mlp_dim": 48},
}


def make_model(name: str, small: bool) -> nn.Module:
    """The network for grey images of 32×32 and ten classes."""
    settings: dict[str, Any] = {"num_classes": 10, "in_channels": 1, **(SMALL[name] if small else {})}
    if name == "vit_tiny":
        settings.update(image_size=SIZE, patch_size=4)
    return getattr(models, name)(**settings)  # type: ignore[no-any-return]


def loss_of(model: nn.Module, x: dg.Tensor, y: dg.Tensor) -> dg.Tensor:
    return nn.functional.cross_entropy(model(x), y, label_smoothing=0.05)


def accuracy(classify: Callable[[dg.Tensor], dg.Tensor], images: Any, labels: Any, batch: int = 60) -> float:
    """The share of images that are classified as they are labelled."""
    right = 0
    with dg.no_grad():
        for start in range(0, len(images), batch):
            found = classify(dg.from_numpy(images[start : start + batch]))
            right += int((found == dg.from_numpy(labels[start : start + batch])).sum().item())
    return right / len(images)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__, steps=400, batch=32, checkpoint="MODEL.safetensors")
    options.add_argument("--model", choices=sorted(SMALL), default="resnet18", help="which network (default resnet18)")
    chosen = options.parse_args(arguments)
    chosen.checkpoint = chosen.checkpoint.replace("MODEL", chosen.model)
    train_x, train_y, test_x, test_y = digits(SIZE)

    dg.manual_seed(chosen.seed)
    model = make_model(chosen.model, chosen.small)
    optimizer = dg.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    places = shuffled(len(train_x), chosen.batch, chosen.seed)

    def batch_of(step: int) -> tuple[dg.Tensor, dg.Tensor]:
        rows, size = places(step), SIZES[step % len(SIZES)]
        images = dg.from_numpy(train_x[rows])
        if size != SIZE:
            images = nn.functional.interpolate(images, size=size, mode="bilinear")
        return images, dg.from_numpy(train_y[rows])

    train(chosen, model, optimizer, loss_of, batch_of)
    if chosen.train_only:
        return
    model.eval()
    classify = dg.static(lambda x: model(x).argmax(1))
    print(f"accuracy on held-out digits: {accuracy(classify, test_x, test_y):.1%}")
    for size in (48, 64):
        _, _, larger, labels = digits(size)
        print(f"the same digits, {size}×{size}: {accuracy(classify, larger[:120], labels[:120]):.1%}")
    print(f"captures of the static classifier: {classify.captures}")


if __name__ == "__main__":
    main()
