"""The kernels of perturbations write the same bytes without and with optimisation, and those of every other machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HERE = ROOT / "tests" / "same_bytes"
COMPILER = shutil.which("g++") or shutil.which("clang++")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32" or COMPILER is None, reason="needs g++ or clang++")
@pytest.mark.parametrize("level", ["-O0", "-O3"])
def test_optimisation_and_threads_change_no_byte(level, tmp_path):
    kernels = tmp_path / "kernels"
    sources = [
        HERE / "kernels.cpp",
        *(ROOT / "csrc/box").glob("*_cpu.cpp"),
        *(ROOT / "csrc/distance").glob("*_cpu.cpp"),
        *(ROOT / "csrc/edit").glob("*_cpu.cpp"),
    ]
    flags = [level, "-std=c++17", "-ffp-contract=off", f"-I{ROOT / 'csrc'}"]
    subprocess.run([COMPILER, *flags, *sources, "-o", kernels, "-lpthread"], check=True)
    for threads in ("1", "3"):
        found = subprocess.run([kernels, threads], check=True, capture_output=True, text=True).stdout
        assert found == (HERE / "expected.txt").read_text()
