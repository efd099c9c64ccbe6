"""Calls that reach files or the system: refused in static functions with the line, as they would be made at the capture only."""

from __future__ import annotations

import glob
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

import numpy as np
import pytest

import duograph as dg

FOLDER = pathlib.Path(os.curdir)
REFUSED = {
    "listdir": lambda x: x * len(os.listdir(".")),
    "exists": lambda x: x * os.path.exists("."),
    "getcwd": lambda x: x * len(os.getcwd()),
    "system": lambda x: x * os.system("true"),
    "walk": lambda x: x * len(list(os.walk("."))),
    "Path.exists": lambda x: x * FOLDER.exists(),
    "Path.iterdir": lambda x: x * len(list(FOLDER.iterdir())),
    "Path.read_text": lambda x: x * len((FOLDER / "README.md").read_text()),
    "glob": lambda x: x * len(glob.glob("*")),
    "run": lambda x: x * subprocess.run(["true"], check=False).returncode,
    "gethostname": lambda x: x * len(socket.gethostname()),
    "mkdtemp": lambda x: x * len(tempfile.mkdtemp()),
    "which": lambda x: x * (shutil.which("true") is None),
    "np.loadtxt": lambda x: x * np.loadtxt("none"),
    "dg.save": lambda x: dg.save({"x": x}, "none.safetensors"),
    "dg.load": lambda x: x * dg.load("none.safetensors")["x"],
}


@pytest.mark.parametrize("function", REFUSED.values(), ids=REFUSED)
def test_refused_with_the_line(function):
    with pytest.raises(dg.errors.CaptureError, match="reaches files or the system") as raised:
        dg.static(function)(dg.ones(2))
    assert f"{__file__}:" in str(raised.value) and "host_callback" in str(raised.value)


SETTINGS = {
    "manual_seed": lambda x: (dg.manual_seed(1), dg.rand(2))[1] * x,
    "set_rng_state": lambda x: (dg.set_rng_state(*dg.get_rng_state()), x)[1],
    "set_num_threads": lambda x: (dg.set_num_threads(1), x)[1],
    "set_flush_denormal": lambda x: (dg.set_flush_denormal(True), x)[1],
    "set_default_dtype": lambda x: (dg.set_default_dtype(dg.float64), dg.ones(2))[1] * x,
    "memory_stats": lambda x: x * dg.memory_stats()["live_buffers"],
}


@pytest.mark.parametrize("function", SETTINGS.values(), ids=SETTINGS)
def test_settings_are_refused(function):
    with pytest.raises(dg.errors.CaptureError, match="holds for the whole process") as raised:
        dg.static(function)(dg.ones(2))
    assert f"{__file__}:" in str(raised.value)


def test_what_only_computes_is_not():
    x = dg.ones(2)
    assert dg.static(lambda x: x * len(os.path.join("a", "b")) + len(str(FOLDER / "c")))(x).tolist() == [4.0, 4.0]
    assert dg.static(lambda x: x * (os.cpu_count() > 0))(x).tolist() == [1.0, 1.0]


def test_in_a_host_callback():
    @dg.host_callback(like=float)
    def files():
        return float(os.path.exists("."))

    assert dg.static(lambda x: x * files())(dg.ones(2)).tolist() == [1.0, 1.0]
