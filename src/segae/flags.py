"""Geometric checks beside the score: things that are wrong, or odd, whatever a network says.

Thresholds are deliberately loose: a flag is to be believed. What each was chosen from stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segae import _core
from segae.anatomy.table import load_table
from segae.assessment import Flag, SlicePredictions
from segae.gaps import regular_gaps
from segae.hu_range import why_no_ct
from segae.label_scan import LabelScan
from segae.recipe import ModelCard
from segae.slices import SlicePlan
from segae.structures import Structure
from segae.volume import Volume

Array = npt.NDArray[Any]

# Soft tissue, fat included, against air: halfway between fat (-100 HU) and the lung's border.
_TISSUE_HU = -300.0
# At most about this many voxels are looked at to learn an image's range; fewer where only a score is asked for.
_PROBE_VOXELS, _QUICK_VOXELS = 200_000, 20_000
# Crumbs that annotation tools leave are no fragments.
_FRAGMENT_SHARE = 0.05
_MIDLINE_MARGIN_MM = 10.0
_OUTSIDE_SHARE = 0.2
# Beyond its end a structure is missed when the slice there should hold this share of the mask's last slice, and this
# share of its largest one: near a natural end, areas are small and so are the model's errors about them.
_MISSED_OF_LAST = 0.5
_MISSED_OF_LARGEST = 0.2


@dataclass(frozen=True)
class ImageProbe:
    """A coarse look at the whole image, shared by all masks on it.

    Attributes
    ----------
    not_ct : str
        Why the image is no CT in HU, in a sentence; empty when it may be.
    midline_x : float
        Column of the body's middle, nan where the scan cuts the body's sides.
    """

    not_ct: str
    midline_x: float


def probe_image(image: Volume) -> ImageProbe:
    """Look at a regular subset of the voxels."""
    hu, step = _sample(image, _PROBE_VOXELS)
    tissue = hu > _TISSUE_HU
    columns = np.flatnonzero(tissue.any(axis=(0, 1)))
    at_sides = tissue[..., [0, -1]].any(axis=1).mean(axis=0)  # share of slices with tissue at either side
    whole = columns.size > 0 and at_sides.max() < 0.25
    midline = float(np.median(np.nonzero(tissue)[2]) * step) if whole else np.nan
    return ImageProbe(why_no_ct(hu), midline)


def quick_not_ct(image: Volume) -> str:
    """Why the image is no CT in HU, by fewer voxels than `probe_image` looks at; empty when it may be."""
    return why_no_ct(_sample(image, _QUICK_VOXELS)[0])


def _sample(image: Volume, voxels: int) -> tuple[npt.NDArray[np.float32], int]:
    """Every how many voxels along each axis, and their HU."""
    step = max(1, int(np.ceil((image.array.size / voxels) ** (1 / 3))))
    hu = image.array[::step, ::step, ::step].astype(np.float32) * image.slope + image.intercept
    return hu, step


def is_ct(probe: ImageProbe) -> bool:
    """Whether an image's range is that of a CT in HU."""
    return not probe.not_ct


def empty_flag(label: int) -> Flag:
    """The flag of a mask without voxels."""
    return Flag("empty", f"No voxel has the value {label}.")


def check(
    image: Volume,
    mask: Volume,
    scan: LabelScan,
    plan: SlicePlan,
    slices: SlicePredictions,
    structure: Structure,
    probe: ImageProbe,
    card: ModelCard,
) -> tuple[Flag, ...]:
    """All flags of one mask that is not empty."""
    found = [
        *_not_ct(probe),
        *_orientation_assumed(image, mask),
        *_gaps(scan, plan),
        *_non_finite(image, plan),
        *_unknown_to_model(structure, card),
        *_touches_border(scan),
        *_truncated(scan, plan, slices, mask),
        *_implausible_volume(scan, mask, structure),
        *_fragmented(scan, mask, structure),
        *_wrong_side(scan, mask, structure, probe),
        *_outside_body(image, mask, scan, plan, structure),
    ]
    return tuple(found)


def _not_ct(probe: ImageProbe) -> Iterator[Flag]:
    if probe.not_ct:
        yield Flag("not_ct", probe.not_ct)


def _orientation_assumed(image: Volume, mask: Volume) -> Iterator[Flag]:
    told = list(dict.fromkeys(volume.assumed for volume in (image, mask) if volume.assumed))
    if told:
        yield Flag("orientation_assumed", told[0])


def _gaps(scan: LabelScan, plan: SlicePlan) -> Iterator[Flag]:
    first, last = int(scan.box[0, 0]), int(scan.box[1, 0]) - 1
    regular = regular_gaps(scan, 0)
    if plan.missing.any():
        every = f"; every {regular[0]}. slice is filled" if regular else ""
        yield Flag(
            "gaps",
            f"{np.count_nonzero(plan.missing)} of the {last - first + 1} slices from the mask's lowest to its highest "
            f"are empty where the structure must run through{every}.",
        )
    for axis, planes in ((1, "coronal"), (2, "sagittal")):
        regular = regular_gaps(scan, axis)
        if regular is not None:
            yield Flag(
                "gaps", f"{regular[1]} {planes} planes within the mask are empty, every {regular[0]}. is filled."
            )


def _non_finite(image: Volume, plan: SlicePlan) -> Iterator[Flag]:
    if image.array.dtype.kind != "f":
        return
    height, width = image.array.shape[1:]
    bad = 0
    for index, (row0, row1, column0, column1) in zip(plan.index, plan.crop, strict=True):
        rows = slice(max(int(row0), 0), min(int(np.ceil(row1)), height))
        columns = slice(max(int(column0), 0), min(int(np.ceil(column1)), width))
        bad += int(np.count_nonzero(~np.isfinite(image.array[index, rows, columns])))
    if bad:
        yield Flag("non_finite", f"{bad} voxels around the mask are NaN or infinite; they count as air.")


def _unknown_to_model(structure: Structure, card: ModelCard) -> Iterator[Flag]:
    if structure.name not in card.trained:
        yield Flag("untrained_structure", f"The model never saw {structure.name} in training.")
    elif structure.name in card.synthetic:
        yield Flag("synthetic_only", f"The model saw {structure.name} in synthetic scans only: its score is a guess.")


def _touches_border(scan: LabelScan) -> Iterator[Flag]:
    names = (("lowest slice", "highest slice"), ("front", "back"), ("right side", "left side"))
    touched = [names[axis][end] for axis in range(3) for end in range(2) if scan.border[end, axis] > 0]
    if touched:
        yield Flag("touches_border", f"The mask reaches the scan's {', '.join(touched)}.")


def _truncated(scan: LabelScan, plan: SlicePlan, slices: SlicePredictions, mask: Volume) -> Iterator[Flag]:
    first, last = int(scan.box[0, 0]), int(scan.box[1, 0]) - 1
    pixel_mm2 = mask.pixel_mm2
    for end, side, beyond in (
        (first, "lower", plan.index < first),
        (last, "upper", plan.index > last),
    ):
        if not beyond.any():
            continue
        nearest = np.flatnonzero(beyond)[np.argmin(np.abs(plan.index[beyond] - end))]
        missed, there = slices.truth_mm2[nearest], scan.areas[0][end] * pixel_mm2
        largest = scan.areas[0].max() * pixel_mm2
        if missed > max(_MISSED_OF_LAST * there, _MISSED_OF_LARGEST * largest):
            yield Flag(
                "truncated",
                f"Beyond the mask's {side} end about {missed:.0f} mm2 of the structure are expected "
                f"(the last slice of the mask has {there:.0f} mm2).",
            )


def _implausible_volume(scan: LabelScan, mask: Volume, structure: Structure) -> Iterator[Flag]:
    if structure.volume_ml is None or scan.border.any():
        return
    low, high = structure.volume_ml
    volume = scan.voxels * mask.voxel_ml
    if not low <= volume <= high:
        yield Flag(
            "implausible_volume",
            f"The mask has {volume:.3g} ml; a complete adult {structure.name} has {low:g} to {high:g} ml.",
        )


def _fragmented(scan: LabelScan, mask: Volume, structure: Structure) -> Iterator[Flag]:
    if structure.name in load_table().in_pieces:
        return
    box = tuple(slice(low, high) for low, high in scan.box.T)
    sizes = _core.component_sizes(mask.array[box], scan.label)
    share = 1 - sizes[0] / scan.voxels
    if share > _FRAGMENT_SHARE:
        yield Flag(
            "fragmented",
            f"{len(sizes)} separate pieces; {100 * share:.0f} % of the voxels lie outside the largest.",
        )


def _wrong_side(scan: LabelScan, mask: Volume, structure: Structure, probe: ImageProbe) -> Iterator[Flag]:
    if structure.side is None or structure.name in load_table().near_middle:
        return
    to_left_mm = (scan.centroid[2] - probe.midline_x) * mask.spacing_mm[2]
    wrong_mm = -to_left_mm if structure.side == "left" else to_left_mm
    if wrong_mm > _MIDLINE_MARGIN_MM:
        lies = "right" if structure.side == "left" else "left"
        yield Flag(
            "wrong_side",
            f"{structure.name} lies {wrong_mm:.0f} mm to the patient's {lies} of the body's middle.",
        )


def _outside_body(
    image: Volume, mask: Volume, scan: LabelScan, plan: SlicePlan, structure: Structure
) -> Iterator[Flag]:
    """A voxel is inside the body when tissue lies on either side of it along its row and along its column.

    Tissue is inside by that, so that only masks with much air in them need more than their box to be read: the rows and
    the columns that cross it.
    """
    rows, columns = (slice(*scan.box[:, axis]) for axis in (1, 2))
    slices = plan.index[plan.area > 0].tolist()
    held = [mask.array[index, rows, columns] == scan.label for index in slices]
    total = sum(int(np.count_nonzero(here)) for here in held)
    airy = [here & ~_tissue(image, (index, rows, columns)) for index, here in zip(slices, held, strict=True)]
    if sum(int(np.count_nonzero(here)) for here in airy) <= _OUTSIDE_SHARE * total:
        return
    outside = 0
    for index, here in zip(slices, airy, strict=True):
        inside = _between(_tissue(image, (index, rows)), axis=1)[:, columns]
        inside &= _between(_tissue(image, (index, slice(None), columns)), axis=0)[rows]
        outside += int(np.count_nonzero(here & ~inside))
    if outside > _OUTSIDE_SHARE * total:
        yield Flag(
            "outside_body",
            f"{100 * outside / total:.0f} % of the {structure.name} mask lies in the air around the body.",
        )


def _tissue(image: Volume, where: tuple[Any, ...]) -> npt.NDArray[np.bool_]:
    tissue: npt.NDArray[np.bool_] = image.array[where].astype(np.float32) * image.slope + image.intercept > _TISSUE_HU
    return tissue


def _between(tissue: npt.NDArray[np.bool_], axis: int) -> npt.NDArray[np.bool_]:
    """Which pixels lie from the first to the last pixel of tissue along an axis."""
    lines = np.moveaxis(tissue, axis, -1)
    extent = lines.shape[-1]
    first = np.where(lines.any(axis=-1), lines.argmax(axis=-1), extent)
    last = extent - 1 - lines[..., ::-1].argmax(axis=-1)
    position = np.arange(extent)
    between: npt.NDArray[np.bool_] = (position >= first[:, None]) & (position <= last[:, None])
    return np.moveaxis(between, -1, axis)
