"""Where a structure should lie, told by the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from segae.anatomy.table import Fact, Table

Float64 = npt.NDArray[np.float64]

# Of two structures that far apart, one tells the place of the other no better than to this share of the distance.
_LOOSENESS = 0.15
# Adults differ in size by about this much from the common frame.
_SIZES = (0.8, 1.25)
_ENOUGH_FOR_SIZE = 6
# Squared spreads within which a structure lies in the second place that some people have it in.
_IN_OTHER_PLACE = 9.0


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
    table : Table
    size : float, optional
        Of the body, as `size_of` tells it; default: by these points.
    """

    def __init__(self, points: Mapping[str, Float64], table: Table, size: float | None = None) -> None:
        places = table.places
        self._places, self._other_places = places, table.other_places
        self.names = [name for name in points if name in places]
        self._index = {name: i for i, name in enumerate(self.names)}
        self.size = size_of(points, places) if size is None else size
        self._means = np.array([places[name].mean for name in self.names]).reshape(-1, 3)
        self._variances = np.array([places[name].spread for name in self.names]).reshape(-1, 3) ** 2
        origins = np.array([points[name] for name in self.names]).reshape(-1, 3) - self.size * self._means
        self._order = np.argsort(origins, axis=0)
        self._sorted = np.take_along_axis(origins, self._order, axis=0)

    def expected(self, names: Sequence[str], without: Sequence[str] = ()) -> Float64:
        """Places [names, 3] of structures, each by all others and leaving out some; nan with fewer than two of them."""
        means = np.array([self._places[name].mean for name in names]).reshape(-1, 1, 3)
        apart = ((self._means - means) ** 2).sum(axis=2, keepdims=True)
        weights = 1 / (self._variances + _LOOSENESS**2 * apart)
        weights[:, [self._index[name] for name in without if name in self._index]] = 0.0
        for row, name in enumerate(names):
            if name in self._index:
                weights[row, self._index[name]] = 0.0
        if len(self.names) < 2:
            return np.full((len(names), 3), np.nan)
        weights = np.take_along_axis(weights, self._order[None], axis=1)
        origins = _weighted_medians(self._sorted, weights)
        origins[(weights[:, :, 0] > 0).sum(axis=1) < 2] = np.nan
        places: Float64 = origins + self.size * means[:, 0]
        return places

    def misfits(self, names: Sequence[str], places: Float64, without: Sequence[str] = ()) -> Float64:
        """Squared distances [names, 3] of places [names, 3] or [3] from the expected ones, in spreads.

        Where some people have a structure in a second place, and it lies there, from that.
        """
        spreads = np.array([self._places[name].spread for name in names]).reshape(-1, 3)
        expected = self.expected(names, without)
        away: Float64 = ((places - expected) / spreads) ** 2
        for row, name in enumerate(names):
            if name in self._other_places:
                other = self._other_places[name]
                place = places if places.ndim == 1 else places[row]
                second = expected[row] + self.size * (other.mean - self._places[name].mean)
                there = ((place - second) / other.spread) ** 2
                if there.sum() < min(_IN_OTHER_PLACE, away[row].sum()):
                    away[row] = there
        return away


def _weighted_medians(values: Float64, weights: Float64) -> Float64:
    """Medians [k, 3] of rising values [n, 3] with weights [k, n, 3], between values by linear interpolation."""
    middles = np.cumsum(weights, axis=1) - weights / 2
    half = weights.sum(axis=1, keepdims=True) / 2
    # Values without weight are never taken: the middles of their neighbours meet in them.
    above = np.minimum((middles < half).sum(axis=1), len(values) - 1)
    below = np.maximum(above - 1, 0)
    axes = np.arange(3)
    low, high = (np.take_along_axis(middles, i[:, None], axis=1)[:, 0] for i in (below, above))
    share = np.clip(np.divide(half[:, 0] - low, high - low, out=np.ones_like(low), where=high > low), 0, 1)
    medians: Float64 = values[below, axes] + share * (values[above, axes] - values[below, axes])
    return medians
