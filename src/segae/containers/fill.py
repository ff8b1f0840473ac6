"""Polygons -> pixels whose centres lie inside."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def fill(polygon: npt.NDArray[np.float64], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Fill a closed polygon by the even-odd rule.

    Parameters
    ----------
    polygon : float [n, 2]
        Corners (row, column) in pixels; a pixel's centre has whole coordinates.
    shape : (int, int)
        Rows and columns of the result.

    Returns
    -------
    bool [rows, columns]
    """
    rows, columns = shape
    # Every edge that crosses the line of centres of a row turns the parity of all pixels from there on.
    turns = np.zeros((rows, columns + 1), np.int64)
    for (y0, x0), (y1, x1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        low, high = sorted((y0, y1))
        crossed = np.arange(max(int(np.ceil(low)), 0), min(int(np.ceil(high)), rows))  # half open: corners count once
        if len(crossed):
            x = x0 + (crossed - y0) * (x1 - x0) / (y1 - y0)
            np.add.at(turns, (crossed, np.clip(np.ceil(x), 0, columns).astype(np.int64)), 1)
    inside: npt.NDArray[np.bool_] = (np.cumsum(turns[:, :-1], axis=1) % 2).astype(bool)
    return inside
