"""The same file, the same numbers, in other languages: C++ (OpenCV's dnn) and JavaScript (onnxruntime-web under node).

    python examples/other_languages/compare.py [--folder FOLDER]

Saves two networks as ONNX, runs them here and with each runtime that is installed, and prints how far off each result is.
Exits with 1 if one is further off than rounding explains, with 2 if no other runtime is installed. README.md says how to
install them.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import duograph as dg
from duograph import nn
from duograph.models import resnet18

HERE = Path(__file__).resolve().parent
LIMIT = 1e-4  # of the largest number of a result
Run = Callable[[Path, Path, Path, tuple[int, ...]], None]


class Saved(NamedTuple):
    """A file, what it is given and what it gave here."""

    name: str
    path: Path
    given: np.ndarray
    expected: np.ndarray


class StaticNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear1 = nn.Linear(10, 20)
        self.linear2 = nn.Linear(20, 10)

    def forward(self, x: dg.Tensor) -> dg.Tensor:
        return self.linear2(dg.relu(self.linear1(x)))


def saved(folder: Path) -> Iterator[Saved]:
    """The networks, each as a file in a folder."""
    dg.manual_seed(0)
    networks = {"linear layers, traced": (StaticNet(), (1, 10)), "ResNet-18": (_used(resnet18()), (1, 3, 224, 224))}
    for number, (name, (network, shape)) in enumerate(networks.items()):
        network.eval()
        x = dg.randn(*shape)
        traced = dg.jit.trace(network, x)
        path = folder / f"network{number}.onnx"
        dg.onnx.export(traced, x, path)
        yield Saved(name, path, x.numpy(), network(x).detach().numpy())


def _used(network: nn.Module) -> nn.Module:
    """With statistics of normalisation that are not those of a new network."""
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    return network


def runtimes(folder: Path) -> Iterator[tuple[str, Run | str]]:
    """Each other runtime: how it is run, or why it cannot be."""
    yield "C++, OpenCV's dnn", _cpp(folder)
    yield "JavaScript, onnxruntime-web", _javascript()


def _cpp(folder: Path) -> Run | str:
    include = next(
        (place for place in ("/usr/include/opencv4", "/usr/local/include/opencv4") if Path(place, "opencv2").is_dir()), ""
    )
    if not shutil.which("g++") or not include or not Path(include, "opencv2/dnn.hpp").exists():
        return "g++ or OpenCV's dnn is not installed"
    program = folder / "run"
    sources = [str(HERE / "run.cpp"), f"-I{include}", "-lopencv_dnn", "-lopencv_core"]
    made = subprocess.run(["g++", "-O1", "-std=c++17", *sources, "-o", str(program)], capture_output=True, text=True)
    if made.returncode:
        return "run.cpp could not be compiled: " + made.stderr.strip().splitlines()[-1]
    return lambda model, given, out, sizes: _call([str(program), str(model), str(given), str(out), *map(str, sizes)])


def _javascript() -> Run | str:
    if not shutil.which("node"):
        return "node is not installed"
    found = subprocess.run(["node", "-e", "import('onnxruntime-web')"], cwd=HERE, capture_output=True, text=True)
    if found.returncode:
        return "onnxruntime-web is not installed: npm install in examples/other_languages"
    return lambda model, given, out, sizes: _call(
        ["node", str(HERE / "run.mjs"), str(model), str(given), str(out), *map(str, sizes)]
    )


def _call(command: list[str]) -> None:
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        raise SystemExit(f"{' '.join(command)}\n{made.stderr}")


def difference(run: Run, network: Saved, folder: Path) -> float:
    """How far a runtime's result is off, as a share of the largest number."""
    given, out = folder / "given.bin", folder / "out.bin"
    network.given.tofile(given)
    run(network.path, given, out, network.given.shape)
    found = np.fromfile(out, np.float32).reshape(network.expected.shape)
    return float(np.abs(found - network.expected).max() / np.abs(network.expected).max())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where the files are kept; else they are deleted")
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        networks = list(saved(place))
        found = []
        for language, run in runtimes(place):
            if isinstance(run, str):
                print(f"{language}: left out, {run}")
                continue
            for network in networks:
                found.append(difference(run, network, place))
                print(f"{language}, {network.name}: {found[-1]:.1e} of the largest number off")
    if not found:
        return 2
    return int(max(found) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
