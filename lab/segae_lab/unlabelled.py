"""Real scans without labels -> what can be outlined in them without a network: lungs, and regions that stand out.

A region is nameless: a compact piece of even tissue whose smoothed HU differ from what lies around most of its border
(a kidney, a vessel with contrast agent, a muscle in fat, a bone). The judge is given a neutral code for it, and learns
from it what borders look like in real scans. Better few good regions than many doubtful ones.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from segae import structures, volume
from segae.train import data
from segae.train.data import Case, LabelledScan

log = logging.getLogger("segae.train")

Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]

# Labels of regions: above the ids of structures.csv, below 256.
_FIRST_REGION, _MOST_REGIONS = 170, 80
_LEAST_SPACING_MM, _MOST_VOXELS = 1.4, 8_000_000
_AIR_HU, _BODY_HU = -500.0, -300.0
_LUNG_ML = (400.0, 4500.0)


@dataclass(frozen=True)
class RegionRules:
    """What a region must be.

    Attributes
    ----------
    half_band_hu : (float, float)
        Its smoothed HU lie within such a half-width, drawn anew for every seed, of the seed's.
    neck_mm : float
        It is taken apart where it is thinner than twice this.
    volume_ml : (float, float)
    contrast_hu, share : float
        At least this share of the voxels just outside differs by at least this much from its mean.
    """

    half_band_hu: tuple[float, float] = (20.0, 45.0)
    neck_mm: float = 3.0
    volume_ml: tuple[float, float] = (3.0, 900.0)
    contrast_hu: float = 35.0
    share: float = 0.75


def unlabelled_scans(folder: Path, cache: Path) -> list[LabelledScan]:
    """Outline every case of ``use=train-unlabelled``; results are kept in the folder `cache`, one npz a case.

    Cases in which nothing stands out are left out.
    """
    cache.mkdir(parents=True, exist_ok=True)
    cases = data.cases(folder, "train-unlabelled")
    scans = [_outlined(case, cache / f"{case.name}_regions.npz") for case in cases]
    return [scan for scan in scans if scan.parts]


def _outlined(case: Case, kept: Path) -> LabelledScan:
    if not kept.exists():
        image = volume.load(case.image, "image")
        hu = image.array.astype(np.float32) * image.slope + image.intercept
        scan, spacing_mm = _coarser(hu, image.spacing_mm)
        labels = outline(scan, spacing_mm, np.random.default_rng([*case.name.encode()]))
        log.info("%s: outlined %d pieces", case.name, len(np.unique(labels)) - 1)
        part = kept.with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(file, image=scan.astype(np.int16), labels=labels, spacing_mm=np.array(spacing_mm))
        part.replace(kept)
    with np.load(kept, allow_pickle=False) as arrays:
        z, y, x = arrays["spacing_mm"].tolist()
        return LabelledScan(case.name, arrays["image"], arrays["labels"], parts_of(arrays["labels"]), (z, y, x))


def parts_of(labels: Labels) -> dict[str, tuple[int, ...]]:
    """Names of what `outline` found -> label values."""
    names = {structures.get(name).id: name for name in ("lung_left", "lung_right")}
    present = [int(value) for value in np.unique(labels) if value]
    return {names.get(value, f"region_{value}"): (value,) for value in present}


def _coarser(hu: Float32, spacing_mm: tuple[float, float, float]) -> tuple[Float32, tuple[float, float, float]]:
    """A scan with voxels no finer than needed."""
    old = np.array(spacing_mm)
    new = np.maximum(old, _LEAST_SPACING_MM)
    new *= max(1.0, hu.size * float(np.prod(old / new)) / _MOST_VOXELS) ** (1 / 3)
    if (new / old).max() < 1.05:
        return hu, spacing_mm
    blurred = ndimage.gaussian_filter(hu, 0.4 * np.sqrt(np.maximum((new / old) ** 2 - 1, 0)), truncate=2.5)
    small: Float32 = ndimage.zoom(blurred, old / new, order=1, grid_mode=True, mode="nearest")
    z, y, x = (old * np.array(hu.shape) / np.array(small.shape)).tolist()
    return small, (z, y, x)


def outline(
    hu: Float32,
    spacing_mm: tuple[float, float, float],
    rng: np.random.Generator,
    rules: RegionRules | None = None,
    seeds: int = 220,
) -> Labels:
    """Find lungs and regions.

    Parameters
    ----------
    hu : float32 [z, y, x]
        LPS.
    spacing_mm : (float, float, float)
        Along z, y, x.
    rng : Generator
        Draws the seeds of regions.
    rules : RegionRules, optional
    seeds : int
        How many places are tried.

    Returns
    -------
    uint8 [z, y, x]
        Ids of structures.csv for lungs, values from 170 for regions, 0 elsewhere.
    """
    rules = rules or RegionRules()
    labels = np.zeros(hu.shape, np.uint8)
    body = _body(hu)
    for name, lung in _lungs(hu, body, spacing_mm).items():
        labels[lung] = structures.get(name).id
    smooth = ndimage.gaussian_filter(hu, [1.5 / s for s in spacing_mm], truncate=2.5)
    inside = ndimage.binary_erosion(body, iterations=2) & (smooth > -60) & (labels == 0)
    candidates = np.flatnonzero(inside)
    value = _FIRST_REGION
    for at in rng.choice(candidates, min(seeds, len(candidates)), replace=False):
        seed = np.unravel_index(at, hu.shape)
        if value >= _FIRST_REGION + _MOST_REGIONS or labels[seed]:
            continue
        found = _region(smooth, labels, seed, rng.uniform(*rules.half_band_hu), rules, spacing_mm)
        if found is not None:
            box, region = found
            labels[box][region] = value
            value += 1
    return labels


def _body(hu: Float32) -> Bool:
    """Largest piece that is no air, its holes filled slice by slice."""
    pieces, count = ndimage.label(ndimage.binary_opening(hu > _BODY_HU, iterations=2))
    if not count:
        return np.zeros(hu.shape, bool)
    largest = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    return np.stack([ndimage.binary_fill_holes(plane) for plane in largest])


def _lungs(hu: Float32, body: Bool, spacing_mm: tuple[float, float, float]) -> dict[str, Bool]:
    """Both lungs, or none: two large pieces of air inside the body, one on either side, whole within the scan."""
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    air = ndimage.binary_opening(body & (hu < _AIR_HU), iterations=2)
    pieces, _ = ndimage.label(air)
    sizes = np.bincount(pieces.ravel())[1:] * voxel_ml
    large = [i + 1 for i in np.flatnonzero((sizes > _LUNG_ML[0]) & (sizes < _LUNG_ML[1]))]
    if len(large) != 2:
        return {}
    middle = ndimage.center_of_mass(body)[2]
    first, second = sorted(large, key=lambda piece: ndimage.center_of_mass(pieces == piece)[2])
    lungs = {}
    for name, piece, side in (("lung_right", first, -1), ("lung_left", second, 1)):
        mask = pieces == piece
        if (ndimage.center_of_mass(mask)[2] - middle) * side <= 0 or mask[0].any() or mask[-1].any():
            return {}
        # Vessels within a lung belong to it.
        lungs[name] = np.asarray(ndimage.binary_closing(np.pad(mask, 4), iterations=3)[4:-4, 4:-4, 4:-4])
    return lungs


def _region(
    smooth: Float32,
    taken: Labels,
    seed: tuple[np.intp, ...],
    half_band_hu: float,
    rules: RegionRules,
    spacing_mm: tuple[float, float, float],
) -> tuple[tuple[slice, ...], Bool] | None:
    """Grow from a seed within a band of HU, cut off what hangs on by a neck, and check; (box, mask) or None."""
    reach = [int(90 / s) for s in spacing_mm]
    box = tuple(slice(max(0, int(c) - r), int(c) + r + 1) for c, r in zip(seed, reach, strict=True))
    here = tuple(int(c) - b.start for c, b in zip(seed, box, strict=True))
    part, level = smooth[box], float(smooth[seed])
    band = (np.abs(part - level) < half_band_hu) & (taken[box] == 0)
    depth = ndimage.distance_transform_edt(band, sampling=spacing_mm)
    core, _ = ndimage.label(depth > rules.neck_mm)
    if not core[here]:
        return None
    own = core == core[here]
    region = band & (ndimage.distance_transform_edt(~own, sampling=spacing_mm) <= rules.neck_mm + 0.5)
    voxels = np.count_nonzero(region)
    ml = voxels * float(np.prod(spacing_mm)) / 1000
    cut_off = any(np.moveaxis(region, axis, 0)[[0, -1]].any() for axis in range(3))
    if cut_off or not rules.volume_ml[0] < ml < rules.volume_ml[1]:
        return None
    region = ndimage.binary_fill_holes(region)
    mean = float(part[region].mean())
    steps = max(1, round(3.0 / min(spacing_mm)))
    rim = ndimage.binary_dilation(region, iterations=steps) & ~ndimage.binary_dilation(region, iterations=steps - 1)
    if not rim.any() or np.mean(np.abs(part[rim] - mean) > rules.contrast_hu) < rules.share:
        return None
    return box, np.asarray(region)
