"""Masks of held-out scans -> what a predicted Dice means: the true one to expect, and where nine in ten lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from segae import structures
from segae.recipe import Calibration, IntervalCurve
from segae.train.judged import Row

Float64 = npt.NDArray[np.float64]

COVERED = 0.9
# A group of structures gets an interval of its own from so many masks on.
_LEAST_MASKS = 200
_LEAST_HALF = 0.005


def monotone_curve(said: Float64, true: Float64, knots: int = 8) -> Calibration:
    """Piecewise-linear map from predicted to true Dice that always rises (pool adjacent violators over equal bins).

    It goes through medians, not means: those have the least absolute error, and do not draw good masks down to the few
    bad ones that look like them.

    Parameters
    ----------
    said, true : float [n]
        Aggregated and true Dice of held-out masks.
    knots : int
        Bins with equally many masks each.
    """
    order = np.argsort(said)
    blocks: list[tuple[Float64, Float64]] = []  # predictions, truth
    for mine in np.array_split(order, knots):
        x, y = said[mine], true[mine]
        while blocks and np.median(blocks[-1][1]) >= np.median(y):
            x0, y0 = blocks.pop()
            x, y = np.concatenate([x0, x]), np.concatenate([y0, y])
        blocks.append((x, y))
    # One knot a block, so that no two predictions share a calibrated value: ranks survive.
    middles = (float(x.mean()) for x, _ in blocks), (float(np.median(y)) for _, y in blocks)
    return Calibration((0.0, *middles[0], 1.0), (0.0, *middles[1], 1.0))


def interval_curves(rows: Sequence[Row]) -> dict[str, IntervalCurve]:
    """Intervals by group of structures, and "default" for all; from rows of masks whose predictions are calibrated."""
    groups = {name: structures.get(name).group for name in {row.structure for row in rows}}
    found = {"default": interval_curve(*_columns(rows))}
    for group in sorted(set(groups.values())):
        mine = [row for row in rows if groups[row.structure] == group]
        if len(mine) >= _LEAST_MASKS:
            found[group] = interval_curve(*_columns(mine))
    return found


def interval_curve(said: Float64, true: Float64, knots: int = 6) -> IntervalCurve:
    """Interval of the true Dice by the predicted one, from errors on held-out masks.

    Quantiles of the errors in `knots` bins with equally many masks give its shape; its width is scaled so that it holds
    nine in ten of the masks (conformalised quantiles, arXiv 1905.03222). Masks of one patient are not exchangeable with
    those of another: on other scans the coverage is to be measured.

    Parameters
    ----------
    said, true : float [n]
        Calibrated and true Dice, n at least `knots`.
    """
    order = np.argsort(said)
    below, above, middles = [], [], []
    for mine in np.array_split(order, knots):
        low, high = np.quantile(true[mine] - said[mine], [(1 - COVERED) / 2, (1 + COVERED) / 2])
        middles.append(float(said[mine].mean()))
        below.append(max(-float(low), _LEAST_HALF))
        above.append(max(float(high), _LEAST_HALF))
    # The widths at the knots are joined by lines: how many times as wide holds nine in ten?
    error = true - said
    apart = np.maximum(error / np.interp(said, middles, above), -error / np.interp(said, middles, below))
    rank = min(int(np.ceil(COVERED * (len(said) + 1))), len(said))
    times = float(np.sort(apart)[rank - 1])
    return IntervalCurve(tuple(middles), tuple(times * b for b in below), tuple(times * a for a in above))


def _columns(rows: Sequence[Row]) -> tuple[Float64, Float64]:
    return np.array([row.said for row in rows]), np.array([row.true for row in rows])
