"""Masks of another origin for the cases of a dataset: any layout, or a folder of files or folders named by case."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from segae.datasets.case import Case, MaskFile
from segae.datasets.detect import find_cases
from segae.datasets.names import Names
from segae.datasets.scan import list_folder, stem
from segae.errors import AuditError, ParameterError, VolumeError
from segae.label_names import read_label_names

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
    values = names.values or _values_of_json(root)
    for name in listing.files:
        base = stem(name)
        if base is not None:
            found[base] = tuple(_labelmap(root / name, values, names))
    for name in listing.folders:
        inside = root / name
        if (inside / "segmentations").is_dir():
            inside = inside / "segmentations"
        masks = []
        for file in list_folder(inside, []).files:
            structure = names.structure(stem(file) or "")
            if structure is not None:
                masks.append(MaskFile(structure, inside / file, name=stem(file) or ""))
        if masks:
            found[name] = tuple(masks)
    return {key: masks for key, masks in found.items() if masks}


def _values_of_json(root: Path) -> dict[int, str]:
    """Value -> name as nnU-Net's ``dataset.json`` beside its predictions says."""
    path = root / "dataset.json"
    if not path.is_file():
        return {}
    try:
        labels = json.loads(path.read_text(encoding="utf-8")).get("labels", {})
        return {int(value): str(name) for name, value in labels.items() if isinstance(value, int) and value != 0}
    except (OSError, ValueError, AttributeError) as error:
        raise ParameterError(f"reference: {path} cannot be read ({error}). Give --reference-names.") from error


def _labelmap(path: Path, values: dict[int, str], names: Names) -> list[MaskFile]:
    if not values:
        try:
            values = read_label_names("totalsegmentator", str(path))
        except (ParameterError, VolumeError):
            return []
    known = {value: names.structure(name) for value, name in values.items()}
    return [
        MaskFile(structure, path, (value,), values[value], may_be_absent=True)
        for value, structure in known.items()
        if structure is not None
    ]
