"""A folder a case: TotalSegmentator's dataset and AbdomenAtlas.

``CASE/ct.nii.gz`` and ``CASE/segmentations/NAME.nii.gz``, at most three folders below the dataset's. AbdomenAtlas adds
``combined_labels.nii.gz``, whose numbers changed between its versions: it is not read.
"""

from __future__ import annotations

from pathlib import Path

from segae.datasets.case import Case, MaskFile
from segae.datasets.found import Found
from segae.datasets.names import Names
from segae.datasets.scan import Listing, list_folder, stem, walk

_DEPTH = 3
_IMAGE = "ct"
_MASKS = "segmentations"
_COMBINED = "combined_labels"


def find_folders(root: Path, names: Names) -> Found | None:
    """Look for cases; None when there is no folder named "segmentations"."""
    problems: list[str] = []
    cases = []
    atlas = False
    for path, listing, descend in walk(root, _DEPTH, problems):
        if _MASKS not in listing.folders:
            if any(stem(name) == _IMAGE for name in listing.files):
                cases.append(_case(root, path, listing, (), names))
            continue
        descend.clear()
        atlas = atlas or any(stem(name) == _COMBINED for name in listing.files)
        cases.append(_case(root, path, listing, _masks(path / _MASKS, problems), names))
    if not any(case.masks for case in cases) and not names.unknown:
        return None
    layout = "AbdomenAtlas" if atlas else "TotalSegmentator"
    return Found(layout, root, sorted(cases, key=lambda case: case.id), problems, names.unknown)


def _masks(folder: Path, problems: list[str]) -> tuple[Path, ...]:
    return tuple(folder / name for name in list_folder(folder, problems).files if stem(name) is not None)


def _case(root: Path, path: Path, listing: Listing, files: tuple[Path, ...], names: Names) -> Case:
    image = next((path / name for name in listing.files if stem(name) == _IMAGE), None)
    masks = []
    for file in files:
        name = stem(file.name) or ""
        structure = names.structure(name)
        if structure is not None:
            masks.append(MaskFile(structure, file, name=name))
    # Relative to the dataset: cases of the same name in two folders stay apart.
    relative = path.relative_to(root).as_posix()
    return Case(path.name if relative == "." else relative, image, tuple(masks))
