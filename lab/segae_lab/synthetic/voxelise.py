"""Closed and almost closed triangle meshes to voxels, by signed ray crossings along all three axes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def _winding(corners: NDArray[np.float64], shape: tuple[int, int, int], axis: int) -> tuple[NDArray[np.bool_], ...]:
    """Winding number along one axis: what lies inside, and which rays come out again.

    Parameters
    ----------
    corners
        [triangles, 3 corners, 3 axes] in voxels.
    """
    across = [a for a in range(3) if a != axis]
    b, c = (corners[:, :, a] for a in across)
    along = corners[:, :, axis]
    area = (b[:, 1] - b[:, 0]) * (c[:, 2] - c[:, 0]) - (b[:, 2] - b[:, 0]) * (c[:, 1] - c[:, 0])
    first_b, first_c = np.ceil(b.min(1)).astype(np.int64), np.ceil(c.min(1)).astype(np.int64)
    many_b = np.floor(b.max(1)).astype(np.int64) - first_b + 1
    many_c = np.floor(c.max(1)).astype(np.int64) - first_c + 1
    facing = np.flatnonzero((np.abs(area) > 1e-12) & (many_b > 0) & (many_c > 0))

    extent = (shape[across[0]], shape[across[1]], shape[axis] + 1)
    steps = np.zeros(int(np.prod(extent)), np.float64)
    for i in range(int(many_b[facing].max(initial=0))):
        row = facing[many_b[facing] > i]
        for j in range(int(many_c[row].max(initial=0))):
            some = row[many_c[row] > j]
            at_b, at_c = first_b[some] + i, first_c[some] + j
            offset_b, offset_c = at_b[:, None] - b[some], at_c[:, None] - c[some]
            weights = np.stack(
                [offset_b[:, (k + 1) % 3] * offset_c[:, (k + 2) % 3]
                 - offset_b[:, (k + 2) % 3] * offset_c[:, (k + 1) % 3] for k in range(3)], 1
            ) / area[some, None]  # fmt: skip
            hit = (weights >= 0).all(1) & (at_b >= 0) & (at_b < extent[0]) & (at_c >= 0) & (at_c < extent[1])
            height = np.ceil((weights * along[some]).sum(1)).astype(np.int64)
            height = np.clip(height, 0, extent[2] - 1)
            flat = (at_b * extent[1] + at_c) * extent[2] + height
            np.add.at(steps, flat[hit], np.sign(area[some][hit]))
    turns = np.cumsum(steps.reshape(extent), axis=2)
    closed = np.broadcast_to(np.abs(turns[:, :, -1:]) < 0.5, (extent[0], extent[1], shape[axis]))
    inside = (np.abs(turns[:, :, :-1]) > 0.5) & closed
    return np.moveaxis(inside, 2, axis), np.moveaxis(closed, 2, axis)


def voxelise(
    corners_vox: NDArray[np.float64], shape: tuple[int, int, int]
) -> tuple[NDArray[np.bool_], tuple[slice, ...]]:
    """Voxels whose centre lies inside a mesh that need not be watertight.

    A ray that leaves the mesh with a winding number other than 0 has met a hole and does not vote; the others decide by
    majority. Holes smaller than the mesh are thus closed from the side.

    Parameters
    ----------
    corners_vox
        [triangles, 3, 3] float, corners as (z, y, x) in voxels of the grid.
    shape
        Extent of the grid (z, y, x).

    Returns
    -------
    mask, place
        The inside within the mesh's bounding box, and where that box lies in the grid (empty if it lies outside).
    """
    low = np.floor(corners_vox.min((0, 1))).astype(int) - 1
    high = np.ceil(corners_vox.max((0, 1))).astype(int) + 2
    box = tuple(int(n) for n in high - low)
    # A tiny shift keeps voxel centres off the vertices, which are quantised and would else be hit exactly.
    local = corners_vox - low + np.array([1.3e-4, 2.7e-4, 4.1e-4])
    votes, voters = np.zeros(box, np.int8), np.zeros(box, np.int8)
    for axis in range(3):
        inside, closed = _winding(local, (box[0], box[1], box[2]), axis)
        votes += inside
        voters += closed
    start, stop = np.clip(low, 0, shape), np.clip(high, 0, shape)
    keep = tuple(slice(int(a - o), int(b - o)) for a, b, o in zip(start, stop, low, strict=True))
    place = tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    return (2 * votes > voters)[keep], place
