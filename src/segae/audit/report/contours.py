"""Outlines of masks as SVG paths: marching squares, then fewer points."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]


def svg_path(
    values: npt.NDArray[Any],
    level: float,
    spacing_mm: tuple[float, float],
    origin_mm: tuple[float, float] = (0.0, 0.0),
    tolerance_mm: float = 0.2,
) -> str:
    """Outline where `values` cross `level`, as the `d` of an SVG path in mm.

    Parameters
    ----------
    values : array [rows, columns]
        Bool, or numbers: then the outline runs between pixel centres, where linear interpolation meets the level.
    level : float
        Pixels above it are inside; what lies outside the array is not.
    spacing_mm : (float, float)
        Of rows and columns.
    origin_mm : (float, float)
        What becomes (0, 0), along rows and columns, from the array's corner.
    tolerance_mm : float
        How far the path may stray from the outline.

    Returns
    -------
    str
        One closed subpath an outline, numbers with one decimal; "" when nothing is inside.
    """
    outlines = [loop * spacing_mm - origin_mm for loop in loops(values, level)]
    return "".join(_subpath(_simplify(outline, tolerance_mm)) for outline in outlines)


def loops(values: npt.NDArray[Any], level: float) -> list[Points]:
    """Closed polylines [n, 2] of (row, column), in pixels from the array's corner; a pixel's centre lies at 0.5."""
    padded = np.pad(np.asarray(values, np.float64), 1, constant_values=min(0.0, level - 1))
    inside = padded > level
    width = padded.shape[1]
    # A crossing lies on the edge from a pixel to the one on its right (even ids) or below it (odd ids).
    point: dict[int, tuple[float, float]] = {}
    for odd, (down, right) in enumerate(((0, 1), (1, 0))):
        here, there = padded[: padded.shape[0] - down, : width - right], padded[down:, right:]
        rows, columns = np.nonzero((here > level) != (there > level))
        share = (level - here[rows, columns]) / (there[rows, columns] - here[rows, columns])
        ids = 2 * (rows * width + columns) + odd
        at = np.stack([rows + down * share - 0.5, columns + right * share - 0.5], axis=1)
        point.update(zip(ids.tolist(), map(tuple, at.tolist()), strict=True))
    return [np.array([point[i] for i in loop]) for loop in _link(_joints(padded, inside, level))]


def _joints(padded: Points, inside: npt.NDArray[np.bool_], level: float) -> dict[int, list[int]]:
    """Which two crossings each crossing is joined to, by the two squares of four pixel centres that share its edge."""
    width = padded.shape[1]
    corners = (inside[:-1, :-1], inside[:-1, 1:], inside[1:, 1:], inside[1:, :-1])
    mixed = np.zeros(corners[0].shape, bool)
    for corner in corners[1:]:
        mixed |= corner != corners[0]
    joints: dict[int, list[int]] = {}
    for row, column in np.argwhere(mixed).tolist():
        a, b, c, d = (bool(corner[row, column]) for corner in corners)
        first = row * width + column
        top, left, bottom, right = 2 * first, 2 * first + 1, 2 * (first + width), 2 * (first + 1) + 1
        crossed = [e for e, one, two in ((top, a, b), (right, b, c), (bottom, c, d), (left, d, a)) if one != two]
        if len(crossed) == 4:  # a saddle: its middle decides which corners hang together
            middle_inside = padded[row : row + 2, column : column + 2].mean() > level
            pairs = [(top, right), (bottom, left)] if middle_inside == a else [(top, left), (bottom, right)]
        else:
            pairs = [(crossed[0], crossed[1])]
        for one, two in pairs:
            joints.setdefault(one, []).append(two)
            joints.setdefault(two, []).append(one)
    return joints


def _link(joints: dict[int, list[int]]) -> list[list[int]]:
    """Follow the joints round; every crossing lies on one loop."""
    found = []
    todo = set(joints)
    for start in joints:  # not from the set, whose order is no one's promise
        if start not in todo:
            continue
        loop, here = [], start
        while here in todo:
            todo.remove(here)
            loop.append(here)
            here = next((next_ for next_ in joints[here] if next_ in todo), start)
        found.append(loop)
    return found


def _simplify(loop: Points, tolerance: float) -> Points:
    """Ramer, Douglas and Peucker's: keep a point only where the path would stray without it."""
    closed = np.vstack([loop, loop[:1]])
    middle = int(np.argmax(((closed - closed[0]) ** 2).sum(axis=1)))
    kept = {0, middle}
    todo = [(0, middle), (middle, len(closed) - 1)]
    while todo:
        first, last = todo.pop()
        if last - first < 2:
            continue
        along = closed[last] - closed[first]
        length = float(np.hypot(*along))
        offset = closed[first + 1 : last] - closed[first]
        if length > 0:
            away = np.abs(offset[:, 0] * along[1] - offset[:, 1] * along[0]) / length
        else:
            away = np.hypot(offset[:, 0], offset[:, 1])
        furthest = int(np.argmax(away))
        if away[furthest] > tolerance:
            split = first + 1 + furthest
            kept.add(split)
            todo += [(first, split), (split, last)]
    return loop[sorted(kept)]


def _subpath(points: Points) -> str:
    """Relative steps of whole tenths of a millimetre, so that rounding does not add up."""
    tenths = np.rint(points[:, ::-1] * 10).astype(int)
    steps = np.diff(tenths, axis=0)
    if not len(steps):
        return ""
    lines = "".join(f"{_tenth(x)},{_tenth(y)} " for x, y in steps.tolist())
    return f"M{_tenth(tenths[0, 0])},{_tenth(tenths[0, 1])}l{lines.strip()}z"


def _tenth(value: int) -> str:
    return f"{value / 10:.1f}".removesuffix(".0")
