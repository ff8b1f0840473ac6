"""Where samples come from: real scans with labels or without, augmented anew for every visit, and synthetic ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segae import structures
from segae.recipe import Recipe
from segae.train import data
from segae.train.augment import augmented
from segae.train.data import LabelledScan
from segae.train.synthesis import RECIPE, STRUCTURES, Samples, Visit
from segae.train.unlabelled import unlabelled_scans

Draw = Callable[[np.random.Generator], LabelledScan]

# Synthetic scans are drawn with at most so many voxels: 3 s each on one core.
_SYNTHETIC_VOXELS = 6_000_000


@dataclass(frozen=True)
class Mixture:
    """Endless samples of training scans. Small, so that it can be sent to another process.

    Attributes
    ----------
    folder : Path
        With ``cases.csv``, and ``anatomy`` where `synthetic` is not 0.
    leave_out : tuple of str
        Cases that are not used.
    synthetic, unlabelled : float
        Shares of the visits that go to synthetic scans and to regions of real scans without labels.
    atlas : Path
        Voxelised atlas; built where it is missing (minutes).
    regions : Path
        Folder for what was outlined in scans without labels; made where it is missing (minutes).
    predictions : Path, optional
        Folder with ``CASE_pred_*.nii.gz`` of `segae.train.segmenter`.
    shard, open_visits, renewed : int
        Samples per item, mixed from `open_visits` scans, `renewed` of which are replaced per item.
    recipe : Recipe
        How samples are cut.
    """

    folder: Path
    leave_out: tuple[str, ...]
    synthetic: float
    atlas: Path
    regions: Path = Path("regions")
    unlabelled: float = 0.0
    predictions: Path | None = None
    shard: int = 1024
    open_visits: int = 12
    renewed: int = 2
    recipe: Recipe = RECIPE

    def __call__(self, rng: np.random.Generator) -> Iterator[Samples]:
        """Yield samples without end."""
        draws = [self._real()]
        shares = [1.0 - self.synthetic - self.unlabelled]
        if self.synthetic > 0:
            draws.append(synthetic_scans(self.atlas, self.folder / "anatomy"))
            shares.append(self.synthetic)
        if self.unlabelled > 0:
            draws.append(_augmenting(unlabelled_scans(self.folder, self.regions)))
            shares.append(self.unlabelled)

        def visit() -> Visit:
            while True:
                found = Visit(draws[rng.choice(len(draws), p=shares)](rng), rng, self.recipe)
                if found.names:  # warping may leave nothing that is large enough
                    return found

        visits = [visit() for _ in range(self.open_visits)]
        while True:
            samples = Samples.join([v.draw(-(-self.shard // len(visits))) for v in visits])
            yield samples.take(rng.permutation(len(samples))[: self.shard])
            visits = [*visits[self.renewed :], *(visit() for _ in range(self.renewed))]

    def structures(self) -> set[str]:
        """Names of which samples are drawn."""
        seen = {name for case in training_cases(self.folder, self.leave_out) for name in data.load(case).parts}
        if self.synthetic > 0:
            seen |= set(synthetic_parts(self.atlas, self.folder / "anatomy"))
        if self.unlabelled > 0:
            seen |= {name for scan in unlabelled_scans(self.folder, self.regions) for name in scan.parts}
        return seen & set(STRUCTURES)

    def _real(self) -> Draw:
        scans = [data.load(case, self.predictions) for case in training_cases(self.folder, self.leave_out)]
        return _augmenting(scans, np.array([_weight(scan) for scan in scans]))


def _augmenting(scans: list[LabelledScan], weight: npt.NDArray[np.float64] | None = None) -> Draw:
    """Return a function that draws one of the scans, changed anew."""
    share = None if weight is None else weight / weight.sum()

    def draw(rng: np.random.Generator) -> LabelledScan:
        return augmented(scans[rng.choice(len(scans), p=share)], rng)

    return draw


def training_cases(folder: Path, leave_out: tuple[str, ...]) -> list[data.Case]:
    """Labelled cases that may be trained on."""
    return [case for case in data.cases(folder, "train") if case.name not in leave_out]


def _weight(scan: LabelledScan) -> float:
    """Clinical head-neck scans are many and alike; together they get about a third of the samples."""
    return 0.6 if scan.case.startswith("kbp") else 2 * float(len(scan.parts)) ** 0.5


def synthetic_scans(atlas: Path, anatomy: Path) -> Draw:
    """Return a function that draws synthetic scans."""
    from segae.train.anatomy import load_atlas
    from segae.train.ct import generate

    body = load_atlas(atlas, anatomy)
    parts = synthetic_parts(atlas, anatomy)

    def draw(rng: np.random.Generator) -> LabelledScan:
        made = generate(int(rng.integers(2**31)), body, max_voxels=_SYNTHETIC_VOXELS)
        scan = LabelledScan("synthetic", made.ct, made.labels, parts, made.spacing_mm)
        return augmented(scan, rng, shape_changes=False)

    return draw


def synthetic_parts(atlas: Path, anatomy: Path) -> dict[str, tuple[int, ...]]:
    """Structures of the atlas -> label values that make them up."""
    from segae.train.anatomy import load_atlas, union_ids

    names = load_atlas(atlas, anatomy).names
    parts = {name: tuple(int(i) for i in union_ids(name, names)) for name in structures.names()}
    return {name: values for name, values in parts.items() if values}
