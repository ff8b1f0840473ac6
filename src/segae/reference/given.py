"""The user's own reference: one mask, a labelmap, or a mask a structure, on the grid of the image."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segae import _core, structures
from segae import masks as mask_reader
from segae.device import DeviceVolume
from segae.errors import DeviceError, GridMismatchError, ParameterError
from segae.frame import Volume
from segae.label_scan import LabelScan
from segae.reference.comparison import ReferenceComparison, Source, count_overlap, shares, union_box
from segae.reference.resample import resampled
from segae.volume import Geometry, load_pair

_TOLERANCE_MM = 2.0
# Too small a piece of the mask lies in a coarse look at the volume to compare anything.
_COARSE_VOXELS = 200_000

# What a reference reaches of which nothing is known. Two public networks agree at 0.9 to 0.97 with manual contours of
# large abdominal organs, and at 0.8 and less with those of small ones.
UNKNOWN_RELIABILITY = 0.85


@dataclass(frozen=True)
class Part:
    """Where the reference's mask of a structure lies: a volume on the image's grid, its value there, its box."""

    volume: Volume
    label: int
    scan: LabelScan


class GivenReference:
    """Masks of structures that the user trusts to some extent.

    Parameters
    ----------
    parts : dict
        Canonical name -> where its mask lies.
    reliability : float or mapping
        Dice that the reference reaches as a rule: for all structures, or by name (others: `UNKNOWN_RELIABILITY`).
    threads : int
    """

    source: Source = "given"

    def __init__(self, parts: dict[str, Part], reliability: float | Mapping[str, float] | None, threads: int) -> None:
        self._parts = parts
        self._reliability = _checked(reliability)
        self._threads = threads

    @property
    def names(self) -> tuple[str, ...]:
        """Structures that the reference holds."""
        return tuple(self._parts)

    def reliability(self, structure: str) -> float:
        """Dice that the reference reaches for a structure as a rule."""
        return self._reliability.get(structure, self._reliability.get("", UNKNOWN_RELIABILITY))

    def compare(self, mask: Volume, scan: LabelScan, structure: str) -> ReferenceComparison | None:
        """Compare one label of a mask; None where the reference does not hold the structure."""
        part = self._parts.get(structure)
        if part is None:
            return None
        window = union_box(scan.box, part.scan.box)
        here, there = mask.array[window], part.volume.array[window]
        counts = count_overlap(here, scan.label, there, part.label, self._threads)
        dice, precision, recall = shares(counts)
        surfaces = _core.surface_counts(
            here, there, scan.label, part.label, mask.spacing_mm, _TOLERANCE_MM, None, self._threads
        )
        at, total = surfaces[0, 2] + surfaces[0, 3], surfaces[0, 0] + surfaces[0, 1]
        filled = np.flatnonzero(counts[:, 1:].any(axis=1))
        pixel_mm2 = mask.pixel_mm2
        rows = sorted(
            (
                mask.source_index(0, int(z) + window[0].start),
                float(2 * counts[z, 0] / (counts[z, 1] + counts[z, 2])),
                float(counts[z, 2] * pixel_mm2),
            )
            for z in filled
        )
        both, mine, theirs = (int(n) for n in counts.sum(axis=0))
        return ReferenceComparison(
            source=self.source,
            dice=dice,
            precision=precision,
            recall=recall,
            nsd=float(at / total) if total else float("nan"),
            volume_ml=part.scan.voxels * mask.voxel_ml,
            reliability=self.reliability(structure),
            identical=both == mine == theirs,
            slice_index=tuple(row[0] for row in rows),
            slice_dice=tuple(row[1] for row in rows),
            slice_area_mm2=tuple(row[2] for row in rows),
        )

    def mirrored_overlap(self, mask: Volume, scan: LabelScan, structure: str) -> tuple[float, float]:
        """Coarse Dice with the reference as it is, and with it mirrored left to right."""
        part = self._parts[structure]
        step = max(1, round((mask.array.size / _COARSE_VOXELS) ** (1 / 3)))
        thin = slice(None, None, step)
        mine = mask.array[thin, thin, thin] == scan.label
        theirs = part.volume.array[thin, thin] == part.label
        found = []
        for other in (theirs[:, :, ::step], theirs[:, :, ::-1][:, :, ::step]):
            total = int(mine.sum()) + int(other.sum())
            found.append(2 * int((mine & other).sum()) / total if total else 0.0)
        return found[0], found[1]

    def plane(self, structure: str, z: int) -> npt.NDArray[np.bool_]:
        """Mask [y, x] of a structure that the reference holds, in one slice of the image."""
        part = self._parts[structure]
        return np.asarray(part.volume.array[z] == part.label)


def of_mask(
    image: Volume,
    reference: object,
    structure: str,
    label: int | None,
    reliability: float | Mapping[str, float] | None,
    *,
    resample: bool,
    threads: int,
) -> GivenReference:
    """Read the reference of one structure: a mask, or the value `label` of a labelmap."""
    volume = on_grid_of(image, reference, resample=resample)
    volume, scans = mask_reader.read_mask(volume, "reference", threads)
    value = mask_reader.label_of_mask(scans, label, "reference")
    parts = {structure: Part(volume, value, scans[value])} if value in scans else {}
    return GivenReference(parts, reliability, threads)


def of_labelmap(
    image: Volume,
    reference: object,
    names: Mapping[int, str],
    reliability: float | Mapping[str, float] | None,
    *,
    resample: bool,
    threads: int,
) -> GivenReference:
    """Read a labelmap; `names` maps its values to canonical names."""
    volume = on_grid_of(image, reference, resample=resample)
    volume, scans = mask_reader.read_labelmap(volume, "reference", threads)
    parts = {names[value]: Part(volume, value, scan) for value, scan in scans.items() if value in names}
    return GivenReference(parts, reliability, threads)


def of_masks(
    image: Volume,
    reference: Mapping[str, object],
    reliability: float | Mapping[str, float] | None,
    *,
    resample: bool,
    threads: int,
) -> GivenReference:
    """Read a mask a structure; empty ones are left out."""
    parts = {}
    for name, mask in reference.items():
        volume = on_grid_of(image, mask, resample=resample)
        volume, scans = mask_reader.read_mask(volume, f"reference[{name!r}]", threads)
        value = mask_reader.label_of_mask(scans, None, f"reference[{name!r}]")
        if value in scans:
            parts[structures.get(name).name] = Part(volume, value, scans[value])
    return GivenReference(parts, reliability, threads)


def on_grid_of(image: Volume, reference: object, *, resample: bool) -> Volume:
    """Read a reference on the image's grid; on another one where it may be resampled (nearest neighbour).

    Raises
    ------
    GridMismatchError
        On another grid, with `resample` off.
    DeviceError
        For arrays on a GPU.
    """
    # What lies on a bare image is told the image's own geometry.
    geometry = Geometry()
    if image.affine is None and not isinstance(reference, Volume):
        spacing = dict(zip(image.source_axes, image.spacing_mm, strict=True))
        axes = "zyx" if image.source_axes == (0, 1, 2) else "xyz"
        geometry = Geometry(None, [spacing[axis] for axis in range(3)], axes)
    try:
        volume = load_pair(image, reference, geometry, mask_argument="reference")[1]
    except GridMismatchError as error:
        if not resample:
            raise GridMismatchError(
                f"{error}\nOr let segae bring the reference onto the image's grid (nearest neighbour): "
                f"resample_reference=True."
            ) from error
        volume = resampled(image, reference)
    if isinstance(volume.array, DeviceVolume) or isinstance(image.array, DeviceVolume):
        raise DeviceError("reference: it is compared in host memory; pass image.cpu(), mask.cpu(), reference.cpu().")
    return volume


def check_not_the_mask(mask: object, reference: object) -> None:
    """Raise ParameterError when one file, or one object, is given as mask and as reference."""
    same = mask is reference and mask is not None
    if isinstance(mask, (str, os.PathLike)) and isinstance(reference, (str, os.PathLike)):
        mine, theirs = Path(mask), Path(reference)
        same = mine.exists() and theirs.exists() and mine.samefile(theirs)
    if same:
        raise ParameterError(
            f"reference: it is the mask itself ({_called(reference)}), which would say 1 of everything. Give masks of "
            f"another origin, or none."
        )


def _called(reference: object) -> str:
    return os.fspath(reference) if isinstance(reference, (str, os.PathLike)) else "one object"


def _checked(reliability: float | Mapping[str, float] | None) -> dict[str, float]:
    if reliability is None:
        return {}
    table = {structures.get(k).name: v for k, v in reliability.items()} if isinstance(reliability, Mapping) else None
    values = {"": reliability} if table is None else table
    for name, value in values.items():
        if not isinstance(value, (int, float)) or not 0 < value <= 1:
            raise ParameterError(
                f"reference_reliability: expected the Dice that the reference reaches, above 0 and at most 1, got "
                f"{value!r}{f' for {name}' if name else ''}."
            )
    return {name: float(value) for name, value in values.items()}  # type: ignore[arg-type]
