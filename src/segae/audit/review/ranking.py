"""Which masks a person should look at first, and which when there is time for a few only.

Raw scores of different structures do not compare: 0.75 is a poor liver and a good adrenal gland. So each mask is
compared with the others of its structure, by a robust z-score (`suspicion`). Flags come first, in order of severity:

1. "failed": the mask could not be scored.
2. "wrong": `not_ct`, `outside_body`, `wrong_side`, `implausible_volume`, `rarely_empty`, and what the scan's other
   structures contradict: `side_swapped`, `out_of_order`, `wrong_level`, `misplaced`, `merged`. These are to be
   believed.
3. "open": all others by suspicion, to which each of the weaker signs `truncated`, `fragmented`, `overlaps`,
   `missing_part`, `odd_volume` and `odd_position` adds `WEAK_SIGN`. They only add, since they are wrong at times:
   with an earlier model `truncated` fired on 60 % of the truncated masks but on 17 % of good ones: ln(60 / 17) = 1.26.
4. "empty": masks of structures that are empty in many scans, mostly because the scan does not show them.

`touches_border`, `untrained_structure`, `synthetic_only` and `non_finite` change nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from segae.assessment import Flag
from segae.audit.results import MaskRow, Results
from segae.audit.review.outliers import cohort_flags, group_numbers, groups, robust_scale
from segae.errors import ParameterError

Float64 = npt.NDArray[np.float64]

Severity = Literal["failed", "wrong", "open", "empty"]

STRONG_FLAGS = (
    "not_ct", "outside_body", "wrong_side", "side_swapped", "out_of_order", "wrong_level", "misplaced", "merged",
    "implausible_volume", "rarely_empty",
)  # fmt: skip
WEAK_FLAGS = ("truncated", "fragmented", "overlaps", "missing_part", "odd_volume", "odd_position")
WEAK_SIGN = 1.26

_ORDER: tuple[Severity, ...] = ("failed", "wrong", "open", "empty")
# Differences below this are within the error of the judge, however closely the masks of a structure agree.
_LEAST_SCALE = 0.03
# Of so few masks, half may be bad, and their median and scale say nothing. Of n more, they count for n / (n + prior).
_TOO_FEW = 4
_PRIOR_MASKS = 5
# No structure takes more than so many times its even share of a budget while others have masks to show.
_SHARES = 2


@dataclass(frozen=True)
class Ranked:
    """A mask and its place in the order of review.

    Attributes
    ----------
    mask : MaskRow
    place : int
        From 1, the first to look at.
    severity : "failed", "wrong", "open" or "empty"
    suspicion : float
        How far the Dice lies below that of its structure's other masks, in robust standard deviations, and what weak
        signs add; nan where there is no Dice.
    percentile : float
        Share in percent of its structure's scored masks that have a lower Dice; nan where there is no Dice.
    cohort : int
        How many scored masks its structure has.
    flags : tuple of Flag
        The mask's own, then those of the comparison with its cohort.
    """

    mask: MaskRow
    place: int
    severity: Severity
    suspicion: float
    percentile: float
    cohort: int
    flags: tuple[Flag, ...]


@dataclass(frozen=True)
class _Comparison:
    """Each mask compared with the others of its structure; see `Ranked`."""

    suspicion: Float64
    percentile: Float64
    cohort: npt.NDArray[np.intp]


def rank(found: Results | Sequence[MaskRow]) -> list[Ranked]:
    """Order masks from the one to look at first to the last; ties by structure, case and source.

    Parameters
    ----------
    found : Results or sequence of MaskRow
        An audit, or some of its masks; each is compared with those given.

    Returns
    -------
    list of Ranked
        In order of their places, which count from 1.
    """
    masks = found.masks if isinstance(found, Results) else found
    flags = [(*mask.flags, *extra) for mask, extra in zip(masks, cohort_flags(masks), strict=True)]
    compared = _compare(masks)
    suspicion = compared.suspicion
    for i, seen in enumerate(flags):
        suspicion[i] += WEAK_SIGN * sum(flag.name in WEAK_FLAGS for flag in seen)
    severities = [_severity(mask, seen) for mask, seen in zip(masks, flags, strict=True)]

    def key(i: int) -> tuple[int, float, str, str, str]:
        score = -math.inf if math.isnan(suspicion[i]) else float(suspicion[i])
        mask = masks[i]
        return _ORDER.index(severities[i]), -score, mask.structure, mask.case_id, mask.source

    return [
        Ranked(
            mask=masks[i],
            place=place,
            severity=severities[i],
            suspicion=float(suspicion[i]),
            percentile=float(compared.percentile[i]),
            cohort=int(compared.cohort[i]),
            flags=flags[i],
        )
        for place, i in enumerate(sorted(range(len(masks)), key=key), 1)
    ]


def choose(ranked: Sequence[Ranked], budget: int) -> list[Ranked]:
    """Choose the masks to review when there is time for `budget` of them, in order of their places.

    From the top down, but no structure gets more than twice its even share while others have masks left, and only one
    mask is taken of a case whose image is no CT or of which nothing could be scored: one look settles those.
    Masks that are "empty" are not worth a look.

    Parameters
    ----------
    ranked : sequence of Ranked
        As `rank` ordered them.
    budget : int
        At least 0; more than there is gives all.

    Raises
    ------
    ParameterError
    """
    if budget < 0:
        raise ParameterError(f"budget: expected the number of masks to review, 0 or more, got {budget}.")
    candidates = _one_of_a_broken_case([entry for entry in ranked if entry.severity != "empty"])
    structures = {entry.mask.structure for entry in candidates}
    cap = max(1, math.ceil(_SHARES * budget / max(1, len(structures))))
    taken: Counter[str] = Counter()
    first, later = [], []
    for entry in candidates:
        if taken[entry.mask.structure] < cap:
            taken[entry.mask.structure] += 1
            first.append(entry)
        else:
            later.append(entry)
    return sorted([*first, *later][:budget], key=lambda entry: entry.place)


def _severity(mask: MaskRow, flags: Sequence[Flag]) -> Severity:
    names = {flag.name for flag in flags}
    if mask.error is not None:
        return "failed"
    if names.intersection(STRONG_FLAGS):
        return "wrong"
    return "empty" if "empty" in names else "open"


def _compare(masks: Sequence[MaskRow]) -> _Comparison:
    """Robust z-score of each Dice within its structure, positive for bad ones, percentile and size of the cohort.

    A structure's median and scale are drawn towards those of the whole dataset, all the more the fewer masks it has:
    of two livers, one of which is bad, nobody can tell what livers are like here.
    """
    dice = np.array([mask.dice for mask in masks], np.float64)
    found = _Comparison(np.full(len(masks), np.nan), np.full(len(masks), np.nan), np.zeros(len(masks), np.intp))
    cohorts = groups(group_numbers([mask.structure for mask in masks]), ~np.isnan(dice))
    if not cohorts:
        return found
    median_of_all = float(np.median(dice[np.concatenate(cohorts)]))
    trust = [_trust(index.size) for index in cohorts]
    below = [
        own * float(np.median(dice[index])) + (1 - own) * median_of_all - dice[index]
        for index, own in zip(cohorts, trust, strict=True)
    ]
    variance_of_all = float(robust_scale(np.concatenate(below))) ** 2
    for index, own, distance in zip(cohorts, trust, below, strict=True):
        variance = own * float(robust_scale(dice[index])) ** 2 + (1 - own) * variance_of_all
        found.suspicion[index] = distance / max(math.sqrt(variance), _LEAST_SCALE)
        found.percentile[index] = 100 * np.searchsorted(np.sort(dice[index]), dice[index]) / index.size
        found.cohort[index] = index.size
    return found


def _trust(n: int) -> float:
    """Weight of n masks' own median and scale, in [0, 1)."""
    usable = max(0, n - _TOO_FEW)
    return usable / (usable + _PRIOR_MASKS)


def _one_of_a_broken_case(entries: Sequence[Ranked]) -> list[Ranked]:
    broken: set[str] = set()
    whole_case_failed = {entry.mask.case_id for entry in entries if entry.severity == "failed"}
    whole_case_failed -= {entry.mask.case_id for entry in entries if entry.severity != "failed"}
    kept = []
    for entry in entries:
        case = entry.mask.case_id
        if case in whole_case_failed or any(flag.name == "not_ct" for flag in entry.flags):
            if case in broken:
                continue
            broken.add(case)
        kept.append(entry)
    return kept
