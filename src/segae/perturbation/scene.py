"""The mask that is to be damaged, what surrounds it, and what every error of it needs to know: computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from segae import _core
from segae.errors import ParameterError

Triple = tuple[float, float, float]
# Working arrays; on a GPU all arrays of a scene are DeviceArrays, and the operations of _core are chosen by that.
Bytes = npt.NDArray[np.uint8] | _core.DeviceArray
Floats = npt.NDArray[np.float32] | _core.DeviceArray


@dataclass(frozen=True)
class Patch:
    """A mask known within a box of its volume, empty elsewhere."""

    box: _core.Box
    voxels: Bytes


@dataclass(frozen=True)
class Whole:
    """The voxels of a volume that equal `label`."""

    array: Any
    label: int


@dataclass
class Scene:
    """A mask in its volume. Working boxes are cut from it as far as an error reaches, so the volume's size is free.

    Parameters
    ----------
    mask : Whole or Patch
        What is damaged.
    shape, spacing_mm
        Of the volume, [z, y, x].
    threads : int
    image, labelmap : ndarray or DeviceArray [z, y, x], optional
        On the same grid.
    truth : Whole or Patch, optional
        What results are compared with; default: `mask` itself.
    structure : str, optional
        Canonical name.
    """

    mask: Whole | Patch
    shape: tuple[int, int, int]
    spacing_mm: Triple
    threads: int
    image: Any = None
    image_scale: tuple[float, float] = (1.0, 0.0)
    labelmap: Any = None
    truth: Whole | Patch | None = None
    structure: str | None = None
    _cuts: dict[tuple[Any, ...], Bytes] = field(default_factory=dict, repr=False)

    @cached_property
    def voxels(self) -> int:
        """Number of voxels of the mask."""
        return self._summary[0]

    @cached_property
    def begin(self) -> tuple[int, int, int]:
        """First voxel of the mask's bounding box."""
        begin = self._summary[1]
        return begin[0], begin[1], begin[2]

    @cached_property
    def end(self) -> tuple[int, int, int]:
        """One past the last voxel of the mask's bounding box."""
        end = self._summary[2]
        return end[0], end[1], end[2]

    @cached_property
    def _summary(self) -> tuple[int, list[int], list[int], list[int]]:
        if isinstance(self.mask, Whole):
            return _core.summarise(self.mask.array, self.mask.label, self.threads)
        voxels, begin, end, sums = _core.summarise(self.mask.voxels, 1, self.threads)
        origin = self.mask.box.origin
        return (
            voxels,
            [a + b for a, b in zip(begin, origin, strict=True)],
            [a + b for a, b in zip(end, origin, strict=True)],
            [a + voxels * b for a, b in zip(sums, origin, strict=True)],
        )

    @property
    def centre_mm(self) -> Triple:
        """Centroid of the mask."""
        z, y, x = (total / self.voxels * step for total, step in zip(self._summary[3], self.spacing_mm, strict=True))
        return z, y, x

    @property
    def extent_mm(self) -> Triple:
        """Extent of the mask's bounding box in mm."""
        z, y, x = ((e - b) * s for b, e, s in zip(self.begin, self.end, self.spacing_mm, strict=True))
        return z, y, x

    @property
    def volume_mm3(self) -> float:
        """Volume of the mask."""
        return float(self.voxels * np.prod(self.spacing_mm))

    @property
    def sphere_mm(self) -> float:
        """Radius of the ball of the same volume."""
        return float((3.0 * self.volume_mm3 / (4.0 * np.pi)) ** (1.0 / 3.0))

    @cached_property
    def depth_mm(self) -> float:
        """Distance of the innermost voxel to the background; the ball's radius where there is no background."""
        box, squared = self.squared(_core.Sides.INSIDE, 0.0)
        deepest = float(np.sqrt(-_core.extremes(box, squared, self.threads)[0]))
        return deepest if np.isfinite(deepest) else self.sphere_mm

    def box(self, reach_mm: float | Sequence[float] = 0.0) -> _core.Box:
        """Bounding box of the mask, wider by the reach (along z, y, x) and one voxel, within the volume."""
        reach = np.broadcast_to(np.asarray(reach_mm, dtype=np.float64), 3)
        margin = np.ceil(reach / self.spacing_mm + 1e-6).astype(np.int64) + 1
        return self.clip(np.array(self.begin) - margin, np.array(self.end) + margin)

    def clip(self, begin: npt.ArrayLike, end: npt.ArrayLike) -> _core.Box:
        """Box of the voxels [begin, end) that lie in the volume; at least one voxel."""
        shape = np.array(self.shape)
        low = np.clip(np.asarray(begin), 0, shape - 1)
        high = np.clip(np.asarray(end), low + 1, shape)
        return _core.Box(low.tolist(), (high - low).tolist(), self.spacing_mm)

    def cut(self, mask: Whole | Patch, box: _core.Box) -> Bytes:
        """Copy what `box` covers of a mask."""
        if isinstance(mask, Patch):
            return _core.recut(mask.box, mask.voxels, box, self.threads)
        return _core.extract_mask(mask.array, mask.label, box, self.threads)

    def mask_in(self, box: _core.Box) -> Bytes:
        """The mask within a box; kept for the next caller."""
        return self._kept("mask", self.mask, box)

    def truth_in(self, box: _core.Box) -> Bytes:
        """What results are compared with, within a box; kept for the next caller."""
        return self.mask_in(box) if self.truth is None else self._kept("truth", self.truth, box)

    @cached_property
    def truth_voxels(self) -> int:
        """Number of voxels of the truth, wherever it lies."""
        if self.truth is None:
            return self.voxels
        source, label = (
            (self.truth.array, self.truth.label) if isinstance(self.truth, Whole) else (self.truth.voxels, 1)
        )
        return _core.summarise(source, label, self.threads)[0]

    def squared(self, sides: _core.Sides, reach_mm: float) -> tuple[_core.Box, Floats]:
        """Signed squared distances to the mask's boundary in a box that holds the reach; a kept one when it will do."""
        wanted = self.box(reach_mm)
        for (kept_sides, *_), (box, squared) in self._distances.items():
            if kept_sides == sides and _holds(box, wanted):
                return box, squared
        result = wanted, _core.signed_squared_distance(self.mask_in(wanted), wanted, sides, self.threads)
        self._distances[(sides, reach_mm)] = result
        return result

    @cached_property
    def _distances(self) -> dict[tuple[_core.Sides, float], tuple[_core.Box, Floats]]:
        return {}

    def image_in(self, box: _core.Box) -> Floats:
        """The image in HU within a box."""
        if self.image is None:
            raise ParameterError("image: this kind of error follows the image; pass image=.")
        slope, intercept = self.image_scale
        return _core.extract_image(self.image, slope, intercept, box, self.threads)

    def columns_above(self, z: int, hu: float) -> npt.NDArray[np.int64]:
        """Voxels of each column x of slice z whose image is above a value."""
        _, height, width = self.shape
        step_z, step_y, step_x = self.spacing_mm
        # Seen with x and y exchanged, columns are rows.
        box = _core.Box((z, 0, 0), (1, width, height), (step_z, step_x, step_y))
        values = _core.extract_image(self.image.transpose((0, 2, 1)), *self.image_scale, box, self.threads)
        above = float(np.nextafter(np.float32(hu), np.float32(np.inf)))
        return _core.count_in_rows(box, values, above, float("inf"), self.threads)

    def label_in(self, label: int, box: _core.Box) -> Bytes:
        """Another structure of the labelmap within a box."""
        if self.labelmap is None:
            raise ParameterError("labelmap: this kind of error needs the neighbouring structures; pass labelmap=.")
        return _core.extract_mask(self.labelmap, label, box, self.threads)

    def _kept(self, name: str, mask: Whole | Patch, box: _core.Box) -> Bytes:
        key = (name, *box.origin, *box.shape)
        if key not in self._cuts:
            self._cuts[key] = self.cut(mask, box)
        return self._cuts[key]


def _holds(box: _core.Box, inner: _core.Box) -> bool:
    return all(
        o <= i and o + s >= i + t for o, s, i, t in zip(box.origin, box.shape, inner.origin, inner.shape, strict=True)
    )
