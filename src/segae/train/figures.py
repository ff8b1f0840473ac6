"""Correlation, error and detection of predicted Dice, each with an interval.

Intervals are percentiles over bootstrap draws of patients, since slices and masks of one patient are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

BAD_DICE = 0.7
DRAWS = 400


class Scored(Protocol):
    """A mask, or a slice of one, with its true Dice and the predicted one."""

    @property
    def case(self) -> str:
        """Patient."""

    @property
    def true(self) -> float:
        """True Dice."""

    @property
    def said(self) -> float:
        """Predicted Dice."""


@dataclass(frozen=True)
class Figures:
    """What is told of a set of predictions; each figure as (value, low, high) of a 95 % interval over cases."""

    n: int
    cases: int
    lcc: tuple[float, float, float]
    srocc: tuple[float, float, float]
    kendall: tuple[float, float, float]
    mae: tuple[float, float, float]
    slope: tuple[float, float, float]
    auroc: tuple[float, float, float]


def figures(rows: Sequence[Scored], bad: npt.NDArray[np.bool_] | None = None, draws: int = DRAWS) -> Figures:
    """Figures of some rows; `bad` says which the AUROC should find (default: true Dice below 0.7)."""
    true, said = np.array([r.true for r in rows]), np.array([r.said for r in rows])
    wrong = true < BAD_DICE if bad is None else bad
    case = np.array([r.case for r in rows])
    members = [np.flatnonzero(case == name) for name in sorted(set(case))]
    rng = np.random.default_rng(0)
    picks = [np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))]) for _ in range(draws)]

    def told(measure: Callable[..., float], sets: list[npt.NDArray[np.int64]]) -> tuple[float, float, float]:
        drawn = [measure(true[p], said[p], wrong[p]) for p in sets]
        low, high = np.nanpercentile(drawn, [2.5, 97.5]) if np.isfinite(drawn).any() else (np.nan, np.nan)
        return measure(true, said, wrong), float(low), float(high)

    few = picks[: max(draws // 8, 1)]
    return Figures(
        len(rows), len(members), told(_lcc, picks), told(_srocc, picks), told(_kendall, few), told(_mae, picks),
        told(_slope, picks), told(auroc, picks),
    )  # fmt: skip


def _lcc(true: Float64, said: Float64, _: npt.NDArray[np.bool_]) -> float:
    if len(true) < 3 or true.std() == 0 or said.std() == 0:
        return float("nan")
    return float(np.corrcoef(true, said)[0, 1])


def _srocc(true: Float64, said: Float64, bad: npt.NDArray[np.bool_]) -> float:
    from scipy.stats import rankdata

    return _lcc(rankdata(true), rankdata(said), bad)


def _kendall(true: Float64, said: Float64, _: npt.NDArray[np.bool_]) -> float:
    from scipy.stats import kendalltau

    return float(kendalltau(true, said).statistic)


def _mae(true: Float64, said: Float64, _: npt.NDArray[np.bool_]) -> float:
    return float(np.abs(true - said).mean())


def _slope(true: Float64, said: Float64, _: npt.NDArray[np.bool_]) -> float:
    """Slope of true over predicted Dice: 1 when predictions neither exaggerate nor flatten."""
    spread = said.var()
    return float(((said - said.mean()) * (true - true.mean())).mean() / spread) if spread > 0 else float("nan")


def auroc(_: Float64, said: Float64, bad: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve of finding bad masks by low predictions; nan where there are none, or only those."""
    from scipy.stats import rankdata

    positive, negative = int(bad.sum()), int((~bad).sum())
    if not positive or not negative:
        return float("nan")
    rank = rankdata(-said)[bad].sum()
    return float((rank - positive * (positive + 1) / 2) / (positive * negative))
