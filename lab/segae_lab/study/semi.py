"""Semi-supervised learning: a network labels the scans that have no labels, and learns from the masks it trusts.

For every seed and budget one network learns from the labelled scans ("none": no pseudo-label). It predicts the rest of
the pool. Of every structure each method keeps the half of the predicted masks that it rates best, and a new network
learns from the labelled scans and those. "all" keeps every mask that is not empty; "true dice" keeps the half that is
really best.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from segae import Engine
from segae_lab.study.active import first_choice
from segae_lab.study.network import Labels, StudyNet, fit_net, probabilities
from segae_lab.study.quality import METHODS, Judges, dices, tested
from segae_lab.study.record import Record, Run, spread_table
from segae_lab.study.scans import Bool, Scans, StudyScan
from segae_lab.study.sizes import Size

CHOICES = ("none", "all", *METHODS)
_KEPT_SHARE = 0.5


def run_semi(scans: Scans, size: Size, engine: Engine, work: Path, device: str) -> str:
    """Run what is not yet recorded in ``semi.jsonl``; returns the report in Markdown."""
    record = Record(work / "semi.jsonl", ("seed", "budget", "method"))
    groups = [(seed, budget) for seed in size.seeds for budget in size.budgets]
    with tqdm(total=len(groups) * len(CHOICES), desc="semi", unit="run") as bar:
        for seed, budget in groups:
            missing = [c for c in CHOICES if record.get(seed=seed, budget=budget, method=c) is None]
            bar.update(len(CHOICES) - len(missing))
            if not missing:
                continue
            teacher = _Teacher(scans, size, engine, device, seed, budget)
            for method in missing:
                record.add(teacher.taught(method))
                bar.update()
    return report(record.all())


class _Teacher:
    """A network that learned from the labelled scans, and what it predicts of the others."""

    def __init__(self, scans: Scans, size: Size, engine: Engine, device: str, seed: int, budget: int) -> None:
        self.scans, self.size, self.device, self.seed, self.budget = scans, size, device, seed, budget
        chosen = first_choice(len(scans.pool), budget, seed)
        labelled = [scans.pool[i] for i in chosen]
        self.labels = [Labels(scan, scan.truth, scan.known) for scan in labelled]
        self.net: StudyNet = fit_net(self.labels, size, seed, device)
        self.rest = [scan for i, scan in enumerate(scans.pool) if i not in chosen]
        self.said = [probabilities(self.net, scan)[0] for scan in self.rest]
        self.judges = Judges(self.net, engine, size, seed)

    def taught(self, method: str) -> Run:
        """Test the network that learned from the masks that a method keeps."""
        run: Run = {"seed": self.seed, "budget": self.budget, "method": method}
        if method == "none":
            dice, nsd = tested(self.net, self.scans.test)
            return {**run, "dice": dice, "nsd": nsd, "kept": 0, "kept_dice": float("nan")}
        kept = self._kept(method)
        pseudo = [
            Labels(scan, said > 0.5, row)
            for scan, said, row in zip(self.rest, self.said, kept, strict=True)
            if row.any()
        ]
        net = fit_net(self.labels + pseudo, self.size, self.seed, self.device)
        dice, nsd = tested(net, self.scans.test)
        return {**run, "dice": dice, "nsd": nsd, "kept": int(kept.sum()), "kept_dice": self._quality(kept)}

    def _kept(self, method: str) -> Bool:
        """Which masks [scans, structures] a method keeps."""
        found = np.array([(said > 0.5).any(axis=(1, 2, 3)) for said in self.said])
        if method == "all":
            return found
        ratings = [self.judges.rate(method, scan, said) for scan, said in zip(self.rest, self.said, strict=True)]
        return best_half(np.array(ratings), found)

    def _quality(self, kept: Bool) -> float:
        """Mean true Dice of the masks that are kept, where there is a truth; nan where there is none."""
        true = np.array([_known_dices(scan, said > 0.5) for scan, said in zip(self.rest, self.said, strict=True)])
        told = true[kept & np.isfinite(true)]
        return float(told.mean()) if len(told) else float("nan")


def _known_dices(scan: StudyScan, found: Bool) -> npt.NDArray[np.float64]:
    return np.where(scan.known, dices(scan, found), np.nan)


def best_half(ratings: npt.NDArray[np.float64], found: Bool) -> Bool:
    """Pick the better half of every column of ratings [scans, structures]; a rating of nan is none."""
    kept = np.zeros_like(found)
    for column in range(found.shape[1]):
        rows = np.flatnonzero(found[:, column] & np.isfinite(ratings[:, column]))
        best = rows[np.argsort(-ratings[rows, column], kind="stable")]
        kept[best[: int(np.ceil(len(best) * _KEPT_SHARE))], column] = True
    return kept


def report(runs: list[Run]) -> str:
    """Tables of the runs."""
    return "\n".join(
        [
            "Dice and NSD on the test scans, mean ± standard deviation over seeds, by number of labelled scans:",
            "",
            *spread_table(runs, "method", "budget", ("dice", "nsd"), CHOICES),
            "",
            "Mean true Dice of the pseudo-labels that were kept:",
            "",
            *spread_table(runs, "method", "budget", ("kept_dice",), CHOICES[1:]),
            "",
        ]
    )
