"""`ReferenceComparison`: how a mask agrees with the reference's mask of the same structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from segae import _core

Source = Literal["given", "built-in"]


@dataclass(frozen=True)
class ReferenceComparison:
    """A mask beside the reference's mask of the same structure.

    Attributes
    ----------
    source : "given" or "built-in"
        The user's reference, or that of the network in the package.
    dice, precision, recall : float
        Of the mask, were the reference the truth; in [0, 1].
    nsd : float
        Normalised surface distance within 2 mm; nan for the built-in reference, whose voxels measure as much.
    volume_ml : float
        Of the reference's mask.
    reliability : float
        Dice that this reference reaches for this structure as a rule: measured on held-out scans (built-in), on the
        cohort or on verified cases (`segae audit`), or as the caller said.
    identical : bool
        Whether the two hold the same voxels: then one was probably made from the other, and says nothing.
    slice_index : tuple of int
        Axial slices of the volume as given that were compared and hold any of the two.
    slice_dice, slice_area_mm2 : tuple of float
        Dice in each of these slices, and area of the reference's mask.
    """

    source: Source
    dice: float
    precision: float
    recall: float
    nsd: float
    volume_ml: float
    reliability: float
    identical: bool
    slice_index: tuple[int, ...]
    slice_dice: tuple[float, ...]
    slice_area_mm2: tuple[float, ...]


def union_box(*boxes: npt.NDArray[np.int64]) -> tuple[slice, slice, slice]:
    """Smallest box that holds the half-open boxes [2, 3] (z, y, x)."""
    low = np.min([box[0] for box in boxes], axis=0)
    high = np.max([box[1] for box in boxes], axis=0)
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return z, y, x


def count_overlap(
    mask: npt.NDArray[Any], label: int, reference: npt.NDArray[Any], reference_label: int, threads: int
) -> npt.NDArray[np.int64]:
    """Voxels of both, of the mask, of the reference, per axial slice: int64 [z, 3]."""
    return _core.overlap(mask, reference, label, reference_label, 0, threads)


def shares(counts: npt.NDArray[np.int64]) -> tuple[float, float, float]:
    """Dice, precision, recall of summed counts; 0 where a denominator is."""
    both, mine, theirs = (int(n) for n in counts.sum(axis=0))
    return (
        2 * both / (mine + theirs) if mine + theirs else 0.0,
        both / mine if mine else 0.0,
        both / theirs if theirs else 0.0,
    )
