"""Labelled scans: where they lie, what is labelled in them, which may be trained on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
from segae.train.teachers import lessons

log = logging.getLogger("segae.train")

# Structures that follow from the labels of their parts.
_UNIONS = {
    "lung_left": ("lung_upper_lobe_left", "lung_lower_lobe_left"),
    "lung_right": ("lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right"),
    "lung": ("lung_left", "lung_right"),
}


@dataclass(frozen=True)
class StoredValues:
    """What the HU of a scan were clipped and rounded to before anyone here read them."""

    low_hu: float = -1024.0
    high_hu: float = 3071.0
    step_hu: float = 1.0


@dataclass(frozen=True)
class Case:
    """One scan of a dataset, and what is known of it.

    Attributes
    ----------
    name : str
    use : str
        "train", "train-unlabelled" or "dev".
    image : Path
    labelmap : Path or None
        With ids of structures.csv; None where the structures lie in `masks`.
    masks : tuple of MaskFile
    source : str
        Group that the scan belongs to (a hospital, a challenge); "" where nobody said.
    hold_out : bool
        Whether a training scan only chooses and calibrates.
    weight : float
        Share of the visits, relative to the other scans of its source.
    stored : StoredValues
    """

    name: str
    use: str
    image: Path
    labelmap: Path | None
    masks: tuple[MaskFile, ...] = ()
    source: str = ""
    hold_out: bool = False
    weight: float = 1.0
    stored: StoredValues = StoredValues()


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
    taught : frozenset of str
        Structures whose labels another network drew: weaker than those of people.
    stored : StoredValues
    worth : mapping
        Structure -> how often it is drawn, relative to the others; names that are absent have the usual share.
    """

    case: str
    image: npt.NDArray[np.int16]
    labelmap: npt.NDArray[Any]
    parts: dict[str, tuple[int, ...]]
    spacing_mm: tuple[float, float, float]
    predictions: tuple[npt.NDArray[Any], ...] = ()
    taught: frozenset[str] = frozenset()
    stored: StoredValues = StoredValues()
    worth: Mapping[str, float] = field(default_factory=dict)

    def mask(self, name: str) -> npt.NDArray[np.bool_]:
        """Where the structure is, [z, y, x]."""
        parts = self.parts[name]
        return self.labelmap == parts[0] if len(parts) == 1 else np.isin(self.labelmap, parts)

    def mirrored(self) -> LabelledScan:
        """Left and right exchanged, in the voxels and in the names."""
        parts = {_partner(name): values for name, values in self.parts.items()}
        flipped = tuple(made[:, :, ::-1] for made in self.predictions)
        return replace(
            self,
            image=self.image[:, :, ::-1],
            labelmap=self.labelmap[:, :, ::-1],
            parts=parts,
            predictions=flipped,
            taught=frozenset(map(_partner, self.taught)),
            worth={_partner(name): worth for name, worth in self.worth.items()},
        )

    def weighed(self, worth: Mapping[str, float]) -> LabelledScan:
        """The scan with structures of worth 0 taken out, and the others drawn as often as theirs says.

        A structure that `worth` does not name is worth as much as the least of those that it is made of.
        """
        values = {name: set(self.parts[name]) for name in worth.keys() & self.parts.keys()}
        given = {
            name: worth[name]
            if name in worth
            else min((worth[part] for part in values if values[part] <= set(mine)), default=1.0)
            for name, mine in self.parts.items()
        }
        kept = {name: mine for name, mine in self.parts.items() if given[name] > 0}
        return replace(self, parts=kept, taught=self.taught & kept.keys(), worth={name: given[name] for name in kept})


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
    return [_case_of(row, folder) for _, row in Rows(table, "data") if row.get("use") in uses]


def _case_of(row: dict[str, str], folder: Path) -> Case:
    """A row of ``cases.csv``; columns that it lacks mean nothing special."""
    name = row["case"]
    stored = StoredValues(
        float(row.get("hu_low") or StoredValues.low_hu),
        float(row.get("hu_high") or StoredValues.high_hu),
        float(row.get("hu_step") or StoredValues.step_hu),
    )
    return Case(
        name,
        row["use"],
        folder / f"{name}_ct.nii.gz",
        folder / f"{name}_seg.nii.gz",
        source=row.get("source") or "",
        hold_out=row.get("hold_out") == "1",
        weight=float(row.get("weight") or 1.0),
        stored=stored,
    )


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
    """Training cases that only calibrate and measure: those marked so, or every tenth where none is."""
    training = cases(folder, "train")
    return tuple(case.name for case in training if case.hold_out) or tuple(case.name for case in training)[9::10]


def load(case: Case, predictions: Path | None = None, *, teachers: bool = False) -> LabelledScan:
    """Read a case whole into memory, with the structures that its labelmap implies added.

    Parameters
    ----------
    case : Case
    predictions : Path, optional
        Folder with ``CASE_pred_*.nii.gz``, what networks made of the scan.
    teachers : bool
        Whether to add labels that another network drew where people drew none, as far as they can be trusted
        (`segae.train.teachers`). Where people drew some, that network's masks count as predictions. For training
        only: evaluation reads people's labels alone.
    """
    image = volume.load(case.image, "image")
    hu = np.ascontiguousarray(image.array * image.slope + image.intercept if image.slope != 1 else image.array)
    labels, parts = _labels_of_case(case, hu.shape)
    files = sorted(predictions.glob(f"{case.name}_pred_*.nii.gz")) if predictions is not None else []
    made = [np.ascontiguousarray(labels_of(case.image, file)) for file in files]
    taught: frozenset[str] = frozenset()
    if teachers and (found := lessons(case)) is not None:
        file, trusted = found
        drawn = np.ascontiguousarray(labels_of(case.image, file))
        if parts:
            made.append(drawn)
        for name in sorted(trusted - parts.keys()):
            value = structures.get(name).id
            new = (drawn == value) & (labels == 0)
            if new.any():
                labels[new] = value
                parts[name] = (value,)
                taught |= {name}
    for name, members in _UNIONS.items():
        if name not in parts and all(member in parts for member in members):
            parts[name] = tuple(value for member in members for value in parts[member])
    return LabelledScan(
        case.name, np.asarray(hu, np.int16), labels, parts, image.spacing_mm, tuple(made), taught, case.stored
    )


def _labels_of_case(case: Case, shape: tuple[int, ...]) -> tuple[npt.NDArray[Any], dict[str, tuple[int, ...]]]:
    """Labels that people drew, and the values of each structure; nothing where they drew none."""
    if case.labelmap is None:
        return _layered(case)
    if case.use == "train-unlabelled":
        return np.zeros(shape, np.uint8), {}
    return _labelled(case.image, case.labelmap)


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
