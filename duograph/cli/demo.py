"""`duograph demo`: one training step as a dynamic and as a static graph: the same losses, and what the switch saves."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .output import duration, show_json, show_table

_CLASSES, _WIDTH, _BATCH = 4, 32, 64


def demonstrate(steps: int, tick: Callable[[], None]) -> dict[str, Any]:
    """Train the same small network twice, dynamically and statically; `tick` is called after each step."""
    sides = {name: _train(name == "static", steps, tick) for name in ("dynamic", "static")}
    report = sides["static"].pop("report")
    sides["dynamic"].pop("report")
    for name, side in (("dynamic", report.dynamic), ("static", report.static)):
        sides[name] |= {"kernels": side.kernels, "bytes_moved": side.bytes_moved}
    return {"steps": steps, "same_losses": sides["dynamic"].pop("losses") == sides["static"].pop("losses"), **sides}


def _train(static: bool, steps: int, tick: Callable[[], None]) -> dict[str, Any]:
    import duograph as dg
    from duograph import _core as core
    from duograph import nn

    core.manual_seed(0)
    model = nn.Sequential(nn.Linear(_WIDTH, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, _CLASSES))
    optimizer = dg.optim.Adam(model.parameters(), lr=2e-3)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    switched: Any = dg.static(step, strict=True)
    run = switched if static else step
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((_CLASSES, _WIDTH)).astype(np.float32)
    losses, seconds = [], []
    for _ in range(steps):
        labels = rng.integers(0, _CLASSES, _BATCH)
        points = centres[labels] + rng.standard_normal((_BATCH, _WIDTH)).astype(np.float32)
        x, y = dg.from_numpy(points), dg.from_numpy(labels)
        start = time.perf_counter()
        losses.append(run(x, y).item())
        seconds.append(time.perf_counter() - start)
        tick()
    report = switched.explain(x, y)
    return {
        "first_step_seconds": seconds[0],
        "median_step_seconds": statistics.median(seconds[steps // 2 :]),
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "losses": losses,
        "report": report,
    }


def show(found: dict[str, Any], as_json: bool) -> None:
    """Print it."""
    if as_json:
        show_json(found)
        return
    dynamic, static = found["dynamic"], found["static"]
    rows: list[tuple[str, Any, Any]] = [
        (name.replace("_", " "), dynamic[name], static[name]) for name in ("kernels", "bytes_moved", "first_loss", "last_loss")
    ]
    times = ("first_step_seconds", "median_step_seconds")
    rows += [(x.removesuffix("_seconds").replace("_", " "), duration(dynamic[x]), duration(static[x])) for x in times]
    show_table(f"one network, {found['steps']} training steps", ("", "dynamic graph", "static graph"), rows)
    faster = dynamic["median_step_seconds"] / static["median_step_seconds"]
    same = "every loss is the same, bit for bit" if found["same_losses"] else "THE LOSSES DIFFER"
    print(f"{same}; the static step is {faster:.1f} times as fast")
