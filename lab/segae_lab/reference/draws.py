"""Random training slices: turned, scaled, in changed contrast, clipped and noisy as users' scans are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from segae_lab.reference.classes import CLASSES
from segae_lab.reference.network import NARROW_HU, NARROW_MM, WIDE_HU, WIDE_MM
from segae_lab.reference.scans import PIXEL_MM, PartlyLabelled

# Rows and columns of a training crop: most of a body at 2 mm.
CROP = (128, 176)
_CLIPS_HU = ((-125.0, 275.0), (-160.0, 240.0), (-200.0, 300.0), (-1000.0, 1000.0))
_WIDE_AT = [NARROW_MM.index(mm) for mm in WIDE_MM]


@dataclass(frozen=True)
class Batch:
    """Slices [n, channels, h, w] of [0, 1], labels uint8 [n, h, w], known bool [n, classes]."""

    slices: Tensor
    labels: Tensor
    known: Tensor


class Draws:
    """Draws slices of scans; half of them where a class is that was drawn first, so that rare classes are seen."""

    def __init__(self, scans: list[PartlyLabelled], rng: np.random.Generator) -> None:
        self._scans, self._rng = scans, rng
        self._weights = np.array([scan.weight for scan in scans])
        self._slices = [_slices_of(scan) for scan in scans]
        self._shown = [value for value in range(1, 1 + len(CLASSES)) if any(len(own[value]) for own in self._slices)]

    def batch(self, size: int) -> Batch:
        """Draw a batch."""
        drawn = [self._draw() for _ in range(size)]
        return Batch(*(torch.stack(parts) for parts in zip(*drawn, strict=True)))

    def _draw(self) -> tuple[Tensor, Tensor, Tensor]:
        rng = self._rng
        if rng.random() < 0.6:
            chosen = int(rng.choice(self._shown))
            weights = self._weights * np.array([len(slices[chosen]) > 0 for slices in self._slices])
            at = rng.choice(len(weights), p=weights / weights.sum())
            z = int(rng.choice(self._slices[at][chosen]))
        else:
            at = rng.choice(len(self._weights), p=self._weights / self._weights.sum())
            z = int(rng.integers(len(self._scans[at].hu)))
        return self._cut(self._scans[at], z)

    def _cut(self, scan: PartlyLabelled, z: int) -> tuple[Tensor, Tensor, Tensor]:
        rng = self._rng
        stretch = rng.uniform(0.85, 1.2)
        planes = slices_around(scan.hu, z, scan.spacing_mm[0] * stretch)
        grid = self._grid(scan)
        hu = functional.grid_sample(planes[None], grid, align_corners=False, padding_mode="zeros")[0] - 1024.0
        labels = torch.from_numpy(scan.labels[z].astype(np.float32))[None, None]
        # What lies beyond the scan's edge is air, of no class.
        cut = functional.grid_sample(labels, grid, mode="nearest", align_corners=False)[0, 0].to(torch.uint8)
        return windowed(self._changed(hu)), cut, torch.from_numpy(scan.known[z])

    def _grid(self, scan: PartlyLabelled) -> Tensor:
        """Where the crop's pixels lie in the scan's plane, for grid_sample."""
        rng = self._rng
        angle = rng.normal(0, 0.1)
        common = math.exp(rng.normal(0, 0.12))
        scale = common * np.exp(rng.normal(0, 0.04, 2))
        size = np.array(scan.hu.shape[1:])
        half = np.array(CROP) / 2
        slack = np.maximum(size / 2 - half * 0.8, 4.0)
        centre = size / 2 + rng.uniform(-slack, slack)
        rows, columns = (torch.arange(n) + 0.5 - n / 2 for n in CROP)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        cos, sin = math.cos(angle), math.sin(angle)
        fit = [PIXEL_MM / s for s in scan.spacing_mm[1:]]
        at_y = centre[0] + scale[0] * fit[0] * (cos * y - sin * x)
        at_x = centre[1] + scale[1] * fit[1] * (sin * y + cos * x)
        return torch.stack([at_x * 2 / size[1] - 1, at_y * 2 / size[0] - 1], dim=-1).float()[None]

    def _changed(self, hu: Tensor) -> Tensor:
        """Another scanner, contrast phase and reader's window."""
        rng = self._rng
        if rng.random() < 0.35:
            low, high = _CLIPS_HU[rng.choice(len(_CLIPS_HU), p=(0.6, 0.15, 0.15, 0.1))]
            hu = hu.clamp(low, high)
        if rng.random() < 0.3:  # a wider soft-tissue curve: less or more contrast agent
            bent = (hu / 300).clamp(0, 1)
            hu = hu + 300 * (bent ** math.exp(rng.normal(0, 0.25)) - bent)
        hu = hu * rng.uniform(0.93, 1.07) + rng.normal(0, 8)
        if rng.random() < 0.5:
            hu = hu + torch.randn(hu.shape) * abs(rng.normal(0, 14))
        if rng.random() < 0.15:
            hu = functional.avg_pool2d(hu[None], 3, 1, 1)[0]
        return hu


def slices_around(hu: npt.NDArray[np.int16], z: int, step_mm: float) -> Tensor:
    """Slices at `NARROW_MM` of slice `z`, [7, y, x], HU + 1024 so that 0 is air; beyond the scan's ends is air."""
    at = np.array([z + round(mm / step_mm) for mm in NARROW_MM])
    planes = np.zeros((len(at), *hu.shape[1:]), np.float32)
    within = (at >= 0) & (at < len(hu))
    planes[within] = hu[at[within]] + 1024.0
    return torch.from_numpy(planes)


def windowed(hu: Tensor) -> Tensor:
    """HU of the slices of `NARROW_MM` [7, h, w] -> the network's channels in [0, 1]."""
    narrow = (hu - NARROW_HU[0]) / (NARROW_HU[1] - NARROW_HU[0])
    wide = (hu[_WIDE_AT] - WIDE_HU[0]) / (WIDE_HU[1] - WIDE_HU[0])
    return torch.cat([narrow, wide]).clamp(0, 1)


def _slices_of(scan: PartlyLabelled) -> list[npt.NDArray[np.int64]]:
    """Class -> slices that show at least a few voxels of it."""
    counts = np.stack([np.bincount(plane.ravel(), minlength=256)[: 1 + len(CLASSES)] for plane in scan.labels])
    return [np.flatnonzero(counts[:, value] >= 4) for value in range(1 + len(CLASSES))]
