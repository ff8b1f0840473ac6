"""Labelmaps with a ``dataset.json`` that names their values: nnU-Net's raw folder, Medical Segmentation Decathlon.

nnU-Net: ``imagesTr/ID_0000.nii.gz`` (one file a channel) and ``labelsTr/ID.nii.gz``; MSD: ``imagesTr/ID.nii.gz``. Both
write "labels" as {name: value} or {value: name}; nnU-Net also {name: [values]} for a region, the union of several.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from segae.datasets.case import Case, MaskFile
from segae.datasets.found import Found
from segae.datasets.names import Names
from segae.datasets.scan import list_folder, stem
from segae.errors import AuditError

_CHANNEL = re.compile(r"(.*)_(\d{4})")
_CT = ("ct", "hu", "ct (hu)")


def find_numbered(root: Path, names: Names) -> Found | None:
    """Look for cases; None when there is neither dataset.json nor a folder of labels."""
    description = root / "dataset.json"
    parts = [part for part in ("Tr", "Ts") if (root / f"labels{part}").is_dir()]
    if not parts or not (description.is_file() or names.values):
        return None
    told = _read(description) if description.is_file() else {}
    problems: list[str] = []
    wanted = _wanted(told.get("labels"), names, problems, description)
    channel = _ct_channel(told, problems)
    cases: list[Case] = []
    nnunet = False
    for part in parts:
        found, by_channel = _cases(root, part, channel, wanted, problems)
        nnunet = nnunet or by_channel
        cases += found
    layout = "nnU-Net raw" if nnunet else "Medical Segmentation Decathlon"
    return Found(layout, root, sorted(cases, key=lambda case: case.id), problems, names.unknown)


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise AuditError(f"dataset: {path} cannot be read ({error}).") from error
    if not isinstance(told, dict):
        raise AuditError(f"dataset: {path} holds no JSON object.")
    return told


def _wanted(
    labels: object, names: Names, problems: list[str], description: Path
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name in the dataset -> (structure, values), for the names that are known."""
    if labels is None:
        labels = {str(value): name for value, name in names.values.items()}
    if not isinstance(labels, dict):
        raise AuditError(f'dataset: {description}: "labels" must be {{name: value}} or {{value: name}}.')
    wanted = {}
    for key, value in labels.items():
        name, values = _entry(str(key), value)
        if name is None or not all(isinstance(v, int) for v in values):
            problems.append(f"{description}: the label {key!r}: {value!r} is not understood")
        elif name.lower() != "background" and values != (0,):
            structure = names.structure(name)
            if structure is not None:
                wanted[name] = (structure, values)
    return wanted


def _entry(key: str, value: object) -> tuple[str | None, tuple[int, ...]]:
    if isinstance(value, str):
        if key.isdigit():  # {"1": "liver"}
            return value, (int(key),)
        return (key, (int(value),)) if value.isdigit() else (None, ())
    if isinstance(value, int):
        return key, (value,)
    if isinstance(value, list) and value:
        return key, tuple(value)
    return None, ()


def _ct_channel(told: dict[str, Any], problems: list[str]) -> int:
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
    root: Path, part: str, channel: int, wanted: dict[str, tuple[str, tuple[int, ...]]], problems: list[str]
) -> tuple[list[Case], bool]:
    labels = _by_stem(root / f"labels{part}", problems)
    images = _by_stem(root / f"images{part}", problems)
    channels = {base: match for base in images if (match := _CHANNEL.fullmatch(base)) and base not in labels}
    by_channel = any(match[1] in labels for match in channels.values())  # else the number is part of the name
    if by_channel:
        for base, match in channels.items():
            path = images.pop(base)
            if int(match[2]) == channel:
                images[match[1]] = path
    prefix = "" if part == "Tr" else f"{part}/"
    cases = []
    for base in images.keys() | labels.keys():
        masks = [
            MaskFile(structure, labels[base], values, name, may_be_absent=True)
            for name, (structure, values) in wanted.items()
            if base in labels
        ]
        cases.append(Case(prefix + base, images.get(base), tuple(masks)))
    return cases, by_channel


def _by_stem(folder: Path, problems: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name in list_folder(folder, problems).files:
        base = stem(name)
        if base is not None and found.setdefault(base, folder / name) != folder / name:
            problems.append(f"{folder / name}: a second file of the case {base}; {found[base].name} is taken")
    return found
