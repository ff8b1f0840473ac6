"""Where samples come from: labelled scans, augmented anew for every visit, and whatever scans the caller adds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from segae.recipe import Recipe
from segae.train import data
from segae.train.augment import augmented
from segae.train.data import LabelledScan
from segae.train.passing_off import nearness
from segae.train.synthesis import RECIPE, SHARES, Samples, Visit, structure_names
from segae.train.teachers import lessons

_SOURCE_POWER = 0.65

Draw = Callable[[np.random.Generator], LabelledScan]


class MoreScans(Protocol):
    """Scans to draw samples from beside the labelled ones. Small, so that it can be sent to another process."""

    def open(self) -> Draw:
        """Return a function that draws one scan."""

    def structures(self) -> set[str]:
        """Names of structures that its scans may hold."""

    @property
    def synthetic(self) -> bool:
        """Whether its scans were computed, not taken of patients."""


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
    swaps : float
        Share of the masks that are a neighbour's.
    worth : mapping, optional
        Case -> structure -> how much its mask is to teach, from 0 for nothing; structures and cases that are absent
        teach as usual.
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
    swaps: float = SHARES["swap"]
    worth: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __call__(self, rng: np.random.Generator) -> Iterator[Samples]:
        """Yield samples without end."""
        used = [name for name, share in self.shares.items() if share > 0]
        draws = [self._labelled(), *(self.more[name].open() for name in used)]
        shares = [1.0 - sum(self.shares[name] for name in used), *(self.shares[name] for name in used)]

        def visit() -> Visit:
            while True:
                found = Visit(draws[rng.choice(len(draws), p=shares)](rng), rng, self.recipe, self.swaps)
                if found.names:  # warping may leave nothing that is large enough
                    return found

        visits = [visit() for _ in range(self.open_visits)]
        while True:
            samples = Samples.join([v.draw(-(-self.shard // len(visits))) for v in visits])
            yield samples.take(rng.permutation(len(samples))[: self.shard])
            visits = [*visits[self.renewed :], *(visit() for _ in range(self.renewed))]

    def survey(self) -> tuple[set[str], set[str], npt.NDArray[np.float32]]:
        """Names of which samples are drawn; those among them that synthetic scans alone show; and `nearness`."""
        cases = training_cases(self.folder, self.leave_out)
        real: set[str] = set()

        def noted() -> Iterator[LabelledScan]:
            for case in cases:
                scan = self._scan(case)
                real.update(scan.parts)
                yield scan

        near = nearness(noted())
        drawn: set[str] = set()
        for name, share in self.shares.items():
            if share > 0:
                (drawn if self.more[name].synthetic else real).update(self.more[name].structures())
        names = set(structure_names())
        return (real | drawn) & names, (drawn - real) & names, near

    def _labelled(self) -> Draw:
        cases = training_cases(self.folder, self.leave_out)
        scans = [self._scan(case, self.predictions) for case in cases]
        filled = [i for i, scan in enumerate(scans) if scan.parts]  # nothing may be left of a scan that is weighed
        return augmenting([scans[i] for i in filled], visit_shares(cases, scans)[filled])

    def _scan(self, case: data.Case, predictions: Path | None = None) -> LabelledScan:
        scan = data.load(case, predictions, teachers=True)
        return scan.weighed(self.worth[case.name]) if case.name in self.worth else scan


def augmenting(scans: list[LabelledScan], weight: npt.NDArray[np.float64] | None = None) -> Draw:
    """Return a function that draws one of the scans, changed anew."""
    share = None if weight is None else weight / weight.sum()

    def draw(rng: np.random.Generator) -> LabelledScan:
        return augmented(scans[rng.choice(len(scans), p=share)], rng)

    return draw


def training_cases(folder: Path, leave_out: tuple[str, ...]) -> list[data.Case]:
    """Cases that may be trained on: labelled ones, and those that a network labelled well enough."""
    taught = [case for case in data.cases(folder, "train-unlabelled") if (found := lessons(case)) and found[1]]
    return [case for case in (*data.cases(folder, "train"), *taught) if case.name not in leave_out]


def visit_shares(cases: Sequence[data.Case], scans: Sequence[LabelledScan]) -> npt.NDArray[np.float64]:
    """Shares [n] of the visits.

    A source weighs its labels (weight times structures, summed over its scans) to the power of 0.65, so that many scans
    of one kind do not drown the others; within a source, the square root of a scan's structures counts. Structures
    that a network drew count half.
    """
    worth = np.array([len(scan.parts) - 0.5 * len(scan.taught) for scan in scans], np.float64)
    weight = np.array([case.weight for case in cases])
    source = np.array([case.source for case in cases])
    shares: npt.NDArray[np.float64] = np.zeros(len(cases))
    for name in dict.fromkeys(source.tolist()):
        mine = source == name
        within = (weight * np.sqrt(worth))[mine]
        shares[mine] = (weight * worth)[mine].sum() ** _SOURCE_POWER * within / max(within.sum(), 1e-9)
    shares /= shares.sum()
    return shares
