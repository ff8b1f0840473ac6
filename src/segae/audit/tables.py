"""The results as CSV: for spreadsheets, pandas and polars.

``scores.csv`` has a row a mask, ``matrix.csv`` a row a case and a column a structure (predicted Dice), ``summary.csv``
a row a structure, ``dataset.csv`` one row for all. Each file is replaced at once. Text that a spreadsheet would take
for a formula gets an apostrophe before it.
"""

from __future__ import annotations

import csv
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from segae.anatomy.findings import KINDS
from segae.audit.results import MaskRow, Results
from segae.audit.review.ranking import Ranked, rank
from segae.audit.review.verdict import verdict
from segae.errors import AuditError

SCORES, MATRIX, SUMMARY, DATASET = "scores.csv", "matrix.csv", "summary.csv", "dataset.csv"

_PERCENTILES = (5, 25, 50, 75, 95)
# What starts a formula somewhere, and the apostrophe itself, so that none is taken for ours.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")

_MASK_COLUMNS: dict[str, Callable[[MaskRow], object]] = {
    "case": lambda m: m.case_id,
    "structure": lambda m: m.structure,
    "name": lambda m: m.name,
    "dice": lambda m: m.dice,
    "precision": lambda m: m.precision,
    "recall": lambda m: m.recall,
    "raw": lambda m: m.raw,
    "judge_dice": lambda m: m.judge_dice,
    "adapted_dice": lambda m: m.adapted_dice,
    "reference": lambda m: m.reference_source,
    "reference_dice": lambda m: m.reference_dice,
    "reference_precision": lambda m: m.reference_precision,
    "reference_recall": lambda m: m.reference_recall,
    "reference_nsd": lambda m: m.reference_nsd,
    "reference_ml": lambda m: m.reference_ml,
    "reference_reliability": lambda m: m.reference_reliability,
    "dice_low": lambda m: m.dice_low,
    "dice_high": lambda m: m.dice_high,
    "volume_ml": lambda m: m.volume_ml,
    "flags": lambda m: " ".join(flag.name for flag in m.flags),
    "flag_details": lambda m: " ".join(flag.detail for flag in m.flags),
    "error": lambda m: m.error or "",
    "image": lambda m: m.image,
    "mask": lambda m: m.mask,
    "labels": lambda m: " ".join(map(str, m.labels)),
    "source": lambda m: m.source,
    "seconds": lambda m: m.seconds,
    "model_sha256": lambda m: m.model_sha256,
}


# How the mask compares with the others, in the order in which to look at them; `finding` is a kind of `verdict`.
_RANK_COLUMNS: dict[str, Callable[[Ranked], object]] = {
    "rank": lambda entry: entry.place,
    "suspicion": lambda entry: entry.suspicion,
    "finding": lambda entry: verdict(entry).kind,
}


def write_tables(results: Results) -> None:
    """Write all tables into the audit's folder.

    Raises
    ------
    AuditError
        When they cannot be written; the results themselves are safe.
    """
    out = results.out
    _write(out / SCORES, [*_MASK_COLUMNS, *_RANK_COLUMNS], _scores(results))
    structures = results.structures()
    _write(out / MATRIX, ["case", *structures], _matrix(results, structures))
    by_structure: dict[str, list[MaskRow]] = defaultdict(list)
    for mask in results.masks:
        by_structure[mask.structure].append(mask)
    columns = list(_summary([]))
    _write(
        out / SUMMARY,
        ["structure", *columns],
        ([name, *_summary(by_structure[name]).values()] for name in structures),
    )
    scored = [mask for mask in results.masks if mask.structure]
    failed = sum(case.error is not None for case in results.cases)
    _write(
        out / DATASET,
        ["cases", "cases_with_errors", "structures", *columns],
        [[len(results.cases), failed, len(structures), *_summary(scored).values()]],
    )


def _scores(results: Results) -> Iterable[list[object]]:
    """Scores in the order of the cases, not of the ranks."""
    ranked = {id(entry.mask): entry for entry in rank(results)}
    for mask in results.masks:
        yield [
            *(get(mask) for get in _MASK_COLUMNS.values()),
            *(get(ranked[id(mask)]) for get in _RANK_COLUMNS.values()),
        ]


def _matrix(results: Results, structures: Sequence[str]) -> Iterable[list[object]]:
    """Predicted Dice; the lowest where a case has several masks of one structure, empty where it has none."""
    lowest: dict[tuple[str, str], float] = {}
    for mask in results.masks:
        key = mask.case_id, mask.structure
        if not math.isnan(mask.dice):
            lowest[key] = min(mask.dice, lowest.get(key, math.inf))
    for case in results.cases:
        yield [case.case_id, *(lowest.get((case.case_id, name), math.nan) for name in structures)]


def _summary(masks: Sequence[MaskRow]) -> dict[str, object]:
    dice = np.array([mask.dice for mask in masks])
    volume = np.array([mask.volume_ml for mask in masks if mask.volume_ml > 0])
    dice = dice[~np.isnan(dice)]
    row: dict[str, object] = {
        "masks": len(masks),
        "failed": sum(mask.error is not None for mask in masks),
        "empty": sum(any(flag.name == "empty" for flag in mask.flags) for mask in masks),
        "flagged": sum(bool(mask.flags) for mask in masks),
        "dice_mean": float(dice.mean()) if dice.size else math.nan,
    }
    for kind in KINDS:
        row[kind] = sum(any(flag.name == kind for flag in mask.flags) for mask in masks)
    for name, values in (("dice", dice), ("volume_ml", volume)):
        for percent in _PERCENTILES:
            row[f"{name}_p{percent}"] = float(np.percentile(values, percent)) if values.size else math.nan
    return row


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    fresh = path.with_name(path.name + ".new")
    try:
        with fresh.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows([spreadsheet_cell(value) for value in row] for row in rows)
        os.replace(fresh, path)  # noqa: PTH105  a reader sees the old table or the new one
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise AuditError(
            f"out: {path} cannot be written ({error.strerror}). The results are safe; make room and give the same "
            f"command again."
        ) from error


def spreadsheet_cell(value: object) -> object:
    """A value as tables of an audit write it: nan empty, an apostrophe before text that would be a formula."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
