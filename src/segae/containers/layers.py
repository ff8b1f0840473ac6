"""Segments that may overlap, each a mask on the grid of its scan: DICOM SEG, RTSTRUCT, layered ``.seg.nrrd``.

The only user of pydicom's and highdicom's segmentations.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segae.containers.fill import fill
from segae.containers.kinds import Kind, kind_of, require
from segae.containers.text_headers import read_fields, segments_of
from segae.errors import GridMismatchError, ParameterError, UnknownStructureError, VolumeError
from segae.frame import Volume
from segae.itk_images import read_itk

Mask = npt.NDArray[np.uint8]

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_TOLERANCE_VOX = 0.1
_HALF = 0.5


@dataclass(frozen=True)
class Layer:
    """One segment of such a file; `segae.volume.load_pair` takes it for the mask."""

    path: Path
    value: int

    def on(self, image: Volume) -> Volume:
        """Read it on the image's grid: 0 and 1."""
        ((_, volume),) = read_layers(self.path, image, [self.value])
        return volume


def is_layered(source: object) -> bool:
    """Whether a path is a file of segments that may overlap."""
    if not isinstance(source, (str, os.PathLike)) or str(source).endswith((".nii.gz", ".nii")):
        return False  # most are, and opening each once more would cost on a network
    kind = kind_of(source)
    if kind is Kind.NRRD:
        return len({segment.layer for segment in segments_of(read_fields(Path(str(source))))}) > 1
    return kind in (Kind.SEGMENTATION, Kind.CONTOURS)


def names_of(source: str | os.PathLike[str]) -> dict[str, tuple[int, ...]]:
    """Name of a segment -> its number or value; empty where a file names none. ROIs without contours are none."""
    path, kind = Path(source), kind_of(source)
    if kind is Kind.NRRD:
        segments = segments_of(read_fields(path))
        layered = len({segment.layer for segment in segments}) > 1
        pairs = [(s.name, number if layered else s.value) for number, s in enumerate(segments, 1)]
    elif kind is Kind.SEGMENTATION:
        header = require("pydicom", path, kind.value).dcmread(path, stop_before_pixels=True)
        pairs = [(_segment_name(s), int(s.SegmentNumber)) for s in header.SegmentSequence if int(s.SegmentNumber)]
    elif kind is Kind.CONTOURS:
        header = _opened(path, kind, *_state(path))
        drawn = {int(roi.ReferencedROINumber) for roi in header.get("ROIContourSequence", []) if any(_closed(roi))}
        pairs = [
            (str(roi.ROIName), int(roi.ROINumber))
            for roi in header.StructureSetROISequence
            if int(roi.ROINumber) in drawn
        ]
    else:
        return {}
    found: dict[str, tuple[int, ...]] = {}
    for name, value in pairs:
        found[name] = (*found.get(name, ()), value)
    return found


def _segment_name(segment: Any) -> str:
    """What a segment is called; where its label means nothing ("Segment_1"), what its codes say it shows."""
    from segae import structures

    label = str(segment.get("SegmentLabel", ""))
    coded = [label]
    for key in ("AnatomicRegionSequence", "SegmentedPropertyTypeCodeSequence"):
        for code in segment.get(key, []):
            sides = [
                str(side.get("CodeMeaning", ""))
                for modifier in ("AnatomicRegionModifierSequence", "SegmentedPropertyTypeModifierCodeSequence")
                for side in (*code.get(modifier, []), *segment.get(modifier, []))
            ]
            coded += [f"{side} {code.get('CodeMeaning', '')}".strip() for side in (*sides, "")]
    for name in coded:
        try:
            structures.meaning_in_dataset(name, of_file=False)
        except UnknownStructureError:
            continue
        return name
    return label


def pick(mask: object, structure: str, label: int | None) -> tuple[object, int | None]:
    """Choose the segment that a mask argument means: by `label`, or by the name of the structure.

    Returns
    -------
    mask, label
        As they were, where the mask is no file that names its segments.

    Raises
    ------
    ParameterError
        When no segment, or several, have a name of the structure.
    """
    from segae import structures

    if not isinstance(mask, (str, os.PathLike)):
        return mask, label
    layered = is_layered(mask)
    names = names_of(mask) if layered or str(mask).lower().endswith(".nrrd") else {}
    if label is None and names:
        fitting: list[int] = []
        for name, values in names.items():
            try:
                if structures.meaning_in_dataset(name, of_file=False).name == structure:
                    fitting += values
            except UnknownStructureError:
                continue
        if len(fitting) == 1:
            label = fitting[0]
        elif len(names) == 1 and not fitting:
            (values,) = names.values()
            label = values[0]
        else:
            told = ", ".join(f"{name} ({', '.join(map(str, values))})" for name, values in names.items())
            raise ParameterError(
                f"label: {len(fitting)} segments of {mask} are called {structure}; say the number of one: {told}."
            )
    if layered and label is not None:
        return Layer(Path(mask), label), None
    return mask, label


def read_layers(path: str | os.PathLike[str], image: Volume, values: Sequence[int]) -> Iterator[tuple[int, Volume]]:
    """Read segments one by one on the grid of an image.

    Yields
    ------
    value : int
    volume : Volume
        uint8, 0 and 1.

    Raises
    ------
    VolumeError, GridMismatchError
        When the file has no such segment, or it lies elsewhere.
    """
    path, kind = Path(path), kind_of(path)
    if image.affine is None:
        raise VolumeError(f"image: {path} lies in patient coordinates; give the image its affine, not spacing alone.")
    if kind is Kind.CONTOURS:
        contours = _contours(_opened(path, kind, *_state(path)), values)
        for value in values:
            yield value, _volume(image, _filled(contours, value, image, path))
    elif kind is Kind.SEGMENTATION:
        segmentation = _opened(path, kind, *_state(path))
        for value in values:
            yield value, _volume(image, _segment(segmentation, value, image, path))
    else:
        yield from _nrrd_layers(path, image, values)


def _volume(image: Volume, mask: Mask) -> Volume:
    return replace(image, array=mask, slope=1.0, intercept=0.0)


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=1)
def _opened(path: Path, kind: Kind, _size: int, _changed: int) -> Any:
    """The file, parsed: segments are asked for one by one, and parsing takes seconds where there are many contours."""
    if kind is Kind.SEGMENTATION:
        return require("highdicom", path, kind.value).seg.segread(path)
    return require("pydicom", path, kind.value).dcmread(path)


def _closed(roi: Any) -> Iterator[Any]:
    """Closed contours of an ROI: points and lines enclose nothing."""
    for contour in roi.get("ContourSequence", []):
        if str(contour.get("ContourGeometricType", "")).upper().startswith("CLOSED"):
            yield contour


def _contours(header: Any, wanted: Sequence[int]) -> dict[int, list[npt.NDArray[np.float64]]]:
    """ROI number -> closed contours, points in RAS mm [n, 3]."""
    found: dict[int, list[npt.NDArray[np.float64]]] = {}
    for roi in header.get("ROIContourSequence", []):
        number = int(roi.ReferencedROINumber)
        if number in wanted:
            shapes = [np.array(contour.ContourData, np.float64).reshape(-1, 3) for contour in _closed(roi)]
            found[number] = [points * (-1.0, -1.0, 1.0) for points in shapes if len(points) > 2]
    return {number: shapes for number, shapes in found.items() if shapes}


def _filled(contours: dict[int, list[npt.NDArray[np.float64]]], value: int, image: Volume, path: Path) -> Mask:
    if value not in contours:
        raise VolumeError(f"mask: {path} holds no closed contours of ROI {value}.")
    depth, height, width = image.array.shape
    mask = np.zeros((depth, height, width), np.uint8)
    to_index = np.linalg.inv(np.asarray(image.affine))
    outside = 0
    for points in contours[value]:
        index = points @ to_index[:3, :3].T + to_index[:3, 3]
        if np.ptp(index[:, 0]) > _HALF:
            raise GridMismatchError(f"mask: contours of ROI {value} in {path} do not lie in the image's axial slices.")
        number = int(np.rint(index[:, 0].mean()))
        if 0 <= number < len(mask):
            mask[number] ^= fill(index[:, 1:], (height, width))  # a contour inside another is a hole
        else:
            outside += 1
    if outside == len(contours[value]):
        raise GridMismatchError(f"mask: all contours of ROI {value} in {path} lie outside the image.")
    return mask


def _segment(segmentation: Any, value: int, image: Volume, path: Path) -> Mask:
    if value not in list(segmentation.segment_numbers):
        raise VolumeError(f"mask: {path} has no segment {value}; it has {list(segmentation.segment_numbers)}.")
    try:
        found = segmentation.get_volume(segment_numbers=[value], combine_segments=False)
    except (RuntimeError, ValueError) as error:
        raise VolumeError(f"mask: segment {value} of {path} cannot be read as a volume ({error}).") from error
    array = np.asarray(found.array)
    array = array[..., 0] if array.ndim == 4 else array
    return _pasted(array >= _HALF, _LPS_TO_RAS @ np.asarray(found.affine), image, f"segment {value} of {path}")


def _pasted(part: npt.NDArray[np.bool_], affine: npt.NDArray[np.float64], image: Volume, what: str) -> Mask:
    """Put a box of voxels where it lies on the image's grid, however its axes run."""
    to_image = np.linalg.inv(np.asarray(image.affine)) @ affine
    turn, offset = np.rint(to_image[:3, :3]), np.rint(to_image[:3, 3])
    off = np.abs(to_image[:3, :3] - turn) * (np.array(part.shape) - 1)
    if off.max() > _TOLERANCE_VOX or np.abs(to_image[:3, 3] - offset).max() > _TOLERANCE_VOX:
        raise GridMismatchError(f"mask: {what} does not lie on the image's grid: was it made for another series?")
    found = np.argwhere(part) @ turn.T.astype(np.int64) + offset.astype(np.int64)
    if len(found) and ((found < 0) | (found >= image.array.shape)).any():
        raise GridMismatchError(f"mask: {what} reaches beyond the image.")
    mask = np.zeros(image.array.shape, np.uint8)
    mask[tuple(found.T)] = 1
    return mask


def _nrrd_layers(path: Path, image: Volume, values: Sequence[int]) -> Iterator[tuple[int, Volume]]:
    sitk = require("SimpleITK", path, Kind.NRRD.value)
    segments = segments_of(read_fields(path))
    whole = sitk.ReadImage(os.fspath(path))
    for value in values:
        if not 1 <= value <= len(segments):
            raise VolumeError(f"mask: {path} has no segment {value}; it has 1 to {len(segments)}.")
        segment = segments[value - 1]
        one = sitk.VectorIndexSelectionCast(whole, segment.layer) == segment.value
        given = read_itk(one, "mask")
        yield value, _volume(image, _pasted(np.asarray(given.array) > 0, np.asarray(given.affine), image, str(path)))


def only_layer(source: str | os.PathLike[str]) -> Layer:
    """The segment of a file that has but one.

    Raises
    ------
    VolumeError
        When it has several.
    """
    names = names_of(source)
    values = [value for numbers in names.values() for value in numbers]
    if len(values) != 1:
        told = ", ".join(f"{name} ({', '.join(map(str, numbers))})" for name, numbers in names.items())
        raise VolumeError(f"mask: {source} holds {len(values)} segments; pass label= for one of them: {told}.")
    return Layer(Path(source), values[0])
