"""The reference's word on the masks of one image, added to the judge's."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from segae.assessment import Assessment, Flag, SliceScore
from segae.expected import outline_mask
from segae.frame import Volume
from segae.label_scan import LabelScan
from segae.reference.builtin import BuiltInReference
from segae.reference.comparison import ReferenceComparison
from segae.reference.fusion import fuse, log_odds, relative_overlap, trust_in
from segae.reference.given import GivenReference

_log = logging.getLogger("segae")

# Two opinions that lie further apart than this are told.
_APART = 0.3
# A reference of the same patient overlaps with at least one of several masks by more than this.
_ELSEWHERE = 0.1
_LEAST_MASKS = 2
# By so much better a mirrored reference must fit, over all masks, to be called mirrored.
_MIRRORED = 0.25


@dataclass(frozen=True)
class Looked:
    """What the reference says of one mask: nothing (None), or a comparison, and how well it fits mirrored.

    `grid` is the mask's volume without its voxels.
    """

    structure: str
    grid: Volume
    found: ReferenceComparison | None
    straight: float = 1.0
    mirrored: float = 0.0


class SecondOpinion:
    """Collects comparisons of one image's masks; `conclude` then weighs them, once it is known what all say.

    Parameters
    ----------
    reference : GivenReference or BuiltInReference
    least_masks : int
        Comparisons with fewer masks are not heard: nothing shows then whether the reference fits this scan.
    """

    def __init__(self, reference: GivenReference | BuiltInReference, least_masks: int = 1) -> None:
        self.reference = reference
        self._least_masks = least_masks
        self._looked: list[Looked] = []

    def look(self, mask: Volume, scan: LabelScan, structure: str) -> Looked:
        """Compare one mask; it is not needed any more afterwards."""
        found = self.reference.compare(mask, scan, structure)
        grid = replace(mask, array=np.broadcast_to(np.uint8(0), mask.array.shape))
        looked = Looked(structure, grid, found)
        if found is not None and isinstance(self.reference, GivenReference):
            straight, mirrored = self.reference.mirrored_overlap(mask, scan, structure)
            looked = Looked(structure, grid, found, straight, mirrored)
        self._looked.append(looked)
        return looked

    def conclude(self, pairs: Sequence[tuple[Assessment, Looked]]) -> list[Assessment]:
        """Add comparisons to the judge's assessments; where the whole reference cannot be right, say so once."""
        if sum(looked.found is not None for looked in self._looked) < self._least_masks:
            return [assessment for assessment, _ in pairs]
        doubt = self._doubt()
        silent = sorted({looked.structure for _, looked in pairs if looked.found is None})
        if silent and isinstance(self.reference, GivenReference):
            _log.warning("reference: holds nothing of %s; the judge alone speaks for them", ", ".join(silent))
        told = [a for a, looked in pairs if looked.found is not None]
        largest = max(told, key=lambda a: a.volume_ml, default=None)
        concluded = []
        for assessment, looked in pairs:
            entry = assessment
            if looked.found is not None and doubt is None:
                entry = with_reference(assessment, looked.found)
                if any(score.expected is not None for score in assessment.slices):
                    entry = replace(entry, slices=self._with_outlines(entry.slices, looked))
            elif looked.found is not None:
                entry = replace(assessment, reference=replace(looked.found, reliability=0.0))
            if doubt is not None and assessment is largest:
                entry = replace(entry, flags=(*entry.flags, doubt))
            concluded.append(entry)
        return concluded

    def _with_outlines(self, slices: Sequence[SliceScore], looked: Looked) -> tuple[SliceScore, ...]:
        """Add the reference's mask to every slice that shows the judge's."""
        planes = (self.reference.plane(looked.structure, looked.grid.source_index(0, s.index)) for s in slices)
        return tuple(
            replace(score, reference=outline_mask(looked.grid, plane))
            for score, plane in zip(slices, planes, strict=True)
        )

    def _doubt(self) -> Flag | None:
        """What is wrong with the reference as a whole."""
        looked = [entry for entry in self._looked if entry.found is not None]
        found = [entry.found for entry in looked if entry.found is not None]
        if not found or not isinstance(self.reference, GivenReference):
            return None
        if all(entry.identical for entry in found):
            return Flag(
                "reference_is_mask",
                f"All {len(found)} masks are the reference's, voxel by voxel: it says nothing, and is not heard.",
            )
        if sum(e.mirrored - e.straight for e in looked) / len(looked) > _MIRRORED:
            return Flag(
                "reference_mirrored",
                "The reference fits the masks when left and right are exchanged: one of the two is mirrored. It is "
                "not heard.",
            )
        if len(found) >= _LEAST_MASKS and max(entry.dice for entry in found) < _ELSEWHERE:
            return Flag(
                "reference_elsewhere",
                f"None of the {len(found)} masks overlaps with the reference (Dice at most "
                f"{max(entry.dice for entry in found):.2f}): is it of another patient, or misplaced? It is not heard.",
            )
        return None


def with_reference(assessment: Assessment, found: ReferenceComparison) -> Assessment:
    """Weigh the judge's assessment and a comparison; the judge's own number stays in `judge_dice`."""
    judge = assessment.judge_dice
    fused = fuse(assessment.structure, judge, found)
    flags = list(assessment.flags)
    word = relative_overlap(found)
    if abs(word - judge) > _APART and trust_in(found.reliability) > 0:
        flags.append(
            Flag(
                "reference_disagrees",
                f"The {'built-in ' if found.source == 'built-in' else ''}reference overlaps with the mask at a Dice of "
                f"{found.dice:.2f} (it reaches about {found.reliability:.2f} as a rule); the judge alone expects "
                f"{judge:.2f}.",
            )
        )
    trust = trust_in(found.reliability)
    return replace(
        assessment,
        dice=fused.dice,
        dice_interval=fused.interval,
        precision=_mixed(assessment.precision, found.precision / max(found.reliability, 0.5), trust),
        recall=_mixed(assessment.recall, found.recall / max(found.reliability, 0.5), trust),
        reference=found,
        flags=tuple(flags),
    )


def _mixed(judge: float, overlap: float, trust: float) -> float:
    """Mean of two shares in log odds, in which the reference counts up to twice as much as the judge."""
    if math.isnan(judge):  # models that predict Dice only
        return judge
    weight = 2 * trust / (1 + 2 * trust)
    odds = weight * log_odds(min(1.0, overlap)) + (1 - weight) * log_odds(judge)
    return 1 / (1 + math.exp(-odds))
