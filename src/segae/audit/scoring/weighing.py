"""What is said of masks anew once all cases are seen: the user's reference weighed, adapted models heard."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from segae.assessment import interval_of
from segae.audit.results import MaskRow
from segae.recipe import ModelCard
from segae.reference.comparison import ReferenceComparison
from segae.reference.fusion import fuse, usual_overlap
from segae.reference.given import UNKNOWN_RELIABILITY
from segae.structures import get

# Closer than this, two numbers that were computed alike are the same.
_SAME = 1e-4


def weighed(rows: Sequence[MaskRow], verified: Collection[str], prior: float | None) -> list[MaskRow]:
    """Weigh the user's reference by how it agrees with the audit's masks as a rule; returns the rows that changed.

    Parameters
    ----------
    rows : sequence of MaskRow
        Of the whole audit.
    verified : collection of str
        Cases whose masks are known to be right: for structures that they show, they alone decide.
    prior : float or None
        Reliability for structures that are rarely seen.
    """
    heard = [
        row for row in rows if row.reference_source == "given" and row.error is None and row.reference_reliability > 0
    ]
    by_structure: dict[str, list[MaskRow]] = defaultdict(list)
    for row in heard:
        by_structure[row.structure].append(row)
    known = UNKNOWN_RELIABILITY if prior is None else prior
    changed = []
    for cohort in by_structure.values():
        sure = [row.reference_dice for row in cohort if row.case_id in verified]
        # A mask that is the reference, voxel by voxel, tells nothing of it.
        usual = [row.reference_dice for row in cohort if row.reference_dice < 1]
        reliability = usual_overlap(sure or usual, known)
        changed += [_reworded(row, replace(row, reference_reliability=reliability)) for row in cohort]
    return changed


def with_adapted(rows: Sequence[MaskRow], adapted: Mapping[tuple[str, str], float], card: ModelCard) -> list[MaskRow]:
    """Put the Dice that adapted models predict in the place of the judge's; returns the rows that changed.

    Parameters
    ----------
    rows : sequence of MaskRow
        Of the whole audit.
    adapted : mapping
        (case, structure) -> predicted Dice of a model that did not see the case. Where a case has several masks of a
        structure, nobody knows which of them it is of, and it is not heard.
    card : ModelCard
        Of the model that judged the rows, whose intervals the adapted ones keep.
    """
    masks: dict[tuple[str, str], list[MaskRow]] = defaultdict(list)
    for row in rows:
        if not math.isnan(row.judge_dice):  # neither failed nor empty
            masks[row.case_id, row.structure].append(row)
    changed = []
    for key, found in masks.items():
        said = adapted.get(key, math.nan) if len(found) == 1 else math.nan
        if not (math.isnan(said) and math.isnan(found[0].adapted_dice)):
            changed += [_reworded(row, replace(row, adapted_dice=said), card) for row in found]
    return changed


def _reworded(before: MaskRow, now: MaskRow, card: ModelCard | None = None) -> MaskRow:
    """A row whose facts changed, with the Dice and interval that follow from them."""
    dice, interval = _fused(now, card)
    low, high = interval or (math.nan, math.nan)
    # What the other structures of the scan took from the Dice stays taken.
    if before.dice < _fused(before, card)[0] - _SAME:
        dice, low, high = (min(before.dice, value) for value in (dice, low, high))
    return replace(now, dice=dice, dice_low=low, dice_high=high)


def _fused(row: MaskRow, card: ModelCard | None) -> tuple[float, tuple[float, float] | None]:
    """Dice and interval by the judge, or the adapted model in its place, and by the reference where it is heard."""
    judge = row.judge_dice if math.isnan(row.adapted_dice) else row.adapted_dice
    if row.reference_reliability > 0:
        fused = fuse(row.structure, judge, _comparison(row))
        return fused.dice, fused.interval
    return judge, None if card is None else interval_of(judge, get(row.structure), card)


def _comparison(row: MaskRow) -> ReferenceComparison:
    given = row.reference_source == "given"
    return ReferenceComparison(
        source="given" if given else "built-in", dice=row.reference_dice, precision=row.reference_precision,
        recall=row.reference_recall, nsd=row.reference_nsd, volume_ml=row.reference_ml,
        reliability=row.reference_reliability, identical=given and row.reference_dice == 1,
        slice_index=(), slice_dice=(), slice_area_mm2=(),
    )  # fmt: skip
