"""What every operation of the core means, in plain numpy and scipy. Never optimised."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[Any]


@dataclass
class Label:
    """Twin of LabelStats in csrc/scan/scan.h."""

    voxels: int
    areas: tuple[Array, Array, Array]
    box: Array
    centroid: Array
    border: Array


@dataclass
class Scan:
    """Twin of ScanResult in csrc/scan/scan.h."""

    labels: dict[int, Label] = field(default_factory=dict)
    fractional: int = 0
    non_finite: int = 0


def scan(volume: Array) -> Scan:
    found = Scan()
    if volume.dtype.kind == "f":
        wide = volume.astype(np.float64)
        finite = np.isfinite(wide)
        with np.errstate(invalid="ignore"):
            whole = finite & (wide == np.floor(wide)) & (np.abs(wide) <= 2.0**53)
        found.non_finite = int((~finite).sum())
        found.fractional = int((finite & ~whole).sum())
        values = np.where(whole, wide, 0.0).astype(np.int64)
    else:
        values = volume.astype(np.int64)
    for value in np.unique(values[values != 0]):
        inside = values == value
        index = np.argwhere(inside)
        areas = (inside.sum((1, 2)), inside.sum((0, 2)), inside.sum((0, 1)))
        found.labels[int(value)] = Label(
            voxels=len(index),
            areas=areas,
            box=np.array([index.min(0), index.max(0) + 1]),
            centroid=index.mean(0),
            border=np.array([[area[0] for area in areas], [area[-1] for area in areas]]),
        )
    return found


def plane_boxes(volume: Array, axis: int, indices: Array, labels: Array, windows: Array) -> Array:
    boxes = []
    for index, label, (row0, row1, column0, column1) in zip(indices, labels, windows, strict=True):
        inside = np.take(volume, index, axis)[row0:row1, column0:column1] == label
        rows, columns = np.nonzero(inside)
        if len(rows) == 0:
            boxes.append([-1] * 4)
        else:
            boxes.append(
                [row0 + rows.min(), row0 + rows.max() + 1, column0 + columns.min(), column0 + columns.max() + 1]
            )
    return np.array(boxes, np.int64).reshape(-1, 4)


def triangle_weights(begin: float, end: float, size: int, low: int, high: int) -> Array:
    """Weights [size, high - low] of an antialiased resampling of [begin, end); rows of nan where there is no source."""
    scale = (end - begin) / size
    support = max(scale, 1.0)
    weights = np.full((size, max(high - low, 0)), np.nan)
    for i in range(size):
        centre = begin + (i + 0.5) * scale
        if low <= centre < high:
            row = np.maximum(1 - np.abs(np.arange(low, high) + 0.5 - centre) / support, 0)
            weights[i] = row / row.sum()
    return weights


def sample(
    image: Array,
    mask: Array | None,
    channels: list[dict[str, Any]],
    indices: Array,
    boxes: Array,
    labels: Array,
    *,
    axis: int,
    size: tuple[int, int],
    slope: float = 1.0,
    intercept: float = 0.0,
    fill_hu: float = -1024.0,
    stop_at_crop: bool = False,
) -> Array:
    out = np.empty((len(indices), len(channels), *size))
    for i, (index, box, label) in enumerate(zip(indices, boxes, labels, strict=True)):
        for c, channel in enumerate(channels):
            is_mask = channel["is_mask"]
            low, high = channel.get("low", 0.0), channel.get("high", 1.0)
            fill = 0.0 if is_mask else (np.clip(fill_hu, low, high) - low) / (high - low)
            source = mask if is_mask else image
            assert source is not None
            slice_index = index + channel.get("offset", 0)
            plane = np.full(size, fill)
            if 0 <= slice_index < source.shape[axis]:
                stored = np.take(source, slice_index, axis)
                if is_mask:
                    values = (stored == label).astype(np.float64)
                else:
                    hu = stored.astype(np.float64) * slope + intercept
                    hu[~np.isfinite(hu)] = fill_hu
                    values = (np.clip(hu, low, high) - low) / (high - low)
                plane = _resample(values, box, size, stop_at_crop, fill)
            out[i, c] = channel.get("gain", 1.0) * plane + channel.get("bias", 0.0)
    return out


def _resample(values: Array, box: Array, size: tuple[int, int], stop_at_crop: bool, fill: float) -> Array:
    weights = []
    for side in range(2):
        begin, end = box[2 * side], box[2 * side + 1]
        low, high = 0, values.shape[side]
        if stop_at_crop:
            low, high = max(low, int(begin)), min(high, int(end))
        high = max(low, high)
        weights.append(triangle_weights(begin, end, size[side], low, high))
        values = values[low:high] if side == 0 else values[:, low:high]
    rows, columns = weights
    plane = np.nan_to_num(rows) @ values @ np.nan_to_num(columns).T
    plane[_without_source(rows)] = fill
    plane[:, _without_source(columns)] = fill
    return plane


def _without_source(weights: Array) -> Array:
    return np.isnan(weights).any(axis=1) if weights.shape[1] else np.ones(len(weights), bool)


def overlap(given: Array, truth: Array, axis: int) -> Array:
    others = tuple(other for other in range(3) if other != axis)
    return np.stack([(given & truth).sum(others), given.sum(others), truth.sum(others)], axis=1)


def border(mask: Array) -> Array:
    """Voxels of the mask with a face neighbour that is not in it; outside the array nothing is."""
    cross = ndimage.generate_binary_structure(mask.ndim, 1)
    return mask & ~ndimage.binary_erosion(mask, cross, border_value=0)


def distance(seeds: Array, spacing_mm: tuple[float, ...]) -> Array:
    if not seeds.any():
        return np.full(seeds.shape, np.inf)
    return ndimage.distance_transform_edt(~seeds, spacing_mm)


def surface_counts(given: Array, truth: Array, spacing_mm: tuple[float, ...], tolerance_mm: float) -> list[int]:
    a, b = border(given), border(truth)
    limit = tolerance_mm * (1 + 1e-6)
    return [
        int(a.sum()),
        int(b.sum()),
        int((distance(b, spacing_mm)[a] <= limit).sum()),
        int((distance(a, spacing_mm)[b] <= limit).sum()),
    ]


def component_sizes(mask: Array) -> list[int]:
    components, n = ndimage.label(mask, np.ones((3, 3, 3)))
    return sorted((int((components == i + 1).sum()) for i in range(n)), reverse=True)


def runs(volume: np.ndarray, labels: list[int]) -> np.ndarray:
    """Rows (structure, row, begin, end) of the stretches of each label along the last axis."""
    found = []
    for z, y in np.ndindex(volume.shape[:2]):
        begin = 0
        for x in range(1, volume.shape[2] + 1):
            if x < volume.shape[2] and volume[z, y, x] == volume[z, y, begin]:
                continue
            value = volume[z, y, begin].item()  # float16 does not hold all labels
            if value in labels:
                found.append((labels.index(value), z * volume.shape[1] + y, begin, x))
            begin = x
    return np.array(found, np.int64).reshape(-1, 4)


def relations(masks: list[np.ndarray]) -> dict[str, object]:
    """Overlaps, contacts and moments of bool masks, as ``csrc/relations/relations.h`` defines them."""
    n, shape = len(masks), masks[0].shape
    overlap, contact = np.zeros((n, n), np.int64), np.zeros((n, n, 3), np.int64)
    for i, j in np.ndindex(n, n):
        if i == j:
            continue
        overlap[i, j] = (masks[i] & masks[j]).sum()
        for axis in range(3):
            a, b = (np.moveaxis(mask, axis, 0) for mask in (masks[i], masks[j]))
            contact[i, j, axis] = (a[1:] & b[:-1]).sum() + (a[:-1] & b[1:]).sum()
    moments = [np.zeros((n, extent, 3), np.int64) for extent in shape]
    for i, mask in enumerate(masks):
        for place in np.argwhere(mask):
            for axis in range(3):
                others = np.delete(place, axis)
                moments[axis][i, place[axis]] += (1, *others)
    return {"overlap": overlap, "contact": contact, "moments": tuple(moments)}
