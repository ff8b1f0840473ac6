"""DICOM trees: series of CT slices, with DICOM SEG or RTSTRUCT that refer to them, in any arrangement of folders.

A CT series must have a folder to itself (its segmentations may lie there too). A segmentation belongs to the series
that it names, or else to the only CT of its frame of reference.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from segae.containers import Kind, kind_of, names_of
from segae.containers.kinds import is_dicom, require
from segae.datasets.case import Case, MaskFile
from segae.datasets.found import Found
from segae.datasets.names import Names
from segae.datasets.scan import walk

_DEPTH = 6
_TAGS = ["Modality", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPClassUID"]


def find_dicom(root: Path, names: Names) -> Found | None:
    """Look for cases; None when there are no CT series.

    Raises
    ------
    VolumeError
        When there are DICOM files and pydicom is not installed.
    """
    problems = [f"names: {problem}" for problem in names.problems]
    series: dict[str, set[Path]] = defaultdict(set)  # of CT slices -> folders
    frames: dict[str, set[str]] = defaultdict(set)  # frame of reference -> CT series
    segmentations: list[Path] = []
    for path, listing, _ in walk(root, _DEPTH, problems):
        for name in listing.files:
            if is_dicom(path / name):
                _sort(path / name, series, frames, segmentations)
    if not series:
        return None
    folders = _one_folder_each(series, problems)
    masks: dict[Path, list[MaskFile]] = {folder: [] for folder in folders.values()}
    for path in segmentations:
        owner = _series_of(path, series, frames)
        if owner is None or owner not in folders:
            problems.append(f"{path}: no CT series of this dataset that it belongs to")
        else:
            masks[folders[owner]] += names.parts(path, names_of(path))
    cases = [Case(_id(root, folder), folder, tuple(found)) for folder, found in masks.items()]
    return Found("DICOM", root, sorted(cases, key=lambda case: case.id), problems, names.unknown)


def _header(path: Path, tags: list[str] | None) -> Any:
    pydicom = require("pydicom", path, "a DICOM file")
    return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)


def _sort(path: Path, series: dict[str, set[Path]], frames: dict[str, set[str]], segmentations: list[Path]) -> None:
    header = _header(path, _TAGS)
    if header.get("Modality") == "CT":
        number = str(header.get("SeriesInstanceUID", ""))
        series[number].add(path.parent)
        frames[str(header.get("FrameOfReferenceUID", ""))].add(number)
    elif kind_of(path) in (Kind.SEGMENTATION, Kind.CONTOURS):
        segmentations.append(path)


def _one_folder_each(series: dict[str, set[Path]], problems: list[str]) -> dict[str, Path]:
    """Series -> its folder, for those that share none."""
    users: dict[Path, int] = defaultdict(int)
    for folders in series.values():
        for folder in folders:
            users[folder] += 1
    found = {}
    for number, folders in series.items():
        folder = min(folders)
        if len(folders) > 1:
            problems.append(f"{folder}: its series goes on in other folders; put each series into one")
        elif users[folder] > 1:
            problems.append(f"{folder}: holds {users[folder]} CT series; put each into a folder of its own")
        else:
            found[number] = folder
    return found


def _series_of(path: Path, series: dict[str, set[Path]], frames: dict[str, set[str]]) -> str | None:
    header = _header(path, None)
    named = [str(item.get("SeriesInstanceUID", "")) for item in header.get("ReferencedSeriesSequence", [])]
    for frame in header.get("ReferencedFrameOfReferenceSequence", []):
        for study in frame.get("RTReferencedStudySequence", []):
            named += [str(item.get("SeriesInstanceUID", "")) for item in study.get("RTReferencedSeriesSequence", [])]
        same = frames.get(str(frame.get("FrameOfReferenceUID", "")), set())
        named += same if len(same) == 1 else ()
    same = frames.get(str(header.get("FrameOfReferenceUID", "")), set())
    named += same if len(same) == 1 else ()
    return next((number for number in named if number in series), None)


def _id(root: Path, folder: Path) -> str:
    relative = folder.relative_to(root).as_posix()
    return root.name if relative == "." else relative
