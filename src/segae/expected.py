"""Maps of a slice, brought from rows y and columns x into the axes of the array as given."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from segae.assessment import ExpectedMask
from segae.frame import Volume


def expected_mask(mask: Volume, crop: npt.NDArray[np.float64], probability: npt.NDArray[np.float32]) -> ExpectedMask:
    """Bring a map on rows y and columns x into the axes of the array as given."""
    sides = [(float(crop[0]), float(crop[1])), (float(crop[2]), float(crop[3]))]
    for axis in (1, 2):
        if mask.flipped[axis]:
            extent, (begin, end) = mask.array.shape[axis], sides[axis - 1]
            sides[axis - 1] = (extent - end, extent - begin)
            probability = np.flip(probability, axis - 1)
    if mask.source_axes[1] > mask.source_axes[2]:
        sides.reverse()
        probability = probability.T
    return ExpectedMask(np.ascontiguousarray(probability), (sides[0], sides[1]))


def outline_mask(mask: Volume, plane: npt.NDArray[np.bool_]) -> ExpectedMask:
    """Bring a mask of one slice [y, x] into the axes of the array as given: 0 or 1 a voxel, in its bounding box."""
    rows, columns = (np.flatnonzero(plane.any(axis=1 - axis)) for axis in (0, 1))
    if not len(rows):
        return expected_mask(mask, np.array([0.0, 1.0, 0.0, 1.0]), np.zeros((1, 1), np.float32))
    crop = np.array([rows[0], rows[-1] + 1, columns[0], columns[-1] + 1], np.float64)
    window = plane[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return expected_mask(mask, crop, window.astype(np.float32))
