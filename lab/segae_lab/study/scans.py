"""Head-neck scans on one coarse grid: a pool to learn from, real and synthetic, and real ones to test on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from segae.train import data
from segae.train.data import LabelledScan
from segae_lab.sources import synthetic_parts
from segae_lab.study.sizes import Size

Bool = npt.NDArray[np.bool_]

# What clinical head-neck scans contour.
NAMES = ("brainstem", "mandible", "parotid_left", "parotid_right", "spinal_cord")
_AIR_HU, _BODY_HU = -1024, -400
_SLICE_MM = 5.0
_SYNTHETIC_VOXELS = 1_500_000
# Source of the real scans, as cases.csv names it.
_SOURCE = "OpenKBP"
# Of the synthetic scans: training draws its seeds at random below 2^31.
_FIRST_SEED = 900_000


@dataclass(frozen=True)
class StudyScan:
    """A scan on the study's grid.

    Attributes
    ----------
    name : str
    image : int16 [z, side, side]
        HU.
    truth : bool [structures, z, side, side]
        In the order of `NAMES`.
    known : bool [structures]
        Which of them somebody labelled.
    spacing_mm : float64 [3]
        Along z, y, x.
    """

    name: str
    image: npt.NDArray[np.int16]
    truth: Bool
    known: Bool
    spacing_mm: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scans:
    """Scans to choose from, and scans to test on."""

    pool: list[StudyScan]
    test: list[StudyScan]


def study_scans(folder: Path, atlas: Path, cache: Path, size: Size) -> Scans:
    """Read the scans, or make and keep them.

    The real scans of the pool are those that only the last stage of the shipped judge learned from (held out): the
    stage before it does not rank what it knows by heart. The synthetic ones have seeds of their own. Test scans are
    real training cases: the judge never sees a mask of them here.

    Parameters
    ----------
    folder : Path
        With ``cases.csv`` and ``anatomy``.
    atlas : Path
        Voxelised anatomy; built where it is missing (minutes).
    cache : Path
        Folder for the scans, an npz each.
    size : Size
    """
    cache.mkdir(parents=True, exist_ok=True)
    cases = {case.name: case for case in data.cases(folder, "train") if case.source == _SOURCE}
    pool = [name for name, case in cases.items() if case.hold_out]
    test = [name for name, case in cases.items() if not case.hold_out]
    made: list[StudyScan] = []
    for name in tqdm(pool, desc="pool", unit="scan"):
        made.append(_kept(cache, name, size, partial(data.load, cases[name])))
    for number in tqdm(range(size.synthetic), desc="synthetic", unit="scan"):
        draw = partial(_synthetic, _FIRST_SEED + number, folder, atlas)
        made.append(_kept(cache, f"synthetic{number}", size, draw))
    tests: list[StudyScan] = []
    for name in tqdm(test, desc="test", unit="scan"):
        scan = _kept(cache, name, size, partial(data.load, cases[name]))
        tests += [scan] if scan.known.sum() >= 4 else []
        if len(tests) == size.tests:
            break
    return Scans(made, tests)


def _kept(cache: Path, name: str, size: Size, draw: Callable[[], LabelledScan]) -> StudyScan:
    file = cache / f"{name}_{size.side}.npz"
    if not file.exists():
        scan = on_grid(draw(), name, size)
        part = file.with_suffix(".part")
        with part.open("wb") as stream:
            np.savez_compressed(stream, **{f.name: getattr(scan, f.name) for f in fields(StudyScan)})
        part.replace(file)
    with np.load(file, allow_pickle=False) as stored:
        arrays: dict[str, Any] = {key: stored[key] for key in stored.files}
    return StudyScan(**{**arrays, "name": str(arrays["name"])})


def _synthetic(seed: int, folder: Path, atlas: Path) -> LabelledScan:
    from segae_lab.synthetic.anatomy import load_atlas
    from segae_lab.synthetic.ct import generate

    made = generate(
        seed,
        load_atlas(atlas, folder / "anatomy"),
        region="head_neck",
        coarse=True,
        max_voxels=_SYNTHETIC_VOXELS,
    )
    parts = synthetic_parts(atlas, folder / "anatomy")
    return LabelledScan("synthetic", made.ct, made.labels, parts, made.spacing_mm)


def on_grid(scan: LabelledScan, name: str, size: Size) -> StudyScan:
    """Nearest voxels of a square around the body, in every slice of about 5 mm that shows any of it."""
    body = scan.image > _BODY_HU
    filled = np.flatnonzero(body.mean(axis=(1, 2)) > 0.01)
    step = max(1, round(_SLICE_MM / scan.spacing_mm[0]))
    planes = filled[::step]
    rows, columns = (_nearest(np.asarray(body.any(axis=(0, 3 - axis))), scan.spacing_mm[axis], size) for axis in (1, 2))

    def picked(volume: npt.NDArray[Any], outside: int) -> npt.NDArray[Any]:
        inside = ((rows >= 0) & (rows < volume.shape[1]))[:, None] & ((columns >= 0) & (columns < volume.shape[2]))
        at = np.ix_(planes, rows.clip(0, volume.shape[1] - 1), columns.clip(0, volume.shape[2] - 1))
        return np.where(inside, volume[at], outside)

    labels = picked(scan.labelmap, 0)
    truth = np.stack([np.isin(labels, scan.parts.get(structure, ())) & (labels > 0) for structure in NAMES])
    return StudyScan(
        name=name,
        image=picked(scan.image, _AIR_HU).astype(np.int16),
        truth=truth,
        known=np.array([structure in scan.parts for structure in NAMES]),
        spacing_mm=np.array([step * scan.spacing_mm[0], size.pixel_mm, size.pixel_mm]),
    )


def _nearest(filled: Bool, spacing_mm: float, size: Size) -> npt.NDArray[np.int64]:
    """Voxels along one axis nearest to the grid's, which is centred on what is filled; may leave the scan."""
    at = np.flatnonzero(filled)
    middle = (at[0] + at[-1]) / 2
    steps = np.arange(size.side) - (size.side - 1) / 2
    return np.asarray(np.rint(middle + steps * size.pixel_mm / spacing_mm), np.int64)


def masks(scan: StudyScan, found: Bool) -> Iterator[tuple[int, Bool, Bool]]:
    """Yield (structure, predicted mask, truth) of the structures that are labelled."""
    for row in np.flatnonzero(scan.known):
        yield int(row), found[row], scan.truth[row]
