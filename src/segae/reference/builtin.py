"""The built-in reference: what the network in the package makes of a scan, segmented as far as masks need it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from segae import _core, structures
from segae.device import DeviceVolume
from segae.errors import DeviceError
from segae.frame import Volume
from segae.label_scan import LabelScan
from segae.reference.comparison import ReferenceComparison, Source, shares
from segae.reference.network import ReferenceNetwork
from segae.threads import run_all

Labels = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]

_TISSUE_HU = -300.0
_BODY_MARGIN_MM = 6.0
# Slices are segmented so far beyond a mask's ends, and again so far while the structure goes on.
_BEYOND_MM = 40.0
_AT_ONCE = 4
# Pieces below this share of a structure's largest one are dropped.
_LEAST_PIECE = 0.1
# A scan that is lower than this, or whose slices are thicker, shows too little of what the network goes by.
_WHOLE_MM, _THICK_MM = 80.0, 6.0
_UNSURE = 0.9  # of the reliability that is left then
# Below these extents along z and in the plane a scan is no scan of a body.
_LEAST_HEIGHT_MM, _LEAST_WIDTH_MM = 30.0, 120.0


class BuiltInReference:
    """Expected masks of one scan. Slices are segmented when they are first needed, and kept.

    Parameters
    ----------
    image : Volume
        In host memory.
    network : ReferenceNetwork
    threads : int
    """

    source: Source = "built-in"

    def __init__(self, image: Volume, network: ReferenceNetwork, threads: int) -> None:
        if isinstance(image.array, DeviceVolume):
            raise DeviceError("reference: the built-in one reads host memory; pass image.cpu(), or reference=None.")
        self._image, self._network, self._threads = image, network, threads
        self._card = network.card
        depth = image.array.shape[0]
        self.step = max(1, round(self._card.step_mm / image.spacing_mm[0]))
        self.index: Int64 = np.arange(min(self.step // 2, depth - 1), depth, self.step)
        self.origin, (height, width) = _body(image, self._card.pixel_mm, self._card.multiple)
        self.labels: Labels = np.zeros((len(self.index), height, width), np.uint8)
        self._done = np.zeros(len(self.index), bool)
        self._cleaned: dict[int, tuple[int, Labels]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Structures that the network may speak for."""
        return tuple(self._card.reliability)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size of the segmented grid, along z, y, x."""
        return self.step * self._image.spacing_mm[0], self._card.pixel_mm, self._card.pixel_mm

    @property
    def unsure(self) -> str:
        """Why this scan is not one that the network knows well, as a sentence; "" for a usual one."""
        height_mm = self._image.array.shape[0] * self._image.spacing_mm[0]
        if height_mm < _WHOLE_MM:
            return f"The scan is {height_mm:.0f} mm high, so the built-in reference sees little of its surroundings."
        if self._image.spacing_mm[0] > _THICK_MM:
            return f"Slices are {self._image.spacing_mm[0]:.1f} mm apart, thicker than the built-in reference knows."
        return ""

    def reliability(self, structure: str) -> float:
        """Dice that the network reaches on held-out scans."""
        return self._card.reliability[structure] * (_UNSURE if self.unsure else 1.0)

    def whole(self) -> None:
        """Segment the whole scan."""
        self.segment(np.arange(len(self.index)))

    def compare(self, mask: Volume, scan: LabelScan, structure: str) -> ReferenceComparison | None:
        """Compare one label of a mask on the image's grid.

        None where the network may not speak for the structure, or does not find it: it may have lost it.
        """
        if structure not in self._card.reliability:
            return None
        value = 1 + self._card.classes.index(structure)
        self._segment_around(scan, value)
        expected = self._cleaned_label(value)
        if not expected.any():
            return None
        here, there, first = self._same_window(mask, scan, value)
        counts = _core.overlap(here, there, 1, 1, 0, self._threads)
        dice, precision, recall = shares(counts)
        filled = np.flatnonzero(counts[:, 1:].any(axis=1))
        pixel_mm2 = self._card.pixel_mm**2
        rows = sorted(
            (
                mask.source_index(0, int(self.index[first + z])),
                float(2 * counts[z, 0] / (counts[z, 1] + counts[z, 2])),
                float(counts[z, 2] * pixel_mm2),
            )
            for z in filled
        )
        return ReferenceComparison(
            source=self.source,
            dice=dice,
            precision=precision,
            recall=recall,
            nsd=float("nan"),
            volume_ml=float(np.count_nonzero(expected)) * float(np.prod(self.spacing_mm)) / 1000 * self._image.upright,
            reliability=self.reliability(structure),
            identical=False,
            slice_index=tuple(row[0] for row in rows),
            slice_dice=tuple(row[1] for row in rows),
            slice_area_mm2=tuple(row[2] for row in rows),
        )

    def on_image_grid(self, structure: str) -> npt.NDArray[np.bool_]:
        """The structure's expected mask [z, y, x] on the image's grid; slices between take the nearest one."""
        return np.stack([self.plane(structure, z) for z in range(self._image.array.shape[0])])

    def plane(self, structure: str, z: int) -> npt.NDArray[np.bool_]:
        """Expected mask [y, x] of the structure in one slice of the image."""
        expected = self._cleaned_label(1 + self._card.classes.index(structure))
        _, height, width = self._image.array.shape
        out = np.zeros((height, width), bool)
        nearest = expected[int(np.clip((z - self.index[0] + self.step // 2) // self.step, 0, len(self.index) - 1))]
        if nearest.any():
            rows = _pixels(height, self.origin[0], self._image.spacing_mm[1], self._card.pixel_mm)
            columns = _pixels(width, self.origin[1], self._image.spacing_mm[2], self._card.pixel_mm)
            inside_y = (rows >= 0) & (rows < expected.shape[1])
            inside_x = (columns >= 0) & (columns < expected.shape[2])
            out[np.ix_(inside_y, inside_x)] = nearest[rows[inside_y]][:, columns[inside_x]] > 0
        return out

    def _segment_around(self, scan: LabelScan, value: int) -> None:
        """Segment the slices of a mask's box and beyond, and go on where the structure does."""
        reach = max(1, round(_BEYOND_MM / self.spacing_mm[0]))
        low, high = (int(np.searchsorted(self.index, edge)) for edge in (scan.box[0, 0], scan.box[1, 0]))
        while True:
            low, high = max(0, low - reach), min(len(self.index), high + reach)
            self.segment(np.arange(low, high))
            shows = (self.labels[low:high] == value).any(axis=(1, 2))
            more_below, more_above = low > 0 and bool(shows[0]), high < len(self.index) and bool(shows[-1])
            if not (more_below or more_above):
                return

    def segment(self, planes: Int64) -> None:
        """Segment some of the slices in `index`, unless they are."""
        missing = planes[~self._done[planes]]
        if not len(missing):
            return
        parts = [missing[i : i + _AT_ONCE] for i in range(0, len(missing), _AT_ONCE)]
        workers = self._threads if self._network.device == "cpu" else 1
        run_all([partial(self._segment_part, part) for part in parts], workers)
        self._done[missing] = True

    def _segment_part(self, planes: Int64) -> None:
        card, image = self._card, self._image
        height, width = (-(-n // card.multiple) * card.multiple for n in self.labels.shape[1:])
        step_mm = image.spacing_mm[0]
        channels = [
            _core.Channel(is_mask=False, offset=round(mm / step_mm), low=window[0], high=window[1])
            for distances, window in ((card.narrow_mm, card.narrow_hu), (card.wide_mm, card.wide_hu))
            for mm in distances
        ]
        spec = _core.SampleSpec(
            axis=0, height=height, width=width, slope=image.slope, intercept=image.intercept, channels=channels
        )
        boxes = np.tile(self._edges(0, height, 0, width), (len(planes), 1))
        slices = _core.sample(image.array, None, spec, self.index[planes], boxes, np.zeros(len(planes), np.int64), 1)
        rows, columns = self.labels.shape[1:]
        self.labels[planes] = self._network.run(slices)[:, :rows, :columns]

    def _edges(self, row0: int, row1: int, column0: int, column1: int) -> npt.NDArray[np.float64]:
        """Pixels of the segmented grid -> edges in voxels of the image."""
        y, x = (self._card.pixel_mm / s for s in self._image.spacing_mm[1:])
        return np.array(
            [self.origin[0] + row0 * y, self.origin[0] + row1 * y, self.origin[1] + column0 * x,
             self.origin[1] + column1 * x]
        )  # fmt: skip

    def _same_window(self, mask: Volume, scan: LabelScan, value: int) -> tuple[Labels, Labels, int]:
        """The mask and the expected one on the segmented grid, in the window that holds both; its first slice."""
        expected = self._cleaned_label(value)
        filled = [np.flatnonzero(expected.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        low, high = [int(f[0]) for f in filled], [int(f[-1]) + 1 for f in filled]
        low[0] = min(low[0], int(np.searchsorted(self.index, scan.box[0, 0])))
        high[0] = max(high[0], int(np.searchsorted(self.index, scan.box[1, 0])))
        for axis in (1, 2):
            rows = _pixels(mask.array.shape[axis], self.origin[axis - 1], mask.spacing_mm[axis], self._card.pixel_mm)
            low[axis] = min(low[axis], int(rows[scan.box[0, axis]]))
            high[axis] = max(high[axis], int(rows[scan.box[1, axis] - 1]) + 1)
        # What a mask has outside of the body's box lies where nothing is expected: it counts through the margins.
        pads = [(max(0, -low[a]), max(0, high[a] - expected.shape[a])) for a in (1, 2)]
        if any(sum(pad) for pad in pads):
            self._widen(pads)
            return self._same_window(mask, scan, value)
        spec = _core.SampleSpec(
            axis=0, height=high[1] - low[1], width=high[2] - low[2], channels=[_core.Channel(is_mask=True)]
        )
        planes = self.index[low[0] : high[0]]
        boxes = np.tile(self._edges(low[1], high[1], low[2], high[2]), (len(planes), 1))
        labels = np.full(len(planes), scan.label, np.int64)
        sampled = _core.sample(self._image.array, mask.array, spec, planes, boxes, labels, self._threads)
        window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        return (sampled[:, 0] > 0.5).astype(np.uint8), expected[window], low[0]

    def _widen(self, pads: list[tuple[int, int]]) -> None:
        """Make the grid larger: nothing is expected where there is no body."""
        y, x = (self._card.pixel_mm / s for s in self._image.spacing_mm[1:])
        self.labels = np.pad(self.labels, ((0, 0), *pads))
        self.origin = (self.origin[0] - pads[0][0] * y, self.origin[1] - pads[1][0] * x)
        self._cleaned.clear()

    def _cleaned_label(self, value: int) -> Labels:
        """One structure without stray pieces, uint8 0 or 1; kept until more slices are segmented."""
        done = int(self._done.sum())
        known = self._cleaned.get(value)
        if known is None or known[0] != done:
            known = (done, self._clean(value))
            self._cleaned[value] = known
        return known[1]

    def _clean(self, value: int) -> Labels:
        """Keep pieces of a tenth of the largest one's size, those of a sided organ on its own side of the body first.

        The largest piece alone would lose organs of which a part, or the other one of the pair, was found elsewhere.
        """
        pieces = _core.component_labels(self.labels, value)
        sizes = np.bincount(pieces.ravel())
        if len(sizes) < 2:
            return np.zeros(self.labels.shape, np.uint8)
        keep = sizes >= _LEAST_PIECE * sizes[1]
        keep[0] = False
        side = structures.get(self._card.classes[value - 1]).side
        if side is not None:
            middle = self.labels.shape[2] / 2
            centres = np.bincount(pieces.ravel(), np.broadcast_to(np.arange(pieces.shape[2]), pieces.shape).ravel())
            right_place = (centres / np.maximum(sizes, 1) > middle) == (side == "left")  # x runs to the left
            if (keep & right_place).any():
                keep &= right_place
        cleaned: Labels = keep[pieces].astype(np.uint8)
        return cleaned


def knows_scan(image: Volume) -> bool:
    """Whether a volume is large enough, and in HU, for the built-in reference to say anything."""
    if isinstance(image.array, DeviceVolume):
        return False
    height, *plane = (n * s for n, s in zip(image.array.shape, image.spacing_mm, strict=True))
    return bool(height >= _LEAST_HEIGHT_MM and min(plane) >= _LEAST_WIDTH_MM)


def _pixels(n: int, origin: float, spacing_mm: float, pixel_mm: float) -> Int64:
    """Pixel of the segmented grid that holds each voxel's middle."""
    found: Int64 = np.floor((np.arange(n) + 0.5 - origin) * spacing_mm / pixel_mm).astype(np.int64)
    return found


def _body(image: Volume, pixel_mm: float, multiple: int) -> tuple[tuple[float, float], tuple[int, int]]:
    """First row and column, in voxel edges, and size in pixels of a rectangle that holds the body in every slice."""
    step = [max(1, round(8.0 / image.spacing_mm[0])), *(max(1, round(4.0 / s)) for s in image.spacing_mm[1:])]
    thin: Any = image.array[:: step[0], :: step[1], :: step[2]]
    tissue = thin.astype(np.float32) * image.slope + image.intercept > _TISSUE_HU
    origin, size = [], []
    for axis in (1, 2):
        filled = np.flatnonzero(tissue.any(axis=0).sum(axis=2 - axis) >= 2)
        n, spacing = image.array.shape[axis], image.spacing_mm[axis]
        low, high = (0, n) if not len(filled) else (int(filled[0]) * step[axis], (int(filled[-1]) + 1) * step[axis])
        margin = _BODY_MARGIN_MM / spacing
        low_edge, high_edge = max(0.0, low - margin), min(float(n), high + margin)
        pixels = int(np.ceil((high_edge - low_edge) * spacing / pixel_mm / multiple)) * multiple
        spare = pixels * pixel_mm / spacing - (high_edge - low_edge)
        origin.append(low_edge - spare / 2)
        size.append(pixels)
    return (origin[0], origin[1]), (size[0], size[1])
