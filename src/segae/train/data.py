"""Labelled scans: where they lie, what is labelled in them, which may be trained on."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segae import structures, volume
from segae.errors import ParameterError

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
    """One row of ``cases.csv``."""

    name: str
    use: str
    image: Path
    labelmap: Path


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
    """Cases of ``data/cases.csv`` (or of a folder that holds ``cases.csv``) with one of the given uses."""
    folder = data / "data" if (data / "data" / "cases.csv").exists() else data
    table = folder / "cases.csv"
    if not table.exists():
        raise ParameterError(
            f"data: no cases.csv in {data}; expected its columns case and use, and files CASE_ct.nii.gz and "
            f"CASE_seg.nii.gz beside it, the latter with ids of structures.csv"
        )
    with table.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["use"] in uses]
    return [
        Case(row["case"], row["use"], folder / f"{row['case']}_ct.nii.gz", folder / f"{row['case']}_seg.nii.gz")
        for row in rows
    ]


def held_out(folder: Path) -> tuple[str, ...]:
    """Training cases that only calibrate and measure: those of the shipped model, or every tenth of other data."""
    names = [case.name for case in cases(folder, "train")]
    return tuple(name for name in names if name in HELD_OUT) or tuple(names[9::10])


def usual_shares(folder: Path) -> tuple[float, float]:
    """Shares of synthetic scans and of scans without labels, 0 where `folder` has no meshes or no such scans."""
    synthetic = 0.4 if (folder / "anatomy").is_dir() else 0.0
    return synthetic, 0.08 if cases(folder, "train-unlabelled") else 0.0


def load(case: Case, predictions: Path | None = None) -> LabelledScan:
    """Read a case whole into memory, with the structures that its labelmap implies added.

    Parameters
    ----------
    case : Case
    predictions : Path, optional
        Folder with ``CASE_pred_*.nii.gz``, what networks made of the scan.
    """
    image, labelmap = volume.load_pair(case.image, case.labelmap, mask_argument="labelmap")
    hu = np.ascontiguousarray(image.array * image.slope + image.intercept if image.slope != 1 else image.array)
    ids = {structures.get(name).id: name for name in structures.names()}
    labels = np.ascontiguousarray(labelmap.array)
    present = np.flatnonzero(np.bincount(labels.ravel(), minlength=1))
    parts: dict[str, tuple[int, ...]] = {ids[value]: (value,) for value in present.tolist() if value in ids}
    for name, members in _UNIONS.items():
        if name not in parts and all(member in parts for member in members):
            parts[name] = tuple(value for member in members for value in parts[member])
    files = sorted(predictions.glob(f"{case.name}_pred_*.nii.gz")) if predictions is not None else []
    made = tuple(np.ascontiguousarray(labels_of(case.image, file)) for file in files)
    return LabelledScan(case.name, np.asarray(hu, np.int16), labels, parts, image.spacing_mm, made)


def labels_of(image: Path, labelmap: Path) -> npt.NDArray[Any]:
    """Read a labelmap on an image's grid, [z, y, x]."""
    return volume.load_pair(image, labelmap, mask_argument="labelmap")[1].array
