"""Train GPT-2 or an LSTM on Python's own documentation, letter by letter, and let it write.

Run it as `python examples/language.py --model gpt2`; `--resume` goes on from the checkpoint. `--full` is GPT-2 small.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from training import documentation, parser, train

import duograph as dg
from duograph import models, nn

ROOM = 128  # letters that are seen at once


def make_model(name: str, vocabulary: int, small: bool, full: bool) -> nn.Module:
    if name == "lstm":
        width = 16 if small else 256
        return models.LSTMLanguageModel(vocabulary, width, width, num_layers=1 if small else 2, dropout=0.1)
    if full:
        return models.gpt2()
    width = 16 if small else 128
    return models.GPT2(vocabulary, 2 * ROOM, n_embd=width, n_layer=1 if small else 4, n_head=width // 8 if small else 4)


def loss_of(model: nn.Module, given: dg.Tensor, following: dg.Tensor) -> dg.Tensor:
    made = model(given)
    logits = made[0] if isinstance(made, tuple) else made
    return nn.functional.cross_entropy(logits.flatten(0, 1), following.flatten())


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__, steps=1000, batch=16, checkpoint="MODEL.safetensors")
    options.add_argument("--model", choices=("gpt2", "lstm"), default="gpt2", help="which network (default gpt2)")
    options.add_argument("--full", action="store_true", help="GPT-2 small, with all its 124 million parameters")
    options.add_argument("--length", type=int, default=ROOM, help=f"letters of each text (default {ROOM})")
    options.add_argument("--write", type=int, default=200, help="letters to write in the end (default 200)")
    chosen = options.parse_args(arguments)
    chosen.checkpoint = chosen.checkpoint.replace("MODEL", chosen.model)
    text, letters = documentation()

    dg.manual_seed(chosen.seed)
    model = make_model(chosen.model, len(letters), chosen.small, chosen.full)
    optimizer = dg.optim.AdamW(model.parameters(), lr=3e-3 if not chosen.full else 3e-4, weight_decay=0.01)

    def batch_of(step: int) -> tuple[dg.Tensor, dg.Tensor]:
        starts = np.random.default_rng((chosen.seed, step)).integers(0, len(text) - chosen.length, chosen.batch)
        rows = np.stack([text[start : start + chosen.length + 1] for start in starts])
        return dg.from_numpy(rows[:, :-1].copy()), dg.from_numpy(rows[:, 1:].copy())

    train(chosen, model, optimizer, loss_of, batch_of)
    if chosen.train_only:
        return
    model.eval()
    generate = dg.static(model.generate)  # type: ignore[arg-type]
    for beginning in ("The ", "If an object "):
        given = dg.tensor([[letters.index(letter) for letter in beginning]])
        written = generate(given, min(chosen.write, 2 * ROOM - len(beginning)), do_sample=True, temperature=0.7)
        print("-" * 60)
        print("".join(letters[min(number, len(letters) - 1)] for number in written[0].tolist()))
    print("-" * 60)


if __name__ == "__main__":
    main()
