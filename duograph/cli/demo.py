"""`duograph demo`: one training step as a dynamic and as a static graph: the same losses, and what the switch saves."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .output import duration, say, show_json, show_table

_BATCH, _IMAGES, _HELD_OUT = 64, 1200, 200
_SEGMENTS = {  # of digits as displays show them: rows and columns of an image of 8 × 8
    "a": (slice(1, 2), slice(2, 6)),
    "b": (slice(1, 4), slice(5, 6)),
    "c": (slice(4, 7), slice(5, 6)),
    "d": (slice(6, 7), slice(2, 6)),
    "e": (slice(4, 7), slice(2, 3)),
    "f": (slice(1, 4), slice(2, 3)),
    "g": (slice(4, 5), slice(2, 6)),
}
_DIGITS = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg")


def demonstrate(steps: int, tick: Callable[[], None]) -> dict[str, Any]:
    """Train the same small network twice, dynamically and statically; `tick` is called after each step."""
    data = _digits()
    sides = {name: _train(name == "static", steps, data, tick) for name in ("dynamic", "static")}
    report = sides["static"].pop("report")
    sides["dynamic"].pop("report")
    for name, side in (("dynamic", report.dynamic), ("static", report.static)):
        sides[name] |= {"kernels": side.kernels, "bytes_moved": side.bytes_moved}
    kernels = [{"expression": x.expression, "microseconds": x.microseconds} for x in report.static.kernel_list]
    same = sides["dynamic"].pop("losses") == sides["static"].pop("losses")
    return {"steps": steps, "same_losses": same, **sides, "kernel_list": kernels}


def _digits() -> tuple[Any, Any]:
    """Digits as displays show them, moved by up to a pixel and covered with noise; the same ones each time."""
    import duograph as dg

    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, _IMAGES)
    images = np.zeros((_IMAGES, 8, 8), np.float32)
    for image, label in zip(images, labels):
        for segment in _DIGITS[label]:
            image[_SEGMENTS[segment]] = 1
        image[:] = np.roll(image, tuple(generator.integers(-1, 2, 2)), (0, 1))
    images += generator.normal(0, 0.25, images.shape).astype(np.float32)
    return dg.from_numpy(images.reshape(_IMAGES, 64)), dg.from_numpy(labels)


def _train(static: bool, steps: int, data: tuple[Any, Any], tick: Callable[[], None]) -> dict[str, Any]:
    import duograph as dg
    from duograph import _core as core
    from duograph import nn

    core.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = dg.optim.Adam(model.parameters(), lr=2e-3)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    switched: Any = dg.static(step, strict=True)
    run = switched if static else step
    images, labels = data
    losses, seconds = [], []
    for _ in range(steps):
        chosen = dg.randint(0, _IMAGES - _HELD_OUT, (_BATCH,))
        x, y = images[chosen], labels[chosen]
        start = time.perf_counter()
        losses.append(run(x, y).item())
        seconds.append(time.perf_counter() - start)
        tick()
    with dg.no_grad():
        right = model(images[-_HELD_OUT:]).argmax(dim=1) == labels[-_HELD_OUT:]
    return {
        "first_step_seconds": seconds[0],
        "median_step_seconds": statistics.median(seconds[steps // 2 :]),
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "accuracy": right.float().mean().item(),
        "losses": losses,
        "report": switched.explain(x, y, time=True) if static else None,
    }


def show(found: dict[str, Any], as_json: bool) -> None:
    """Print it."""
    if as_json:
        show_json(found)
        return
    dynamic, static = found["dynamic"], found["static"]
    names = ("kernels", "bytes_moved", "first_loss", "last_loss")
    rows: list[tuple[str, Any, Any]] = [(x.replace("_", " "), _short(dynamic[x]), _short(static[x])) for x in names]
    rows.append(("accuracy on images it has not seen", f"{dynamic['accuracy']:.1%}", f"{static['accuracy']:.1%}"))
    times = ("first_step_seconds", "median_step_seconds")
    rows += [(x.removesuffix("_seconds").replace("_", " "), duration(dynamic[x]), duration(static[x])) for x in times]
    kernels = [(f"{x['microseconds']:.1f} µs", x["expression"][:100]) for x in found["kernel_list"]]
    show_table("kernels of the static step", ("", ""), kernels)
    show_table(
        f"one network that reads drawn digits, {found['steps']} training steps", ("", "dynamic graph", "static graph"), rows
    )
    faster = dynamic["median_step_seconds"] / static["median_step_seconds"]
    same = "every loss is the same, bit for bit" if found["same_losses"] else "THE LOSSES DIFFER"
    say(f"{same}; the static step is {faster:.1f} times as fast")


def _short(value: float) -> str:
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else f"{value:.6g}"
