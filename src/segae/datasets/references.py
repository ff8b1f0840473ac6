"""Masks of another origin for the cases of a dataset: any layout, or a folder of files or folders named by case."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from segae.datasets.case import Case, MaskFile
from segae.datasets.detect import find_cases
from segae.datasets.folders import masks_in
from segae.datasets.names import Names
from segae.datasets.scan import list_folder, stem
from segae.errors import AuditError, VolumeError
from segae.frame import Volume
from segae.label_names import read_table
from segae.masks import read_labelmap, read_mask
from segae.reference.given import GivenReference, Part, on_grid_of

_CHANNEL = "_0000"


def add_references(
    cases: Sequence[Case],
    folder: str | os.PathLike[str],
    names: Mapping[str, object] | Mapping[int, str] | str | Path | None = None,
) -> list[Case]:
    """Add to every case the masks that a folder holds of it.

    Parameters
    ----------
    cases : sequence of Case
    folder : path
        ``CASE.nii.gz`` (a labelmap: what nnU-Net predicts, TotalSegmentator's ``--ml``), ``CASE/NAME.nii.gz`` (what
        TotalSegmentator writes), or any layout of a dataset. CASE is the case's id, or its scan's file name.
    names : dict, path or str, optional
        What names and values mean; default: what ``dataset.json`` or the files' headers say.

    Returns
    -------
    list of Case
        In the same order; cases of which the folder holds nothing are as they were.

    Raises
    ------
    AuditError
        When there is no such folder, or it holds nothing of any case.
    ParameterError
        When `names` cannot be read.
    """
    root = Path(folder).absolute()
    known = Names(names)
    found = _by_case(root, known) or _by_layout(root, names)
    matched = [replace(case, reference=_of(case, found)) for case in cases]
    if not any(case.reference for case in matched):
        first = ", ".join(case.id for case in cases[:3])
        theirs = ", ".join(sorted(found)[:3]) or "none"
        raise AuditError(
            f"reference: {root} holds no masks of the dataset's cases. Cases there: {theirs}; here: {first}. Name its "
            f"files CASE.nii.gz or CASE/NAME.nii.gz, and give --reference-names where values have no names."
        )
    return matched


def _of(case: Case, found: dict[str, tuple[MaskFile, ...]]) -> tuple[MaskFile, ...]:
    image = "" if case.image is None else (stem(case.image.name) or "").removesuffix(_CHANNEL)
    folder = "" if case.image is None else case.image.parent.name
    keys = (case.id, case.id.rpartition("/")[2], image, image.removesuffix("_ct"), folder)
    return next((found[key] for key in keys if key in found), ())


def _by_layout(
    root: Path, names: Mapping[str, object] | Mapping[int, str] | str | Path | None
) -> dict[str, tuple[MaskFile, ...]]:
    try:
        return {case.id: case.masks for case in find_cases(root, names).cases if case.masks}
    except AuditError as error:
        if root.is_dir():  # of another layout, or of none: the caller says what was looked for
            return {}
        raise AuditError(str(error).replace("dataset:", "reference:", 1)) from error


def _by_case(root: Path, names: Names) -> dict[str, tuple[MaskFile, ...]]:
    """Files and folders that bear the cases' names; empty for a folder of another layout."""
    if not root.is_dir():
        return {}
    found: dict[str, tuple[MaskFile, ...]] = {}
    listing = list_folder(root, [])
    named = read_table(root / "dataset.json").labels if (root / "dataset.json").is_file() and not names.labels else {}
    for name in listing.files:
        base = stem(name)
        if base is not None:
            file = root / name
            found[base] = tuple(names.parts(file, named) if named else _parts_of_file(names, file))
    for name in listing.folders:
        inside = root / name / "segmentations"
        found[name] = tuple(masks_in(inside if inside.is_dir() else root / name, names, []))
    return {key: masks for key, masks in found.items() if masks}


def _parts_of_file(names: Names, file: Path) -> list[MaskFile]:
    try:
        return names.parts_of_file(file)
    except VolumeError:  # a file that cannot be read is told of when its case is scored, if it belongs to one
        return []


def files_of_reference(path: str | os.PathLike[str], names: Names) -> list[MaskFile]:
    """The structures of one scan's reference: a labelmap, or a folder of masks named after structures."""
    place = Path(path)
    return masks_in(place, names, []) if place.is_dir() else names.parts_of_file(place)


def read_reference(
    image: Volume, files: Sequence[MaskFile], reliability: float | None, *, resample: bool, threads: int
) -> GivenReference:
    """Read a case's reference; labelmaps are read once.

    Raises
    ------
    VolumeError, GridMismatchError
        When any of its files cannot be used.
    """
    parts: dict[str, Part] = {}
    by_path: dict[object, list[MaskFile]] = defaultdict(list)
    for file in files:
        by_path[file.path].append(file)
    for path, masks in by_path.items():
        volume = on_grid_of(image, path, resample=resample)
        read = read_labelmap if any(mask.labels for mask in masks) else read_mask
        volume, scans = read(volume, "reference", threads)
        for mask in masks:
            if len(mask.labels) < 2:
                label = mask.labels[0] if mask.labels else 1
                if label in scans:
                    parts[mask.structure] = Part(volume, label, scans[label])
                continue
            union = replace(volume, array=np.isin(volume.array, mask.labels).astype(np.uint8))
            union, whole = read_mask(union, "reference", threads)
            if 1 in whole:
                parts[mask.structure] = Part(union, 1, whole[1])
    return GivenReference(parts, reliability, threads)
