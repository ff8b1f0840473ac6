"""The one file that tells whether an installed wheel works: the core, the runtime, the model in it, the command.

Needs pytest and what the wheel depends on, no other file of this folder: ``pytest --noconftest tests/test_minimal.py``.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distributions

import numpy as np
import pytest

import segae
from segae import _core, demo

SPACING_MM = demo.SPACING_MM


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A synthetic CT with six structures."""
    return demo.phantom()


def test_the_core_is_the_package_s_own() -> None:
    # One distribution is installed: segae, or segae-cpu.
    (stated,) = {entry.version for entry in distributions() if entry.name in ("segae", "segae-cpu")}
    assert _core.__version__ == stated == segae.__version__
    assert isinstance(_core.built_with_cuda(), bool)


def test_importing_loads_nothing_heavy() -> None:
    heavy = "{'numpy', 'nibabel', 'onnxruntime', 'torch', 'scipy'}"
    code = f"import sys, segae; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_a_whole_mask_scores_higher_than_a_damaged_one(scene) -> None:
    image, masks = scene
    name, mask = next(iter(masks.items()))
    worse = segae.perturb(mask, "shift", target_dice=0.3, spacing=SPACING_MM, seed=1)
    whole, damaged = (segae.score(image, given, name, spacing=SPACING_MM, device="cpu") for given in (mask, worse))
    assert 0 <= damaged < whole <= 1
    measured = segae.measure(worse, mask, spacing=SPACING_MM)
    assert measured.dice == pytest.approx(0.3, abs=0.05)


def test_structures_are_known() -> None:
    assert segae.structures.get("Left Kidney").name == "kidney_left"


def test_bad_input_is_refused_in_words(scene) -> None:
    image, masks = scene
    with pytest.raises(segae.SegaeError, match="spacing"):
        segae.score(image, next(iter(masks.values())), "liver")


def test_the_command_runs() -> None:
    command = [sys.executable, "-m", "segae.cli", "structures", "kidney"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "kidney_left" in run.stdout
