"""A folder a case: TotalSegmentator's dataset and output, AbdomenAtlas, KiTS, and what is laid out like them.

``CASE/ct.nii.gz`` with ``CASE/segmentations/NAME.nii.gz``, with one labelmap (``segmentations.nii.gz``, as ``--ml`` of
TotalSegmentator writes it, or ``segmentation.nii.gz`` of KiTS), or with ``CASE/NAME.nii.gz`` beside it; at most three
folders below the dataset's. AbdomenAtlas adds ``combined_labels.nii.gz``, whose numbers changed between its versions:
it is not read.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from segae import structures
from segae.datasets.case import Case, MaskFile
from segae.datasets.found import NO_NAMES, Found
from segae.datasets.names import Names
from segae.datasets.scan import Listing, list_folder, stem, tell_other_formats, walk
from segae.errors import UnknownStructureError, VolumeError
from segae.label_names import read_header
from segae.vocabularies import vocabularies

_DEPTH = 3
_IMAGES = ("ct", "image", "imaging", "img", "volume", "scan")
_MASKS = ("segmentations", "segmentation", "masks", "labels", "segs")
_LABELMAPS = ("segmentations", "segmentation", "seg", "labelmap", "labels", "label", "mask", "multilabel")
_COMBINED = "combined_labels"


def find_folders(root: Path, names: Names) -> Found | None:
    """Look for cases; None when there are none with masks."""
    problems = [f"names: {problem}" for problem in names.problems]
    notes: list[str] = []
    looked: list[tuple[Path, Listing, Path | None]] = []
    for path, listing, descend in walk(root, _DEPTH, problems):
        folder = next((path / name for wanted in _MASKS for name in listing.folders if name.lower() == wanted), None)
        if folder is None and _image(listing):
            folder = next((path / name for name in listing.folders if _holds_masks(path / name)), None)
        if folder is not None and (_image(listing) or folder.name == _MASKS[0]):
            descend.clear()
            looked.append((path, listing, folder))
        elif _image(listing):
            looked.append((path, listing, None))
        elif listing.folders and len(path.relative_to(root).parts) == _DEPTH:
            problems.append(
                f"{path}: the folders below it are too deep, more than {_DEPTH}; name a folder further down"
            )
    files = {folder: list_folder(folder, problems) for _, _, folder in looked if folder is not None}
    stems = {stem(name) for listing in files.values() for name in listing.files}
    stems |= {stem(name) for _, listing, folder in looked if folder is None for name in listing.files}
    names.recognise(base for base in stems if base is not None and not _is_image(base))
    layout = "TotalSegmentator"
    cases = []
    for path, listing, folder in looked:
        if any(stem(name) == _COMBINED for name in listing.files):
            layout = "AbdomenAtlas"
        masks = _masks(folder, files[folder], names, problems) if folder else _beside(path, listing, names, problems)
        image = _image(listing)
        if image is not None and stem(image) != (stem(image) or "").lower():
            notes.append(f"{path / image}: taken for the CT")
        # Relative to the dataset: cases of the same name in two folders stay apart.
        relative = path.relative_to(root).as_posix()
        case_id = path.name if relative == "." else relative
        cases.append(Case(case_id, None if image is None else path / image, tuple(masks)))
    if not any(case.masks for case in cases) and not names.unknown and not any(NO_NAMES in p for p in problems):
        return None
    return Found(layout, root, sorted(cases, key=lambda case: case.id), problems, names.unknown, notes)


def _holds_masks(folder: Path) -> bool:
    """Whether files of a folder, whatever it is called, have names of structures."""
    for name in list_folder(folder, []).files:
        with contextlib.suppress(UnknownStructureError):
            structures.meaning_in_dataset(stem(name) or "")
            return True
    return False


def masks_in(folder: Path, names: Names, problems: list[str]) -> list[MaskFile]:
    """Masks of a folder that holds one file a structure, named after it."""
    listing = list_folder(folder, problems)
    names.recognise(base for name in listing.files if (base := stem(name)) is not None and not _is_image(base))
    return _masks(folder, listing, names, problems)


def _image(listing: Listing) -> str | None:
    """The CT of a case folder, whatever its case: ct.nii.gz before image.nii.gz."""
    stems = {(stem(name) or "").lower(): name for name in reversed(listing.files)}
    return next((stems[wanted] for wanted in _IMAGES if wanted in stems), None)


def _is_image(base: str) -> bool:
    return base.lower() in _IMAGES


def _masks(folder: Path, listing: Listing, names: Names, problems: list[str]) -> list[MaskFile]:
    tell_other_formats(folder, listing, problems)
    found = []
    for name in listing.files:
        base = stem(name)
        if base is None or _is_image(base):
            continue
        structure = names.structure(base)
        if structure is not None:
            found.append(MaskFile(structure, folder / name, name=base))
    return found


def _beside(path: Path, listing: Listing, names: Names, problems: list[str]) -> list[MaskFile]:
    """Masks that lie beside the CT: one labelmap, or one file a structure."""
    bases = {(stem(name) or "").lower(): name for name in listing.files}
    labelmap = next((path / bases[wanted] for wanted in _LABELMAPS if wanted in bases), None)
    if labelmap is None:
        others = tuple(name for name in listing.files if stem(name) != _COMBINED)
        labelmap = next((path / name for name in others if _carries_names(path / name)), None)
        if labelmap is None:
            return _masks(path, Listing((), others), names, problems)
    try:
        masks = names.parts_of_file(labelmap) or _of_kits(path, labelmap, names)
    except VolumeError as error:
        problems.append(str(error))
        return []
    if not masks and not names.labels and not names.unknown:
        problems.append(f"{labelmap}: nobody says what its values mean; {NO_NAMES}")
    return masks


def _carries_names(path: Path) -> bool:
    """Whether a file that no structure is called like has names in its header (``--ml -o any.nii.gz``)."""
    base = stem(path.name)
    if base is None or _is_image(base):
        return False
    try:
        structures.meaning_in_dataset(base)
    except UnknownStructureError:
        with contextlib.suppress(VolumeError):
            return bool(read_header(path).labels)
    return False


def _of_kits(path: Path, labelmap: Path, names: Names) -> list[MaskFile]:
    """KiTS: ``case_00000/imaging.nii.gz`` and ``segmentation.nii.gz``, whose values its documentation names."""
    if not path.name.startswith("case_") or stem(labelmap.name) != "segmentation" or names.labels:
        return []
    labels = vocabularies()["kits"].labels
    return names.parts(labelmap, {name: (value,) for value, name in labels.items()})
