"""Builds the `Assessment` of a mask from network outputs and geometric checks; warns where only a score is returned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from segae import flags
from segae.assessment import Assessment, SliceScore, aggregate, calibrate, interval_of
from segae.device import DeviceVolume
from segae.errors import NotCTWarning
from segae.expected import expected_mask
from segae.judging import Task, Verdict
from segae.label_scan import LabelScan
from segae.recipe import ModelCard
from segae.slices import SlicePlan
from segae.structures import Structure
from segae.volume import Volume
from segae.warn import warn_assumed, warn_user


def assembled(task: Task, verdict: Verdict, card: ModelCard, probe: flags.ImageProbe) -> Assessment:
    """Everything that is known of one mask."""
    mask, name = task.mask, task.structure.name
    dice_only = "dice" in card.outputs
    _, precision, recall = aggregate(verdict.slices)
    dice = predicted_dice(task, verdict, card)
    return Assessment(
        structure=name,
        dice=dice,
        precision=float("nan") if dice_only else precision,
        recall=float("nan") if dice_only else recall,
        raw=float(verdict.raw[task.plan.area > 0].mean()),
        slices=_slice_scores(mask, task.plan, verdict, dice_only=dice_only),
        volume_ml=task.scan.voxels * mask.voxel_ml,
        bbox=mask.source_box(task.scan.box),
        flags=flags.check(task.image, mask, task.scan, task.plan, verdict.slices, task.structure, probe, card),
        centroid_mm=_from_centre_mm(mask, task.scan),
        judge_dice=dice,
        dice_interval=interval_of(dice, task.structure, card),
    )


def predicted_dice(task: Task, verdict: Verdict, card: ModelCard) -> float:
    """Return the calibrated 3D Dice of one mask."""
    return calibrate(aggregate(verdict.slices)[0], task.structure.name, card.calibration)


class Probes:
    """Looks at whole images, one an image."""

    def __init__(self) -> None:
        self._known: list[tuple[Volume, flags.ImageProbe]] = []

    def of(self, image: Volume) -> flags.ImageProbe:
        """Look at an image, or remember it."""
        for known, probe in self._known:
            if known is image:
                return probe
        self._known.append((image, flags.probe_image(image)))
        return self._known[-1][1]


def warn_of(images: Sequence[tuple[str, Volume]], masks: Sequence[Volume]) -> None:
    """Warn once where a score, which has no flags, is returned for no CT or for an orientation that was assumed."""
    warn_assumed([*(image for _, image in images), *masks])
    different = {id(image): (name, image) for name, image in reversed(images)}
    for name, image in reversed(different.values()):
        if why := flags.quick_not_ct(image):
            warn_user(f"{name}: this is no CT in HU, so its scores mean nothing. {why}", NotCTWarning)
            return


def only_box(mask: Volume, scan: LabelScan) -> Volume:
    """A copy on the same grid that holds the label's box only: memory is taken by the pages that are written to."""
    if isinstance(mask.array, DeviceVolume):
        return mask
    box = tuple(slice(low, high) for low, high in scan.box.T)
    array = np.zeros(mask.array.shape, mask.array.dtype)
    array[box] = mask.array[box]
    return replace(mask, array=array)


def _from_centre_mm(mask: Volume, scan: LabelScan) -> tuple[float, float, float]:
    z, y, x = (scan.centroid - (np.array(mask.array.shape) - 1) / 2) * mask.spacing_mm
    return float(x), float(y), float(z)


def _slice_scores(mask: Volume, plan: SlicePlan, verdict: Verdict, *, dice_only: bool) -> tuple[SliceScore, ...]:
    nan = float("nan")
    slices, raw, expected = verdict.slices, verdict.raw, verdict.expected
    truth = slices.truth_mm2
    scores = []
    for i, z in enumerate(plan.index):
        inside = plan.area[i] > 0
        scores.append(
            SliceScore(
                index=mask.source_index(0, int(z)),
                area_mm2=float(slices.area_mm2[i]),
                dice=float(np.clip(raw[i], 0, 1)) if inside else nan,
                precision=float(slices.precision[i]) if inside and not dice_only else nan,
                recall=float(slices.recall[i]) if inside and not dice_only else nan,
                expected_area_mm2=nan if dice_only else float(truth[i]),
                expected=None if expected is None else expected_mask(mask, plan.crop[i], expected[i, 0]),
            )
        )
    return tuple(sorted(scores, key=lambda score: score.index))


def empty(structure: Structure, label: int) -> Assessment:
    """What is said of a mask without voxels."""
    nan = float("nan")
    return Assessment(structure.name, nan, nan, nan, nan, (), 0.0, None, (flags.empty_flag(label),))
