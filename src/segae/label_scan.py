"""`LabelScan`: what one pass over a mask or labelmap tells of one label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelScan:
    """What one pass over a mask or labelmap tells of one label. Axes are z, y, x.

    Attributes
    ----------
    label, voxels : int
    areas : three int64 arrays
        Voxels per slice along each axis.
    box : int64 [2, 3]
        First voxel and one past the last.
    centroid : float64 [3]
        Mean voxel index.
    border : int64 [2, 3]
        Voxels in the first and the last slice of each axis.
    slice_boxes : int64 [slices along z, 4] or None
        First row, end row, first column, end column of every slice, -1 where it is empty; None from the CPU.
    """

    label: int
    voxels: int
    areas: tuple[Int64, Int64, Int64]
    box: Int64
    centroid: Float64
    border: Int64
    slice_boxes: Int64 | None = None

    @staticmethod
    def from_core(stats: tuple[Any, ...]) -> LabelScan:
        """Wrap one entry of ``_core.scan(...)["labels"]``."""
        label, voxels, areas, box, centroid, border, boxes = stats
        every = boxes.reshape(-1, 4) if boxes.size else None
        return LabelScan(label, voxels, areas, np.array(box), np.array(centroid), np.array(border), every)
