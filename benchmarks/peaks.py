"""Peak memory of a training step in one library: `python -m benchmarks.peaks WORK LIBRARY` prints bytes.

Counted are the pages of the process at their most in later steps, less what they were before the network was made: parameters,
the optimiser's state, gradients and all that a step needs besides.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import language, networks, peers, torch_gpt2

_STEPS = 3
LAST = "torch, channels last"
LIBRARIES = ("duograph", "duograph, dynamic", "torch", LAST, "torch.compile")  # `LAST` where there are images


def _resnet(library: Any, name: str) -> Callable[[], object]:
    ours = name.startswith("duograph")
    model = library.models.resnet18() if ours else networks.torch_resnet18(library.nn)
    rng = np.random.default_rng(0)
    x, y = library.from_numpy(rng.random((8, 3, 224, 224), dtype=np.float32)), library.from_numpy(rng.integers(0, 1000, 8))
    if name == LAST:
        model, x = (each.to(memory_format=library.channels_last) for each in (model, x))
    step = _as_asked(library, name, networks.make_step(library, model))
    return lambda: step(x, y)


def _gpt2(library: Any, name: str) -> Callable[[], object]:
    model = language.make_model() if name.startswith("duograph") else torch_gpt2.fresh_gpt2(library)
    x, y = (library.from_numpy(part) for part in language.text_and_next())
    step = _as_asked(library, name, language.make_step(library, model))
    return lambda: step(x, y)


def _as_asked(library: Any, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
    if name == "duograph":
        made: Callable[..., Any] = library.static(step)
        return made
    return library.compile(step) if name == "torch.compile" else step  # type: ignore[no-any-return]


# work → how its step is made
WORKS: dict[str, Callable[[Any, str], Callable[[], object]]] = {
    "ResNet-18, batch 8": _resnet,
    "GPT-2 small, batch 2 × 128 tokens": _gpt2,
}


def inside(work: str, name: str) -> None:
    peers.prepare(1)
    library = __import__("duograph") if name.startswith("duograph") else peers.load("torch")
    np.asarray(library.ones(64, 64) @ library.ones(64, 64))
    before = _status("VmRSS")
    step = WORKS[work](library, name)
    for _ in range(_STEPS):
        step()
    Path("/proc/self/clear_refs").write_text("5")
    for _ in range(_STEPS):
        step()
    print(json.dumps(_status("VmHWM") - before))


def _status(field: str) -> int:
    """Bytes of a line of the process's status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024


def peak(work: str, name: str) -> int:
    """In a process of its own, and for duograph with the object cache warm."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.peaks", work, name]
    for _ in range(2 if name.startswith("duograph") else 1):
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    return int(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    inside(*sys.argv[1:])
