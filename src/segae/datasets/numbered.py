"""A folder of images beside folders of labelmaps: nnU-Net, Medical Segmentation Decathlon, AMOS, FLARE, img and label.

nnU-Net: ``imagesTr/ID_0000.nii.gz`` (one file a channel) and ``labelsTr/ID.nii.gz``; MSD: ``imagesTr/ID.nii.gz``;
BTCV: ``img/img0001.nii.gz`` and ``label/label0001.nii.gz``. Any folder whose files are named like the images' is one of
labels, so nnU-Net's predictions beside ``imagesTs`` are found too. The values' names stand in a ``dataset.json`` (in
the folder of labels, or above it), in ``names``, or in the files' own headers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from segae.datasets.case import Case, MaskFile
from segae.datasets.found import NO_NAMES, Found
from segae.datasets.names import Names
from segae.datasets.scan import Listing, list_folder, stem, walk
from segae.errors import AuditError, ParameterError, VolumeError
from segae.label_names import read_json, read_table

_CHANNEL = re.compile(r"(.*)_(\d{4})")
_CT = ("ct", "hu", "ct (hu)")
_DEPTH = 2
_IMAGES = re.compile(r"(?:images?|imgs?|cts?|scans?|volumes?)(?:[_-]?(Tr|Ts|Va|Val|train|test|val))?", re.IGNORECASE)
_LABELS = re.compile(
    r"(?:labels?|masks?|segs?|segmentations?|gts?|annotations?|contours)(?:[_-]?(Tr|Ts|Va|Val|train|test|val))?",
    re.IGNORECASE,
)
# What stands before or behind an id in the names of images and of labels: img0001 and label0001, x_ct and x_seg.
_AFFIX = r"ct|image|img|volume|vol|scan|label|labels|mask|seg|segmentation|gt"
_AFFIXES = re.compile(rf"(?:(?:{_AFFIX})[_.-]?(?=.*\d))?(?P<id>.+?)(?:[_.-](?:{_AFFIX}))?", re.IGNORECASE)

_Labels = Mapping[str, tuple[int, ...]]


@dataclass
class _Folders:
    """Images and the labels that belong to them, below one folder."""

    images: Path
    labels: list[Path]


def find_numbered(root: Path, names: Names) -> Found | None:
    """Look for cases; None when no folder of images has one of labels beside it."""
    problems: list[str] = []
    notes: list[str] = []
    together = [found for path, listing, _ in walk(root, _DEPTH, []) for found in _folders(path, listing)]
    if not together:
        return None
    description = root / "dataset.json"
    told = _described(description)
    channel = _ct_channel(told, problems)
    cases: list[Case] = []
    nnunet = False
    for folders in together:
        for folder in folders.labels:
            labels = _labels_of(folder, told, names, problems)
            found, by_channel = _cases(root, folders.images, folder, channel, labels, names, problems)
            nnunet = nnunet or by_channel
            cases += found
    layout = (
        "nnU-Net raw" if nnunet else "Medical Segmentation Decathlon" if told else "folders of images and of labels"
    )
    return Found(layout, root, sorted(cases, key=lambda case: case.id), problems, names.unknown, notes)


def _folders(path: Path, listing: Listing) -> list[_Folders]:
    """Folders of images below `path`, with those of labels that fit each best."""
    images = [name for name in listing.folders if _IMAGES.fullmatch(name)]
    keys = {name: _keys(path / name) for name in images}
    found = {name: _Folders(path / name, []) for name in images}
    for name in listing.folders:
        if name in images:
            continue
        mine = _keys(path / name)
        match = _LABELS.fullmatch(name)
        part = (match[1] or "").lower() if match else ""
        common = {image: len(mine & keys[image]) for image in images}
        if mine and common and (match or max(common.values())):
            same = [image for image in images if _part(image) == part] if match else []
            best = max(same or images, key=lambda image: common[image])
            found[best].labels.append(path / name)
    return [folders for folders in found.values() if folders.labels]


def _part(images: str) -> str:
    match = _IMAGES.fullmatch(images)
    return (match[1] or "").lower() if match else ""


def _keys(folder: Path) -> set[str]:
    stems = [stem(name) for name in list_folder(folder, []).files]
    return {key for base in stems if base is not None for key in (_key(base), _key(_without_channel(base)))}


def _key(base: str) -> str:
    match = _AFFIXES.fullmatch(base)
    return match["id"].lower() if match else base.lower()


def _without_channel(base: str) -> str:
    match = _CHANNEL.fullmatch(base)
    return match[1] if match else base


def _described(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    try:
        return read_json(path, "dataset")
    except ParameterError as error:
        raise AuditError(str(error)) from error


def _labels_of(folder: Path, told: dict[str, object], names: Names, problems: list[str]) -> _Labels | None:
    """Name in the dataset -> values; None where only the files themselves may say."""
    for place, description in ((folder / "dataset.json", None), (folder.parent / "dataset.json", told)):
        table = _described(place) if description is None else description
        if isinstance(table.get("labels"), dict):
            found = read_table(table, "dataset")
            problems += [f"{place}: {problem}" for problem in found.problems]
            return found.labels
        if table.get("labels") is not None:
            raise AuditError(f'dataset: {place}: "labels" must be {{name: value}} or {{value: name}}.')
    return names.labels or None


def _ct_channel(told: dict[str, object], problems: list[str]) -> int:
    """Number of the channel that is a CT."""
    channels = told.get("channel_names") or told.get("modality") or {}
    if not isinstance(channels, dict) or not channels:
        return 0
    for number, name in channels.items():
        if str(name).lower() in _CT and str(number).isdigit():
            return int(number)
    problems.append(f"dataset.json: no channel is called CT ({channels}); the first is taken")
    return 0


def _cases(
    root: Path, images_folder: Path, folder: Path, channel: int, known: _Labels | None, names: Names,
    problems: list[str],
) -> tuple[list[Case], bool]:  # fmt: skip
    labels = _by_stem(folder, problems)
    images = _by_stem(images_folder, problems)
    channels = {base: match for base in images if (match := _CHANNEL.fullmatch(base)) and base not in labels}
    by_channel = any(match[1] in labels for match in channels.values())  # else the number is part of the name
    if by_channel:
        for base, match in channels.items():
            path = images.pop(base)
            if int(match[2]) == channel:
                images[match[1]] = path
    if not images.keys() & labels.keys():  # img0001 and label0001
        labels = _renamed(images, labels)
    unnamed = 0
    cases = []
    for base in images.keys() | labels.keys():
        masks: list[MaskFile] = []
        if base in labels:
            masks = _masks(labels[base], known, names, problems)
            unnamed += not masks and known is None
        cases.append(Case(_prefix(root, folder) + base, images.get(base), tuple(masks)))
    if unnamed and not names.unknown:
        problems.insert(0, f"{folder}: nobody says what the values of {unnamed} labelmaps mean; {NO_NAMES}")
    return cases, by_channel


def _masks(path: Path, known: _Labels | None, names: Names, problems: list[str]) -> list[MaskFile]:
    if known is not None:
        return names.parts(path, known)
    try:
        return names.parts_of_file(path)
    except VolumeError as error:
        problems.append(str(error))
        return []


def _renamed(images: dict[str, Path], labels: dict[str, Path]) -> dict[str, Path]:
    """Labels under the names of their images, where only what stands around the id differs."""
    by_key: dict[str, list[str]] = {}
    for base in images:
        by_key.setdefault(_key(base), []).append(base)
    found = {base: by_key.get(_key(base), []) for base in labels}
    return {(match[0] if len(match) == 1 else base): labels[base] for base, match in found.items()}


def _prefix(root: Path, labels: Path) -> str:
    """What tells cases of several folders apart: nothing for the training part, "Ts/" for labelsTs, else the folder."""
    above = labels.parent.relative_to(root).as_posix()
    match = _LABELS.fullmatch(labels.name)
    part = (match[1] or "") if match else labels.name
    if match and part.lower() in ("tr", ""):
        part = ""
    return "".join(f"{name}/" for name in (above, part) if name not in (".", ""))


def _by_stem(folder: Path, problems: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name in list_folder(folder, problems).files:
        base = stem(name)
        if base is not None and found.setdefault(base, folder / name) != folder / name:
            problems.append(f"{folder / name}: a second file of the case {base}; {found[base].name} is taken")
    return found
