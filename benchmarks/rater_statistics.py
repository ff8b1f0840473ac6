"""How two experts differ who contoured the same scans, and how `rater` differs from a mask.

Reads raters/<scan>_rater{1,2}.nii.gz in the folder SEGAE_DATA, writes benchmarks/results/raters.md.
Usage: python benchmarks/rater_statistics.py [OUT.md [SCANS]]
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

import segae
from segae import _core

LAGS_MM = (2.5, 5.0, 10.0, 20.0)
PAIRS = 200
CAPTION = [
    "Measured between two experts / made by `rater` at scale 1: medians over scans (bias: root mean square), in mm.",
    "bias, spread, p95: of the signed displacement of the surface. plane: its correlation at that distance within a",
    "slice. slices: that many slices above. ends: first and last slice. Structures by their id in the labelmaps.",
    "",
]
OUT = Path(__file__).parent / "results" / "raters.md"


def signed_distance(mask, spacing, at):
    """To the surface, half a voxel beside the centre of the nearest voxel on the other side; negative inside."""
    box = _core.Box((0, 0, 0), mask.shape, spacing)
    squared = _core.signed_squared_distance(np.ascontiguousarray(mask, np.uint8), box, _core.Sides.BOTH, 2)[at]
    return np.sign(squared) * (np.sqrt(np.abs(squared)) - min(spacing) / 2)


def surface(mask):
    """Voxels inside with a face neighbour outside; the end of the array is no surface."""
    wide = np.pad(mask, 1, mode="edge")
    inner = mask.copy()
    for axis in range(3):
        for start in (0, 2):
            cut = [slice(1, -1)] * 3
            cut[axis] = slice(start, start + mask.shape[axis])
            inner &= wide[tuple(cut)]
    return mask & ~inner


def statistics(first, second, spacing, rng):
    """Of `second` against `first`: displacement of the surface, its correlation, and the ends along z."""
    box = ndimage.find_objects((first | second).astype(int))[0]
    pad = tuple(slice(max(s.start - 4, 0), s.stop + 4) for s in box)
    first, second = first[pad], second[pad]
    here = surface(first)
    # Positive where the second mask is wider. The same distance of the first cancels the grid's own error.
    moved = signed_distance(first, spacing, here) - signed_distance(second, spacing, here)
    places = np.argwhere(here) * spacing
    bias, spread = moved.mean(), moved.std()
    found = {
        "dice": 2 * (first & second).sum() / (first.sum() + second.sum()),
        "bias": bias,
        "spread": spread,
        "p95": np.quantile(np.abs(moved), 0.95),
        "depth": -signed_distance(first, spacing, first).min(),
    }
    start = rng.integers(len(places), size=PAIRS)
    by_slice = defaultdict(list)
    for index, place in enumerate(places):
        by_slice[round(place[0] / spacing[0])].append(index)
    for lag in LAGS_MM:  # within the slice
        found[f"plane {lag:g}"] = _correlation(moved - bias, places, start, by_slice, spacing, lag, 0, rng)
    for slices in (1, 2, 4):  # from slice to slice, straight above or below
        found[f"slices {slices}"] = _correlation(moved - bias, places, start, by_slice, spacing, 0.0, slices, rng)
    ends = [np.flatnonzero(m.any(axis=(1, 2)))[[0, -1]] for m in (first, second)]
    found["ends"] = np.abs(ends[0] - ends[1]).mean() * spacing[0]
    return found


def _correlation(moved, places, start, by_slice, spacing, lag, slices, rng):
    """Of the displacement at two places of the surface `slices` apart along z and about `lag` mm in the plane."""
    products = []
    for index in start:
        other = by_slice.get(round(places[index][0] / spacing[0]) + slices)
        if not other:
            continue
        away = np.linalg.norm(places[other][:, 1:] - places[index][1:], axis=1)
        near = np.flatnonzero(np.abs(away - lag) < 1.3 * max(spacing[1:])) if lag else [int(away.argmin())]
        if len(near) == 0 or (not lag and away.min() > 3.0):
            continue
        products.append(moved[index] * moved[other[rng.choice(near)]])
    variance = moved.var()
    return np.mean(products) / variance if len(products) > 50 and variance > 0 else np.nan


def pairs(folder, scans):
    """(structure label, first mask, second mask, spacing) of every structure that both experts drew."""
    for path in sorted(folder.glob("*_rater1.nii.gz"))[:scans]:
        images = [nib.as_closest_canonical(nib.load(str(path).replace("rater1", f"rater{i}"))) for i in (1, 2)]
        labels = [np.asarray(image.dataobj).transpose() for image in images]
        spacing = np.array(images[0].header.get_zooms()[:3][::-1], float)
        for label in np.unique(labels[0]):
            masks = [volume == label for volume in labels]
            if label and all(m.sum() > 200 for m in masks):
                yield path.name.split("_")[0], int(label), *masks, spacing


def main(out: Path, scans: int) -> None:
    folder = Path(os.environ["SEGAE_DATA"]) / "raters"
    rng = np.random.default_rng(0)
    people, made = defaultdict(list), defaultdict(list)
    for i, (_, label, first, second, spacing) in enumerate(pairs(folder, scans)):
        people[label].append(statistics(first, second, spacing, rng))
        synthetic = segae.perturb(first, "rater", severity=1 / 3, spacing=spacing, seed=i).astype(bool)
        made[label].append(statistics(first, synthetic, spacing, rng))
    lines = [*CAPTION, *table(people, made)]
    out.parent.mkdir(exist_ok=True)
    out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def table(people, made):
    """One row a structure: measured / `rater`."""
    keys = list(next(iter(people.values()))[0])
    keys = [k for k in keys if k != "depth"]
    lines = [
        "| structure | n | depth mm | " + " | ".join(keys) + " |",
        "|---|--:|--:|" + "--:|" * len(keys),
    ]
    for label in sorted(people):
        cells = [f"{_median(people[label], k):.2f} / {_median(made[label], k):.2f}" for k in keys]
        cells[1] = f"{_rms(people[label], 'bias'):.2f} / {_rms(made[label], 'bias'):.2f}"
        lines.append(
            f"| {label} | {len(people[label])} | {_median(people[label], 'depth'):.1f} | " + " | ".join(cells) + " |"
        )
    return lines


def _median(rows, key):
    values = [row[key] for row in rows if np.isfinite(row[key])]
    return float(np.median(values)) if values else np.nan


def _rms(rows, key):
    return float(np.sqrt(np.mean([row[key] ** 2 for row in rows])))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else OUT, int(sys.argv[2]) if len(sys.argv) > 2 else 20)
