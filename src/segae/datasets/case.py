"""`Case` and `MaskFile`: what a layout finds, and what may be given to `segae.audit.run` instead of a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MaskFile:
    """One structure of one case, and where it lies.

    Attributes
    ----------
    structure : str
        Canonical name, or any spelling of it.
    path : Path
        A mask, or a labelmap.
    labels : tuple of int
        Values of the labelmap that make up the structure (several for a region); empty for a file that holds nothing
        but 0 and 1.
    name : str
        What the dataset calls it; "" for the same as `structure`.
    may_be_absent : bool
        No voxel of `labels` then means that the scan does not show the structure, and there is no mask to judge;
        otherwise it is an empty mask.
    """

    structure: str
    path: Path
    labels: tuple[int, ...] = ()
    name: str = ""
    may_be_absent: bool = False


@dataclass(frozen=True)
class Case:
    """One scan with its masks.

    Attributes
    ----------
    id : str
        Unique in the dataset.
    image : Path or None
        CT in HU; None where the dataset has none.
    masks : tuple of MaskFile
    reference : tuple of MaskFile
        Masks of the same scan from elsewhere, with which `masks` are compared; empty where there are none.
    """

    id: str
    image: Path | None
    masks: tuple[MaskFile, ...]
    reference: tuple[MaskFile, ...] = ()
