"""A sheet of generated slices beside real ones: the test of a synthesis is to look at it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segae import volume
from segae_lab.synthetic.anatomy import Atlas
from segae_lab.synthetic.ct import generate

_TILE = 232
_WINDOWS = ((-160.0, 240.0), (-1000.0, 500.0))
_PER_CASE = 3


def _tile(hu: NDArray[np.float32], spacing_mm: tuple[float, float, float], at: int) -> NDArray[np.uint8]:
    """One slice in two windows, one above the other, both in the same size whatever the voxels."""
    views = []
    for low, high in _WINDOWS:
        grey = (np.clip((hu[at] - low) / (high - low), 0, 1) * 255).astype(np.uint8)
        height = round(_TILE * hu.shape[1] * spacing_mm[1] / (hu.shape[2] * spacing_mm[2]))
        small = np.asarray(Image.fromarray(grey).resize((_TILE, height), Image.Resampling.BILINEAR))
        square = np.zeros((_TILE, _TILE), np.uint8)
        square[: min(height, _TILE)] = small[:_TILE]
        views.append(square)
    return np.vstack(views)


def _spread(n: int) -> NDArray[np.int64]:
    """Heights of a case's slices."""
    return np.linspace(0.12 * n, 0.88 * n, _PER_CASE).astype(np.int64)


def _real(data: Path, count: int) -> list[NDArray[np.uint8]]:
    """Slices of training cases, coarse and fine in turn. Evaluation cases are never shown."""
    with (data / "data" / "cases.csv").open(newline="") as lines:
        cases = [row["case"] for row in csv.DictReader(lines) if row["use"].startswith("train")]
    coarse = [c for c in cases if c.startswith("kbp")]
    fine = [c for c in cases if not c.startswith("kbp")]
    tiles = []
    for i in range(count):
        case = coarse[i // 3] if i % 3 == 2 else fine[(i - i // 3) % len(fine)]
        real = volume.load(data / "data" / f"{case}_ct.nii.gz", "image")
        hu = real.array.astype(np.float32) * real.slope + real.intercept
        tiles.append(np.hstack([_tile(hu, real.spacing_mm, int(at)) for at in _spread(hu.shape[0])]))
    return tiles


def write_sheet(path: Path, atlas: Atlas, data: Path, *, seed: int = 1, rows: int = 6) -> None:
    """Write a PNG: generated scans on the left, real ones on the right, three slices each.

    Parameters
    ----------
    data
        Folder that holds data/cases.csv and the scans.
    seed
        The rows' scans have the seeds `seed`, `seed` + 1, ...
    """
    made = []
    for row in range(rows):
        coarse = row % 3 == 2  # as the real ones beside
        scan = generate(seed + row, atlas, region="head_neck" if coarse else None, coarse=coarse, max_voxels=8_000_000)
        hu = scan.ct.astype(np.float32)
        made.append(np.hstack([_tile(hu, scan.spacing_mm, int(at)) for at in _spread(len(hu))]))
    bar = np.full((2 * _TILE, 8), 255, np.uint8)
    sheet = np.vstack([np.hstack([m, bar, r]) for m, r in zip(made, _real(data, rows), strict=True)])
    Image.fromarray(sheet).save(path)
