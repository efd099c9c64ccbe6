"""Train a convolutional autoencoder that brings a digit down to eight numbers and back.

Run it as `python examples/autoencode.py`; `--resume` goes on from the checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence

from training import digits, parser, shuffled, train

import duograph as dg
from duograph import models, nn


def loss_of(model: nn.Module, x: dg.Tensor) -> dg.Tensor:
    return nn.functional.mse_loss(model(x), x)


def in_letters(image: dg.Tensor) -> list[str]:
    """An image of grey values, two letters a pixel."""
    return ["".join(" .:-=+*#%@"[min(int(value * 10), 9)] * 2 for value in row) for row in image.tolist()]


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__, steps=1500, batch=64, checkpoint="autoencoder.safetensors")
    chosen = options.parse_args(arguments)
    train_x, _, test_x, _ = digits(16)

    dg.manual_seed(chosen.seed)
    model = models.ConvAutoencoder(image_size=16, channels=(4, 8) if chosen.small else (16, 32), code_size=8)
    optimizer = dg.optim.Adam(model.parameters(), lr=2e-3)
    places = shuffled(len(train_x), chosen.batch, chosen.seed)
    train(chosen, model, optimizer, loss_of, lambda step: (dg.from_numpy(train_x[places(step)]),))
    if chosen.train_only:
        return
    model.eval()
    with dg.no_grad():
        held_out = dg.from_numpy(test_x)
        made = model(held_out)
        print(f"mean squared error on held-out digits: {nn.functional.mse_loss(made, held_out).item():.4f}")
    for left, right in zip(in_letters(held_out[0, 0]), in_letters(made[0, 0])):
        print(f"{left}  |  {right}")


if __name__ == "__main__":
    main()
