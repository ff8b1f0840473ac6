"""One judged mask or slice, as a row of the tables that an evaluation writes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One judged mask, or one slice of it.

    `shared` counts voxels; `slice` is -1 for a whole mask, which has flags and an interval from `low` to `high`.
    """

    case: str
    structure: str
    kind: str
    number: int
    slice: int
    shared: int
    true: float
    said: float
    true_precision: float
    said_precision: float
    true_recall: float
    said_recall: float
    flags: str = ""
    low: float = float("nan")
    high: float = float("nan")
