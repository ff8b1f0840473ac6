"""Image and masks side by side in one folder: ``X_ct`` with ``X_seg``, ``X_mask`` or ``X_liver``; LiTS's numbers.

What a labelmap's values mean, the user says (``names``), or TotalSegmentator's names in the file's header.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from segae.datasets.case import Case, MaskFile
from segae.datasets.found import NO_NAMES, Found
from segae.datasets.names import Names
from segae.datasets.scan import list_folder, stem
from segae.errors import VolumeError

_IMAGE = re.compile(r"(?P<id>.+)[_.-](?:ct|image|img|volume|scan|0000)", re.IGNORECASE)
_LABELS = re.compile(r"(?P<id>.+)[_.-](?:seg|segmentation|mask|label|labels|labelmap|gt)", re.IGNORECASE)
# LiTS: volume-12.nii, segmentation-12.nii
_LEADING_IMAGE = re.compile(r"(?:volume|image|ct)[_.-](?P<id>.+)", re.IGNORECASE)
_LEADING_LABELS = re.compile(r"(?:segmentation|seg|mask|label|labels)[_.-](?P<id>.+)", re.IGNORECASE)


def find_pairs(root: Path, names: Names) -> Found | None:
    """Look for pairs; None when no image is followed by a mask."""
    problems = [f"names: {problem}" for problem in names.problems]
    images: dict[str, Path] = {}
    rest: dict[str, Path] = {}
    for name in list_folder(root, problems).files:
        base = stem(name)
        if base is None:
            continue
        found = _IMAGE.fullmatch(base) or _LEADING_IMAGE.fullmatch(base)
        into, key = (images, found["id"]) if found else (rest, base)
        if into.setdefault(key, root / name) != root / name:
            problems.append(f"{root / name}: a second file of that name; {into[key].name} is taken")
    masks: dict[str, list[MaskFile]] = defaultdict(list)
    for base, path in rest.items():
        found = _LABELS.fullmatch(base) or _LEADING_LABELS.fullmatch(base)
        if found and found["id"] in images:
            masks[found["id"]] += _named(path, names, problems)
        elif not _add_structure(base, path, images, masks, names):
            problems.append(f"{path}: belongs to no image")
    if not masks and not names.unknown:
        return None
    cases = [Case(key, image, tuple(masks.get(key, ()))) for key, image in sorted(images.items())]
    return Found("pairs of files", root, cases, problems, names.unknown)


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


def _add_structure(
    base: str, path: Path, images: dict[str, Path], masks: dict[str, list[MaskFile]], names: Names
) -> bool:
    """``X_kidney_left`` beside ``X_ct``: the longest X that is an image's."""
    for cut in sorted((match.start() for match in re.finditer(r"[_.-]", base)), reverse=True):
        if base[:cut] in images:
            structure = names.structure(base[cut + 1 :])
            if structure is not None:
                masks[base[:cut]].append(MaskFile(structure, path, name=base[cut + 1 :]))
            return True
    return False
