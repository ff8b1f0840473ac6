"""How two experts differ who contoured the same scans, and how the kind `rater` differs from a mask.

Reads raters/<scan>_rater{1,2}.nii.gz in the folder SEGAE_DATA. benchmarks/rater_fit.py fits with it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

import segae
from segae import _core
from segae.perturbation.kinds import KINDS
from segae.perturbation.opened import open_scene
from segae.perturbation.rater import Experts, drawn_like, experts_on

LAGS_MM = (2.5, 5.0, 10.0, 20.0)
LAGS_SLICES = (1, 2, 4)
_STARTS = 200  # places of a surface that are correlated with others
_LEAST_PAIRS = 50
_MARGIN = 8  # voxels around both masks


@dataclass(frozen=True)
class Pair:
    """What two experts made of one structure, cut out of the scan."""

    scan: str
    structure: str
    first: np.ndarray
    second: np.ndarray
    spacing: np.ndarray
    at_border: tuple[bool, bool]  # the scan's first and last slice is one of the structure's: no end was chosen


def read_pairs(folder: Path) -> list[Pair]:
    """Every structure that both experts drew, scan by scan; volumes in LPS [z, y, x]."""
    names = {segae.structures.get(name).id: name for name in segae.structures.names()}
    found = []
    for path in sorted(folder.glob("*_rater1.nii.gz")):
        images = [nib.as_closest_canonical(nib.load(str(path).replace("rater1", f"rater{i}"))) for i in (1, 2)]
        volumes = [np.asarray(image.dataobj).transpose()[:, ::-1, ::-1] for image in images]
        spacing = np.array(images[0].header.get_zooms()[:3][::-1], float)
        boxes = [ndimage.find_objects(volume) for volume in volumes]
        for label in np.unique(volumes[0]):
            if label == 0 or any(np.count_nonzero(volume == label) < 200 for volume in volumes):
                continue
            both = [one[int(label) - 1] for one in boxes]
            low = [min(a.start, b.start) for a, b in zip(*both, strict=True)]
            high = [max(a.stop, b.stop) for a, b in zip(*both, strict=True)]
            cut = tuple(slice(max(a - _MARGIN, 0), b + _MARGIN) for a, b in zip(low, high, strict=True))
            first, second = (np.ascontiguousarray(volume[cut] == label) for volume in volumes)
            border = (low[0] == 0, high[0] == volumes[0].shape[0])
            found.append(Pair(path.name.split("_")[0], names[int(label)], first, second, spacing, border))
    return found


def made_by_rater(pair: Pair, seed: int, experts: Experts | None = None) -> np.ndarray:
    """The first expert's mask, damaged by `rater` at scale 1: by the table, or by other numbers in its place."""
    scene = open_scene(pair.first, spacing=pair.spacing).scene
    scene.structure = pair.structure
    rng = np.random.default_rng(seed)
    params = drawn_like(experts or experts_on(scene, rng), scene, rng)
    patch = KINDS["rater"].build(scene, params, 1.0).apply(1.0).patch
    result = np.zeros(pair.first.shape, bool)
    place = tuple(slice(o, o + s) for o, s in zip(patch.box.origin, patch.box.shape, strict=True))
    result[place] = np.asarray(patch.voxels)
    return result


def signed_distance(mask: np.ndarray, spacing: np.ndarray, at: np.ndarray) -> np.ndarray:
    """To the surface, half a voxel beside the centre of the nearest voxel on the other side; negative inside."""
    box = _core.Box((0, 0, 0), mask.shape, spacing)
    squared = _core.signed_squared_distance(np.ascontiguousarray(mask, np.uint8), box, _core.Sides.BOTH, 2)[at]
    return np.sign(squared) * (np.sqrt(np.abs(squared)) - min(spacing) / 2)


def surface(mask: np.ndarray) -> np.ndarray:
    """Voxels inside with a face neighbour outside; the end of the array is no surface."""
    wide = np.pad(mask, 1, mode="edge")
    inner = mask.copy()
    for axis in range(3):
        for start in (0, 2):
            cut = [slice(1, -1)] * 3
            cut[axis] = slice(start, start + mask.shape[axis])
            inner &= wide[tuple(cut)]
    return mask & ~inner


def statistics(pair: Pair, second: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """Compare `second` with the first expert: displacement of the surface, its correlation, the ends along z."""
    first, spacing = pair.first, pair.spacing
    here = surface(first)
    # Positive where the second mask is wider. The same distance of the first cancels the grid's own error.
    moved = signed_distance(first, spacing, here) - signed_distance(second, spacing, here)
    places = np.argwhere(here) * spacing
    bias = moved.mean()
    found = {
        "radius": float((3 * first.sum() * spacing.prod() / (4 * np.pi)) ** (1 / 3)),
        "dice": 2 * np.count_nonzero(first & second) / (first.sum() + second.sum()),
        "bias": bias,
        "spread": moved.std(),
        "p95": np.quantile(np.abs(moved), 0.95),
    }
    start = rng.integers(len(places), size=_STARTS)
    by_slice = defaultdict(list)
    for index, place in enumerate(places):
        by_slice[round(place[0] / spacing[0])].append(index)
    by_slice = {z: np.array(indices) for z, indices in by_slice.items()}
    for lag in LAGS_MM:  # within the slice
        found[f"plane {lag:g}"] = _correlation(moved - bias, places, start, by_slice, spacing, lag, 0, rng)
    for slices in LAGS_SLICES:  # from slice to slice, straight above or below
        found[f"slices {slices}"] = _correlation(moved - bias, places, start, by_slice, spacing, 0.0, slices, rng)
    ends = [np.flatnonzero(m.any(axis=(1, 2)))[[0, -1]] for m in (first, second)]
    for name, one, other, border in zip(("first", "last"), *ends, pair.at_border, strict=True):
        found[name] = np.nan if border else float(abs(one - other))
    return found


def _correlation(moved, places, start, by_slice, spacing, lag, slices, rng):
    """Correlation of the displacement at two places `slices` apart along z and about `lag` mm in the plane."""
    products = []
    for index in start:
        other = by_slice.get(round(places[index][0] / spacing[0]) + slices)
        if other is None:
            continue
        across = places[other][:, 1:] - places[index][1:]
        away = np.sqrt((across * across).sum(axis=1))
        near = np.flatnonzero(np.abs(away - lag) < 1.3 * max(spacing[1:])) if lag else [int(away.argmin())]
        if len(near) == 0 or (not lag and away.min() > 3.0):
            continue
        products.append(moved[index] * moved[other[rng.choice(near)]])
    variance = moved.var()
    return np.mean(products) / variance if len(products) > _LEAST_PAIRS and variance > 0 else np.nan


def end_shares(rows: list[dict[str, float]]) -> np.ndarray:
    """Share of the ends that are 0, 1, 2, and 3 or more slices apart; nan without any that was chosen."""
    slices = np.array([row[end] for row in rows for end in ("first", "last")])
    slices = slices[np.isfinite(slices)]
    return np.array([np.mean(slices == 0), np.mean(slices == 1), np.mean(slices == 2), np.mean(slices > 2)])
