"""`segae demo`: a synthetic CT, masks spoiled in four ways, predicted against true Dice, one picture. Needs no data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segae.agreement import measure
from segae.assessment import Assessment
from segae.engine import Engine
from segae.errors import ParameterError
from segae.perturbation import perturb
from segae.picture import EXPECTED, GIVEN, Panel, draw_sheet

Array = npt.NDArray[Any]

SPACING_MM = (3.0, 2.0, 2.0)
STRUCTURES = ("liver", "spleen", "kidney_left")
# Each with the Dice that the spoiled mask is to have.
ERRORS = (("erode", 0.8), ("dilate", 0.8), ("shift", 0.6), ("truncate", 0.7))

_SHAPE = (64, 130, 176)


def phantom(seed: int = 7) -> tuple[Array, dict[str, Array]]:
    """Draw a slab of an upper abdomen.

    Parameters
    ----------
    seed : int
        Of the shapes' irregularities and of the noise.

    Returns
    -------
    image : int16 [z, y, x]
        HU, LPS, voxels of `SPACING_MM`.
    masks : dict
        Structure -> uint8 [z, y, x].
    """
    rng = np.random.default_rng(seed)
    z, y, x = _bent_grid(rng)
    hu = np.full(_SHAPE, -1000.0, dtype=np.float32)
    body = _ellipsoid(z, y, x, (0, 0, 0), (1e4, 105, 155))
    hu[body] = -105  # fat
    wall = _ellipsoid(z, y, x, (0, 4, 0), (1e4, 88, 134))
    hu[wall] = 55  # muscle
    cavity = _ellipsoid(z, y, x, (0, -8, 0), (1e4, 68, 118))
    hu[cavity] = -95
    liver = _ellipsoid(z, y, x, (8, -8, -52), (62, 58, 72)) & cavity
    spleen = _ellipsoid(z, y, x, (14, 26, 88), (40, 32, 25)) & ~liver
    kidneys = {
        side: _ellipsoid(z, y, x, (-28, 40, sign * 58), (48, 24, 26)) & ~liver & ~spleen
        for side, sign in (("left", 1), ("right", -1))
    }
    stomach = _ellipsoid(z, y, x, (22, -26, 46), (42, 32, 36)) & ~liver & ~spleen & cavity
    bowel = _ellipsoid(z, y, x, (-52, -30, 10), (34, 26, 80)) & ~liver & ~stomach & cavity
    vertebra = _ellipsoid(z, y, x, (0, 66, 0), (1e4, 19, 23))
    canal = _ellipsoid(z, y, x, (0, 90, 0), (1e4, 8, 10))
    hu[liver] = 108
    hu[liver & (_smooth_noise(rng, 6) > 1.6)] = 150  # vessels
    hu[spleen] = 118
    for kidney in kidneys.values():
        hu[kidney] = 165
    hu[stomach] = np.where(y[stomach] < -34, -950, 20)  # gas above fluid
    hu[bowel] = 30
    hu[vertebra] = 190
    hu[vertebra & ~_ellipsoid(z, y, x, (0, 66, 0), (1e4, 16, 20))] = 480  # cortical bone
    hu[canal] = 30
    hu[_ellipsoid(z, y, x, (0, 42, 12), (1e4, 10, 10))] = 170  # aorta
    hu[_ellipsoid(z, y, x, (0, 38, -16), (1e4, 9, 12)) & ~liver] = 130  # inferior vena cava
    for sign in (1, -1):  # lung bases
        lung = _ellipsoid(z, y, x, (104, 6, sign * 70), (58, 72, 55)) & wall & ~liver & ~spleen & ~stomach
        hu[lung] = -850
    image = _blur(hu) + 14 * _smooth_noise(rng, 1)
    masks = {"liver": liver, "spleen": spleen, "kidney_left": kidneys["left"]}
    return np.round(image).astype(np.int16), {name: mask.astype(np.uint8) for name, mask in masks.items()}


def demo(engine: Engine, path: Path) -> tuple[list[tuple[str, str, str, str]], str]:
    """Spoil the phantom's masks, assess them and draw them.

    Returns
    -------
    rows : list of (structure, error, true Dice, predicted Dice)
    message : str
        What became of the picture; without Pillow it is left out.
    """
    image, truths = phantom()
    rows, panels = [], []
    for name in STRUCTURES:
        truth = truths[name]
        spoiled = {"none": truth}
        for kind, target in ERRORS:
            spoiled[kind] = perturb(truth, kind, spacing=SPACING_MM, target_dice=target, seed=1)
        row = []
        for kind, mask in spoiled.items():
            dice = measure(mask, truth, spacing=SPACING_MM).dice
            found = engine.assess(image, mask, name, spacing=SPACING_MM, error_map=engine.expects_masks)
            rows.append((name, kind, f"{dice:.3f}", f"{found.dice:.3f}"))
            row.append(
                _panel(image, mask, truth, found, f"{name}, {kind}\ntrue {dice:.2f}, predicted {found.dice:.2f}")
            )
        panels.append(row)
    try:
        draw_sheet(panels, path)
    except ParameterError as error:
        return rows, f"no picture: {error}"
    return rows, f"picture: {path} (orange: the mask given, blue: where segae expects the structure)"


def _panel(image: Array, mask: Array, truth: Array, found: Assessment, caption: str) -> Panel:
    """Show, of the slices that segae looked at, the one where the mask is most wrong, or else largest."""
    wrong = [np.count_nonzero(mask[s.index] != truth[s.index]) for s in found.slices]
    area = [s.area_mm2 for s in found.slices]
    chosen = found.slices[int(np.argmax(wrong if any(wrong) else area))]
    outlines = [(mask[chosen.index], GIVEN)]
    if chosen.expected is not None:
        outlines.append((chosen.expected.on_slice(image.shape[1:]) > 0.5, EXPECTED))
    return Panel(image[chosen.index], SPACING_MM[1:], outlines, caption)


def _bent_grid(rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Voxel centres in mm from the middle, displaced by a few slow waves so that no shape is a perfect ellipsoid."""
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(_SHAPE, SPACING_MM, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    bent = grid.copy()
    for axis in range(3):
        for _ in range(4):
            wave = rng.normal(size=3) / rng.uniform(18, 60)
            bent[axis] += rng.uniform(1, 3) * np.sin(np.tensordot(wave, grid, 1) + rng.uniform(0, 2 * np.pi))
    return bent[0], bent[1], bent[2]


def _ellipsoid(z: Array, y: Array, x: Array, centre: tuple[float, ...], radii: tuple[float, ...]) -> Array:
    inside: Array = (
        ((z - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 + ((x - centre[2]) / radii[2]) ** 2
    ) <= 1
    return inside


def _smooth_noise(rng: np.random.Generator, passes: int) -> Array:
    """Noise of unit variance, correlated over a few voxels."""
    noise = rng.normal(size=_SHAPE).astype(np.float32)
    for _ in range(passes):
        noise = _blur(noise)
    unit: Array = noise / noise.std()
    return unit


def _blur(values: Array) -> Array:
    """Weights 1/4, 1/2, 1/4 along each axis, as partial volume and a soft kernel do."""
    for axis in range(values.ndim):
        padded = np.pad(values, [(int(axis == k), int(axis == k)) for k in range(values.ndim)], mode="edge")
        n = values.shape[axis]
        values = 0.5 * values + 0.25 * (padded.take(range(n), axis) + padded.take(range(2, n + 2), axis))
    return values
