"""A random body: which scan is taken of whom, and where each voxel of that scan lies in the atlas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from segae_lab.synthetic.anatomy import Atlas

Region = Literal["head_neck", "chest", "abdomen", "pelvis", "trunk"]

#: Where the middle of a scan may lie and how far it reaches, in atlas mm from feet to head; width of the field of view.
REGIONS: dict[Region, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "head_neck": ((1540, 1690), (180, 330), (230, 420)),
    "chest": ((1310, 1400), (220, 330), (320, 460)),
    "abdomen": ((1110, 1230), (190, 320), (320, 460)),
    "pelvis": ((870, 980), (180, 290), (340, 460)),
    "trunk": ((1000, 1270), (380, 620), (350, 470)),
}
_CONTROL_MM = 12.0
#: Organs that differ from person to person on their own, with how much (log of the scale).
_MOBILE = {
    "liver": 0.10, "spleen": 0.20, "stomach": 0.18, "gallbladder": 0.25, "pancreas": 0.10, "kidney_left": 0.12,
    "kidney_right": 0.12, "urinary_bladder": 0.25, "prostate": 0.18, "rectum": 0.15, "heart_myocardium": 0.10,
    "thyroid_left": 0.2, "thyroid_right": 0.2, "parotid_left": 0.14, "parotid_right": 0.14, "aorta": 0.08,
    "esophagus": 0.12, "trachea": 0.1, "colon": 0.1, "duodenum": 0.12, "eyeball_left": 0.05, "eyeball_right": 0.05,
    "thymus": 0.2, "adrenal_gland_left": 0.15, "adrenal_gland_right": 0.15, "larynx": 0.12, "mandible": 0.05,
    "spinal_canal": 0.06, "gluteus_maximus_left": 0.08, "gluteus_maximus_right": 0.08, "autochthon_left": 0.08,
    "autochthon_right": 0.08, "inferior_vena_cava": 0.15, "superior_vena_cava": 0.15, "brainstem": 0.06,
}  # fmt: skip
#: Organs that a surgeon may have taken, and what fills their place.
_RESECTABLE = {
    "gallbladder": "abdominal_tissue", "spleen": "abdominal_tissue", "kidney_left": "abdominal_tissue",
    "kidney_right": "abdominal_tissue", "prostate": "fat", "thyroid_left": "fat", "thyroid_right": "fat",
    "stomach": "abdominal_tissue", "larynx": "soft", "parotid_left": "fat", "parotid_right": "fat",
    "thymus": "mediastinal_tissue", "gonads": "fat", "adrenal_gland_left": "abdominal_tissue",
}  # fmt: skip


@dataclass(frozen=True)
class ScanPlan:
    """The grid of a scan: body millimetres (z, y, x) of the first voxel, voxel size, extent.

    A slice is the mean of `subslices` samples along z.
    """

    region: Region
    coarse: bool
    origin_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    subslices: int


def draw_plan(rng: np.random.Generator, atlas: Atlas, region: Region, *, coarse: bool, max_voxels: int) -> ScanPlan:
    """Draw the field of view and the voxels of a scan, coarsened until `max_voxels` samples suffice."""
    centres, lengths, widths = REGIONS[region]
    middle, length, width = rng.uniform(*centres), rng.uniform(*lengths), rng.uniform(*widths)
    if coarse:  # clinical dose grids: 128 x 128 pixels of 2.7 to 4.9 mm
        pixel, thickness = rng.uniform(2.7, 4.9), float(rng.choice([2.0, 2.5, 3.0]))
        subslices, size = 1, min(128, round(330 / pixel))
    else:
        pixel = rng.uniform(0.75, 1.7)
        thickness = float(rng.choice([0.7, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0]))
        subslices, size = (2 if thickness >= 2.5 else 1), min(512, round(width / pixel))
    slices = max(8, round(length / thickness))
    excess = size * size * slices * subslices / max_voxels
    if excess > 1:  # first a shorter scan, then larger pixels
        shorter = min(excess, 1.8)
        slices = max(8, round(slices / shorter))
        size = max(32, int(size / np.sqrt(max(1.0, excess / shorter))))
        pixel = max(pixel, 0.85 * width / size)
    spacing = (thickness, pixel, pixel)
    shape = (slices, int(size * (1.0 if coarse else rng.uniform(0.8, 1.0))), size)
    high = np.array(atlas.origin_mm) + np.array(atlas.labels.shape) * atlas.spacing_mm
    centre = np.array([middle, -95.0 + rng.uniform(-15, 15), rng.uniform(-20, 20)])
    if region == "head_neck":
        centre[1] += 10
    centre[0] = np.clip(centre[0], atlas.origin_mm[0] + slices * thickness / 2, high[0] + 10 - slices * thickness / 2)
    origin = centre - (np.array(shape) - 1) / 2 * np.array(spacing)
    return ScanPlan(region, coarse, (float(origin[0]), float(origin[1]), float(origin[2])), spacing, shape, subslices)


def warp_field(rng: np.random.Generator, atlas: Atlas, plan: ScanPlan) -> tuple[torch.Tensor, NDArray[np.float64]]:
    """Atlas millimetres of a coarse lattice over the scan.

    Returns
    -------
    lattice
        float32 [3 (z, y, x), a, b, c] atlas mm, corners aligned with the scan's first and last samples.
    scale
        The body's size (z, y, x) against the atlas's.
    """
    extent = (np.array(plan.shape) - 1) * np.array(plan.spacing_mm)
    counts = np.maximum(2, np.ceil(extent / _CONTROL_MM).astype(int) + 1)
    axes = [np.linspace(o, o + e, n) for o, e, n in zip(plan.origin_mm, extent, counts, strict=True)]
    here = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float64)
    pivot = np.array([np.mean(axes[0]), -95.0, 0.0])[:, None, None, None]

    wide = rng.normal(0, 0.07)
    scale = np.exp(np.array([rng.normal(0, 0.05), wide + rng.normal(0, 0.05), wide + rng.normal(0, 0.04)]))
    turn = (
        rng.normal(0, np.radians([6.0, 3.0, 3.0])) if plan.region == "head_neck" else rng.normal(0, np.radians(2.0), 3)
    )
    at = np.einsum("ij,jzyx->izyx", _rotation(turn), here - pivot) / scale[:, None, None, None] + pivot
    for axis, size in ((1, 7.0), (2, 6.0)):  # bending of the spine
        at[axis] += rng.normal(0, size) * np.sin(2 * np.pi * (at[0] / rng.uniform(300, 700) + rng.random()))
    at += _smooth_noise(rng, at.shape, 45 / _CONTROL_MM) * rng.uniform(1, 7)
    at += _smooth_noise(rng, at.shape, 18 / _CONTROL_MM) * rng.uniform(0.5, 2.5)
    return torch.from_numpy(_move_organs(rng, atlas, at).astype(np.float32)), scale


def _rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.eye(3)
    for (a, b), angle in zip(((1, 2), (0, 2), (0, 1)), angles, strict=True):
        one = np.eye(3)
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        out = out @ one
    return np.asarray(out)


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> NDArray[np.float64]:
    """Smooth vector noise of unit variance."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape), (0, sigma, sigma, sigma), mode="nearest")
    return np.asarray(field / max(field.std(), 1e-6))


def _move_organs(rng: np.random.Generator, atlas: Atlas, at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale and shift organs one by one: each pulls its surroundings along, less and less with distance."""
    step = 4
    found = ndimage.find_objects(atlas.labels[::step, ::step, ::step], max_label=255)
    moved = at.copy()
    for name, spread in _MOBILE.items():
        place = found[atlas.names[name] - 1] if name in atlas.names else None
        if place is None:
            continue
        low = np.array([p.start for p in place]) * step * atlas.spacing_mm + np.array(atlas.origin_mm)
        size = np.array([p.stop - p.start for p in place]) * step * atlas.spacing_mm
        centre, radius = (low + size / 2)[:, None, None, None], (size / 2 + 14)[:, None, None, None]
        away = (((at - centre) / radius) ** 2).sum(0)
        if away.min() > 4:
            continue
        pull = np.exp(-(away**2) / 1.4)
        grow = np.exp(rng.normal(0, spread, 3) * 0.5 + rng.normal(0, spread))[:, None, None, None]
        shift = rng.normal(0, 1, (3, 1, 1, 1)) * np.minimum(7.0, 0.10 * radius)
        moved += pull * ((1 / grow - 1) * (at - centre) - shift)
    return np.asarray(moved)


@dataclass(frozen=True)
class Person:
    """What is drawn once for a body: sex, fat (mm under the skin of the belly), arms in the picture, organs missing."""

    female: bool
    fat_mm: float
    arms: Literal["absent", "down"]
    resected: tuple[str, ...]


def draw_person(rng: np.random.Generator, region: Region) -> Person:
    """Draw a person; nine of ten have all organs."""
    down = 0.85 if region == "head_neck" else 0.2
    resected = tuple(n for n in _RESECTABLE if rng.random() < 0.02)
    if rng.random() < 0.15:
        resected += (str(rng.choice(list(_RESECTABLE))),)
    return Person(
        bool(rng.random() < 0.5), float(rng.gamma(2.0, 7.0)), "down" if rng.random() < down else "absent", resected
    )


def crop_atlas(atlas: Atlas, lattice: torch.Tensor) -> Atlas:
    """A private copy of the part of the atlas that a scan reaches."""
    low, high = lattice.amin((1, 2, 3)).numpy(), lattice.amax((1, 2, 3)).numpy()
    start = np.clip(
        np.floor((low - atlas.origin_mm) / atlas.spacing_mm).astype(int) - 1, 0, np.array(atlas.labels.shape) - 4
    )
    stop = np.clip(np.ceil((high - atlas.origin_mm) / atlas.spacing_mm).astype(int) + 2, start + 4, atlas.labels.shape)
    place = tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    origin = start * atlas.spacing_mm + np.array(atlas.origin_mm)
    labels, depth, skin, vessel = (a[place].copy() for a in (atlas.labels, atlas.depth, atlas.skin, atlas.vessel))
    return Atlas(
        labels, depth, skin, vessel, atlas.arm[place], atlas.names, atlas.spacing_mm, (origin[0], origin[1], origin[2])
    )


def personalise(rng: np.random.Generator, atlas: Atlas, person: Person) -> None:
    """Change a cropped atlas in place: arms, sex, missing organs, cysts."""
    names, labels = atlas.names, atlas.labels
    if person.arms == "absent":
        labels[atlas.arm] = 0
    for name in person.resected:
        if name in names and _RESECTABLE[name] in names:
            labels[labels == names[name]] = names[_RESECTABLE[name]]
    if person.female:
        for name in ("prostate", "gonads"):
            labels[labels == names.get(name, 255)] = names["fat"]
        _breasts(rng, atlas)
        soft = ("fat", "abdominal_tissue", "small_bowel", "muscle", "vein", "artery")
        size = np.exp(rng.normal(0, 0.15))
        _ellipsoid(atlas, "uterus", (912, -88, rng.normal(0, 4)), size * np.array([20, 26, 25]), soft)
        _ellipsoid(atlas, "uterocervix", (884, -82, 0), size * np.array([15, 13, 15]), soft)
        for side in (-1, 1):
            _ellipsoid(atlas, "gonads", (918 + rng.normal(0, 6), -85, side * 38), (9, 9, 13), soft)
    for name in ("left", "right"):
        if rng.random() < 0.2 and (kidney := np.argwhere(labels == names[f"kidney_{name}"])).size:
            centre = kidney[rng.integers(len(kidney))] * atlas.spacing_mm + np.array(atlas.origin_mm)
            _ellipsoid(
                atlas,
                f"kidney_cyst_{name}",
                tuple(centre),
                (rng.uniform(5, 20),) * 3,
                (f"kidney_{name}", "abdominal_tissue"),
            )


def _breasts(rng: np.random.Generator, atlas: Atlas) -> None:
    """Half ellipsoids on the chest; the skin moves outwards with them."""
    size = rng.uniform(0.75, 1.35)
    for side, name in ((1, "breast_left"), (-1, "breast_right")):
        radii = size * np.array([58.0, 50.0, 56.0]) * rng.uniform(0.92, 1.08, 3)
        centre = np.array([1312.0, -190.0, side * 82.0])
        place, away = _around(atlas, centre, radii * 1.4)
        if place is None:
            continue
        outside = (np.sqrt(away) - 1 / 1.4) * 1.4 * radii.mean()
        skin = atlas.skin[place]
        skin[:] = np.minimum(skin, np.clip(128 + 2 * outside, 0, 255).astype(np.uint8))
        part = atlas.labels[place]
        free = (part == 0) | (part == atlas.names["fat"])
        part[free & (outside < 0)] = atlas.names["fat"]
        part[free & (outside < -4)] = atlas.names[name]


def _around(
    atlas: Atlas, centre: NDArray[np.float64], radii: NDArray[np.float64]
) -> tuple[tuple[slice, ...] | None, NDArray[np.float64]]:
    """The box around an ellipsoid and the squared distance from its centre in radii."""
    start = np.floor((centre - radii - atlas.origin_mm) / atlas.spacing_mm).astype(int)
    stop = np.ceil((centre + radii - atlas.origin_mm) / atlas.spacing_mm).astype(int) + 1
    start, stop = np.maximum(start, 0), np.minimum(stop, atlas.labels.shape)
    if (start >= stop).any():
        return None, np.empty(0)
    axes = [((np.arange(a, b) * atlas.spacing_mm + o - c) / r) ** 2
            for a, b, o, c, r in zip(start, stop, atlas.origin_mm, centre, radii, strict=True)]  # fmt: skip
    return tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True)), np.asarray(sum(np.ix_(*axes)))


def _ellipsoid(atlas: Atlas, name: str, centre: tuple[float, ...], radii: object, over: tuple[str, ...]) -> None:
    place, away = _around(atlas, np.array(centre, float), np.asarray(radii, float))
    if place is not None and name in atlas.names:
        part = atlas.labels[place]
        part[(away < 1) & np.isin(part, [atlas.names[o] for o in over if o in atlas.names])] = atlas.names[name]
