"""Ten variants of the demo's patient as a dataset on disk, some of their masks spoiled: something to audit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segae.demo import FAULTS, SPACING_MM, phantom, spoil
from segae.readers import save_nifti

Array = npt.NDArray[Any]

CASES = 10
# Of a patient's size, organ by organ along each axis, and of the noise that is added.
_SIZE_CHANGE = 0.12
_WAVE = 0.06
_NOISE_HU = 8.0


def write_cohort(folder: Path, cases: int = CASES, seed: int = 1) -> None:
    """Write the scans in TotalSegmentator's layout: ``case/ct.nii.gz`` and ``case/segmentations/NAME.nii.gz``.

    Every patient is the demo's, stretched unevenly along the three axes, with noise of its own; in each one or two
    masks are spoiled, and the others are right. Which, stands in ``case/faults.txt``.
    """
    image, masks = phantom()
    rng = np.random.default_rng(seed)
    for number in range(cases):
        case = folder / f"patient{number + 1:02d}"
        (case / "segmentations").mkdir(parents=True, exist_ok=True)
        spacing = np.array(SPACING_MM) * rng.uniform(1 - _SIZE_CHANGE, 1 + _SIZE_CHANGE, 3)
        places = [_places(length, rng) for length in image.shape]
        hu = _resample(image.astype(np.float32), places) + rng.normal(0, _NOISE_HU, image.shape)
        _save(np.round(hu).astype(np.int16), spacing, case / "ct.nii.gz")
        wrong = rng.choice(len(FAULTS) - 1, size=1 + number % 2, replace=False) + 1  # never the one without an error
        told = {FAULTS[k].structure: FAULTS[k] for k in wrong}
        for name, mask in masks.items():
            given = spoil(masks, told[name], seed=number) if name in told else mask
            _save(_resample(given, places, nearest=True), spacing, case / "segmentations" / f"{name}.nii.gz")
        (case / "faults.txt").write_text("".join(f"{name}: {fault.words}\n" for name, fault in told.items()))


def _places(length: int, rng: np.random.Generator) -> Array:
    """Where the voxels along an axis come from: the axis stretched here and compressed there, its ends kept."""
    x = np.linspace(0, 1, length)
    waves = sum(rng.uniform(-_WAVE, _WAVE) / k * np.sin(np.pi * k * x) for k in (1, 2, 3))
    return np.clip((x + waves) * (length - 1), 0, length - 1)


def _resample(values: Array, places: list[Array], *, nearest: bool = False) -> Array:
    """Take voxels at places between them, axis by axis."""
    for axis, place in enumerate(places):
        if nearest:
            values = values.take(np.round(place).astype(int), axis)
            continue
        low = np.minimum(np.floor(place).astype(int), values.shape[axis] - 2)
        share = (place - low).reshape([-1 if k == axis else 1 for k in range(3)]).astype(np.float32)
        values = values.take(low, axis) * (1 - share) + values.take(low + 1, axis) * share
    return values


def _save(array: Array, spacing: Array, path: Path) -> None:
    z, y, x = spacing
    save_nifti(array.transpose(), np.diag([-x, -y, z, 1.0]), path)
