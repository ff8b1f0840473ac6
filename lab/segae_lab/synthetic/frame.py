"""A labelmap with its place in millimetres: masks by name, solids to paint, morphology with balls."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Point = tuple[float, float, float]


class Frame:
    """A labelmap with its place in millimetres: masks by name, points to voxels, simple solids."""

    def __init__(self, labels: Labels, names: dict[str, int], spacing_mm: float, low_mm: Point) -> None:
        self.labels, self.names, self.spacing, self.low = labels, names, spacing_mm, np.array(low_mm)

    def mask(self, *wanted: str, step: int = 1) -> Mask:
        """Voxels of these names, every `step`-th along each axis."""
        chosen = np.zeros(256, bool)
        chosen[[self.names[n] for n in wanted if n in self.names]] = True
        return chosen[self.labels[::step, ::step, ::step]]

    def starting(self, *prefixes: str) -> list[str]:
        """Names that start with one of these."""
        return [n for n in self.names if n.startswith(prefixes)]

    def paint(self, name: str, where: Mask, *, over: tuple[str, ...] = (), step: int = 1) -> None:
        """Give voxels to a structure; only those that are free or belong to `over`."""
        if step > 1:
            where = upsample(where, self.labels.shape)
        free = np.zeros(256, bool)
        free[[0] + [self.names[n] for n in over]] = True
        self.labels[where & free[self.labels]] = self.names[name]

    def box(self, low: Point, high: Point) -> tuple[slice, ...]:
        """Voxels between two corners in millimetres."""
        start = np.floor((np.array(low) - self.low) / self.spacing).astype(int)
        stop = np.ceil((np.array(high) - self.low) / self.spacing).astype(int) + 1
        return tuple(slice(max(0, int(a)), max(0, int(b))) for a, b in zip(start, stop, strict=True))

    def grid(self, place: tuple[slice, ...]) -> list[NDArray[np.float64]]:
        """Open grid of the millimetres of a box's voxels."""
        axes = [np.arange(p.start, min(p.stop, n)) for p, n in zip(place, self.labels.shape, strict=True)]
        return list(np.ix_(*[a * self.spacing + o for a, o in zip(axes, self.low, strict=True)]))

    def solid(self, name: str, centre: Point, radii: Point, *, over: tuple[str, ...] = ()) -> None:
        """Paint an ellipsoid."""
        place = self.box(*(tuple(np.array(centre) + s * np.array(radii)) for s in (-1, 1)))
        z, y, x = self.grid(place)
        inside = sum(((g - c) / r) ** 2 for g, c, r in zip((z, y, x), centre, radii, strict=True)) < 1
        Frame(self.labels[place], self.names, self.spacing, (0, 0, 0)).paint(name, np.asarray(inside), over=over)

    def tube(self, name: str, path: list[Point], radius: float, *, over: tuple[str, ...] = (), flat: float = 1) -> None:
        """Paint a tube along a polyline; `flat` widens it from side to side."""
        corners = np.array(path, float)
        length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
        steps = np.linspace(0, length[-1], int(length[-1] / self.spacing) + 2)
        line = np.stack([ndimage.gaussian_filter1d(np.interp(steps, length, corners[:, a]), 3, mode="nearest")
                         for a in range(3)], 1)  # fmt: skip
        place = self.box(tuple(line.min(0) - radius * flat), tuple(line.max(0) + radius * flat))
        z, y, x = np.broadcast_arrays(*self.grid(place))
        squeeze = np.array([1, 1, 1 / flat])
        away, _ = cKDTree(line * squeeze).query(np.stack([z, y, x], -1).reshape(-1, 3) * squeeze,
                                                distance_upper_bound=radius)  # fmt: skip
        inside = np.isfinite(away).reshape(z.shape)
        Frame(self.labels[place], self.names, self.spacing, (0, 0, 0)).paint(name, inside, over=over)


def upsample(field: NDArray[np.generic], shape: tuple[int, ...]) -> Mask:
    """A coarse mask on the fine grid, its border smoothed on the way."""
    soft = ndimage.gaussian_filter(field.astype(np.float32), 0.7)
    return np.asarray(ndimage.zoom(soft, [n / m for n, m in zip(shape, field.shape, strict=True)], order=1) > 0.5)


def grown(mask: Mask, radius: float, *, grow: bool = True) -> Mask:
    """Dilation (or erosion) by a ball of so many voxels."""
    away = ndimage.distance_transform_edt(~mask if grow else mask)
    return np.asarray(away <= radius if grow else away > radius)


def closed(mask: Mask, radius: float) -> Mask:
    """Closing by a ball of so many voxels."""
    return grown(grown(mask, radius), radius, grow=False)
