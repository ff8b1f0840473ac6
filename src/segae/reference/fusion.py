"""One number from two opinions: the judge's and the reference's overlap, weighed by how far the latter is trusted.

In log odds, ``fused = offset + overlap * (overlap so far as the reference can tell) + judge * (the judge's Dice)``,
with weights that are never negative, fitted for each group of structures on held-out scans whose masks were spoiled
(``docs/second_opinion.md`` tells how). A reference that reaches a Dice of 0.9 agrees at 0.9 with a perfect mask: so the
overlap is taken relative to the reference's reliability. Where that is low, the judge's word stands alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from segae.reference.comparison import ReferenceComparison, Source

# From this reliability on, a reference counts fully; below the first, not at all.
_TRUST_FROM, _TRUST_FULLY = 0.5, 0.8
_LEAST, _MOST = 0.004, 0.985
# Of so few overlaps, the usual one says little about the reference: n count for n / (n + prior).
_PRIOR_MASKS = 5


@dataclass(frozen=True)
class Weights:
    """Weights for one group of structures and one source of references.

    Attributes
    ----------
    offset, overlap, judge : float
        See the module; `overlap` and `judge` are at least 0.
    error, error_apart : float
        Half width of the 90 % interval: error + error_apart * |overlap's word - judge's word|.
    """

    offset: float
    overlap: float
    judge: float
    error: float
    error_apart: float


@dataclass(frozen=True)
class Fused:
    """`dice` in [0, 1], and the interval that holds the true one in about 90 % of masks."""

    dice: float
    interval: tuple[float, float]


@cache
def table() -> dict[str, dict[str, Weights]]:
    """Source -> group of structures, or "other" -> weights, as fitted for the judge in the package."""
    data = json.loads((files("segae.reference") / "fusion.json").read_text(encoding="utf-8"))
    return {
        source: {group: Weights(**entry) for group, entry in groups.items()}
        for source, groups in data["weights"].items()
    }


@cache
def _groups() -> dict[str, str]:
    data = json.loads((files("segae.reference") / "fusion.json").read_text(encoding="utf-8"))
    return {name: group for group, names in data["groups"].items() for name in names}


def group_of(structure: str) -> str:
    """Group whose weights hold for a structure."""
    return _groups().get(structure, "other")


def weights_of(structure: str, source: Source) -> Weights:
    """Weights for a structure."""
    groups = table()[source]
    return groups.get(group_of(structure), groups["other"])


def fuse(structure: str, judge: float, found: ReferenceComparison, weights: Weights | None = None) -> Fused:
    """Weigh the judge's calibrated Dice and a comparison.

    Parameters
    ----------
    structure : str
        Canonical name.
    judge : float
        In [0, 1].
    found : ReferenceComparison
    weights : Weights, optional
        Default: those in the package.
    """
    weights = weights or weights_of(structure, found.source)
    overlap = relative_overlap(found)
    said = weights.offset + weights.overlap * log_odds(overlap) + weights.judge * log_odds(judge)
    trust = 0.0 if found.identical else trust_in(found.reliability)
    dice = 1 / (1 + math.exp(-(trust * said + (1 - trust) * log_odds(judge))))
    apart = abs(overlap - judge)
    half = weights.error + weights.error_apart * apart
    half += (1 - trust) * weights.error  # a judge alone is less sure
    return Fused(dice, (max(0.0, dice - half), min(1.0, dice + half)))


def relative_overlap(found: ReferenceComparison) -> float:
    """Overlap as a share of what a perfect mask would reach with such a reference, in [0, 1]."""
    return min(1.0, found.dice / max(found.reliability, _TRUST_FROM))


def trust_in(reliability: float) -> float:
    """How far a reference of so high a Dice is heard, in [0, 1]."""
    return float(np.clip((reliability - _TRUST_FROM) / (_TRUST_FULLY - _TRUST_FROM), 0, 1))


def log_odds(share: float) -> float:
    """Log odds of a share in [0, 1], which is kept off the ends."""
    bounded = min(max(share, _LEAST), _MOST)
    return math.log(bounded / (1 - bounded))


def usual_overlap(overlaps: Sequence[float], prior: float) -> float:
    """How reliable a reference is for a structure, from its overlaps with many masks that are good as a rule.

    The median: up to half of the masks may be bad. Few overlaps are drawn towards `prior`.
    """
    if not overlaps:
        return prior
    own = len(overlaps) / (len(overlaps) + _PRIOR_MASKS)
    return own * float(np.median(overlaps)) + (1 - own) * prior
