"""A torso of ellipsoids: enough of a CT that every check of the geometry has something to say."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SHAPE = (40, 56, 72)  # z, y, x in LPS: 200 x 280 x 360 mm
SPACING_MM = (5.0, 5.0, 5.0)
LABELS = {1: "liver", 2: "spleen", 3: "kidney_left", 4: "kidney_right"}

# Centre (z, y, x) as a share of the volume, radii in mm. x runs to the patient's left.
_ORGANS = {
    1: ((0.50, 0.45, 0.30), (55, 70, 65)),
    2: ((0.60, 0.60, 0.72), (35, 30, 28)),
    3: ((0.40, 0.70, 0.62), (45, 25, 25)),
    4: ((0.40, 0.72, 0.42), (45, 20, 20)),
}


def _ellipsoid(centre: tuple[float, ...], radii_mm: tuple[float, ...]) -> Array:
    grid = np.indices(SHAPE).transpose(1, 2, 3, 0)
    offset_mm = (grid - np.array(centre) * SHAPE) * SPACING_MM
    inside: Array = ((offset_mm / np.array(radii_mm)) ** 2).sum(-1) <= 1
    return inside


def labelmap() -> Array:
    """Return uint8 [z, y, x]; the values are those of LABELS."""
    labels = np.zeros(SHAPE, np.uint8)
    for label, (centre, radii_mm) in _ORGANS.items():
        labels[_ellipsoid(centre, radii_mm) & (labels == 0)] = label
    return labels


def image(rng: np.random.Generator) -> Array:
    """Return int16 HU [z, y, x]: air, a body with a coat of fat, organs of different brightness, noise."""
    hu = np.full(SHAPE, -1000.0)
    hu[_ellipsoid((0.5, 0.5, 0.5), (1e9, 125, 165))] = -100
    hu[_ellipsoid((0.5, 0.5, 0.5), (1e9, 105, 145))] = 40
    labels = labelmap()
    hu[labels > 0] = 60 + 20 * labels[labels > 0]
    return (hu + rng.normal(0, 10, SHAPE)).astype(np.int16)
