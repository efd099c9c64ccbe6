"""What the examples that train share: their options, a step that is one static program, progress, checkpoints and going on."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import duograph as dg

Batch = tuple[dg.Tensor, ...]


def parser(description: str | None, steps: int, batch: int, checkpoint: str) -> argparse.ArgumentParser:
    """The options of all examples; numbers are defaults."""
    made = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    made.add_argument("--steps", type=int, default=steps, help=f"training steps in all (default {steps})")
    made.add_argument("--batch", type=int, default=batch, help=f"examples of a step (default {batch})")
    made.add_argument("--checkpoint", default=checkpoint, help=f"file to keep the state in (default {checkpoint})")
    made.add_argument("--save-every", type=int, default=100, help="steps between checkpoints (default 100)")
    made.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    made.add_argument("--seed", type=int, default=0, help="of weights, batches and dropout (default 0)")
    made.add_argument("--small", action="store_true", help="a network of few channels, for a quick look")
    made.add_argument("--dynamic", action="store_true", help="run the step line by line, not as a static program")
    made.add_argument("--train-only", action="store_true", help="leave out what comes after the training")
    made.add_argument("--plain", action="store_true", help="a line for each checkpoint, no progress bar")
    return made


def save_checkpoint(path: str, model: dg.nn.Module, optimizer: Any, step: int) -> None:
    """All that the rest of the training depends on, as safetensors: a temporary file, renamed when it is whole."""
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "random": dg.get_rng_state()}
    dg.save(state, path)


def load_checkpoint(path: str, model: dg.nn.Module, optimizer: Any) -> int:
    """Restores what `save_checkpoint` wrote; the number of steps done."""
    state = dg.load(path)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    dg.set_rng_state(state["random"])
    return int(state["step"])


def progress_bar(begin: int, end: int) -> Any:
    """tqdm's, or None where it is not installed: then each checkpoint is a line."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(initial=begin, total=end, unit="step")


def train(
    options: argparse.Namespace,
    model: dg.nn.Module,
    optimizer: Any,
    loss_of: Callable[..., dg.Tensor],
    batch_of: Callable[[int], Batch],
) -> list[float]:
    """Trains up to `options.steps` steps; the losses of those done here. A batch depends on the number of its step alone."""

    def step(*batch: dg.Tensor) -> dg.Tensor:
        loss = loss_of(model, *batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    run = step if options.dynamic else dg.static(step)
    begin = 0
    if options.resume and os.path.exists(options.checkpoint):
        begin = load_checkpoint(options.checkpoint, model, optimizer)
        print(f"going on from step {begin} of {options.checkpoint}")
    losses = []
    bar = None if options.plain else progress_bar(begin, options.steps)
    for number in range(begin, options.steps):
        losses.append(run(*batch_of(number)).item())
        if bar is not None:
            bar.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False)
            bar.update()
        if (number + 1) % options.save_every == 0 or number + 1 == options.steps:
            save_checkpoint(options.checkpoint, model, optimizer, number + 1)
            if bar is None:
                print(f"step {number + 1} of {options.steps}: loss {losses[-1]:.4f}", flush=True)
    if bar is not None:
        bar.close()
    if losses:
        print(f"steps {begin + 1} to {options.steps}: loss {losses[0]:.4f} to {losses[-1]:.4f}, kept in {options.checkpoint}")
    return losses


def shuffled(count: int, batch: int, seed: int) -> Callable[[int], np.ndarray]:
    """Which of `count` examples a step takes: epochs in orders of their own, incomplete batches left out."""
    batch = min(batch, count)
    each = count // batch

    def chosen(step: int) -> np.ndarray:
        epoch, place = divmod(step, each)
        order = np.random.default_rng((seed, epoch)).permutation(count)
        return order[place * batch : (place + 1) * batch]

    return chosen


def digits(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scikit-learn's 1,797 scanned digits, enlarged to `size`: four fifths to learn from, one fifth held out."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    pictures = dg.from_numpy((images / 16.0).astype("float32")).reshape(-1, 1, 8, 8)
    enlarged = dg.nn.functional.interpolate(pictures, size=size, mode="bilinear").numpy()
    parts: Sequence[np.ndarray] = train_test_split(
        enlarged, labels.astype("int64"), test_size=0.2, random_state=0, stratify=labels
    )
    train_x, test_x, train_y, test_y = parts
    return train_x, train_y, test_x, test_y


def documentation() -> tuple[np.ndarray, str]:
    """Python's reference, as it is installed with Python: numbers of letters, and which letters there are."""
    from pydoc_data.topics import topics

    text = "\n\n".join(topics[name] for name in sorted(topics))
    letters = "".join(sorted(set(text)))
    place = {letter: number for number, letter in enumerate(letters)}
    return np.array([place[letter] for letter in text], dtype="int64"), letters
