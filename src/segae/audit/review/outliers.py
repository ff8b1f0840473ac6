"""Masks that differ from the other masks of their structure by volume or position, whatever their score.

Robust z-scores, ``(value - median) / (1.4826 * MAD)``, over the masks of one structure that lie inside their scans. The
threshold 3.5 is that of Iglewicz & Hoaglin, "How to Detect and Handle Outliers" (ASQC, 1993). The least cohort is where
it stops crying wolf: on normally distributed cohorts it calls 1.6 % of the values outliers at 10 masks, 0.7 % at 20 and
0.1 % at 100. The least scales keep differences that no reader would call odd (a tenth of the volume, 5 mm) from
counting in cohorts that agree closely.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segae.assessment import Flag
from segae.audit.results import MaskRow

Float64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

THRESHOLD = 3.5
MIN_COHORT = 20
_MAD_TO_SIGMA = 1.4826
_LEAST_LOG_VOLUME = 0.1
_LEAST_POSITION_MM = 5.0
# Of so many structures a case's place in its scan can be told, though one of them may be wrong.
_COMPANIONS = 4
_POLISHING_ROUNDS = 4
# An empty mask is a finding where at most this share of the cohort is empty; elsewhere scans rarely show the structure.
_RARELY_EMPTY = 0.1

# Axes of `centroid_mm`, with the words for its two directions.
_DIRECTIONS = (("left", "right"), ("back", "front"), ("head", "feet"))


def cohort_flags(masks: Sequence[MaskRow]) -> list[tuple[Flag, ...]]:
    """Compare every mask with the others of its structure.

    Returns
    -------
    list of tuple of Flag
        One tuple a mask, of "odd_volume", "odd_position" and "rarely_empty". Empty for cohorts of fewer than
        `MIN_COHORT` masks. Masks that reach the end of their scan are neither judged nor compared with.
    """
    found: list[list[Flag]] = [[] for _ in masks]
    structure = group_numbers([mask.structure for mask in masks])
    names = [{flag.name for flag in mask.flags} for mask in masks]
    empty = np.array(["empty" in flags for flags in names], bool)
    scored = np.array([mask.error is None for mask in masks], bool)
    volume = np.array([mask.volume_ml for mask in masks], np.float64)
    whole = scored & ~empty & (volume > 0) & np.array(["touches_border" not in flags for flags in names], bool)
    for index in _cohorts(structure, whole):
        _judge_volumes(index, volume, found)
    _judge_positions(masks, structure, whole, found)
    for index in _cohorts(structure, scored):
        share = float(empty[index].mean())
        if 0 < share <= _RARELY_EMPTY:
            for i in index[empty[index]]:
                detail = f"The mask is empty; only {100 * share:.0f} % of the masks of this structure are."
                found[i].append(Flag("rarely_empty", detail))
    return [tuple(flags) for flags in found]


def group_numbers(keys: Sequence[str]) -> Ints:
    """Number equal keys alike, from 0, in order of the keys."""
    return np.unique(np.array(keys, object).astype(str), return_inverse=True)[1].astype(np.intp)


def groups(number: Ints, chosen: npt.NDArray[np.bool_]) -> list[Ints]:
    """Indices of the chosen members, group by group; groups without any are left out."""
    members = np.flatnonzero(chosen)
    if members.size == 0:
        return []
    members = members[np.argsort(number[members], kind="stable")]
    ends: Ints = np.flatnonzero(np.diff(number[members])) + 1
    return list(np.split(members, ends))


def robust_scale(values: Float64, axis: int | None = None) -> Any:
    """Median absolute deviation, scaled to the standard deviation of a normal distribution."""
    return _MAD_TO_SIGMA * np.median(np.abs(values - np.median(values, axis=axis, keepdims=True)), axis=axis)


def _cohorts(structure: Ints, chosen: npt.NDArray[np.bool_]) -> list[Ints]:
    return [index for index in groups(structure, chosen) if index.size >= MIN_COHORT]


def _judge_volumes(index: Ints, volume: Float64, found: list[list[Flag]]) -> None:
    logs = np.log(volume[index])
    middle = float(np.median(logs))
    z = (logs - middle) / max(float(robust_scale(logs)), _LEAST_LOG_VOLUME)
    for i, score, log in zip(index, z, logs, strict=True):
        if abs(score) > THRESHOLD:
            ratio = float(np.exp(abs(log - middle)))
            than = "larger" if score > 0 else "smaller"
            found[i].append(
                Flag("odd_volume", f"{volume[i]:.3g} ml, {ratio:.1f} times {than} than usual here (median "
                     f"{np.exp(middle):.3g} ml of {index.size} masks, robust z {abs(score):.1f}).")
            )  # fmt: skip


def _judge_positions(
    masks: Sequence[MaskRow], structure: Ints, whole: npt.NDArray[np.bool_], found: list[list[Flag]]
) -> None:
    placed = whole & np.array([mask.centroid_mm is not None for mask in masks], bool)
    centroid = np.array([mask.centroid_mm or (np.nan,) * 3 for mask in masks], np.float64).reshape(-1, 3)
    case = group_numbers([mask.case_id for mask in masks])
    companions = np.bincount(case[placed], minlength=int(case.max(initial=-1)) + 1)
    many = companions[case] >= _COMPANIONS
    if (placed & many).any():
        placed &= many
        away = _polish(centroid, structure, case, placed)
    else:  # a dataset of few structures: positions in the scan are all there is
        away = centroid
    for index in _cohorts(structure, placed):
        from_middle = away[index] - np.median(away[index], axis=0)
        z = from_middle / np.maximum(robust_scale(away[index], axis=0), _LEAST_POSITION_MM)
        for i, scores, distance in zip(index, z, from_middle, strict=True):
            axis = int(np.argmax(np.abs(scores)))
            if abs(scores[axis]) > THRESHOLD:
                towards = _DIRECTIONS[axis][0 if scores[axis] > 0 else 1]
                found[i].append(
                    Flag("odd_position", f"{abs(distance[axis]):.0f} mm further to the {towards} than usual among its "
                         f"neighbours ({index.size} masks, robust z {abs(scores[axis]):.1f}).")
                )  # fmt: skip


def _polish(centroid: Float64, structure: Ints, case: Ints, placed: npt.NDArray[np.bool_]) -> Float64:
    """Take from each position what its structure and its case explain, by medians (Tukey's median polish).

    Where a scan begins and how the patient lies moves all its structures alike, and so does not count.
    """
    rest = centroid.copy()
    by_structure, by_case = groups(structure, placed), groups(case, placed)
    for _ in range(_POLISHING_ROUNDS):
        for index in (*by_structure, *by_case):
            rest[index] -= np.median(rest[index], axis=0)
    return rest
