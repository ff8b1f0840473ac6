"""NRRD, MetaImage and DICOM series -> `Given`. The only user of SimpleITK."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from segae.containers.kinds import Kind, is_dicom, require
from segae.containers.text_headers import read_fields, says_orientation
from segae.errors import VolumeError
from segae.frame import Array, Given
from segae.itk_images import read_itk

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Distances of neighbouring slices may differ by so much of their mean: positions are written with few digits.
_UNEVEN = 0.02
_TAGS = [
    "SOPClassUID", "SeriesInstanceUID", "Modality", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "Rows", "Columns", "NumberOfFrames",
]  # fmt: skip


def read_container(source: Any, kind: Kind, argument: str) -> Given:
    """Read a NRRD file, a MetaImage, or a DICOM series given as a folder, a file or a list of files.

    Raises
    ------
    VolumeError
        When it cannot be read, `segae[io]` is not installed, or slices are missing.
    """
    if kind is Kind.SERIES:
        return _read_series(source, argument)
    if kind not in (Kind.NRRD, Kind.META):
        raise VolumeError(
            f"{argument}: {source} is {kind.value}, which lies on its scan's grid; pass it as the mask of an image."
        )
    path = Path(source)
    given = _read_image(path, kind, argument)
    if says_orientation(read_fields(path)):
        return given
    assumed = f"The header of {argument} gives no orientation; its axes were taken to run as in LPS, as ITK does."
    return replace(given, oriented=False, assumed=assumed)


def _read_image(path: Path, kind: Kind, argument: str) -> Given:
    sitk = require("SimpleITK", path, kind.value)
    try:
        image = sitk.ReadImage(os.fspath(path))
    except RuntimeError as error:
        raise VolumeError(f"{argument}: {path} cannot be read ({_last_line(error)}).") from error
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    return read_itk(image, argument)


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()


def _read_series(source: Any, argument: str) -> Given:
    files = [Path(path) for path in source] if isinstance(source, (list, tuple)) else _files_of(Path(source))
    pydicom = require("pydicom", source, Kind.SERIES.value)
    headers: dict[str, list[tuple[Path, Any]]] = defaultdict(list)
    for path in files:
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        except (OSError, pydicom.errors.InvalidDicomError) as error:
            raise VolumeError(f"{argument}: {path} is no DICOM file ({error}).") from error
        if "Rows" in header and str(header.get("Modality", "")) != "SEG":
            headers[str(header.get("SeriesInstanceUID", ""))].append((path, header))
    if not headers:
        raise VolumeError(f"{argument}: {source} holds no DICOM images.")
    if len(headers) > 1:
        told = ", ".join(f"{len(found)} files such as {found[0][0].name}" for found in headers.values())
        raise VolumeError(
            f"{argument}: {source} holds {len(headers)} series ({told}). Pass the files of one as a list, or put each "
            f"into a folder of its own."
        )
    (slices,) = headers.values()
    if len(slices) == 1 and int(slices[0][1].get("NumberOfFrames", 1) or 1) > 1:
        return _read_image(slices[0][0], Kind.SERIES, argument)
    return _stacked(slices, source, argument)


def _files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".") and is_dicom(entry)]


def _stacked(slices: list[tuple[Path, Any]], source: object, argument: str) -> Given:
    """Slices in the order of their places, which the header gives; never in that of their names or numbers."""
    sitk = require("SimpleITK", source, Kind.SERIES.value)
    try:
        first = slices[0][1]
        turn = np.array([float(v) for v in first.ImageOrientationPatient]).reshape(2, 3)
        rows_mm, columns_mm = (float(v) for v in first.PixelSpacing)
        places = np.array([[float(v) for v in header.ImagePositionPatient] for _, header in slices])
        same = {(header.Rows, header.Columns, *map(str, header.ImageOrientationPatient)) for _, header in slices}
    except (AttributeError, TypeError, ValueError) as error:
        raise VolumeError(f"{argument}: slices of {source} do not say where they lie ({error}).") from error
    if len(same) > 1:
        raise VolumeError(f"{argument}: slices of {source} differ in size or direction: is it more than one scan?")
    if len(slices) < 2:
        raise VolumeError(f"{argument}: {source} holds a single slice; expected a volume.")
    order = np.argsort(places @ np.cross(turn[0], turn[1]))
    places = places[order]
    step = (places[-1] - places[0]) / (len(places) - 1)
    _check_even(places, step, [slices[i][0] for i in order], argument)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([os.fspath(slices[i][0]) for i in order])
    try:
        values: Array = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise VolumeError(f"{argument}: {source} cannot be read ({_last_line(error)}).") from error
    affine = np.eye(4)
    affine[:3, :3] = np.c_[step, turn[1] * rows_mm, turn[0] * columns_mm]
    affine[:3, 3] = places[0]
    return Given(values, _LPS_TO_RAS @ affine)


def _check_even(places: Array, step: Array, files: list[Path], argument: str) -> None:
    apart = np.linalg.norm(np.diff(places, axis=0), axis=1)
    mean = float(np.median(apart))
    odd = np.flatnonzero(np.abs(apart - mean) > _UNEVEN * max(mean, 1e-6))
    if np.linalg.norm(step) == 0 or len(odd):
        at = int(odd[0]) if len(odd) else 0
        raise VolumeError(
            f"{argument}: slices are missing, doubled or uneven: {files[at].name} and {files[at + 1].name} are "
            f"{apart[at]:.2f} mm apart, others {mean:.2f} mm. Complete the series, or keep one scan of it."
        )
