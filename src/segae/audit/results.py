"""What an audit knows: one `MaskRow` a mask, one `CaseRow` a case."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segae.assessment import Flag, SliceScore

Box = tuple[tuple[int, int], ...]


# Fields of `MaskRow` that are numbers, nan where there is none.
NUMBERS = (
    "dice",
    "precision",
    "recall",
    "raw",
    "volume_ml",
    "seconds",
    "judge_dice",
    "reference_dice",
    "reference_precision",
    "reference_recall",
    "reference_nsd",
    "reference_ml",
    "reference_reliability",
    "dice_low",
    "dice_high",
    "adapted_dice",
)


@dataclass(frozen=True, slots=True)  # there may be half a million
class MaskRow:
    """One mask, scored or failed.

    Attributes
    ----------
    case_id : str
        Unique in the dataset.
    structure : str
        Canonical name; "" for a case that has no masks at all.
    source : str
        Which mask of the case it is: its path in the dataset, with "#1+2" behind it for values of a labelmap. With
        `case_id` and `structure` the key of the row.
    name : str
        What the dataset calls the structure.
    dice, precision, recall, raw : float
        As in `segae.Assessment`; nan where there is none.
    volume_ml : float
        nan for a mask that failed.
    flags : tuple of Flag
    image, mask : str
        Absolute paths; "" where there is none.
    labels : tuple of int
        Values of the labelmap that make up the mask; empty for a file that holds nothing but 0 and 1.
    bbox : three (begin, end) or None
        In voxels, along the axes of the array in the file.
    centroid_mm : (float, float, float) or None
        Of the mask, from the centre of the volume towards the patient's left, back and head.
    slices_json : str
        JSON list of the slice scores, parsed by `slices`: a table of 100 000 masks is read without them.
    seconds : float
        The case's time by masks.
    model_sha256 : str
    error : str or None
        Why the mask could not be scored.
    judge_dice : float
        What the judge alone predicts; `dice` differs from it where a reference was heard.
    reference_source : "given", "built-in" or ""
        Whose masks it was compared with; "" where they hold nothing of the structure, or there are none.
    reference_dice, reference_precision, reference_recall, reference_nsd, reference_ml : float
        As in `segae.reference.comparison.ReferenceComparison`; nan without a reference.
    reference_reliability : float
        Dice that the reference reaches for the structure as a rule, as the whole audit shows it; 0 where it is not
        heard.
    reference_mask : str
        Absolute path of a given reference's mask or labelmap; "" where there is none.
    reference_labels : tuple of int
        Its values that make up the structure; empty for a file that holds nothing but 0 and 1.
    dice_low, dice_high : float
        Interval that holds the true Dice in about 90 % of masks; nan where the model has none.
    adapted_dice : float
        What a model says that was adapted to the dataset (`segae.train.adapt`) and did not see the case: it is heard
        in the judge's place. nan where there is none, or where it learned too little of the structure.
    """

    case_id: str
    structure: str
    source: str
    name: str
    dice: float
    precision: float
    recall: float
    raw: float
    volume_ml: float
    flags: tuple[Flag, ...]
    image: str
    mask: str
    labels: tuple[int, ...]
    bbox: Box | None
    centroid_mm: tuple[float, float, float] | None
    slices_json: str
    seconds: float
    model_sha256: str
    error: str | None
    judge_dice: float = math.nan
    reference_source: str = ""
    reference_dice: float = math.nan
    reference_precision: float = math.nan
    reference_recall: float = math.nan
    reference_nsd: float = math.nan
    reference_ml: float = math.nan
    reference_reliability: float = math.nan
    dice_low: float = math.nan
    dice_high: float = math.nan
    reference_mask: str = ""
    reference_labels: tuple[int, ...] = ()
    adapted_dice: float = math.nan

    @property
    def slices(self) -> tuple[SliceScore, ...]:
        """Slice by slice, along the volume as given, without expected masks."""
        return tuple(
            SliceScore(index, _nan(area), _nan(dice), _nan(precision), _nan(recall), _nan(expected_area))
            for index, area, dice, precision, recall, expected_area in json.loads(self.slices_json)
        )


@dataclass(frozen=True)
class CaseRow:
    """One case.

    Attributes
    ----------
    case_id : str
    state : "done", "failed" or "gone"
        "failed": no mask could be scored. "gone": the dataset held it in an earlier run.
    fingerprint : str
        Of the case's files (size and time of change), of the names given to its masks and of the model.
    error : str or None
        The first error of the case and how many of its masks failed; such cases are scored again by the next run.
    seconds : float
    """

    case_id: str
    state: str
    fingerprint: str
    error: str | None
    seconds: float


class Results:
    """A finished or running audit, as it stood when it was read. Cases that are gone are left out.

    Attributes
    ----------
    out : Path
    masks : list of MaskRow
        In order of case, structure and source.
    cases : list of CaseRow
        In order of their ids.
    meta : dict
        "segae" (version), "model" (path), "model_sha256", "dataset" (absolute path), "layout", "started", "finished"
        (ISO 8601 in UTC, absent while it runs), all strings.
    """

    def __init__(self, out: Path, masks: list[MaskRow], cases: list[CaseRow], meta: dict[str, str]) -> None:
        self.out = out
        self.masks = masks
        self.cases = cases
        self.meta = meta

    def column(self, name: str) -> npt.NDArray[Any]:
        """One field of all masks as an array: float64 for numbers, object for the rest."""
        values = [getattr(mask, name) for mask in self.masks]
        numeric = name in NUMBERS
        if numeric:
            return np.array(values, np.float64)
        array = np.empty(len(values), object)
        array[:] = values
        return array

    def structures(self) -> list[str]:
        """Canonical names that occur, sorted."""
        return sorted({mask.structure for mask in self.masks} - {""})


def slices_to_json(slices: tuple[SliceScore, ...]) -> str:
    """Compact form of `MaskRow.slices_json`: [index, area, dice, precision, recall, expected area] a slice."""
    rows = [
        [s.index, *(_null(v) for v in (s.area_mm2, s.dice, s.precision, s.recall, s.expected_area_mm2))] for s in slices
    ]
    return json.dumps(rows, separators=(",", ":"), allow_nan=False)


def _null(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 5)


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value
