"""What is wrong with a mask, as a word to sort by and a sentence to read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segae.assessment import SliceScore
from segae.audit.results import MaskRow
from segae.audit.review.ranking import Ranked

# Kinds of trouble, gravest first, with the words that the report shows.
KINDS = {
    "failed": "not scored",
    "not_ct": "image is no CT",
    "outside_body": "outside the body",
    "wrong_side": "wrong side",
    "side_swapped": "sides exchanged",
    "out_of_order": "out of order",
    "wrong_level": "wrong level",
    "misplaced": "wrong place",
    "merged": "covers two",
    "implausible_volume": "impossible volume",
    "rarely_empty": "empty",
    "truncated": "end missing",
    "fragmented": "fragments",
    "overlaps": "overlaps another",
    "missing_part": "neighbour has no label",
    "elsewhere": "wrong shape",
    "too_large": "too large",
    "too_small": "too small",
    "low_score": "low score",
    "odd_volume": "odd volume",
    "odd_position": "odd position",
    "usual": "as usual",
    "looks_right": "looks right",
    "empty": "empty",
}

# Flags that say what is wrong whatever the score, and those that do so beside a good one.
_DECISIVE = (
    "not_ct", "outside_body", "wrong_side", "side_swapped", "out_of_order", "wrong_level", "misplaced", "merged",
    "implausible_volume", "rarely_empty",
)  # fmt: skip
_BESIDE = ("truncated", "fragmented", "overlaps", "missing_part", "odd_volume", "odd_position")
# From this Dice on, two careful readers differ as much.
_GOOD_DICE = 0.85
# In a cohort of so many, a mask that is no further below the others than this is as good as they usually are.
_COHORT = 10
_UNUSUAL = 1.5
# Precision and recall closer than this do not tell too large from too small.
_UNDECIDED = 0.08
# An error is said to lie in some slices when they hold most of it and are not most of the mask.
_MOST = 0.6
_LEAST_SLICES = 4


@dataclass(frozen=True)
class Verdict:
    """`kind` is a key of `KINDS`, `sentence` is for people."""

    kind: str
    sentence: str


def verdict(entry: Ranked) -> Verdict:
    """Say what segae thinks is wrong with a mask, given how it compares with the others of its structure."""
    mask = entry.mask
    said = {flag.name: flag.detail for flag in entry.flags}
    if mask.error is not None:
        return Verdict("failed", mask.error)
    for name in _DECISIVE:
        if name in said:
            return Verdict(name, said[name])
    if "empty" in said:
        return Verdict("empty", said["empty"])
    kind, sentence = _of_score(mask)
    beside = [name for name in _BESIDE if name in said]
    if kind != "looks_right" and entry.cohort >= _COHORT and entry.suspicion < _UNUSUAL:
        kind, sentence = "usual", f"No worse than usual for this structure here. {sentence}"
    if beside and kind in ("looks_right", "usual", "too_small"):
        # A missing end or an odd volume says more than that a mask is small.
        return Verdict(beside[0], " ".join([said[beside[0]], *([sentence] if kind == "too_small" else [])]))
    if "fragmented" in beside:
        sentence = f"{sentence} {said['fragmented']}"
    return Verdict(kind, sentence)


def _of_score(mask: MaskRow) -> tuple[str, str]:
    if mask.dice >= _GOOD_DICE:
        return "looks_right", "Nothing stands out."
    if math.isnan(mask.precision):
        return "low_score", f"A Dice of {mask.dice:.2f} is expected; this model does not tell too large from too small."
    name = mask.structure.replace("_", " ")
    outside = f"bout {100 * (1 - mask.precision):.0f} % of the mask should not be {name}"
    missing = f"bout {100 * (1 - mask.recall):.0f} % of the {name} is missing"
    slices = mask.slices
    if mask.precision < mask.recall - _UNDECIDED:
        return "too_large", f"A{outside}{_where(slices, _excess_mm2)}."
    if mask.recall < mask.precision - _UNDECIDED:
        return "too_small", f"A{missing}{_where(slices, _missing_mm2)}."
    return "elsewhere", f"A{outside}, and a{missing}{_where(slices, wrong_mm2)}."


def wrong_mm2(score: SliceScore) -> float:
    """Area that is thought to be wrong in a slice: what the mask has too much, and what it lacks."""
    return _excess_mm2(score) + _missing_mm2(score)


def _excess_mm2(score: SliceScore) -> float:
    return score.area_mm2 * (1 - _or_zero(score.precision)) if score.area_mm2 > 0 else 0.0


def _missing_mm2(score: SliceScore) -> float:
    right = score.area_mm2 * _or_zero(score.precision)
    return max(0.0, _or_zero(score.expected_area_mm2) - right)


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _where(slices: Sequence[SliceScore], amount: Callable[[SliceScore], float]) -> str:
    """Name the shortest run of slices that holds most of the error, when it is short: ", mostly in slices 5 to 9"."""
    shares = [amount(score) for score in slices]
    total = sum(shares)
    if len(slices) < _LEAST_SLICES or total <= 0:
        return ""
    runs = (
        (last - first, first, last)
        for first in range(len(slices))
        for last in range(first, len(slices))
        if sum(shares[first : last + 1]) >= _MOST * total
    )
    length, first, last = min(runs)
    if length + 1 > len(slices) // 3:
        return ""
    if first == last:
        return f", mostly around slice {slices[first].index}"
    return f", mostly in slices {slices[first].index} to {slices[last].index}"
