"""Which layout a dataset has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from segae.datasets.case import Case
from segae.datasets.dicom import find_dicom
from segae.datasets.folders import find_folders
from segae.datasets.found import Found
from segae.datasets.names import Names
from segae.datasets.numbered import find_numbered
from segae.datasets.pairs import find_pairs
from segae.datasets.scan import require_folder
from segae.datasets.table import find_given, find_table
from segae.datasets.verse import find_verse
from segae.errors import AuditError

_TABLES = (".csv", ".tsv", ".txt")
# In the order in which they are tried; each says None to a dataset of another layout.
_LAYOUTS: tuple[Callable[[Path, Names], Found | None], ...] = (
    find_verse,
    find_numbered,
    find_folders,
    find_pairs,
    find_dicom,
)


def find_cases(
    dataset: str | os.PathLike[str] | Iterable[Case],
    names: Mapping[str, object] | Mapping[int, str] | str | Path | None = None,
) -> Found:
    """Find the cases of a dataset.

    Parameters
    ----------
    dataset : path or iterable of Case
        A folder, a .csv or .tsv table, or the cases themselves.
    names : dict, path or str, optional
        What the dataset's names mean; see `Names`.

    Raises
    ------
    AuditError
        When there is no dataset, or none that is known.
    ParameterError
        When `names` cannot be read.
    """
    known = Names(names)
    if not isinstance(dataset, (str, os.PathLike)):
        return find_given(dataset, known)
    root = Path(dataset).absolute()
    if root.is_file():
        if root.suffix.lower() not in _TABLES:
            raise AuditError(
                f"dataset: {root} is no folder, and no table ({', '.join(_TABLES)}). Save a spreadsheet as CSV; name "
                f"the folder of a dataset, or a table with the columns image, mask, structure."
            )
        return find_table(root, known)
    require_folder(root)
    for find in _LAYOUTS:
        found = find(root, known)
        if found is not None:
            return found
    raise AuditError(
        f"dataset: {root} has no layout that segae knows. Looked for CASE/ct.nii.gz with "
        f"CASE/segmentations/NAME.nii.gz (TotalSegmentator, AbdomenAtlas), dataset.json with imagesTr and labelsTr "
        f"(nnU-Net, MSD), folders img and label, X_ct.nii.gz beside X_seg.nii.gz, DICOM series with SEG or RTSTRUCT. "
        f"A .csv table with the columns image, mask, structure, label says anything."
    )
