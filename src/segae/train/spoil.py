"""Masks of known quality, made from true ones slice by slice.

A mask is held as a signed distance in mm on its bounding box, so that erosion, dilation and elastic borders are one
threshold of distance plus smooth noise, evaluated only on the planes that are wanted. The strength is found by
bisection on the Dice of the middle plane, which makes the quality of the samples evenly spread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from segae import _core
from segae.train.augment import smooth_noise
from segae.train.data import LabelledScan

Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]

MARGIN_MM = 24.0

# Kinds that keep the structure's place; swap, mirror and truncation need the whole scan and live in synthesis.py.
LOCAL_KINDS = ("untouched", "erode", "dilate", "jitter", "elastic", "shift", "scale", "cut", "islands", "holes")


@dataclass(frozen=True)
class Target:
    """A structure of a scan on its bounding box, widened by `MARGIN_MM` as far as the scan reaches.

    Attributes
    ----------
    name : str
    low : (int, int, int)
        The box's first voxel in the scan.
    mask : bool [z, y, x]
    spacing_mm : (float, float, float)
    flat : bool
        Whether distances are measured within each plane, when it is asked for: large boxes would cost too much.
    """

    name: str
    low: tuple[int, int, int]
    mask: Bool
    spacing_mm: tuple[float, float, float]
    flat: bool
    _planes: dict[int, Float32] = field(default_factory=dict)

    def distance_mm(self, planes: npt.NDArray[np.int64]) -> Float32:
        """Distance to the mask's border on some planes [k, y, x], negative inside."""
        if self.flat:
            for z in planes:
                if int(z) not in self._planes:
                    self._planes[int(z)] = _signed_distance(self.mask[z : z + 1], self.spacing_mm)[0]
        elif not self._planes:
            self._planes.update(enumerate(_signed_distance(self.mask, self.spacing_mm)))
        return np.stack([self._planes[int(z)] for z in planes])


def target_of(scan: LabelledScan, name: str, box: npt.NDArray[np.int64], *, flat_above: int | None = None) -> Target:
    """Cut out a structure. `box` [2, 3] bounds it; boxes of more than `flat_above` voxels have flat distances."""
    margin = np.ceil(MARGIN_MM / np.array(scan.spacing_mm)).astype(int)
    start, stop = np.maximum(box[0] - margin, 0), box[1] + margin
    region = scan.labelmap[start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]]
    parts = scan.parts[name]
    mask = np.ascontiguousarray(region == parts[0] if len(parts) == 1 else np.isin(region, parts))
    low = (int(start[0]), int(start[1]), int(start[2]))
    return Target(name, low, mask, scan.spacing_mm, flat_above is not None and mask.size > flat_above)


def _signed_distance(mask: Bool, spacing_mm: tuple[float, float, float]) -> Float32:
    """In mm, to the border between voxels; at most a metre where one side is empty."""
    outer = _core.squared_distance(mask.view(np.uint8), spacing_mm, 1)
    inner = _core.squared_distance((~mask).view(np.uint8), spacing_mm, 1)
    distance: Float32 = np.sqrt(np.minimum(outer, 1e6)) - np.sqrt(np.minimum(inner, 1e6))
    distance -= np.sign(distance) * np.float32(min(spacing_mm) / 2)
    return distance


def spoil(
    target: Target,
    planes: npt.NDArray[np.int64],
    kind: str,
    wanted: float,
    rng: np.random.Generator,
    *,
    whole: bool = False,
) -> Bool:
    """Return the spoiled mask on some planes.

    Parameters
    ----------
    target : Target
    planes : int64 [k]
        Slices of the target's box, the middle one deciding on strength; those outside the box are empty.
    kind : str
        One of `LOCAL_KINDS`.
    wanted : float
        Dice to aim at.
    rng : Generator
    whole : bool
        Whether the Dice is that of all planes together, or of the middle one.

    Returns
    -------
    bool [k, y, x]
    """
    known = (planes >= 0) & (planes < len(target.mask))
    at = np.clip(planes, 0, len(target.mask) - 1)
    make = _family(target, at, kind, rng)
    judged = slice(None) if whole else slice(len(at) // 2, len(at) // 2 + 1)
    return _bisect(make, target.mask[at], judged, wanted) & known[:, None, None]


def _family(target: Target, at: npt.NDArray[np.int64], kind: str, rng: np.random.Generator) -> Callable[[float], Bool]:
    """Strength in [0, 1] -> spoiled planes; 0 is the identity or close to it."""
    mask, distance = target.mask[at], target.distance_mm(at)
    depth = max(float(-distance.min()), 1.0)
    if kind == "untouched":
        return lambda _: mask
    if kind in ("erode", "dilate"):
        rough = distance + _noise(target, at, rng.uniform(8, 40), rng) * rng.uniform(0, 0.3) * depth
        reach = -1.05 * depth if kind == "erode" else min(1.5 * depth + 6.0, MARGIN_MM)
        return lambda strength: rough < strength * reach
    if kind in ("jitter", "elastic"):
        field = _noise(target, at, rng.uniform(4, 9) if kind == "jitter" else rng.uniform(12, 45), rng)
        return lambda strength: distance + field * strength * (depth + 4.0) < 0
    if kind == "shift":
        angle, reach = rng.uniform(0, 2 * np.pi), 2 * depth + MARGIN_MM
        towards = np.array([np.sin(angle), np.cos(angle)]) * reach / np.array(target.spacing_mm[1:])
        return lambda strength: _moved(mask, np.rint(towards * strength).astype(int))
    if kind == "scale":
        inward = rng.random() < 0.5
        return lambda strength: _scaled(mask, 1 - 0.8 * strength if inward else 1 + strength)
    if kind == "cut":
        return _cut(mask, target, at, rng)
    field = _noise(target, at, rng.uniform(5, 25), rng)
    if kind == "islands":
        near = distance < rng.uniform(4, MARGIN_MM)
        return lambda strength: mask | (near & (field > 3.2 - 4.5 * strength))
    return lambda strength: mask & ~(field > 3.2 - 4.5 * strength)


def _bisect(make: Callable[[float], Bool], planes: Bool, judged: slice, wanted: float) -> Bool:
    """Weaken until the judged planes come near to the Dice wanted. Without truth there, strength follows the wish."""
    truth = planes[judged]
    if not truth.any():
        return make(1 - wanted)
    low, high = 0.0, 1.0
    for _ in range(6):
        strength = (low + high) / 2
        given = make(strength)[judged]
        shared, total = np.count_nonzero(given & truth), np.count_nonzero(given) + np.count_nonzero(truth)
        dice = 2 * int(shared) / max(int(total), 1)
        low, high = (low, strength) if dice < wanted else (strength, high)
    return make((low + high) / 2)


def _noise(target: Target, at: npt.NDArray[np.int64], wavelength_mm: float, rng: np.random.Generator) -> Float32:
    """Smooth noise on the wanted planes, coherent along z."""
    depth, height, width = target.mask.shape
    step = target.spacing_mm
    knots = [max(2, round(n * s / wavelength_mm) + 1) for n, s in zip((height, width), step[1:], strict=True)]
    column = smooth_noise((depth, *knots), (max(2, round(depth * step[0] / wavelength_mm) + 1), *knots), rng)[at]
    return _stretch(_stretch(column, 1, height), 2, width)


def _stretch(field: Float32, axis: int, n: int) -> Float32:
    at = np.linspace(0, field.shape[axis] - 1, n, dtype=np.float32)
    low = np.minimum(at.astype(int), field.shape[axis] - 2)
    weight = (at - low).reshape([-1 if a == axis else 1 for a in range(3)])
    stretched: Float32 = field.take(low, axis) * (1 - weight) + field.take(low + 1, axis) * weight
    return stretched


def _moved(mask: Bool, step: npt.NDArray[np.int64]) -> Bool:
    out = np.zeros_like(mask)
    source, goal = [slice(None)], [slice(None)]
    for axis in (0, 1):
        n, s = mask.shape[axis + 1], int(np.clip(step[axis], -mask.shape[axis + 1], mask.shape[axis + 1]))
        source.append(slice(max(-s, 0), n - max(s, 0)))
        goal.append(slice(max(s, 0), n - max(-s, 0)))
    out[tuple(goal)] = mask[tuple(source)]
    return out


def _scaled(mask: Bool, factor: float) -> Bool:
    """About the centre of what is filled."""
    filled = np.argwhere(mask.any(axis=0))
    if not len(filled):
        return mask
    centre = (filled.min(axis=0) + filled.max(axis=0)) / 2.0
    rows, columns = (
        np.rint((np.arange(mask.shape[1 + a]) - centre[a]) / factor + centre[a]).astype(int) for a in (0, 1)
    )
    valid = ((rows >= 0) & (rows < mask.shape[1]))[:, None] & ((columns >= 0) & (columns < mask.shape[2]))[None]
    rows, columns = rows.clip(0, mask.shape[1] - 1), columns.clip(0, mask.shape[2] - 1)
    scaled: Bool = mask[:, rows[:, None], columns[None]] & valid
    return scaled


def _cut(mask: Bool, target: Target, at: npt.NDArray[np.int64], rng: np.random.Generator) -> Callable[[float], Bool]:
    """Everything on one side of an oblique plane is lost."""
    normal = rng.standard_normal(3)
    normal[0] *= 0.5
    z, y, x = (np.arange(n) * s for n, s in zip(target.mask.shape, target.spacing_mm, strict=True))
    along = normal[0] * z[at][:, None, None] + normal[1] * y[None, :, None] + normal[2] * x[None, None]
    values = np.sort(along[mask]) if mask.any() else np.zeros(1)
    return lambda strength: mask & (along >= values[int(strength * (len(values) - 1))])
