"""`Assessment`: what the engine says of one mask, and how slices add up to a volume."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from segae.json_value import json_value
from segae.recipe import Calibration, ModelCard
from segae.reference.comparison import ReferenceComparison
from segae.structures import Structure

Float64 = npt.NDArray[np.float64]

# Below this recall, dividing by it says nothing about the structure's true area.
_LEAST_RECALL = 0.1
# What a model tells of the whole mask, against what its slices add up to; chosen on held-out training scans.
WHOLE_SHARE = 0.25
# An interval is so many times as wide for structures that no real scan taught. No real scan shows their errors, so this
# is an assumption.
_SYNTHETIC_WIDENING = 1.5
# Extrapolation of structure missed beyond the mask's first or last slice: so many times the sampled length, chosen
# likewise.
BEYOND_REACH = 1.5


@dataclass(frozen=True)
class Flag:
    """Something that a look at the geometry shows, whatever the network says.

    `name` is one of: empty, touches_border, fragmented, wrong_side, implausible_volume, not_ct, truncated, gaps,
    untrained_structure, synthetic_only, non_finite, outside_body, orientation_assumed; or, across the structures of a
    scan, one of `segae.anatomy`: out_of_order, wrong_level, side_swapped, situs_inversus, overlaps, missing_part,
    merged, misplaced. `detail` is one sentence that says what was seen.
    """

    name: str
    detail: str


@dataclass(frozen=True)
class ExpectedMask:
    """Where the model expects the structure in one slice.

    Attributes
    ----------
    probability : float32 [h, w]
        In [0, 1]; axes are the two in-plane axes of the array as given, in their order.
    box : ((begin, end), (begin, end))
        What the map covers along those axes, in voxel edges (voxel i covers i to i + 1); may leave the volume.
    """

    probability: npt.NDArray[np.float32]
    box: tuple[tuple[float, float], tuple[float, float]]

    def on_slice(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Bring the map onto the voxels of the slice, by linear interpolation; 0 outside the box.

        Parameters
        ----------
        shape : (int, int)
            Of the slice, in-plane axes in the order of the array as given.

        Returns
        -------
        float32 of that shape
        """
        seen, said = [], self.probability
        for axis, (extent, (begin, end)) in enumerate(zip(shape, self.box, strict=True)):
            # Voxels whose middle the box holds lie between two samples of the map, or beyond the first or last.
            n = said.shape[axis]
            inside = slice(max(0, int(np.ceil(begin - 0.5))), max(0, min(extent, int(np.floor(end - 0.5)) + 1)))
            at = np.clip((np.arange(extent)[inside] + 0.5 - begin) / (end - begin) * n - 0.5, 0, n - 1)
            low = at.astype(np.int64)
            share = (at - low).astype(np.float32)
            share = share[:, None] if axis == 0 else share
            said = said.take(low, axis) * (1 - share) + said.take(np.minimum(low + 1, n - 1), axis) * share
            seen.append(inside)
        slice_map = np.zeros(shape, np.float32)
        slice_map[seen[0], seen[1]] = said
        return slice_map


@dataclass(frozen=True)
class SliceScore:
    """One slice that the model looked at.

    Attributes
    ----------
    index : int
        In the volume as given, along its axial axis.
    area_mm2 : float
        Of the mask; 0 beyond its ends.
    dice, precision, recall : float
        Predicted, in [0, 1]; nan where they mean nothing (no mask in the slice) or the model has none.
    expected_area_mm2 : float
        Predicted area of the true structure; nan if the model has none.
    expected : ExpectedMask or None
        Where the judge expects the structure; with ``error_map=True``.
    reference : ExpectedMask or None
        Where the reference has it; with ``error_map=True`` and a reference that holds the structure.
    """

    index: int
    area_mm2: float
    dice: float
    precision: float
    recall: float
    expected_area_mm2: float
    expected: ExpectedMask | None = None
    reference: ExpectedMask | None = None


@dataclass(frozen=True)
class Assessment:
    """What segae says of one mask.

    Attributes
    ----------
    structure : str
        Canonical name.
    dice : float
        Predicted 3D Dice in [0, 1], calibrated; nan for an empty mask. Where the other structures of the scan show for
        certain that the mask bears another structure's name, or covers two, it falls to what that leaves at most.
    precision, recall : float
        Predicted, in [0, 1]: low precision, the mask is too large; low recall, it is too small. nan for models that
        predict Dice only.
    raw : float
        Plain mean over the slices of the mask of what the model put out, neither clipped nor calibrated.
    slices : tuple of SliceScore
        In order along the volume as given.
    volume_ml : float
        Of the mask.
    bbox : three (begin, end) or None
        Of the mask, half-open, along the axes of the array as given.
    flags : tuple of Flag
    centroid_mm : (float, float, float) or None
        Mean place of the mask's voxels: mm from the centre of the volume towards the patient's left, back and head,
        along the volume's axes.
    judge_dice : float
        What the judge alone predicts, calibrated; the same as `dice` where no reference was heard.
    reference : ReferenceComparison or None
        How the mask agrees with a reference, where there is one that holds the structure.
    dice_interval : (float, float) or None
        Holds the true Dice in about 90 % of masks, as measured on held-out scans; wide for structures that the judge
        knows from synthetic scans only, narrow where judge and reference agree. None where the model file tells of no
        errors and there is no reference.
    """

    structure: str
    dice: float
    precision: float
    recall: float
    raw: float
    slices: tuple[SliceScore, ...]
    volume_ml: float
    bbox: tuple[tuple[int, int], ...] | None
    flags: tuple[Flag, ...]
    centroid_mm: tuple[float, float, float] | None = None
    judge_dice: float = float("nan")
    reference: ReferenceComparison | None = None
    dice_interval: tuple[float, float] | None = None

    @property
    def reference_dice(self) -> float:
        """Dice with the reference's mask; nan without one."""
        return float("nan") if self.reference is None else self.reference.dice

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts, as JSON knows them: None for nan, nested lists for maps."""
        bare = replace(self, slices=tuple(replace(s, expected=None, reference=None) for s in self.slices))
        data = asdict(bare)
        for entry, score in zip(data["slices"], self.slices, strict=True):
            for name, seen in (("expected", score.expected), ("reference", score.reference)):
                if seen is None:
                    del entry[name]
                else:
                    box = [list(side) for side in seen.box]
                    entry[name] = {"probability": seen.probability.tolist(), "box": box}
        plain: dict[str, Any] = json_value(data)
        return plain


class Assessments(dict[str, Assessment]):
    """Canonical name -> Assessment of a labelmap, and what was left out.

    `unnamed` maps values that are in the labelmap, but were given no name, to their number of voxels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unnamed: dict[int, int] = {}

    @staticmethod
    def of(entries: Iterable[Assessment]) -> Assessments:
        """Collect assessments; of several of one structure the last counts."""
        collected = Assessments()
        collected.update((entry.structure, entry) for entry in entries)
        return collected


@dataclass(frozen=True)
class SlicePredictions:
    """What the network said of n slices of one mask, with what is known of them. All arrays have n entries.

    `share_mm` is the length along z that a slice stands for, gaps of the mask included, and `filled_mm` that of the
    slices that hold the mask, None where there are no gaps. `truth_fraction` is the share of the crop that the
    structure should cover, nan if the model has no such output. `whole_precision` and `whole_recall` are what each
    slice tells of the whole mask, None if the model says nothing.
    """

    area_mm2: Float64
    share_mm: Float64
    crop_mm2: Float64
    precision: Float64
    recall: Float64
    truth_fraction: Float64
    whole_precision: Float64 | None = None
    whole_recall: Float64 | None = None
    filled_mm: Float64 | None = None

    @property
    def dice(self) -> Float64:
        """Per slice, as the two heads imply."""
        total = self.precision + self.recall
        return np.divide(2 * self.precision * self.recall, total, out=np.zeros_like(total), where=total > 0)

    @property
    def truth_mm2(self) -> Float64:
        """Area that the structure should have in each slice.

        Where the mask overlaps the structure, its correct part over the recall, which counts what lies outside the
        crop; elsewhere, and beyond the ends, what the model expects in the crop. Where it says neither, the mask's own
        area: so Dice-only models, whose precision and recall are one, average Dice weighted with area.
        """
        overlap = np.clip(self.precision, 0, 1) * self.area_mm2
        from_recall = np.divide(overlap, self.recall, out=self.area_mm2.copy(), where=self.recall > 0)
        usable = (self.area_mm2 > 0) & (self.recall >= _LEAST_RECALL)
        in_crop = np.clip(self.truth_fraction, 0, 1) * self.crop_mm2
        return np.where(usable | (np.isnan(in_crop) & (self.area_mm2 > 0)), from_recall, in_crop)


def aggregate(slices: SlicePredictions) -> tuple[float, float, float]:
    """Dice, precision and recall in 3D.

    Areas are added up over the slices, weighted with the length along z that each stands for; slices beyond the ends
    stand for `BEYOND_REACH` times theirs. In gaps of the mask lies what the slices nearest to them should hold, and
    none of the mask: recall is at most the share of the structure that lies in slices with any mask. Where the model
    tells of the whole mask too, its word counts for `WHOLE_SHARE`.
    """
    inside = slices.area_mm2 > 0
    filled = slices.share_mm if slices.filled_mm is None else slices.filled_mm
    truth_mm2 = np.nan_to_num(slices.truth_mm2, copy=False)
    overlap = float(np.nan_to_num(np.clip(slices.precision, 0, 1)) @ (slices.area_mm2 * filled))
    truth = max(float(truth_mm2 @ np.where(inside, slices.share_mm, BEYOND_REACH * slices.share_mm)), overlap)
    precision = overlap / float(slices.area_mm2 @ filled)
    recall = overlap / truth if truth > 0 else 0.0
    if slices.whole_precision is not None and slices.whole_recall is not None:
        whole = _consensus(np.stack([slices.whole_precision[inside], slices.whole_recall[inside]]))
        precision += WHOLE_SHARE * (float(whole[0]) - precision)
        spanned, reached = (float(truth_mm2[inside] @ lengths[inside]) for lengths in (slices.share_mm, filled))
        most = reached / spanned if spanned > 0 else 1.0
        recall += WHOLE_SHARE * (min(float(whole[1]), most) - recall)
    total = precision + recall
    return 2 * precision * recall / total if total > 0 else 0.0, precision, recall


def _consensus(shares: Float64) -> Float64:
    """One share in (0, 1) from many, along the last axis: the mean of their log odds."""
    bounded = np.clip(shares, 1e-4, 1 - 1e-4)
    consensus: Float64 = 1 / (1 + np.exp(-np.log(bounded / (1 - bounded)).mean(axis=-1)))
    return consensus


def calibrate(dice: float, structure: str, table: dict[str, Calibration]) -> float:
    """Map an aggregated Dice to the calibrated one, by the structure's own curve or the default one."""
    curve = table.get(structure) or table.get("default") or Calibration()
    return float(np.clip(np.interp(dice, curve.raw, curve.dice), 0, 1))


def interval_of(dice: float, structure: Structure, card: ModelCard) -> tuple[float, float] | None:
    """Interval that holds the true Dice of nine in ten masks with this calibrated one; None where the card has none."""
    curve = card.intervals.get(structure.group) or card.intervals.get("default")
    if curve is None:
        return None
    times = _SYNTHETIC_WIDENING if structure.name in card.synthetic else 1.0
    below, above = (times * float(np.interp(dice, curve.dice, far)) for far in (curve.below, curve.above))
    return max(0.0, dice - below), min(1.0, dice + above)
