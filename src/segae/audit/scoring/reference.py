"""The user's reference of an audit, weighed anew once all cases are seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

from segae.audit.results import MaskRow
from segae.reference.comparison import ReferenceComparison
from segae.reference.fusion import fuse, usual_overlap
from segae.reference.given import UNKNOWN_RELIABILITY

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
        changed += [_weighed(row, reliability) for row in cohort]
    return changed


def _weighed(row: MaskRow, reliability: float) -> MaskRow:
    before, after = (
        fuse(row.structure, row.judge_dice, _comparison(row, r)) for r in (row.reference_reliability, reliability)
    )
    # What the other structures of the scan took from the Dice stays taken.
    capped = row.dice < before.dice - _SAME
    dice = min(row.dice, after.dice) if capped else after.dice
    return replace(
        row, dice=dice, dice_low=after.interval[0], dice_high=after.interval[1], reference_reliability=reliability
    )


def _comparison(row: MaskRow, reliability: float) -> ReferenceComparison:
    return ReferenceComparison(
        source="given", dice=row.reference_dice, precision=row.reference_precision, recall=row.reference_recall,
        nsd=row.reference_nsd, volume_ml=row.reference_ml, reliability=reliability, identical=row.reference_dice == 1,
        slice_index=(), slice_dice=(), slice_area_mm2=(),
    )  # fmt: skip
