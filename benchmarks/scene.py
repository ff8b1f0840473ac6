"""Made-up volumes of the size of a real scan: times depend on shapes and runs, hardly on anatomy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SHAPE = (300, 512, 512)
SPACING_MM = (1.5, 0.8, 0.8)


def ct() -> npt.NDArray[np.int16]:
    """An elliptical body of noisy soft tissue in air, in HU."""
    rng = np.random.default_rng(0)
    _, y, x = _axes()
    body = ((y - 256) / 200.0) ** 2 + ((x - 256) / 245.0) ** 2 < 1
    volume = np.empty(SHAPE, np.int16)
    for plane in volume:
        plane[:] = np.where(body[0], rng.integers(-60, 120, SHAPE[1:], dtype=np.int16), -1000)
    return volume


def liver() -> npt.NDArray[np.uint8]:
    """One ellipsoid of 1.6 litres, about the share of a scan that a liver takes."""
    z, y, x = _axes()
    mask = np.zeros(SHAPE, np.uint8)
    for plane, dz in zip(mask, ((z - 150) / 62.0).ravel() ** 2, strict=True):
        plane[:] = (dz + ((y - 250) / 75.0) ** 2 + ((x - 180) / 87.0) ** 2 < 1)[0]
    return mask


def labelmap() -> npt.NDArray[np.uint8]:
    """A body filled with wavy boxes that touch each other, so that nearly every voxel of it has a label."""
    z, y, x = _axes()
    inside = ((y - 256) / 200.0) ** 2 + ((x - 256) / 245.0) ** 2 < 1
    labels = np.empty(SHAPE, np.uint8)
    for plane, i in zip(labels, z.ravel(), strict=True):
        slab = (i + 11 + 6 * np.sin(y / 29) + 5 * np.sin(x / 41)) // 105
        row = (y + 15 + 9 * np.sin(x / 31) + 6 * np.sin(i / 17)) // 105
        column = (x + 18 + 11 * np.sin(y / 23) + 7 * np.sin(i / 19)) // 92
        plane[:] = np.where(inside, (slab * 6 + row) * 6 + column + 1, 0)[0]
    return labels


def _axes() -> tuple[npt.NDArray[np.int64], ...]:
    return tuple(np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]])
