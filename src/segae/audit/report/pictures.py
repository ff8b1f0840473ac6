"""Pictures of a mask: three planes through its worst slice, with the outlines of the mask and of the expected one.

Planes are squares of one size, so that the three of a mask show the same scale. The CT is a small gray WebP; outlines
are SVG paths over it, which a reader can take away to see the CT beneath.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from segae import structures
from segae.anatomy.findings import KINDS
from segae.assessment import Assessment, ExpectedMask, SliceScore
from segae.audit.report.chain import marks_of, slab
from segae.audit.report.contours import svg_path
from segae.audit.report.references import ReferenceMasks
from segae.audit.results import MaskRow
from segae.audit.review.verdict import wrong_mm2
from segae.engine import Engine
from segae.masks import read_labelmap, read_mask
from segae.threads import available_threads
from segae.volume import Volume, load, load_pair

Array = npt.NDArray[Any]

_MARGIN_MM = 20.0
_LEAST_SIDE_MM = 70.0
_PX = (160, 300)  # fewest and most pixels of a plane's side
_WEBP_QUALITY = 62
_WINDOWS_HU = {"lung": (-1000.0, 250.0), "bone": (-200.0, 750.0), "soft": (-160.0, 240.0)}
_LUNG_WORDS = ("lung", "trachea", "bronchus")
# Kinds of trouble that only a view of the whole slice shows.
_WHOLE_VIEW = ("wrong_side", "side_swapped", "outside_body", "odd_position", "not_ct")
# Probabilities are interpolated between slices as log odds, which run like distances from the outline.
_LEAST_PROBABILITY = 0.002


@dataclass(frozen=True)
class Plane:
    """One square picture.

    Attributes
    ----------
    name : "axial", "coronal" or "sagittal"
    webp : bytes
    side_mm : float
    given, expected, reference : str
        Outlines as SVG paths in mm; `expected` is "" for models that expect no mask, `reference` without a reference.
    cross_mm : (float, float)
        Where the other two planes cut this one, from the left and from the top.
    marks : tuple of (x, y, text, concerned)
        Other structures of the scan on a plane that shows all of it: mm from the left and from the top.
    """

    name: str
    webp: bytes
    side_mm: float
    given: str
    expected: str
    cross_mm: tuple[float, float]
    marks: tuple[tuple[float, float, str, bool], ...] = ()
    reference: str = ""


@dataclass(frozen=True)
class Picture:
    """What the report shows of one mask.

    Attributes
    ----------
    planes : tuple of Plane
        Axial, coronal, sagittal; for mistakes across structures one more, coronal or sagittal, of the whole scan.
    slice_index : int
        Of the axial plane, along the axial axis of the file.
    slices : tuple of SliceScore
        From feet to head, with indices of the file.
    """

    planes: tuple[Plane, ...]
    slice_index: int
    slices: tuple[SliceScore, ...]


def draw_case(
    engine: Engine, masks: Sequence[tuple[MaskRow, str]], case: Sequence[MaskRow] = ()
) -> Iterator[Picture | Exception]:
    """Read a case again and draw some of its masks.

    Parameters
    ----------
    engine : Engine
    masks : sequence of (MaskRow, kind)
        All of one image; kinds as in `segae.audit.review.verdict.KINDS`.
    case : sequence of MaskRow
        All masks of the image, to show where each lies when they contradict each other.

    Yields
    ------
    Picture, or the error that prevented it
    """
    try:
        ct = _in_hu(load(masks[0][0].image, "image"))
    except (ValueError, OSError) as error:
        yield from [error] * len(masks)
        return
    references = ReferenceMasks(engine, ct)
    read: tuple[str, Volume | None] = ("", None)
    for row, kind in masks:
        try:
            if read[0] != row.mask:
                read = (row.mask, _on_grid(ct, row.mask, of_one=not row.labels))
            assert read[1] is not None
            picture = _draw(engine, ct, read[1], row, kind, references.of(row))
            if kind in KINDS and case:
                picture = replace(picture, planes=(*picture.planes, _overview(ct, row, case)))
            yield picture
        except (ValueError, OSError) as error:
            yield error


def _in_hu(ct: Volume) -> Volume:
    if ct.slope == 1.0 and ct.intercept == 0.0:
        return ct
    hu = ct.array.astype(np.float32) * ct.slope + ct.intercept
    return replace(ct, array=hu, slope=1.0, intercept=0.0)


def _on_grid(ct: Volume, path: str, *, of_one: bool) -> Volume:
    """Read a mask, or a labelmap, which must lie on the grid of the CT; the same voxels in the CT's own view."""
    seen, mask = load_pair(ct, path)
    if seen is not ct:  # the mask told the CT's orientation
        mask = load_pair(ct, mask.in_source_order(mask.array))[1]
    return (read_mask if of_one else read_labelmap)(mask, "mask", available_threads())[0]


def _draw(
    engine: Engine, ct: Volume, volume: Volume, row: MaskRow, kind: str, reference: npt.NDArray[np.bool_] | None
) -> Picture:
    labels = row.labels or (1,)
    mask = volume.array == labels[0]
    for label in labels[1:]:
        mask |= volume.array == label
    found = engine.assess(
        ct.array, mask, row.structure, spacing=ct.spacing_mm, error_map=engine.expects_masks
    )  # bare arrays in LPS: slices and boxes come back along z, y, x
    if found.bbox is None:
        raise ValueError("The mask is empty now; the file has changed since the audit.")
    expected = _Expected(found, mask.shape)
    z, y, x = _worst_place(found, mask, expected)
    box = np.array(found.bbox, np.float64).T
    box = np.stack([np.minimum(box[0], expected.box[0]), np.maximum(box[1], expected.box[1])])
    if reference is not None and reference.any():
        filled = [np.flatnonzero(reference.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        box[0] = np.minimum(box[0], [f[0] for f in filled])
        box[1] = np.maximum(box[1], [f[-1] + 1 for f in filled])
    centre_mm, side_mm = _frame(box, ct, whole=kind in _WHOLE_VIEW)
    window = _window(row.structure)
    planes = []
    for name, fixed, at, flip, (rows, columns) in (
        ("axial", 0, z, False, (1, 2)),
        ("coronal", 1, y, True, (0, 2)),
        ("sagittal", 2, x, True, (0, 1)),
    ):
        view = _View(
            origin_mm=(centre_mm[rows] - side_mm / 2, centre_mm[columns] - side_mm / 2),
            side_mm=side_mm,
            spacing_mm=(ct.spacing_mm[rows], ct.spacing_mm[columns]),
            flip=flip,
        )
        position = np.array([z, y, x]) + 0.5
        planes.append(
            Plane(
                name,
                view.webp(_plane(ct.array, fixed, at), window),
                side_mm,
                view.outline(_plane(mask, fixed, at)),
                view.outline(expected.plane(fixed, at)) if expected.known else "",
                view.place(position[rows], position[columns]),
                reference="" if reference is None else view.outline(_plane(reference, fixed, at)),
            )
        )
    in_file = tuple(
        SliceScore(volume.source_index(0, s.index), s.area_mm2, s.dice, s.precision, s.recall, s.expected_area_mm2)
        for s in found.slices
    )
    return Picture(tuple(planes), volume.source_index(0, z), in_file)


def _overview(ct: Volume, row: MaskRow, case: Sequence[MaskRow]) -> Plane:
    """All structures on one plane: the spine from the side, everything else from the front."""
    marks = marks_of(row, case, ct)
    sagittal = row.structure.startswith("vertebrae_")
    axis, (rows, columns) = (2, (0, 1)) if sagittal else (1, (0, 2))
    extent_mm = np.array(ct.array.shape) * ct.spacing_mm
    side_mm = float(max(extent_mm[rows], extent_mm[columns]))
    view = _View(
        origin_mm=((extent_mm[rows] - side_mm) / 2, (extent_mm[columns] - side_mm) / 2),
        side_mm=side_mm,
        spacing_mm=(ct.spacing_mm[rows], ct.spacing_mm[columns]),
        flip=True,
    )
    places = [view.place(mark.place[rows] + 0.5, mark.place[columns] + 0.5) for mark in marks]
    return Plane(
        "sagittal" if sagittal else "coronal",
        view.webp(slab(ct, marks, axis), _WINDOWS_HU["bone"]),
        side_mm,
        "",
        "",
        places[0],
        tuple((x, y, mark.text, mark.concerned) for (x, y), mark in zip(places, marks, strict=True)),
    )


def _plane(array: Array, axis: int, at: int) -> Array:
    view: Array = np.moveaxis(array, axis, 0)[at]
    return view


class _Expected:
    """The expected mask on whole planes, from the slices that the model looked at.

    `box` [2, 3] bounds it in voxels, as far as it is known; empty (inf, -inf) where nothing is expected.
    """

    def __init__(self, found: Assessment, shape: tuple[int, ...]) -> None:
        maps = {s.index: s.expected for s in found.slices if s.expected is not None}
        assert found.bbox is not None
        self.known = bool(maps)
        self.box = np.array([[np.inf] * 3, [-np.inf] * 3])
        self._shape = shape
        # Rows and columns that the mask or any map touches; maps are drawn on these only.
        sides = [(found.bbox[1], found.bbox[2]), *(expected.box for expected in maps.values())]
        low = [max(0, math.floor(min(side[axis][0] for side in sides))) for axis in range(2)]
        high = [min(shape[axis + 1], math.ceil(max(side[axis][1] for side in sides))) for axis in range(2)]
        self.window = (slice(low[0], high[0]), slice(low[1], high[1]))
        self._maps: dict[int, Array] = {}
        for index, expected in maps.items():
            (row0, row1), (column0, column1) = expected.box
            moved = ExpectedMask(
                expected.probability, ((row0 - low[0], row1 - low[0]), (column0 - low[1], column1 - low[1]))
            )
            probability = moved.on_slice((high[0] - low[0], high[1] - low[1]))
            self._maps[index] = probability
            inside = probability > 0.5
            if inside.any():
                rows = np.flatnonzero(inside.any(axis=1)) + low[0]
                columns = np.flatnonzero(inside.any(axis=0)) + low[1]
                self.box[0] = np.minimum(self.box[0], (index, rows[0], columns[0]))
                self.box[1] = np.maximum(self.box[1], (index + 1, rows[-1] + 1, columns[-1] + 1))

    def in_window(self, index: int) -> npt.NDArray[np.bool_]:
        """What is expected in a slice that the model looked at, on the rows and columns of `window`."""
        inside: npt.NDArray[np.bool_] = self._maps[index] > 0.5
        return inside

    def plane(self, fixed: int, at: int) -> Array:
        """Probabilities on one plane; axial ones must be among the slices that the model looked at."""
        plane = np.zeros([extent for axis, extent in enumerate(self._shape) if axis != fixed], np.float32)
        if fixed == 0:
            plane[self.window] = self._maps[at]
        else:
            plane[:, self.window[2 - fixed]] = self._between_slices(fixed - 1, at - self.window[fixed - 1].start)
        return plane

    def _between_slices(self, axis: int, at: int) -> Array:
        """One line of every slice; slices that the model did not look at lie between two that it did."""
        known = np.array(sorted(self._maps))
        lines = np.stack([self._maps[int(index)].take(at, axis=axis) for index in known])
        bounded = np.clip(lines, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
        odds = np.log(bounded / (1 - bounded))
        z = np.arange(self._shape[0])
        if len(known) == 1:
            return np.where((z == known[0])[:, None], lines[0], 0.0)
        above = np.clip(np.searchsorted(known, z), 1, len(known) - 1)
        share = np.clip((z - known[above - 1]) / (known[above] - known[above - 1]), 0, 1)[:, None]
        between = 1 / (1 + np.exp(-((1 - share) * odds[above - 1] + share * odds[above])))
        return np.where(((z >= known[0]) & (z <= known[-1]))[:, None], between, 0.0)


def _worst_place(found: Assessment, mask: npt.NDArray[np.bool_], expected: _Expected) -> tuple[int, int, int]:
    """Slice, row and column through the largest disagreement; where there is none, through the largest slice."""
    if expected.known:
        differs = {s.index: mask[s.index][expected.window] != expected.in_window(s.index) for s in found.slices}
        index = max(differs, key=lambda i: (int(differs[i].sum()), -i))
        wrong = differs[index]
    else:
        amount = [wrong_mm2(s) if not math.isnan(s.precision) else s.area_mm2 * (1 - _dice(s)) for s in found.slices]
        index = found.slices[int(np.argmax(amount))].index
        wrong = mask[index][expected.window]
    if not wrong.any():
        index = max(found.slices, key=lambda s: s.area_mm2).index
        wrong = mask[index][expected.window]
    rows, columns = expected.window
    return index, rows.start + int(np.argmax(wrong.sum(axis=1))), columns.start + int(np.argmax(wrong.sum(axis=0)))


def _dice(score: SliceScore) -> float:
    return 0.0 if math.isnan(score.dice) else score.dice


def _frame(box: Array, ct: Volume, *, whole: bool) -> tuple[Array, float]:
    """Centre (z, y, x) and side, in mm from the volume's corner, of the cube that the planes show."""
    box_mm = box * ct.spacing_mm
    centre = box_mm.mean(axis=0)
    side = max(_LEAST_SIDE_MM, float((box_mm[1] - box_mm[0]).max()) + 2 * _MARGIN_MM)
    if whole:
        extent = np.array(ct.array.shape) * ct.spacing_mm
        side = max(side, float(extent[1:].max()))
        centre[1:] = extent[1:] / 2
    return centre, side


def _window(structure: str) -> tuple[float, float]:
    if any(word in structure for word in _LUNG_WORDS):
        return _WINDOWS_HU["lung"]
    return _WINDOWS_HU["bone" if structures.get(structure).group == "bone" else "soft"]


@dataclass(frozen=True)
class _View:
    """A square window on a plane of voxels.

    Attributes
    ----------
    origin_mm : (float, float)
        Its first corner along rows and columns, from the plane's corner; may lie outside.
    side_mm : float
    spacing_mm : (float, float)
        Of rows and columns.
    flip : bool
        Show the last row on top.
    """

    origin_mm: tuple[float, float]
    side_mm: float
    spacing_mm: tuple[float, float]
    flip: bool

    def _cut(self, plane: Array, outside: float) -> tuple[Array, tuple[float, float]]:
        """The voxels that the view touches, and where its corner lies in them, in voxels."""
        first = [math.floor(o / s) for o, s in zip(self.origin_mm, self.spacing_mm, strict=True)]
        last = [math.ceil((o + self.side_mm) / s) for o, s in zip(self.origin_mm, self.spacing_mm, strict=True)]
        cut = np.full([end - begin for begin, end in zip(first, last, strict=True)], outside, plane.dtype)
        low = [max(0, begin) for begin in first]
        high = [min(extent, end) for extent, end in zip(plane.shape, last, strict=True)]
        if all(begin < end for begin, end in zip(low, high, strict=True)):
            target = tuple(slice(b - f, e - f) for b, e, f in zip(low, high, first, strict=True))
            cut[target] = plane[low[0] : high[0], low[1] : high[1]]
        corner = [o / s - begin for o, s, begin in zip(self.origin_mm, self.spacing_mm, first, strict=True)]
        return cut, (corner[0], corner[1])

    def webp(self, plane: Array, window_hu: tuple[float, float]) -> bytes:
        """Gray picture; what lies outside the scan is black."""
        from PIL import Image

        low, high = window_hu
        gray = np.clip((plane.astype(np.float32) - low) / (high - low) * 255, 0, 255).astype(np.uint8)
        cut, corner = self._cut(gray, 0)
        rows, columns = (self.side_mm / s for s in self.spacing_mm)
        pixels = int(np.clip(round(self.side_mm / min(self.spacing_mm)), *_PX))
        box = (corner[1], corner[0], min(cut.shape[1], corner[1] + columns), min(cut.shape[0], corner[0] + rows))
        picture = Image.fromarray(cut).resize((pixels, pixels), Image.Resampling.BICUBIC, box=box)
        if self.flip:
            picture = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        file = io.BytesIO()
        picture.save(file, "WEBP", quality=_WEBP_QUALITY, method=4)
        return file.getvalue()

    def outline(self, plane: Array) -> str:
        """SVG path of a mask, or of probabilities at one half."""
        cut, corner = self._cut(plane.astype(np.float32), 0)
        rows, columns = self.spacing_mm
        if self.flip:
            cut = cut[::-1]
            top = cut.shape[0] * rows - corner[0] * rows - self.side_mm
        else:
            top = corner[0] * rows
        return svg_path(cut, 0.5, (rows, columns), (top, corner[1] * columns), max(0.2, self.side_mm / 600))

    def place(self, row: float, column: float) -> tuple[float, float]:
        """Voxel position -> mm from the left and from the top."""
        down = row * self.spacing_mm[0] - self.origin_mm[0]
        across = column * self.spacing_mm[1] - self.origin_mm[1]
        return round(across, 1), round(self.side_mm - down if self.flip else down, 1)
