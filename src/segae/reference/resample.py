"""A reference on another grid, brought onto the image's by the nearest neighbour."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from segae.errors import GridMismatchError
from segae.frame import Volume
from segae.volume import load


def resampled(image: Volume, reference: object) -> Volume:
    """Take the value of the nearest voxel of the reference in the world; 0 where the reference does not reach.

    Raises
    ------
    GridMismatchError
        When either has no place in the world (bare arrays).
    """
    other = load(reference, "reference", scaled=True)
    if image.affine is None or other.affine is None:
        raise GridMismatchError("reference: a bare array has no place in the world, so it cannot be resampled.")
    to_other = np.linalg.inv(other.affine) @ image.affine
    shape = image.array.shape
    out = np.zeros(shape, other.array.dtype)
    y, x = np.meshgrid(np.arange(shape[1]), np.arange(shape[2]), indexing="ij")
    in_plane = to_other[:3, 1, None, None] * y + to_other[:3, 2, None, None] * x + to_other[:3, 3, None, None]
    extent = np.array(other.array.shape)[:, None, None]
    for z in range(shape[0]):
        place = np.floor(in_plane + to_other[:3, 0, None, None] * z + 0.5).astype(np.int64)
        inside = ((place >= 0) & (place < extent)).all(axis=0)
        out[z][inside] = other.array[tuple(place[:, inside])]
    return replace(image, array=out, slope=1.0, intercept=0.0)
