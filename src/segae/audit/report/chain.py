"""Where all structures of a scan lie, for mistakes that no picture of a single mask shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segae import structures
from segae.anatomy.findings import spoken
from segae.anatomy.table import load_table
from segae.audit.results import MaskRow
from segae.volume import Volume

Array = npt.NDArray[Any]

_SLAB_MM = 30.0
_MOST_MARKS = 40


@dataclass(frozen=True)
class Mark:
    """A structure's middle: place along z, y, x in voxels, its name, and whether the finding concerns it."""

    place: tuple[float, float, float]
    text: str
    concerned: bool


def marks_of(row: MaskRow, case: Sequence[MaskRow], ct: Volume) -> list[Mark]:
    """Marks of the chain that a structure belongs to, or of the organs around it.

    Parameters
    ----------
    row : MaskRow
    case : sequence of MaskRow
        All masks of the scan.
    ct : Volume
    """
    details = {flag.detail for flag in row.flags}
    members = next((chain for chain in load_table().chains if row.structure in chain), None)
    if members is not None and not row.structure.startswith("vertebrae_"):  # ribs of both sides
        members = [name for chain in load_table().chains if chain[0].startswith("rib_") for name in chain]
    group = structures.get(row.structure).group
    found = []
    for other in case:
        if other.centroid_mm is None:
            continue
        alike = other.structure in members if members else structures.get(other.structure).group == group
        if alike or other.structure == row.structure:
            x, y, z = other.centroid_mm
            middle = (np.array(ct.array.shape) - 1) / 2 + np.array([z, y, x]) / ct.spacing_mm
            concerned = other.structure == row.structure or any(flag.detail in details for flag in other.flags)
            found.append(Mark((middle[0], middle[1], middle[2]), spoken(other.structure), concerned))
    return sorted(found, key=lambda mark: not mark.concerned)[:_MOST_MARKS]


def slab(ct: Volume, marks: Sequence[Mark], axis: int) -> Array:
    """Brightest voxels of a slab through the marks, across an axis (1: coronal, 2: sagittal)."""
    at = float(np.median([mark.place[axis] for mark in marks]))
    half = _SLAB_MM / 2 / ct.spacing_mm[axis]
    extent = ct.array.shape[axis]
    first = int(np.clip(round(at - half), 0, extent - 1))
    last = int(np.clip(round(at + half), first + 1, extent))
    brightest: Array = np.moveaxis(ct.array, axis, 0)[first:last].max(axis=0)
    return brightest
