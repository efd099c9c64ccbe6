"""From the start of a process to a model's first result, beside onnxruntime: ResNet-18 and GPT-2 small, as we export them.

    python -m benchmarks.loading [--rounds 9] [--only resnet18|gpt2]

Each start is a process of its own, theirs and ours by turns; bytecode and the object cache are there, the file is in memory.
Prints medians of milliseconds and the ratio of theirs over ours. Asked: at least 1.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_OURS = """
import sys, time
import numpy as np
import duograph as dg
model = dg.onnx.load(sys.argv[1])
model(np.load(sys.argv[2])).numpy()
print(time.time())
"""
_THEIRS = """
import sys, time
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = {threads}
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
session.run(None, {{session.get_inputs()[0].name: np.load(sys.argv[2])}})
print(time.time())
"""
_WRITTEN = """
import sys
import numpy as np
import duograph as dg
from duograph import models
random = np.random.default_rng(0)
name, file, given = sys.argv[1:]
x = random.integers(0, 50257, (1, 128)) if name == "gpt2" else random.standard_normal((1, 3, 224, 224), np.float32)
np.save(given, x)
dg.onnx.export(getattr(models, name)().eval(), (dg.tensor(x),), file)
"""


def start(code: str, *args: str) -> float:
    """Milliseconds from the start of a process to the time that it prints."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    begin = time.time()
    done = subprocess.run([sys.executable, "-c", code, *args], check=True, capture_output=True, text=True, env=environment)
    return 1e3 * (float(done.stdout or "nan") - begin)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.loading", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", choices=("resnet18", "gpt2"))
    options = parser.parse_args()
    theirs = _THEIRS.format(threads=os.cpu_count())
    with tempfile.TemporaryDirectory() as folder:
        for name in [options.only] if options.only else ["resnet18", "gpt2"]:
            files = [str(Path(folder) / f"{name}{end}") for end in (".onnx", ".npy")]
            start(_WRITTEN, name, *files)
            times: dict[str, list[float]] = {_OURS: [], theirs: []}
            for turn in range(options.rounds + 1):
                for code, kept in times.items():
                    taken = start(code, *files)
                    if turn:  # the first fills the caches
                        kept.append(taken)
            ours, others = (statistics.median(kept) for kept in times.values())
            print(f"{name:10} ours {ours:6.0f} ms   onnxruntime {others:6.0f} ms   ratio {others / ours:.2f}", flush=True)


if __name__ == "__main__":
    main()
