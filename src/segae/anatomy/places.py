"""Where a structure should lie, told by the others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from segae.anatomy.table import Fact

Float64 = npt.NDArray[np.float64]

# Of two structures that far apart, one tells the place of the other no better than to this share of the distance.
_LOOSENESS = 0.15
# Adults differ in size by about this much from the common frame.
_SIZES = (0.8, 1.25)
_ENOUGH_FOR_SIZE = 6


def size_of(points: Mapping[str, Float64], places: Mapping[str, Fact]) -> float:
    """How much larger than the common frame a body is, by the median over pairs of structures; 1 when few are known."""
    known = [name for name in points if name in places]
    if len(known) < _ENOUGH_FOR_SIZE:
        return 1.0
    here = np.array([points[name] for name in known])
    there = np.array([places[name].mean for name in known])
    i, j = np.triu_indices(len(known), 1)
    apart = np.linalg.norm(there[i] - there[j], axis=1)
    far = apart > 60.0  # nearer ones say more about how organs lie than about how large people are
    if far.sum() < _ENOUGH_FOR_SIZE:
        return 1.0
    ratio = np.linalg.norm(here[i] - here[j], axis=1)[far] / apart[far]
    return float(np.clip(np.median(ratio), *_SIZES))


class Consensus:
    """The frame of a scan, as its structures together tell it: places from each, and a weighted median over them.

    Parameters
    ----------
    points : dict name -> float64 [3]
        Middles along z, y, x in mm, of structures that lie in the scan as a whole.
    places : dict name -> Fact
    """

    def __init__(self, points: Mapping[str, Float64], places: Mapping[str, Fact]) -> None:
        self._places = places
        self.names = [name for name in points if name in places]
        self.size = size_of(points, places)
        self._means = np.array([places[name].mean for name in self.names]).reshape(-1, 3)
        self._sds = np.array([places[name].sd for name in self.names]).reshape(-1, 3)
        self._origins = np.array([points[name] for name in self.names]).reshape(-1, 3) - self.size * self._means

    def expected(self, name: str, without: tuple[str, ...] = ()) -> Float64 | None:
        """Place of a structure by all others, leaving out some; None with fewer than two of them."""
        left_out = {name, *without}
        use = [i for i, other in enumerate(self.names) if other not in left_out]
        if len(use) < 2:
            return None
        mean = self._places[name].mean
        apart = np.linalg.norm(self._means[use] - mean, axis=1)
        weights = 1 / (self._sds[use] ** 2 + (_LOOSENESS * apart[:, None]) ** 2)
        origin = [_weighted_median(self._origins[use, axis], weights[:, axis]) for axis in range(3)]
        place: Float64 = np.array(origin) + self.size * mean
        return place

    def misfit(self, name: str, place: Float64, without: tuple[str, ...] = ()) -> Float64 | None:
        """Squared distance of a place from the expected one, in spreads, along z, y, x."""
        expected = self.expected(name, without)
        if expected is None:
            return None
        away: Float64 = ((place - expected) / self._places[name].sd) ** 2
        return away


def _weighted_median(values: Float64, weights: Float64) -> float:
    order = np.argsort(values)
    values, weights = values[order], weights[order]
    middles = np.cumsum(weights) - weights / 2
    return float(np.interp(0.5 * weights.sum(), middles, values))
