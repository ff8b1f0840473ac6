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


def monotone_curve(said: Float64, true: Float64, knots: int = 5) -> Calibration:
    """Piecewise-linear map from predicted to true Dice that always rises (pool adjacent violators over equal bins).

    Parameters
    ----------
    said, true : float [n]
        Aggregated and true Dice of held-out masks.
    knots : int
        Bins with equally many masks each.
    """
    order = np.argsort(said)
    bins = zip(np.array_split(said[order], knots), np.array_split(true[order], knots), strict=True)
    blocks: list[tuple[float, float, int]] = []  # mean prediction, mean truth, bins
    for said_bin, true_bin in bins:
        x, y, size = float(said_bin.mean()), float(true_bin.mean()), 1
        while blocks and blocks[-1][1] >= y:
            x0, y0, size0 = blocks.pop()
            x, y = (x0 * size0 + x * size) / (size0 + size), (y0 * size0 + y * size) / (size0 + size)
            size += size0
        blocks.append((x, y, size))
    # One knot a block, so that no two predictions share a calibrated value: ranks survive.
    return Calibration((0.0, *(x for x, _, _ in blocks), 1.0), (0.0, *(y for _, y, _ in blocks), 1.0))


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
    """Split-conformal interval of the true Dice in bins of the predicted one.

    In each of `knots` bins with equally many masks, the errors' quantiles at 5 and 95 %, ranked with one more than
    there are (Vovk et al., Algorithmic Learning in a Random World, 2005), bound the interval. Masks of one patient are
    not exchangeable with those of another: on other scans the coverage is to be measured.

    Parameters
    ----------
    said, true : float [n]
        Calibrated and true Dice, n at least `knots`.
    """
    order = np.argsort(said)
    middles, lows, highs = [], [], []
    for mine in np.array_split(order, knots):
        errors = np.sort(true[mine] - said[mine])
        outside = int(np.floor((1 - COVERED) / 2 * (len(mine) + 1)))  # errors that may lie outside, at either end
        middle = float(said[mine].mean())
        middles.append(middle)
        lows.append(float(middle + errors[max(outside - 1, 0)]))
        highs.append(float(middle + errors[min(len(errors) - outside, len(errors) - 1)]))
    ends = (tuple(float(np.clip(v, 0, 1)) for v in values) for values in (middles, lows, highs))
    return IntervalCurve(*ends)


def _columns(rows: Sequence[Row]) -> tuple[Float64, Float64]:
    return np.array([row.said for row in rows]), np.array([row.true for row in rows])
