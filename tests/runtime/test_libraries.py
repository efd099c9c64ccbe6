"""Libraries of matrix products: they come with the installation, and are compiled where they do not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from duograph.codegen.contraction import build_library, library_names
from duograph.codegen.target import LEVELS, Target, get_target
from duograph.runtime import libraries, stamp

PROGRAM = """
import duograph as dg
from duograph.codegen import contraction
made = []
build = contraction.build_library
contraction.build_library = lambda *given: (made.append(given[0]), build(*given))[1]
x = dg.arange(6.0).reshape(2, 3)
print((x @ x.T).tolist(), made)
"""


def run_program(place: Path) -> str:
    environment = {**os.environ, "DUOGRAPH_CACHE_DIR": str(place)}
    return subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, check=True).stdout


@pytest.mark.parametrize("isa", ["x86-64-v3", "x86-64-v4"])
def test_an_installation_brings_what_would_be_compiled(isa: str) -> None:
    names = library_names(get_target(isa))
    assert len(names) == len(set(names)) > 4
    brought = Path(libraries._INSTALLED, isa)
    assert sorted(file.stem for file in brought.iterdir()) == sorted(names)
    for name in ("contraction-float32", "contraction-float64-rows", "contraction-int8"):
        assert (brought / f"{name}.o").read_bytes() == stamp.library_stamp() + build_library(name, get_target(isa))


def test_a_new_cache_compiles_no_library(tmp_path: Path) -> None:
    assert run_program(tmp_path / "cache") == "[[5.0, 14.0], [14.0, 50.0]] []\n"


def test_files_of_other_sources_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert libraries._installed("contraction-float32")
    monkeypatch.setattr(stamp, "library_stamp", lambda: b"of other sources")
    assert libraries._installed("contraction-float32") is None


def test_without_files_libraries_are_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(libraries, "_INSTALLED", str(tmp_path))
    assert libraries._installed("contraction-float32") is None
    assert libraries._build("contraction-float32")


def test_the_stamp_is_of_contents() -> None:
    assert stamp.library_stamp() == stamp.library_stamp()
    assert len(stamp.library_stamp()) >= 32


def test_the_level_of_a_processor_is_the_highest_that_it_has_all_of() -> None:
    for isa in LEVELS:
        assert get_target(isa).level is get_target(isa)
    features = get_target("x86-64-v4").features
    lacking = Target("native", "skylake-avx512", tuple(f for f in features if f != "avx512bw"), ("avx512bw",))
    assert lacking.level is get_target("x86-64-v3")
    assert Target("native", "skylake-avx512", features, ()).level is get_target("x86-64-v4")
    assert Target("native", "nehalem", (), ("avx2", "avx512f")).level is get_target("x86-64-v2")
