"""Empty slices between filled ones: parts of a structure that nobody drew, or the space between its pieces."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from segae.device import DeviceVolume
from segae.label_scan import LabelScan

Bool = npt.NDArray[np.bool_]

# So many gaps of one length are a pattern: somebody drew every n-th slice.
_REGULAR = 3
# What lies beyond a gap and holds less of the mask than this is a crumb, not the rest of the structure.
_CRUMB_SHARE = 0.05
# Dice of the outlines on both sides of a gap from which on one structure runs through it.
_SAME_PLACE = 0.1


def missing_slices(mask: npt.NDArray[Any] | DeviceVolume, scan: LabelScan, *, in_pieces: bool) -> Bool:
    """Which empty slices along z the structure must run through.

    Those of a gap count when one of these holds: the outlines on both of its sides overlap; the structure is in one
    piece and there is more than a crumb of the mask on both sides; there are three or more gaps of its length.

    Parameters
    ----------
    mask : ndarray or DeviceVolume [z, y, x]
        Mask or labelmap that holds the label.
    scan : LabelScan
        Of that label, which must not be empty.
    in_pieces : bool
        Whether the structure may come in several pieces.

    Returns
    -------
    bool [z]
    """
    missing = np.zeros(len(scan.areas[0]), bool)
    between = _gaps(scan, 0)
    regular = _regular_lengths(between)
    voxels = np.cumsum(scan.areas[0])
    for before, after in between:
        least = min(voxels[before], scan.voxels - voxels[before]) / scan.voxels
        if (
            after - before - 1 in regular
            or (not in_pieces and least >= _CRUMB_SHARE)
            or _overlap(mask, scan, before, after) >= _SAME_PLACE
        ):
            missing[before + 1 : after] = True
    return missing


def regular_gaps(scan: LabelScan, axis: int) -> tuple[int, int] | None:
    """Every how many planes along an axis the mask is filled, and how many are empty; None without a pattern."""
    between = _gaps(scan, axis)
    regular = _regular_lengths(between)
    if not regular:
        return None
    empty = [after - before - 1 for before, after in between if after - before - 1 in regular]
    return empty[0] + 1, sum(empty)


def _gaps(scan: LabelScan, axis: int) -> list[tuple[int, int]]:
    """The filled planes on both sides of each gap."""
    filled = np.flatnonzero(scan.areas[axis])
    jumps = np.flatnonzero(np.diff(filled) > 1)
    return [(int(filled[i]), int(filled[i + 1])) for i in jumps]


def _regular_lengths(between: list[tuple[int, int]]) -> set[int]:
    lengths = Counter(after - before - 1 for before, after in between)
    return {length for length, n in lengths.items() if n >= _REGULAR}


def _overlap(mask: npt.NDArray[Any] | DeviceVolume, scan: LabelScan, before: int, after: int) -> float:
    rows, columns = (slice(*scan.box[:, axis]) for axis in (1, 2))
    first, second = (mask[index, rows, columns] == scan.label for index in (before, after))
    return float(2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second)))
