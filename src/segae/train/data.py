"""Labelled scans: where they lie, what is labelled in them, which may be trained on."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segae import structures, volume
from segae.containers import is_layered, read_layers
from segae.datasets.case import MaskFile
from segae.datasets.rows import Rows
from segae.masks import read_labelmap
from segae.threads import available_threads

log = logging.getLogger("segae.train")

# Train scans that no network is fitted on: they pick checkpoints and calibrate. The last holds chest and abdomen.
HELD_OUT = ("kbp80", "kbp82", "kbp83", "kbp84", "kbp86", "kbp87", "kbp88", "kbp89", "ts_slab")

# Structures that follow from the labels of their parts.
_UNIONS = {
    "lung_left": ("lung_upper_lobe_left", "lung_lower_lobe_left"),
    "lung_right": ("lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right"),
    "lung": ("lung_left", "lung_right"),
}


@dataclass(frozen=True)
class Case:
    """One row of ``cases.csv``, whose `labelmap` holds ids of structures.csv; or of another dataset, with `masks`."""

    name: str
    use: str
    image: Path
    labelmap: Path | None
    masks: tuple[MaskFile, ...] = ()


@dataclass(frozen=True)
class LabelledScan:
    """A CT with the structures that are labelled in it.

    Attributes
    ----------
    case : str
    image : int16 [z, y, x]
        HU; z runs to the head, y to the back, x to the left.
    labelmap : uint8 or int16 [z, y, x]
        0 means "not labelled", not "background".
    parts : dict
        Structure name -> the values of `labelmap` that make it up.
    spacing_mm : (float, float, float)
        Along z, y, x.
    predictions : tuple of arrays like `labelmap`
        What segmentation networks made of the scan, in the values of `labelmap`.
    """

    case: str
    image: npt.NDArray[np.int16]
    labelmap: npt.NDArray[Any]
    parts: dict[str, tuple[int, ...]]
    spacing_mm: tuple[float, float, float]
    predictions: tuple[npt.NDArray[Any], ...] = ()

    def mask(self, name: str) -> npt.NDArray[np.bool_]:
        """Where the structure is, [z, y, x]."""
        parts = self.parts[name]
        return self.labelmap == parts[0] if len(parts) == 1 else np.isin(self.labelmap, parts)

    def mirrored(self) -> LabelledScan:
        """Left and right exchanged, in the voxels and in the names."""
        parts = {_partner(name): values for name, values in self.parts.items()}
        flipped = tuple(made[:, :, ::-1] for made in self.predictions)
        return replace(
            self, image=self.image[:, :, ::-1], labelmap=self.labelmap[:, :, ::-1], parts=parts, predictions=flipped
        )


def _partner(name: str) -> str:
    """The structure's name on the other side; regions without a name have none."""
    return (name in structures.names() and structures.get(name).partner) or name


def cases(data: Path, *uses: str) -> list[Case]:
    """Cases with one of the given uses.

    Parameters
    ----------
    data : Path
        A folder with ``cases.csv``, or with ``data/cases.csv``; or any dataset that `segae audit` reads, whose cases
        serve every use but "train-unlabelled".
    uses : str
        "train", "train-unlabelled", "dev".

    Raises
    ------
    AuditError
        When there is no dataset, or none that is known.
    """
    folder = data / "data" if (data / "data" / "cases.csv").exists() else data
    table = folder / "cases.csv"
    if not table.exists():
        return _cases_of_dataset(data, uses)
    rows = [row for _, row in Rows(table, "data") if row.get("use") in uses]
    return [
        Case(row["case"], row["use"], folder / f"{row['case']}_ct.nii.gz", folder / f"{row['case']}_seg.nii.gz")
        for row in rows
    ]


def _cases_of_dataset(data: Path, uses: tuple[str, ...]) -> list[Case]:
    from segae.datasets import find_cases

    use = next((use for use in uses if use != "train-unlabelled"), None)
    if use is None:
        return []
    found = find_cases(data)
    for line in found.describe():
        log.info("%s", line)
    return [Case(case.id, use, case.image, None, case.masks) for case in found.cases if case.image and case.masks]


def held_out(folder: Path) -> tuple[str, ...]:
    """Training cases that only calibrate and measure: those of the shipped model, or every tenth of other data."""
    names = [case.name for case in cases(folder, "train")]
    return tuple(name for name in names if name in HELD_OUT) or tuple(names[9::10])


def load(case: Case, predictions: Path | None = None) -> LabelledScan:
    """Read a case whole into memory, with the structures that its labelmap implies added.

    Parameters
    ----------
    case : Case
    predictions : Path, optional
        Folder with ``CASE_pred_*.nii.gz``, what networks made of the scan.
    """
    image = volume.load(case.image, "image")
    hu = np.ascontiguousarray(image.array * image.slope + image.intercept if image.slope != 1 else image.array)
    labels, parts = _layered(case) if case.labelmap is None else _labelled(case.image, case.labelmap)
    for name, members in _UNIONS.items():
        if name not in parts and all(member in parts for member in members):
            parts[name] = tuple(value for member in members for value in parts[member])
    files = sorted(predictions.glob(f"{case.name}_pred_*.nii.gz")) if predictions is not None else []
    made = tuple(np.ascontiguousarray(labels_of(case.image, file)) for file in files)
    return LabelledScan(case.name, np.asarray(hu, np.int16), labels, parts, image.spacing_mm, made)


def _labelled(image: Path, labelmap: Path) -> tuple[npt.NDArray[Any], dict[str, tuple[int, ...]]]:
    """A labelmap with ids of structures.csv, and its structures."""
    ids = {structures.get(name).id: name for name in structures.names()}
    labels = np.ascontiguousarray(labels_of(image, labelmap))
    present = np.flatnonzero(np.bincount(labels.ravel(), minlength=1))
    return labels, {ids[value]: (value,) for value in present.tolist() if value in ids}


def _layered(case: Case) -> tuple[npt.NDArray[np.int16], dict[str, tuple[int, ...]]]:
    """Masks that may overlap, as a labelmap: every combination of structures that occurs gets a value of its own."""
    meaning: list[frozenset[str]] = [frozenset()]
    labels: npt.NDArray[np.int16] | None = None
    for file in case.masks:
        mask = _mask_of(case.image, file)
        labels = np.zeros(mask.shape, np.int16) if labels is None else labels
        name = structures.get(file.structure).name
        under = labels[mask]
        for value in np.unique(under).tolist():
            both = meaning[value] | {name}
            if both not in meaning:
                meaning.append(both)
            under[labels[mask] == value] = meaning.index(both)
        labels[mask] = under
    assert labels is not None  # a case without masks is none
    names = sorted({name for both in meaning for name in both})
    return labels, {name: tuple(v for v, both in enumerate(meaning) if name in both) for name in names}


def _mask_of(image: Path, file: MaskFile) -> npt.NDArray[np.bool_]:
    """One structure of a case, [z, y, x]: a mask, values of a labelmap, or segments of a DICOM file."""
    if is_layered(file.path):
        segments = read_layers(file.path, volume.load(image, "image"), file.labels)
        union: npt.NDArray[np.bool_] = np.logical_or.reduce([segment.array > 0 for _, segment in segments])
        return union
    stored = labels_of(image, file.path)
    return np.isin(stored, file.labels) if file.labels else stored > 0


def labels_of(image: Path, labelmap: Path) -> npt.NDArray[Any]:
    """Read a labelmap on an image's grid, [z, y, x]."""
    given = volume.load_pair(image, labelmap, mask_argument="labelmap")[1]
    if given.array.dtype.kind != "f":
        return given.array
    return read_labelmap(given, "labelmap", available_threads())[0].array.astype(np.int64)
