"""Masks of known quality, made from true ones by means that are cheaper and rougher than those of `segae.perturb`.

A mask is held as a signed distance in mm on its bounding box, so that erosion, dilation and elastic borders are one
threshold of distance plus smooth noise. The strength is found by bisection on the Dice, which makes the quality of the
samples evenly spread.
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

# Distances of larger boxes are not kept, and the Dice of larger masks is judged on a part of their planes.
_KEPT_VOXELS = 300_000
_JUDGED_VOXELS = 150_000

# Kinds that need no more than the structure; swaps and mirror images need the scan and live in synthesis.py.
LOCAL_KINDS = (
    "untouched", "erode", "dilate", "jitter", "elastic", "shift", "scale", "cut", "truncate", "islands", "holes",
)  # fmt: skip


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
    """

    name: str
    low: tuple[int, int, int]
    mask: Bool
    spacing_mm: tuple[float, float, float]
    _kept: list[Float32] = field(default_factory=list)

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """Where the mask lies in the scan."""
        z, y, x = (slice(begin, begin + extent) for begin, extent in zip(self.low, self.mask.shape, strict=True))
        return z, y, x

    def distance_mm(self) -> Float32:
        """Distance to the mask's border [z, y, x], negative inside."""
        if self._kept:
            return self._kept[0]
        distance = _signed_distance(self.mask, self.spacing_mm)
        if distance.size <= _KEPT_VOXELS:
            self._kept.append(distance)
        return distance


def target_of(scan: LabelledScan, name: str, box: npt.NDArray[np.int64]) -> Target:
    """Cut out a structure. `box` [2, 3] bounds it."""
    margin = np.ceil(MARGIN_MM / np.array(scan.spacing_mm)).astype(int)
    start, stop = np.maximum(box[0] - margin, 0), box[1] + margin
    region = scan.labelmap[start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]]
    parts = scan.parts[name]
    mask = np.ascontiguousarray(region == parts[0] if len(parts) == 1 else np.isin(region, parts))
    return Target(name, (int(start[0]), int(start[1]), int(start[2])), mask, scan.spacing_mm)


def _signed_distance(mask: Bool, spacing_mm: tuple[float, float, float]) -> Float32:
    """Distance in mm to the border between voxels; at most a metre where one side is empty."""
    outer = _core.squared_distance(mask.view(np.uint8), spacing_mm, 1)
    inner = _core.squared_distance((~mask).view(np.uint8), spacing_mm, 1)
    distance: Float32 = np.sqrt(np.minimum(outer, 1e6)) - np.sqrt(np.minimum(inner, 1e6))
    distance -= np.sign(distance) * np.float32(min(spacing_mm) / 2)
    return distance


def spoil(target: Target, kind: str, wanted: float, rng: np.random.Generator) -> Bool:
    """Return the spoiled mask [z, y, x] on the target's box.

    Parameters
    ----------
    target : Target
    kind : str
        One of `LOCAL_KINDS`.
    wanted : float
        Dice to aim at.
    rng : Generator
    """
    return _bisect(_family(target, kind, rng), target.mask, wanted)


# Strength in [0, 1] and the planes wanted -> spoiled planes; strength 0 is the identity or close to it.
_Family = Callable[[float, slice], Bool]


def _family(target: Target, kind: str, rng: np.random.Generator) -> _Family:
    mask = target.mask
    if kind == "untouched":
        return lambda _, p: mask[p]
    if kind == "shift":
        return _shift(target, rng)
    if kind == "scale":
        inward = rng.random() < 0.5
        return lambda strength, p: _scaled(mask[p], 1 - 0.8 * strength if inward else 1 + strength)
    if kind == "cut":
        return _cut(target, rng)
    if kind == "truncate":
        return _truncate(target, rng)
    if kind == "holes":
        field = _noise(target, rng.uniform(5, 25), rng)
        return lambda strength, p: mask[p] & ~(field[p] > 3.2 - 4.5 * strength)
    distance = target.distance_mm()
    if kind == "islands":
        field, near = _noise(target, rng.uniform(5, 25), rng), distance < rng.uniform(4, MARGIN_MM)
        return lambda strength, p: mask[p] | (near[p] & (field[p] > 3.2 - 4.5 * strength))
    depth = max(float(-distance.min()), 1.0)
    if kind in ("erode", "dilate"):
        rough = distance + _noise(target, rng.uniform(8, 40), rng) * np.float32(rng.uniform(0, 0.3) * depth)
        reach = -1.05 * depth if kind == "erode" else min(1.5 * depth + 6.0, MARGIN_MM)
        return lambda strength, p: rough[p] < strength * reach
    field = _noise(target, rng.uniform(4, 9) if kind == "jitter" else rng.uniform(12, 45), rng)
    return lambda strength, p: distance[p] + field[p] * np.float32(strength * (depth + 4.0)) < 0


def _bisect(make: _Family, truth: Bool, wanted: float) -> Bool:
    """Weaken until the mask comes near to the Dice wanted, judged on every n-th plane where there are many voxels."""
    every = slice(None, None, -(-truth.size // _JUDGED_VOXELS))
    low, high = 0.0, 1.0
    for _ in range(6):
        strength = (low + high) / 2
        given = make(strength, every)
        shared, total = np.count_nonzero(given & truth[every]), np.count_nonzero(given) + np.count_nonzero(truth[every])
        dice = 2 * int(shared) / max(int(total), 1)
        low, high = (low, strength) if dice < wanted else (strength, high)
    return make((low + high) / 2, slice(None))


def _noise(target: Target, wavelength_mm: float, rng: np.random.Generator) -> Float32:
    """Smooth noise on the target's box."""
    extent_mm = zip(target.mask.shape, target.spacing_mm, strict=True)
    knots = tuple(max(2, round(n * s / wavelength_mm) + 1) for n, s in extent_mm)
    return smooth_noise(target.mask.shape, knots, rng)


def _shift(target: Target, rng: np.random.Generator) -> _Family:
    """Shift within the slice, the same in all slices."""
    angle, reach = rng.uniform(0, 2 * np.pi), 2 * max(float(-target.distance_mm().min()), 1.0) + MARGIN_MM
    towards = np.array([np.sin(angle), np.cos(angle)]) * reach / np.array(target.spacing_mm[1:])
    return lambda strength, p: _moved(target.mask[p], np.rint(towards * strength).astype(int))


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


def _cut(target: Target, rng: np.random.Generator) -> _Family:
    """Everything on one side of an oblique plane is lost."""
    mask = target.mask
    normal = rng.standard_normal(3)
    normal[0] *= 0.5
    z, y, x = (np.arange(n) * s for n, s in zip(mask.shape, target.spacing_mm, strict=True))
    along = (normal[0] * z[:, None, None] + normal[1] * y[None, :, None] + normal[2] * x).astype(np.float32)
    values = np.sort(along[mask][:: max(1, mask.size // _JUDGED_VOXELS)]) if mask.any() else np.zeros(1)
    return lambda strength, p: mask[p] & (along[p] <= values[int((1 - strength) * (len(values) - 1))])


def _truncate(target: Target, rng: np.random.Generator) -> _Family:
    """The first, the last or both ends are missing."""
    mask = target.mask
    filled = np.flatnonzero(mask.any(axis=(1, 2)))
    below = rng.choice([0.0, 1.0, rng.uniform(0, 1)])

    def cut(strength: float, p: slice) -> Bool:
        lost = strength * (len(filled) - 1)
        first, last = filled[round(lost * below)], filled[len(filled) - 1 - round(lost * (1 - below))]
        planes = np.arange(len(mask))[p]
        left: Bool = mask[p] & ((planes >= first) & (planes <= last))[:, None, None]
        return left

    return cut
