"""Synthetic CT scans with their labelmaps, drawn from the anatomical atlas by a seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segae.errors import ParameterError
from segae_lab.synthetic import body, paint, physics
from segae_lab.synthetic.anatomy import MATERIALS, Atlas
from segae_lab.synthetic.lesions import add_lesions
from segae_lab.synthetic.sampling import sample
from segae_lab.synthetic.tissues import draw_look

#: Materials that belong to a structure once they are painted; the others become 0.
_BELONGS = {"ventricle": "brain", "teeth_upper": "skull", "teeth_lower": "mandible"}
_SKIN_MM = 2.0
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class SyntheticScan:
    """A generated scan.

    Attributes
    ----------
    ct
        int16 [z, y, x] HU, LPS.
    labels
        uint8 ids of structures.csv; unions are listed in `segae_lab.synthetic.anatomy.UNIONS`.
    spacing_mm
        (z, y, x).
    meta
        What was drawn: region, coarse, phase, sex, fat, ..., as plain values.
    """

    ct: NDArray[np.int16]
    labels: NDArray[np.uint8]
    spacing_mm: Triple
    meta: dict[str, Any]


def generate(
    seed: int,
    atlas: Atlas,
    *,
    region: body.Region | None = None,
    coarse: bool | None = None,
    max_voxels: int = 14_000_000,
) -> SyntheticScan:
    """Draw one scan.

    Parameters
    ----------
    seed
        Everything follows from it.
    atlas
        From `segae_lab.synthetic.anatomy.load_atlas`.
    region
        Part of the body; drawn by default.
    coarse
        Head-neck scans of about 4 x 4 x 3 mm with air outside the treated region, as radiotherapy data sets hold them;
        by default one scan of six.
    max_voxels
        Bound on the samples computed, hence on time and memory; at least 100 000.

    Raises
    ------
    ParameterError
        Unknown region, a coarse scan of another region than the head and neck, too few voxels.
    """
    if region is not None and region not in body.REGIONS:
        raise ParameterError(f"region: got {region!r}; expected one of {', '.join(body.REGIONS)}")
    if coarse and region not in (None, "head_neck"):
        raise ParameterError(f"coarse: got region {region!r}; coarse scans are of 'head_neck'")
    if max_voxels < 100_000:
        raise ParameterError(f"max_voxels: got {max_voxels}; expected 100000 or more")
    rng = np.random.default_rng(seed)
    if coarse is None:
        coarse = region in (None, "head_neck") and bool(rng.random() < (1 / 6 if region is None else 0.4))
    if region is None:
        region = "head_neck" if coarse else rng.choice(list(body.REGIONS), p=[0.22, 0.26, 0.26, 0.16, 0.1])
    assert region is not None
    plan = body.draw_plan(rng, atlas, region, coarse=coarse, max_voxels=max_voxels)
    person = body.draw_person(rng, region)
    lattice, scale = body.warp_field(rng, atlas, plan)
    local = body.crop_atlas(atlas, lattice)
    body.personalise(rng, local, person)
    shape = (plan.shape[0] * plan.subslices, plan.shape[1], plan.shape[2])
    spacing = (plan.spacing_mm[0] / plan.subslices, plan.spacing_mm[1], plan.spacing_mm[2])
    labels, maps = sample(local, lattice, shape)
    inside = _grow_fat(rng, labels, maps[1], spacing, plan, person, atlas.names)
    look = draw_look(rng, atlas.names)
    canvas = paint.paint(rng, labels, maps, atlas.names, spacing, look)
    add_lesions(canvas)
    hu = canvas.hu
    if not coarse or rng.random() < 0.3:
        physics.add_table(rng, hu, inside, spacing)
    _fill_teeth(rng, hu, labels, atlas.names, spacing)
    hu = physics.scan(rng, hu, plan.spacing_mm, plan.subslices)
    labels = _final_labels(labels[plan.subslices // 2 :: plan.subslices], atlas.names)
    inside = inside[plan.subslices // 2 :: plan.subslices]
    if coarse:
        hu = _treated_only(rng, hu, inside, plan.spacing_mm)
        labels[hu <= -1024] = 0
    else:
        hu, outside = physics.crop_view(rng, hu)
        labels[:, outside] = 0
    meta = {"seed": seed, "phase": look.phase, "scale": [float(s) for s in scale], **asdict(plan), **asdict(person)}
    return SyntheticScan(np.round(hu).astype(np.int16), labels, plan.spacing_mm, meta)


def _grow_fat(
    rng: np.random.Generator,
    labels: NDArray[np.uint8],
    skin: NDArray[np.float32],
    spacing: Triple,
    plan: body.ScanPlan,
    person: body.Person,
    names: dict[str, int],
) -> NDArray[np.bool_]:
    """Add fat under the skin, most at the belly and hips, least at the head; paint the skin. Returns the body."""
    z = plan.origin_mm[0] + np.arange(labels.shape[0]) * spacing[0]
    share = np.interp(z, [900, 1080, 1200, 1350, 1470, 1540, 1800], [1.0, 1.0, 0.8, 0.5, 0.3, 0.15, 0.05])
    uneven = 1 + 0.35 * paint.noise(rng, labels.shape, spacing, 120)
    layer = (person.fat_mm * share[:, None, None] * uneven).astype(np.float32)
    surface = skin - np.clip(layer, 0, 55)
    _flatten_back(rng, surface, spacing)
    soft = (labels == names["fat"]) | (labels == 0)
    labels[soft & (surface >= 0) & (skin < 0)] = 0
    inside = (surface < 0) | (labels > 0)
    labels[inside & (labels == 0)] = names["fat"]
    labels[
        inside
        & (np.abs(surface + _SKIN_MM / 2) < _SKIN_MM / 2)
        & ((labels == names["fat"]) | (labels == names["muscle"]))
    ] = names["skin"]
    return np.asarray(inside)


def _flatten_back(rng: np.random.Generator, surface: NDArray[np.float32], spacing: Triple) -> None:
    """Press the fat of the back flat, as on a table: a plane in each slice, behind all muscle and bone."""
    half, reach = surface.shape[2] // 2, round(30 / spacing[2])
    middle = np.any(surface[:, :, half - reach : half + reach] < -6, axis=2)
    back = np.where(np.any(middle, axis=1), middle.shape[1] - middle[:, ::-1].argmax(1), middle.shape[1]).astype(
        np.float32
    )
    plane = ndimage.gaussian_filter1d(back, 25 / spacing[0], mode="nearest") * spacing[1] + rng.uniform(8, 30)
    y = np.arange(surface.shape[1], dtype=np.float32) * spacing[1]
    np.maximum(surface, (y[None] - plane[:, None])[:, :, None], out=surface)


def _fill_teeth(rng: np.random.Generator, hu: NDArray[np.float32], labels: NDArray[np.uint8], names: dict[str, int],
                spacing: Triple) -> None:  # fmt: skip
    """Fillings in some mouths, a hip implant now and then."""
    teeth = (labels == names.get("teeth_upper", 255)) | (labels == names.get("teeth_lower", 255))
    if teeth.any() and rng.random() < 0.45:
        parts, n = ndimage.label(teeth)
        physics.add_metal(
            rng, hu, np.isin(parts, rng.choice(n, min(n, 4), replace=False) + 1) & (rng.random(hu.shape) < 0.5), spacing
        )
    hip = labels == names.get("femur_left", 255)
    if hip.any() and rng.random() < 0.05:
        physics.add_metal(rng, hu, ndimage.binary_erosion(hip, iterations=4), spacing)


def _treated_only(
    rng: np.random.Generator, hu: NDArray[np.float32], inside: NDArray[np.bool_], spacing: Triple
) -> NDArray[np.float32]:
    """Air outside the treated region: a smooth margin of the body between two heights, sometimes without one side."""
    grow = int(rng.choice([0, 0, 1]))
    keep = ndimage.binary_dilation(inside, iterations=grow) if grow else inside.copy()
    cut = int(rng.integers(0, max(1, hu.shape[0] // 3)))
    keep[:cut] = False
    if rng.random() < 0.5:
        keep[hu.shape[0] - int(rng.integers(0, max(1, hu.shape[0] // 4))) :] = False
    if rng.random() < 0.4:  # the dose was computed within so many mm of the midline only
        x = np.abs(np.arange(hu.shape[2]) - hu.shape[2] / 2) * spacing[2]
        keep &= (x < rng.uniform(80, 160))[None, None, :]
    return np.where(keep, np.clip(hu, -1023, 3071), -1024).astype(np.float32)


def _final_labels(labels: NDArray[np.uint8], names: dict[str, int]) -> NDArray[np.uint8]:
    table = np.arange(256, dtype=np.uint8)
    for name, at in MATERIALS.items():
        table[at] = names.get(_BELONGS.get(name, ""), 0)
    return table[labels]
