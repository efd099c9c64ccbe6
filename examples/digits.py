"""Train a network on real handwritten digits as a dynamic graph, make the very same step static, and look at what that saved.

Run it with `make demo`, or `python examples/digits.py` where duograph[examples] is installed.
"""

from __future__ import annotations

import argparse
import inspect
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import duograph as dg
from duograph import nn

BATCH = 64


@dataclass
class Run:
    """One training: its losses, the seconds of each step, accuracy on the held-out digits, the model and its step."""

    name: str
    losses: list[float]
    seconds: list[float]
    accuracy: float
    model: nn.Module
    step: Callable[[dg.Tensor, dg.Tensor], dg.Tensor]

    @property
    def microseconds(self) -> float:
        """Median time of a step after the first ten."""
        return statistics.median(self.seconds[10:]) * 1e6


def load() -> tuple[dg.Tensor, dg.Tensor, dg.Tensor, dg.Tensor]:
    """1,797 scanned digits of 8×8 grey values: four fifths to learn from, one fifth held out."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(
        (images / 16.0).astype("float32"), labels.astype("int64"), test_size=0.2, random_state=0, stratify=labels
    )
    train_x, test_x, train_y, test_y = (dg.from_numpy(part) for part in parts)
    return train_x, train_y, test_x, test_y


def make_model() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))


def make_step(model: nn.Module) -> Callable[[dg.Tensor, dg.Tensor], dg.Tensor]:
    """A whole training step as one writes it dynamically."""
    optimizer = dg.optim.Adam(model.parameters(), lr=2e-3)

    def step(x: dg.Tensor, y: dg.Tensor) -> dg.Tensor:
        logits = model(x)
        loss = nn.functional.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def batches(x: dg.Tensor, y: dg.Tensor) -> Iterator[tuple[dg.Tensor, dg.Tensor]]:
    """One epoch in a new order; the incomplete last batch is left out."""
    order = dg.randperm(len(x))
    for start in range(0, len(x) - BATCH + 1, BATCH):
        chosen = order[start : start + BATCH]
        yield x[chosen], y[chosen]


def accuracy(model: nn.Module, x: dg.Tensor, y: dg.Tensor) -> float:
    model.eval()
    with dg.no_grad():
        right = (model(x).argmax(dim=1) == y).sum().item()
    model.train()
    return float(right) / len(x)


def train(name: str, switch: Callable[[Any], Any], data: tuple[dg.Tensor, ...], epochs: int, plain: bool) -> Run:
    """Train from the same seed; `switch` is what makes the step static (or leaves it)."""
    from tqdm import tqdm

    train_x, train_y, test_x, test_y = data
    dg.manual_seed(0)
    model = make_model()
    step = switch(make_step(model))
    losses, seconds = [], []
    with tqdm(total=epochs * (len(train_x) // BATCH), desc=f"{name:<14}", unit="step", disable=plain) as bar:
        for _ in range(epochs):
            for x, y in batches(train_x, train_y):
                start = time.perf_counter()
                loss = step(x, y)
                seconds.append(time.perf_counter() - start)
                losses.append(loss.item())
                bar.update()
            bar.set_postfix(loss=f"{losses[-1]:.4f}")
    return Run(name, losses, seconds, accuracy(model, test_x, test_y), model, step)


def largest_difference(a: list[float], b: list[float]) -> float:
    """Largest relative difference between two loss curves."""
    return max(abs(x - y) / max(abs(x), 1e-12) for x, y in zip(a, b, strict=True))


def print_table(dynamic: Run, static: Run, strict: Run, report: Any) -> None:
    rows = [
        ("", "dynamic", "static", "static, strict"),
        ("accuracy, held-out digits", *(f"{run.accuracy:.2%}" for run in (dynamic, static, strict))),
        ("last loss", *(f"{run.losses[-1]:.6f}" for run in (dynamic, static, strict))),
        ("time per step", *(f"{run.microseconds:.0f} µs" for run in (dynamic, static, strict))),
        ("variables", f"{report.dynamic.variables}", f"{report.static.variables}", ""),
        ("bytes", f"{report.dynamic.bytes:,}", f"{report.static.bytes:,}", ""),
        ("kernels", f"{report.dynamic.kernels}", f"{report.static.kernels}", ""),
    ]
    print()
    for label, *cells in rows:
        print(f"{label:<28}" + "".join(f"{cell:>16}" for cell in cells))
    print(
        f"\nlosses, static against dynamic: largest relative difference {largest_difference(dynamic.losses, static.losses):.1e}"
    )
    print(
        "losses, strict against dynamic: " + ("bit-equal under strict" if strict.losses == dynamic.losses else "DIFFERENT BITS")
    )
    print(f"one step is {dynamic.microseconds / static.microseconds:.2f} times as fast static as dynamic")


def draw(images: dg.Tensor, labels: dg.Tensor, predicted: dg.Tensor, path: str) -> None:
    """Ten digits side by side, each with what the network says and what it is."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 10, figsize=(12, 1.8))
    for axis, image, label, guess in zip(axes, images, labels, predicted, strict=True):
        axis.imshow(image.reshape(8, 8).numpy(), cmap="gray_r")
        axis.set_title(f"{guess.item()} ({label.item()})", color="black" if guess.item() == label.item() else "crimson")
        axis.axis("off")
    figure.suptitle("predicted (true)", fontsize=9)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)


def print_source_beside_kernels(step_source: Callable[..., Any], report: Any) -> None:
    """The step as it was written, and under each line the static kernels it became."""
    lines, first = inspect.getsourcelines(step_source)
    by_line: dict[int, list[Any]] = {}
    elsewhere = []
    for kernel in report.static.kernel_list:
        if kernel.file == __file__ and first <= kernel.line < first + len(lines):
            by_line.setdefault(kernel.line, []).append(kernel)
        else:
            elsewhere.append(kernel)
    print("\nThe step, line by line, and the kernels each line became:\n")
    for number, text in enumerate(lines, first):
        print(f"{number:>4}  {text.rstrip()}")
        for kernel in by_line.get(number, ()):
            print(f"{'':>10}▸ {kernel.microseconds:7.1f} µs  {kernel.expression[:110]}")
    for kernel in elsewhere:
        print(f"{'':>10}▸ {kernel.microseconds:7.1f} µs  {kernel.expression[:90]}   ({kernel.location})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--epochs", type=int, default=30, help="passes over the training digits (default 30)")
    parser.add_argument("--plain", action="store_true", help="no progress bars")
    options = parser.parse_args()
    train_x, train_y, test_x, test_y = data = load()

    dynamic = train("dynamic", lambda step: step, data, options.epochs, options.plain)
    static = train("static", dg.static, data, options.epochs, options.plain)
    strict = train("static, strict", lambda step: dg.static(step, strict=True), data, options.epochs, options.plain)
    report = static.step.explain(train_x[:BATCH], train_y[:BATCH], time=True)  # type: ignore[attr-defined]
    print_table(dynamic, static, strict, report)
    assert strict.losses == dynamic.losses
    assert largest_difference(dynamic.losses, static.losses) < 1e-5
    assert min(run.accuracy for run in (dynamic, static, strict)) >= 0.96

    dg.save(static.model.state_dict(), "digits.safetensors")
    fresh = make_model()
    fresh.load_state_dict(dg.load("digits.safetensors"))
    assert accuracy(fresh, test_x, test_y) == static.accuracy
    with dg.no_grad():
        predicted = fresh(test_x[:10]).argmax(dim=1)
    draw(test_x[:10], test_y[:10], predicted, "digits.png")
    print("\nweights: digits.safetensors (loaded into a fresh model: the same accuracy)   pictures: digits.png")
    print(f"predicted {predicted.tolist()}\nlabels    {test_y[:10].tolist()}")
    print_source_beside_kernels(make_step(fresh), report)


if __name__ == "__main__":
    main()
