"""Active learning: which scans to label next, when a network and a rating of its predictions are at hand.

Every seed begins with the same randomly chosen scans for all methods. A method then asks for the scans whose predicted
masks it rates lowest, the network is trained anew, and so on until the last budget. "true dice" asks for the scans that
the network really does worst on: no rating of masks can rank better.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.stats import rankdata
from tqdm import tqdm

from segae import Engine
from segae_lab.study.network import Labels, StudyNet, fit_net, probabilities
from segae_lab.study.quality import METHODS, Float64, Judges, tested
from segae_lab.study.record import Record, Run, spread_table
from segae_lab.study.scans import Scans
from segae_lab.study.sizes import Size


def run_active(scans: Scans, size: Size, engine: Engine, work: Path, device: str) -> str:
    """Run what is not yet recorded in ``active.jsonl``; returns the report in Markdown."""
    record = Record(work / "active.jsonl", ("seed", "budget", "method"))
    nets = _Networks(scans, size, device)
    jobs = [(seed, method) for seed in size.seeds for method in METHODS]
    with tqdm(total=len(jobs) * len(size.budgets), desc="active", unit="run") as bar:
        for seed, method in jobs:
            chosen = first_choice(len(scans.pool), size.budgets[0], seed)
            for budget, following in zip(size.budgets, [*size.budgets[1:], 0], strict=True):
                run = record.get(seed=seed, budget=budget, method=method)
                if run is None:
                    run = record.add(_round(scans, size, engine, nets, seed, method, chosen, following))
                chosen = run["next"]
                bar.update()
    return report(record.all())


def first_choice(count: int, budget: int, seed: int) -> list[int]:
    """Scans that every method begins with."""
    return [int(i) for i in np.random.default_rng([seed, 1]).permutation(count)[:budget]]


def _round(
    scans: Scans,
    size: Size,
    engine: Engine,
    nets: _Networks,
    seed: int,
    method: str,
    chosen: list[int],
    following: int,
) -> Run:
    """Train on the chosen scans, test, and choose more of them."""
    net, dice, nsd = nets.taught(seed, chosen)
    run: Run = {"seed": seed, "budget": len(chosen), "method": method, "dice": dice, "nsd": nsd, "labelled": chosen}
    rest = [i for i in range(len(scans.pool)) if i not in chosen]
    more, rank = _ask(net, scans, size, engine, seed, method, rest) if following else ([], float("nan"))
    return {**run, "rank": rank, "next": chosen + more[: following - len(chosen)] if following else chosen}


class _Networks:
    """Trains networks; the one that all methods begin with is made once a seed."""

    def __init__(self, scans: Scans, size: Size, device: str) -> None:
        self.scans, self.size, self.device = scans, size, device
        self._latest: tuple[tuple[int, ...], StudyNet, float, float] | None = None

    def taught(self, seed: int, chosen: list[int]) -> tuple[StudyNet, float, float]:
        """Network that learned from these scans of the pool, its Dice and its NSD."""
        key = (seed, *chosen)
        if self._latest is not None and self._latest[0] == key:
            return self._latest[1:]
        labelled = [self.scans.pool[i] for i in chosen]
        net = fit_net([Labels(scan, scan.truth, scan.known) for scan in labelled], self.size, seed, self.device)
        dice, nsd = tested(net, self.scans.test)
        if len(chosen) == self.size.budgets[0]:
            self._latest = key, net, dice, nsd
        return net, dice, nsd


def _ask(
    net: StudyNet, scans: Scans, size: Size, engine: Engine, seed: int, method: str, rest: list[int]
) -> tuple[list[int], float]:
    """Scans, those with the lowest rating first; and how the rating of masks goes with their true Dice (Spearman)."""
    judges = Judges(net, engine, size, seed)
    rated, true = [], []
    for i in rest:
        said = probabilities(net, scans.pool[i])[0]
        rated.append(judges.rate(method, scans.pool[i], said))
        true.append(judges.rate("true dice", scans.pool[i], said))
    # Where nobody labelled a structure, the best possible rating cannot tell; the others can.
    worst_first = np.argsort(np.nanmean(rated, axis=1), kind="stable")
    known = np.isfinite(true)
    return [rest[i] for i in worst_first], _rank_correlation(np.array(rated)[known], np.array(true)[known])


def _rank_correlation(rated: Float64, true: Float64) -> float:
    """Spearman's; nan where either is all the same."""
    ranks = rankdata(rated), rankdata(true)
    return float(np.corrcoef(*ranks)[0, 1]) if all(rank.std() > 0 for rank in ranks) else float("nan")


def report(runs: list[Run]) -> str:
    """Tables of the runs."""
    ranked = [run for run in runs if run["next"] != run["labelled"]]
    return "\n".join(
        [
            "Dice and NSD on the test scans, mean ± standard deviation over seeds, by number of labelled scans:",
            "",
            *spread_table(runs, "method", "budget", ("dice", "nsd"), METHODS),
            "",
            "Rank correlation (Spearman) of a method's ratings with the true Dice of the pool's predicted masks:",
            "",
            *spread_table(ranked, "method", "budget", ("rank",), METHODS),
            "",
        ]
    )
