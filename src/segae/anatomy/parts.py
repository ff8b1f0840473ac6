"""What one pass over a scan's labels tells of each structure, and of every pair of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from segae import _core
from segae.label_scan import LabelScan
from segae.volume import Volume

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Moments = tuple[Int64, Int64, Int64]

# Rows and slices are skipped to about this distance: anatomy across structures is a matter of centimetres.
_ROW_MM = 2.0
# The hindmost part of a structure; of a rib, where it hangs on the spine.
_BACK_MM = 15.0


@dataclass(frozen=True)
class Grid:
    """The lattice on which structures were looked at: `shape` and `step_mm` along z, y, x (LPS).

    `upright` is the volume of its cells over the product of their sides, 1 for axes at right angles.
    """

    shape: tuple[int, int, int]
    step_mm: tuple[float, float, float]
    upright: float = 1.0

    @property
    def voxel_ml(self) -> float:
        """Volume that a sample stands for."""
        return math.prod(self.step_mm) / 1000 * self.upright


@dataclass(frozen=True)
class Part:
    """One structure: where it lies, in mm from the middle of the scan's first voxel along z, y, x.

    Attributes
    ----------
    name : str
        Canonical name.
    grid : Grid
    moments : three int64 arrays [extent, 3]
        In each slice along z, y, x: voxels, and the sums of their indices along the other two axes.
    volume_ml : float
    middle : float64 [3]
        Median place: scattered voxels do not move it.
    extent : float64 [3]
        Length of all but the first and the last twentieth of the voxels.
    cut : bool [2, 3]
        Whether the structure reaches the scan's first, last slice.
    """

    name: str
    grid: Grid
    moments: Moments
    volume_ml: float
    middle: Float64
    extent: Float64
    cut: npt.NDArray[np.bool_]

    @cached_property
    def back(self) -> Float64:
        """Mean place of the hindmost 15 mm."""
        counts = self.moments[1][:, 0]
        reach = max(1, round(_BACK_MM / self.grid.step_mm[1]))
        last = int(np.flatnonzero(counts)[-1])
        chosen = slice(max(0, last - reach + 1), last + 1)
        n = counts[chosen].sum()
        y = (np.arange(self.grid.shape[1])[chosen] * counts[chosen]).sum()
        z, x = self.moments[1][chosen, 1].sum(), self.moments[1][chosen, 2].sum()
        place: Float64 = np.array([z, y, x], np.float64) / n * self.grid.step_mm
        return place


def measure_parts(names: Sequence[str], grid: Grid, moments: Moments) -> dict[str, Part]:
    """Parts of those structures that have voxels, from moments [n, extent, 3] along z, y, x."""
    quantiles, ends = [], []
    for axis in range(3):
        counts = moments[axis][:, :, 0]
        below = np.cumsum(counts, axis=1)
        total = below[:, -1:]
        quantiles.append([(below < share * total).sum(axis=1) for share in (0.05, 0.5, 0.95)])
        ends.append([counts[:, 0] > 0, counts[:, -1] > 0])
    early, middle, late = np.array(quantiles).transpose(1, 2, 0) * np.array(grid.step_mm)
    cut = np.array(ends).transpose(2, 1, 0)
    voxels = moments[0][:, :, 0].sum(axis=1)
    return {
        name: Part(
            name, grid, (moments[0][i], moments[1][i], moments[2][i]), float(voxels[i]) * grid.voxel_ml, middle[i],
            late[i] - early[i], cut[i],
        )
        for i, name in enumerate(names)
        if voxels[i] > 0
    }  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """All structures of a scan.

    Attributes
    ----------
    parts : dict name -> Part
    overlap_ml : dict (name, name) -> float
        Volume that both hold; pairs that share some, names in alphabetical order.
    contact_mm2 : dict (name, name) -> float
        Area where they touch; pairs that touch, likewise.
    """

    parts: dict[str, Part]
    overlap_ml: dict[tuple[str, str], float] = field(default_factory=dict)
    contact_mm2: dict[tuple[str, str], float] = field(default_factory=dict)

    @staticmethod
    def of_labelmap(labelmap: Volume, named: Mapping[int, str], threads: int) -> Scene:
        """Look at a labelmap; `named` is value -> canonical name."""
        thin, grid = _thinned(labelmap)
        runs = _core.runs(thin, list(named), threads)
        return _scene([runs], list(named.values()), grid, threads)


class MaskCollector:
    """Masks of one grid, taken one by one: of each only its runs are kept. The first of a structure counts."""

    def __init__(self) -> None:
        self._runs: dict[str, Int64] = {}
        self._grid: Grid | None = None

    def add(self, mask: Volume, name: str, scan: LabelScan, threads: int) -> None:
        """Take a mask, those voxels of a volume that hold the label; only its box is read."""
        if name in self._runs:
            return
        thin, self._grid = _thinned(mask)
        every = np.array([*_strides(mask), 1])
        low, high = (-(-edge // every) for edge in scan.box)  # the first of the grid that is not below the edge
        runs = _core.runs(thin[tuple(map(slice, low, high))], [scan.label], threads)
        z, y = np.divmod(runs[:, 1], max(1, int(high[1] - low[1])))
        runs[:, 1] = (z + low[0]) * thin.shape[1] + y + low[1]
        runs[:, 2:] += low[2]
        runs[:, 0] = len(self._runs)
        self._runs[name] = runs

    def scene(self, threads: int) -> Scene:
        """All that were taken."""
        if self._grid is None:
            return Scene({})
        return _scene(list(self._runs.values()), list(self._runs), self._grid, threads)


def _strides(volume: Volume) -> tuple[int, int]:
    """Every how many slices and rows are looked at."""
    z, y, _ = volume.spacing_mm
    return max(1, int(_ROW_MM / z)), max(1, int(_ROW_MM / y))


def _thinned(volume: Volume) -> tuple[npt.NDArray[Any], Grid]:
    """A view of every n-th slice and row, and its grid."""
    z, y, x = volume.spacing_mm
    every = _strides(volume)
    thin = volume.array[:: every[0], :: every[1]]
    shape = (thin.shape[0], thin.shape[1], thin.shape[2])
    return thin, Grid(shape, (z * every[0], y * every[1], x), volume.upright)


def _scene(runs: Sequence[Int64], names: Sequence[str], grid: Grid, threads: int) -> Scene:
    if not names:
        return Scene({})
    found = _core.relations(runs, grid.shape, len(names), threads)
    parts = measure_parts(names, grid, found["moments"])
    z, y, x = grid.step_mm
    contact_mm2 = found["contact"] @ np.array([y * x, z * x, z * y])
    return Scene(parts, _pairs(found["overlap"] * grid.voxel_ml, names), _pairs(contact_mm2, names))


def _pairs(matrix: npt.NDArray[Any], names: Sequence[str]) -> dict[tuple[str, str], float]:
    found = {}
    for i, j in np.argwhere(np.triu(matrix, 1) > 0):
        a, b = sorted((names[i], names[j]))
        found[a, b] = float(matrix[i, j])
    return found
