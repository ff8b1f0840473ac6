"""`measure`: how a mask agrees with the truth, when there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from segae import _core
from segae.arguments import number
from segae.errors import ParameterError
from segae.masks import label_of_mask, read_mask
from segae.threads import thread_count
from segae.volume import Geometry, load_masks
from segae.warn import warn_assumed


@dataclass(frozen=True)
class Agreement:
    """Agreement of a mask with the truth, in 3D and per axial slice.

    Attributes
    ----------
    dice, precision, recall : float
        In [0, 1]. nan where the denominator is 0: dice when both are empty, precision when the mask is, recall when
        the truth is.
    nsd : float
        Normalised surface distance: share of the border voxels of both masks that lie within the tolerance of the
        other's border. nan when both are empty.
    slice_dice, slice_nsd : float64 [slices]
        The same within each axial slice of the volume as given, distances in the plane only.
    """

    dice: float
    precision: float
    recall: float
    nsd: float
    slice_dice: npt.NDArray[np.float64]
    slice_nsd: npt.NDArray[np.float64]


def measure(
    mask: object,
    truth: object,
    *,
    affine: npt.ArrayLike | None = None,
    spacing: Sequence[float] | None = None,
    axes: str = "zyx",
    label: int | None = None,
    tolerance_mm: float = 2.0,
    threads: int | None = None,
) -> Agreement:
    """Compare a mask with the truth.

    Parameters
    ----------
    mask, truth : path, os.PathLike, image or array, as in `segae.score`
        On one grid.
    affine, spacing, axes
        Geometry of bare arrays, as in `segae.score`.
    label : int, optional
        The structure's value in both; without it only 0 and 1, or bool, are masks.
    tolerance_mm : float
        Of the normalised surface distance.
    threads : int, optional
        Default: all CPUs that the process may use.

    Returns
    -------
    Agreement

    Raises
    ------
    VolumeError, GridMismatchError, ParameterError

    Notes
    -----
    Definitions as in Metrics Reloaded (Maier-Hein et al., Nature Methods 2024): a border voxel has a face neighbour
    outside the mask, distances are between voxel centres.
    """
    if not 0 <= number(tolerance_mm, "tolerance_mm") < float("inf"):
        raise ParameterError(f"tolerance_mm: expected a number of at least 0, got {tolerance_mm!r}.")
    workers = thread_count(threads)
    truth_volume, given = load_masks(truth, mask, Geometry(affine, spacing, axes))
    warn_assumed([truth_volume, given])
    given, scans = read_mask(given, "mask", workers)
    truth_volume, truth_scans = read_mask(truth_volume, "truth", workers)
    value = label_of_mask(scans, label, "mask")
    label_of_mask(truth_scans, label, "truth")
    boxes = [found[value].box for found in (scans, truth_scans) if value in found]
    # Outside the union of the two boxes there is nothing to count. Of arrays on a GPU only that box travels.
    depth = given.array.shape[0]
    low, high = (
        (np.min([box[0] for box in boxes], axis=0), np.max([box[1] for box in boxes], axis=0))
        if boxes
        else (np.zeros(3, int), np.zeros(3, int))
    )
    window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    here, there = given.array[window], truth_volume.array[window]
    counts = np.zeros((depth, 3), np.int64)
    counts[window[0]] = _core.overlap(here, there, value, value, 0, workers)
    both, in_mask, in_truth = (int(n) for n in counts.sum(axis=0))
    nsd, slice_nsd = float("nan"), np.full(depth, np.nan)
    if boxes:
        surfaces = partial(
            _core.surface_counts, here, there, value, value, given.spacing_mm, tolerance_mm, threads=workers
        )
        slice_nsd[window[0]] = _surface_dice(surfaces(per_slice_axis=0))
        nsd = float(_surface_dice(surfaces(per_slice_axis=None))[0])
    slice_dice = _ratio(2.0 * counts[:, 0], counts[:, 1] + counts[:, 2])
    step = -1 if given.flipped[0] else 1
    return Agreement(
        dice=_share(2 * both, in_mask + in_truth),
        precision=_share(both, in_mask),
        recall=_share(both, in_truth),
        nsd=nsd,
        slice_dice=slice_dice[::step],
        slice_nsd=slice_nsd[::step],
    )


def _surface_dice(found: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return _ratio(found[:, 2] + found[:, 3], found[:, 0] + found[:, 1])


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _ratio(part: npt.NDArray[np.number], whole: npt.NDArray[np.number]) -> npt.NDArray[np.float64]:
    ratio = np.full(len(part), np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio
