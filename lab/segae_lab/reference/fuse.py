"""Fit how the judge's word and a reference's overlap are weighed, on held-out scans with spoiled masks.

``python -m segae_lab.reference.fuse DATA WORK`` writes ``src/segae/reference/fusion.json``. It takes about three
minutes, and is to be repeated for every new judge or reference network: WORK keeps the table of masks
(``held_out.csv``), which ``--again`` takes as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from segae import Engine
from segae.reference.comparison import Source
from segae.reference.fusion import Weights, log_odds
from segae.reference.network import built_in_network
from segae_lab.reference.classes import HEAD
from segae_lab.reference.judged import Judged, collect, read, sources

Float64 = npt.NDArray[np.float64]

GROUPS = {
    "organ": ("liver", "spleen", "kidney_left", "kidney_right", "stomach", "heart", "lung_left", "lung_right"),
    "head": HEAD,
}
# Log odds are mixed; the error is counted in Dice, large ones linearly.
_KNEE = 0.05
# How much a group's own masks must speak against the weights of all.
_TOWARDS_ALL = 0.02
_PRIOR = np.array([0.0, 0.75, 0.25])
_COVERED = 0.9


def word(row: Judged, source: Source) -> tuple[float, float]:
    """Dice with the reference, and its reliability."""
    if source == "given":
        return row.given, row.given_reliability
    return row.built_in, row.built_in_reliability


def features(rows: Sequence[Judged], source: Source) -> tuple[Float64, Float64, Float64]:
    """Log odds of the relative overlap and of the judge [n, 2], true Dice [n], weights that count structures alike."""
    told = [word(row, source) for row in rows]
    overlap = np.array([min(1.0, dice / max(reliability, 0.5)) for dice, reliability in told])
    judge = np.array([row.judge for row in rows])
    x = np.stack([[log_odds(v) for v in overlap], [log_odds(v) for v in judge]], axis=1)
    keys = [(row.case, row.structure) for row in rows]
    counts = {key: keys.count(key) for key in set(keys)}
    return x, np.array([row.true for row in rows]), np.array([1 / counts[key] for key in keys])


def said(weights: Float64, x: Float64) -> Float64:
    """Fused Dice for weights (offset, overlap, judge)."""
    found: Float64 = 1 / (1 + np.exp(-(weights[0] + x @ weights[1:])))
    return found


def fit(x: Float64, true: Float64, share: Float64, towards: Float64, pull: float) -> Float64:
    """Weights with the smallest error, drawn towards others; those of overlap and judge are not negative."""

    def loss(weights: Float64) -> float:
        error = np.abs(said(weights, x) - true)
        counted = np.where(error < _KNEE, error**2 / (2 * _KNEE), error - _KNEE / 2)
        return float((counted * share).sum() / share.sum() + pull * ((weights - towards) ** 2).sum())

    bounds = [(-2.0, 2.0), (0.05, 2.0), (0.0, 2.0)]
    found: Float64 = minimize(loss, towards, method="L-BFGS-B", bounds=bounds).x
    return found


def interval(x: Float64, weights: Float64, true: Float64, share: Float64) -> tuple[float, float]:
    """Half width of an interval that holds nine of ten: constant, and per difference of the two words."""
    error = np.abs(said(weights, x) - true)
    apart = np.abs(1 / (1 + np.exp(-x[:, 0])) - 1 / (1 + np.exp(-x[:, 1])))

    def pinball(half: Float64) -> float:
        missed = error - (half[0] + half[1] * apart)
        return float((np.where(missed > 0, _COVERED * missed, (_COVERED - 1) * missed) * share).sum())

    found = minimize(pinball, np.array([0.05, 0.2]), method="Nelder-Mead", bounds=[(0.01, 0.5), (0.0, 1.0)]).x
    return float(found[0]), float(found[1])


def weights_of(rows: Sequence[Judged], source: Source) -> dict[str, Weights]:
    """Group -> weights, for the groups that have masks, and "other" from all."""
    rows = [row for row in rows if not np.isnan(word(row, source)[0])]
    x, true, share = features(rows, source)
    all_weights = fit(x, true, share, _PRIOR, 0.002)
    found = {"other": _named(all_weights, x, true, share)}
    for group, names in GROUPS.items():
        mine = np.array([row.structure in names for row in rows])
        if mine.sum() >= 60:
            own = fit(x[mine], true[mine], share[mine], all_weights, _TOWARDS_ALL)
            found[group] = _named(own, x[mine], true[mine], share[mine])
    return found


def _named(weights: Float64, x: Float64, true: Float64, share: Float64) -> Weights:
    offset, overlap, judge = (round(float(w), 4) for w in weights)
    error, apart = interval(x, weights, true, share)
    return Weights(offset, overlap, judge, round(error, 4), round(apart, 4))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--again", action="store_true", help="take the table of masks that is there")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    engine, network = Engine("default", "cpu", arguments.threads), built_in_network("cpu")
    table = arguments.work / "held_out.csv"
    if arguments.again:
        rows = read(table)
    else:
        held_out = [case for case, row in sources(arguments.data).items() if row["hold_out"] == "1"]
        rows = collect(arguments.data, held_out, engine, network, table)
    fitted: dict[str, dict[str, Weights]] = {}
    for source in ("given", "built-in"):
        fitted[source] = weights_of(rows, source)
        for group, weights in fitted[source].items():
            print(source, group, weights)  # noqa: T201
    data = {
        "judge": hashlib.sha256(Path(engine.model).read_bytes()).hexdigest(),
        "network": hashlib.sha256(network.path.read_bytes()).hexdigest(),
        "groups": GROUPS,
        "weights": {source: {group: asdict(w) for group, w in groups.items()} for source, groups in fitted.items()},
    }
    out = Path(str(files("segae.reference") / "fusion.json"))
    out.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    print(f"{len(rows)} masks; {out}")  # noqa: T201


if __name__ == "__main__":
    main()
