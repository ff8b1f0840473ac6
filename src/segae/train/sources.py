"""Where samples come from: labelled scans, augmented anew for every visit, and whatever scans the caller adds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from segae.recipe import Recipe
from segae.train import data
from segae.train.augment import augmented
from segae.train.data import LabelledScan
from segae.train.synthesis import RECIPE, STRUCTURES, Samples, Visit

Draw = Callable[[np.random.Generator], LabelledScan]


class MoreScans(Protocol):
    """Scans to draw samples from beside the labelled ones. Small, so that it can be sent to another process."""

    def open(self) -> Draw:
        """Return a function that draws one scan."""

    def structures(self) -> set[str]:
        """Names of structures that its scans may hold."""


@dataclass(frozen=True)
class Mixture:
    """Endless samples of training scans. Small, so that it can be sent to another process.

    Attributes
    ----------
    folder : Path
        With ``cases.csv``.
    leave_out : tuple of str
        Cases that are not used.
    shares : mapping
        Shares of the visits that go to scans other than the labelled ones, by their name in `more`.
    more : mapping
        Those scans.
    predictions : Path, optional
        Folder with ``CASE_pred_*.nii.gz``: masks that networks made of the scans.
    shard, open_visits, renewed : int
        Samples per item, mixed from `open_visits` scans, `renewed` of which are replaced per item.
    recipe : Recipe
        How samples are cut.
    """

    folder: Path
    leave_out: tuple[str, ...]
    shares: Mapping[str, float] = field(default_factory=dict)
    more: Mapping[str, MoreScans] = field(default_factory=dict)
    predictions: Path | None = None
    shard: int = 1024
    open_visits: int = 12
    renewed: int = 2
    recipe: Recipe = RECIPE

    def __call__(self, rng: np.random.Generator) -> Iterator[Samples]:
        """Yield samples without end."""
        used = [name for name, share in self.shares.items() if share > 0]
        draws = [self._labelled(), *(self.more[name].open() for name in used)]
        shares = [1.0 - sum(self.shares[name] for name in used), *(self.shares[name] for name in used)]

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
        for name, share in self.shares.items():
            if share > 0:
                seen |= self.more[name].structures()
        return seen & set(STRUCTURES)

    def _labelled(self) -> Draw:
        scans = [data.load(case, self.predictions) for case in training_cases(self.folder, self.leave_out)]
        return augmenting(scans, np.array([_weight(scan) for scan in scans]))


def augmenting(scans: list[LabelledScan], weight: npt.NDArray[np.float64] | None = None) -> Draw:
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
