"""Image and masks side by side in a folder: ``X_ct`` with ``X_seg``, ``X_mask`` or ``X_liver``; LiTS's numbers.

Also ``X`` with ``X_seg``, and folders of such pairs, as HaN-Seg has them (``case_01_IMG_CT.nrrd`` with
``case_01_OAR_Brainstem.seg.nrrd``). What a labelmap's values mean, the user says (``names``), or
the names in the file's header.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from segae.datasets.case import Case, MaskFile
from segae.datasets.found import NO_NAMES, Found
from segae.datasets.names import Names
from segae.datasets.scan import Listing, stem, tell_other_formats, walk
from segae.errors import VolumeError

_DEPTH = 3
_IMAGE = re.compile(r"(?P<id>.+?)[_.-](?:img[_.-]ct|ct|image|img|volume|scan|0000)", re.IGNORECASE)
_LABELS = re.compile(r"(?P<id>.+)[_.-](?:seg|segmentation|mask|label|labels|labelmap|gt|multilabel)", re.IGNORECASE)
# LiTS: volume-12.nii, segmentation-12.nii
_LEADING_IMAGE = re.compile(r"(?:volume|image|ct)[_.-](?P<id>.+)", re.IGNORECASE)
_LEADING_LABELS = re.compile(r"(?:segmentation|seg|mask|label|labels)[_.-](?P<id>.+)", re.IGNORECASE)


def find_pairs(root: Path, names: Names) -> Found | None:
    """Look for pairs; None when no image is followed by a mask."""
    problems = [f"names: {problem}" for problem in names.problems]
    cases: list[Case] = []
    for path, listing, _ in walk(root, _DEPTH, problems):
        prefix = "" if path == root else path.relative_to(root).as_posix() + "/"
        cases += _pairs(path, prefix, listing, names, problems)
    if not any(case.masks for case in cases) and not names.unknown and not any(NO_NAMES in p for p in problems):
        return None
    return Found("pairs of files", root, sorted(cases, key=lambda case: case.id), problems, names.unknown)


def _pairs(path: Path, prefix: str, listing: Listing, names: Names, problems: list[str]) -> list[Case]:
    images: dict[str, Path] = {}
    rest: dict[str, Path] = {}
    for name in listing.files:
        base = stem(name)
        if base is None:
            continue
        found = _IMAGE.fullmatch(base) or _LEADING_IMAGE.fullmatch(base)
        into, key = (images, found["id"]) if found else (rest, base)
        if into.setdefault(key, path / name) != path / name:
            problems.append(f"{path / name}: a second file of that name; {into[key].name} is taken")
    for base in list(rest):  # X with X_seg
        labels = _LABELS.fullmatch(base)
        if labels and labels["id"] in rest and labels["id"] not in images:
            images[labels["id"]] = rest.pop(labels["id"])
    if not images:
        return []
    tell_other_formats(path, listing, problems)
    names.recognise(end for base in rest for _, end in _ends(base, images))
    masks: dict[str, list[MaskFile]] = defaultdict(list)
    for base, file in rest.items():
        found = _LABELS.fullmatch(base) or _LEADING_LABELS.fullmatch(base)
        if found and found["id"] in images:
            masks[found["id"]] += _named(file, names, problems)
        elif not _add_structure(base, file, images, masks, names):
            problems.append(f"{file}: belongs to no image")
    return [Case(prefix + key, image, tuple(masks.get(key, ()))) for key, image in images.items()]


def _named(path: Path, names: Names, problems: list[str]) -> list[MaskFile]:
    """The structures of a labelmap."""
    try:
        masks = names.parts_of_file(path)
    except VolumeError as error:
        problems.append(str(error))
        return []
    if not masks and not names.labels and not names.unknown:
        problems.append(f"{path}: nobody says what its values mean; {NO_NAMES}")
    return masks


def _ends(base: str, images: dict[str, Path]) -> list[tuple[str, str]]:
    """(X, rest) for the longest X that is an image's."""
    for cut in sorted((match.start() for match in re.finditer(r"[_.-]", base)), reverse=True):
        if base[:cut] in images:
            return [(base[:cut], base[cut + 1 :])]
    return []


def _add_structure(
    base: str, path: Path, images: dict[str, Path], masks: dict[str, list[MaskFile]], names: Names
) -> bool:
    """``X_kidney_left`` beside ``X_ct``."""
    for key, name in _ends(base, images):
        structure = names.structure(name)
        if structure is not None:
            masks[key].append(MaskFile(structure, path, name=name))
        return True
    return False
