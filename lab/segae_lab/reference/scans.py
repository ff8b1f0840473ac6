"""Partly labelled scans at 2 mm: for every slice and class whether its labels can decide about it.

A voxel without a label may be any class that its slice does not know (`PartlyLabelled.known`); a voxel that nothing
can be said about holds `UNDECIDED`. Manual contours come first; teachers' labels fill the classes that have none.
"""

from __future__ import annotations

import csv
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from segae import structures, volume
from segae_lab.reference.classes import AGREEMENT, BELOW_THE_NECK, CLASSES, HEAD, PART_OF_THE_LENGTH

log = logging.getLogger("segae_lab")

UNDECIDED = 255
PIXEL_MM = 2.0
_SCAN_END_MM = 5.0  # teachers' labels of an organ that the scan cuts off are not used so close to its end

_UNIONS = {
    "lung_left": ("lung_upper_lobe_left", "lung_lower_lobe_left"),
    "lung_right": ("lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right"),
}

Labels = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PartlyLabelled:
    """A scan at 2 mm in the plane, with what its labels say.

    Attributes
    ----------
    case, source : str
    hu : int16 [z, y, x]
        LPS.
    labels : uint8 [z, y, x]
        1 + index in `CLASSES`, 0 for none of the known classes, `UNDECIDED`.
    known : bool [z, classes]
        Whether a voxel of the slice that has no label is certainly not of the class.
    spacing_mm : (float, float, float)
        Along z, y, x.
    weight : float
        Share of the visits.
    """

    case: str
    source: str
    hu: npt.NDArray[np.int16]
    labels: Labels
    known: Bool
    spacing_mm: tuple[float, float, float]
    weight: float


def load_scans(folder: Path, hold_out: bool, teachers: bool = True) -> list[PartlyLabelled]:
    """Load training scans: those that are learned from, or those that choose and calibrate.

    Parameters
    ----------
    folder : Path
        With ``data/cases.csv``, ``data/pseudo.csv`` and the scans.
    hold_out : bool
        Whether to load the cases of ``hold_out=1`` instead of the others. Cases of ``use=dev`` are never loaded.
    teachers : bool
        Whether teachers' labels and lungs that were outlined automatically fill what has no contours.
    """
    data = folder / "data"
    with (data / "cases.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["use"] in ("train", "train-unlabelled")]
    trusted = _trusted(data / "pseudo.csv")
    chosen = [row for row in rows if (row["hold_out"] == "1") == hold_out]
    return [_load(data, row, trusted.get(row["case"], {}), teachers) for row in chosen]


def _trusted(table: Path) -> dict[str, dict[str, bool]]:
    """Case -> class -> whether the organ ends at the scan's border, of teachers' labels that are trusted."""
    found: dict[str, dict[str, bool]] = {}
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    sure = {
        (row["case"], row["structure"])
        for row in rows
        if row["structure"] in AGREEMENT and float(row["agreement"] or 0) >= AGREEMENT[row["structure"]]
    }
    for row in rows:
        case, name = row["case"], row["structure"]
        whole = {(case, "liver"), (case, "spleen")} <= sure
        if (case, name) in sure or (name not in AGREEMENT and whole and float(row["ml"]) > 0.5):
            found.setdefault(case, {})[name] = row["at_scan_end"] == "1"
    return found


def _load(data: Path, row: dict[str, str], trusted: dict[str, bool], teachers: bool) -> PartlyLabelled:
    case, source = row["case"], row["source"]
    path = data / f"{case}_ct.nii.gz"
    image = volume.load(path, "image")
    hu = image.array.astype(np.float32) * image.slope + image.intercept
    labels = np.zeros(hu.shape, np.uint8)
    known = np.zeros((len(hu), len(CLASSES)), bool)
    drawn = _drawn(path, data / f"{case}_seg.nii.gz")
    for name, mask in drawn.items():
        labels[mask] = 1 + CLASSES.index(name)
        here = mask.any(axis=(1, 2)) if source == "OpenKBP" and name in PART_OF_THE_LENGTH else True
        known[:, CLASSES.index(name)] |= here
    if teachers and (data / f"{case}_pseudo.nii.gz").exists():
        taught = _drawn(path, data / f"{case}_pseudo.nii.gz")
        for name in trusted.keys() & taught.keys() - drawn.keys():
            _add_teachers(labels, known, name, taught[name], trusted[name], image.spacing_mm[0])
    if (
        teachers
        and not {"lung_left", "lung_right"} & drawn.keys()
        and float(row["hu_low"]) <= -1000
        and source != "OpenKBP"
    ):
        _add_lungs(labels, known, hu, image.spacing_mm)
    _add_absent(labels, known, source)
    small, fine, spacing_mm = _resampled(hu, labels, image.spacing_mm)
    weight = {"OpenKBP": 0.12, "BTCV": 1.5}.get(source, 1.0)
    return PartlyLabelled(case, source, small, fine, known, spacing_mm, weight)


def _drawn(image: Path, labelmap: Path) -> dict[str, Bool]:
    """Classes of a labelmap with ids of structures.csv, unions of their parts included; empty without the file."""
    if not labelmap.exists():
        return {}
    array = np.ascontiguousarray(volume.load_pair(image, labelmap, mask_argument="labelmap")[1].array)
    counts = np.bincount(array.ravel())
    present = {name for name in structures.names() if structures.get(name).id < len(counts)}
    present = {name for name in present if counts[structures.get(name).id]}
    found = {name: array == structures.get(name).id for name in CLASSES if name in present}
    for name, parts in _UNIONS.items():
        if set(parts) <= present:
            found[name] = np.isin(array, [structures.get(part).id for part in parts])
    return found


def _add_teachers(labels: Labels, known: Bool, name: str, mask: Bool, cut_off: bool, step_mm: float) -> None:
    index = CLASSES.index(name)
    free = labels == 0
    labels[mask & free] = 1 + index
    decided = np.ones(len(labels), bool)
    if name == "aorta":  # only its descending part is drawn
        decided = mask.any(axis=(1, 2)) & known[:, CLASSES.index("kidney_left")]
        decided &= (labels == 1 + CLASSES.index("kidney_left")).any(axis=(1, 2))
    if cut_off:
        end = max(1, round(_SCAN_END_MM / step_mm))
        for part in (slice(0, end), slice(len(labels) - end, None)):
            labels[part][labels[part] == 1 + index] = UNDECIDED
            decided[part] = False
    known[:, index] |= decided


def _add_lungs(
    labels: Labels, known: Bool, hu: npt.NDArray[np.float32], spacing_mm: tuple[float, float, float]
) -> None:
    from segae_lab.unlabelled import _body, _lungs

    for name, mask in _lungs(hu, _body(hu), spacing_mm).items():
        labels[mask & (labels == 0)] = 1 + CLASSES.index(name)
        known[:, CLASSES.index(name)] = True


def _add_absent(labels: Labels, known: Bool, source: str) -> None:
    """What cannot be in a slice, given what is: no liver at the height of the jaw, no jaw in an abdomen."""

    def shows(*names: str) -> Bool:
        found = np.isin(labels, [1 + CLASSES.index(name) for name in names])
        return np.asarray(found.any(axis=(1, 2)))

    def absent(where: Bool, *names: str) -> None:
        for name in names:
            known[where, CLASSES.index(name)] = True

    if source == "OpenKBP":
        head = np.flatnonzero(shows(*HEAD))
        if len(head):
            absent(np.arange(len(labels)) >= head[0], *BELOW_THE_NECK)
        return
    absent(np.ones(len(labels), bool), *HEAD)
    absent(shows("kidney_left", "kidney_right"), "heart", "trachea")
    absent(shows("trachea"), "kidney_left", "kidney_right", "gallbladder", "pancreas", "duodenum", "spleen", "liver")


def _resampled(
    hu: npt.NDArray[np.float32], labels: Labels, spacing_mm: tuple[float, float, float]
) -> tuple[npt.NDArray[np.int16], Labels, tuple[float, float, float]]:
    """About 2 mm in the plane, slices as they are."""
    size = [max(1, round(n * s / PIXEL_MM)) for n, s in zip(hu.shape[1:], spacing_mm[1:], strict=True)]
    planes = torch.from_numpy(np.ascontiguousarray(hu).clip(-1024, 1500))[:, None]
    small = functional.interpolate(planes, size=size, mode="bilinear", antialias=True)[:, 0].round().to(torch.int16)
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(size, hu.shape[1:], strict=True)
    )
    fine = np.ascontiguousarray(labels[:, rows][:, :, columns])
    y, x = (s * old / new for s, old, new in zip(spacing_mm[1:], hu.shape[1:], size, strict=True))
    return small.numpy(), fine, (spacing_mm[0], y, x)
