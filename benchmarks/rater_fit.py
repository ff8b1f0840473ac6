"""Fits the kind `rater` to pairs of experts: src/segae/perturbation/rater.csv and benchmarks/results/raters.md.

By simulated moments: `rater` is applied to the first expert's masks, both are measured alike, and its numbers are moved
until bias, spread, correlations and ends agree. First on every second scan, to be checked on the others; the table that
is shipped comes from all. Left and right are one structure.
Usage: SEGAE_DATA=... python benchmarks/rater_fit.py [--tables-only]
"""

from __future__ import annotations

import argparse
import csv
import os
from collections import defaultdict
from dataclasses import fields
from itertools import product
from pathlib import Path

import numpy as np
from rater_statistics import LAGS_MM, LAGS_SLICES, Pair, end_shares, made_by_rater, read_pairs, statistics

import segae
from segae.perturbation.rater import SLICE_MM, Experts, fitted

ROUNDS = 5
STEP = 0.7  # of the way to what the difference asks for
TABLE = Path(__file__).parents[1] / "src" / "segae" / "perturbation" / "rater.csv"
OUT = Path(__file__).parent / "results" / "raters.md"
CURVE = [f"plane {lag:g}" for lag in LAGS_MM] + [f"slices {lag}" for lag in LAGS_SLICES]
Rows = list[dict[str, float]]


def group_of(structure: str) -> tuple[str, ...]:
    partner = segae.structures.get(structure).partner
    return tuple(sorted({structure, partner} - {None}))


def by_group(pairs: list[Pair]) -> dict[tuple[str, ...], list[Pair]]:
    groups = defaultdict(list)
    for pair in pairs:
        groups[group_of(pair.structure)].append(pair)
    return dict(sorted(groups.items()))


def moments(rows: Rows) -> dict[str, np.ndarray]:
    """What is fitted."""
    spread = [row["spread"] for row in rows]
    return {
        "bias": np.sqrt(np.mean([row["bias"] ** 2 for row in rows])),
        "spread": np.quantile(spread, [0.1, 0.9]),
        "curve": np.array([mean_of(rows, key) for key in CURVE]),
        "ends": end_shares(rows),
    }


def mean_of(rows: Rows, key: str) -> float:
    values = [row[key] for row in rows if np.isfinite(row[key])]
    return float(np.mean(values)) if values else float("nan")


def spline_correlation(distance, grid):
    """Correlation of a cubic B-spline of independent control values, nearly: a Gaussian of the same variance."""
    return np.exp(-0.75 * (np.asarray(distance) / grid) ** 2)


def curve_parameters(curve: np.ndarray) -> dict[str, float]:
    """Share of the slices' own part and both grids whose correlations come nearest."""
    known = np.isfinite(curve)
    grids = np.geomspace(3.0, 40.0, 15)
    best, found = np.inf, {}
    for share, smooth, own in product(np.linspace(0.05, 0.95, 19), grids, grids):
        common = np.concatenate([LAGS_MM, SLICE_MM * np.array(LAGS_SLICES)])
        expected = (1 - share) * spline_correlation(common, smooth)
        expected[: len(LAGS_MM)] += share * spline_correlation(LAGS_MM, own)
        miss = ((expected - curve)[known] ** 2).sum()
        if miss < best:
            best, found = miss, {"slice_share": share, "smooth_grid_mm": smooth, "slice_grid_mm": own}
    return found


def fit(group: tuple[str, ...], pairs: list[Pair], people: Rows) -> Experts:
    """Numbers with which `rater` measures as the experts do."""
    goal = moments(people)
    aim = {name: np.array(value, float) for name, value in goal.items()}
    tried = []
    for round_ in range(ROUNDS):
        ends = np.clip(aim["ends"], 0.0, None) / np.clip(aim["ends"], 0.0, None).sum()
        if not np.isfinite(ends).all():  # the structure always leaves the scan
            ends = np.array([1.0, 0.0, 0.0, 0.0])
        numbers = {
            "radius_mm": float(np.median([row["radius"] for row in people])),
            "bias_mm": float(aim["bias"]),
            "spread_low_mm": float(aim["spread"][0]),
            "spread_high_mm": float(max(aim["spread"])),
            "same_end": ends[0],
            "one_slice": ends[1],
            "two_slices": ends[2],
        } | curve_parameters(aim["curve"])
        experts = Experts(group, **{name: float(f"{value:.3g}") for name, value in numbers.items()})
        made = moments(simulated(pairs, range(1000 * round_, 1000 * round_ + len(pairs)), experts))
        tried.append((miss_of(goal, made), experts))
        print(f"{' '.join(group)}, round {round_}: off by {tried[-1][0]:.3f}", flush=True)
        for name in ("bias", "spread"):
            aim[name] = aim[name] * np.clip(goal[name] / np.maximum(made[name], 1e-6), 0.5, 2.0) ** STEP
        for name in ("curve", "ends"):
            aim[name] = aim[name] + STEP * (goal[name] - made[name])
    return min(tried, key=lambda one: one[0])[1]


def miss_of(goal, made) -> float:
    """One number: relative where lengths are compared, absolute where shares and correlations are."""
    off = [np.log(goal[name] / np.maximum(made[name], 1e-6)) for name in ("bias", "spread")]
    off += [goal[name] - made[name] for name in ("curve", "ends")]
    flat = np.concatenate([np.atleast_1d(one) for one in off])
    return float(np.sqrt(np.nanmean(flat**2)))


def simulated(pairs: list[Pair], seeds, experts: Experts | None = None) -> Rows:
    return [
        statistics(pair, made_by_rater(pair, seed, experts), np.random.default_rng(seed))
        for pair, seed in zip(pairs, seeds, strict=True)
    ]


def table(groups, people: dict[str, Rows], made: dict[str, Rows]) -> list[str]:
    """One row a structure: measured / `rater`."""
    lines = [
        "| structure | n | radius | Dice | bias | spread | p95 | "
        + " | ".join(CURVE)
        + " | same end | 1 slice off | 2 off | more |",
        "|---|--:|--:" + "|--:" * (8 + len(CURVE)) + "|",
    ]
    for group, pairs in groups.items():
        rows = people[group], made[group]
        cells = [[f"{np.median([r['dice'] for r in one]):.3f}" for one in rows]]
        cells.append([f"{np.sqrt(np.mean([r['bias'] ** 2 for r in one])):.2f}" for one in rows])
        cells += [[f"{np.median([r[key] for r in one]):.2f}" for one in rows] for key in ("spread", "p95")]
        cells += [[f"{mean_of(one, key):.2f}" for one in rows] for key in CURVE]
        shares = [end_shares(one) for one in rows]
        cells += [[f"{one[k]:.2f}" for one in shares] for k in range(4)]
        radius = np.median([r["radius"] for r in rows[0]])
        name = group[0].removesuffix("_left") if len(group) > 1 else group[0]
        lines.append(f"| {name} | {len(pairs)} | {radius:.0f} | " + " | ".join(f"{a} / {b}" for a, b in cells) + " |")
    return lines


def write_table(rows: list[Experts]) -> None:
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Experts)])
        for row in rows:
            writer.writerow([" ".join(row.structures), *(getattr(row, f.name) for f in fields(Experts)[1:])])
    fitted.cache_clear()


def compared(pairs: list[Pair], people: dict[int, dict[str, float]], numbers: dict[tuple[str, ...], Experts] | None):
    groups = by_group(pairs)
    real = {group: [people[id(pair)] for pair in members] for group, members in groups.items()}
    made = {
        group: simulated(members, range(77_000, 77_000 + len(members)), numbers and numbers[group])
        for group, members in groups.items()
    }
    return table(groups, real, made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables-only", action="store_true", help="measure the shipped table again, without the check")
    options = parser.parse_args()
    pairs = read_pairs(Path(os.environ["SEGAE_DATA"]) / "raters")
    people = {id(pair): statistics(pair, pair.second, np.random.default_rng(i)) for i, pair in enumerate(pairs)}
    print(f"{len(pairs)} pairs measured", flush=True)
    lines = [
        f"Measured between two experts / made by `rater` at scale 1: {len(pairs)} structures of "
        f"{len({p.scan for p in pairs})} scans, in mm.",
        "Medians over the n structures (bias: root mean square; correlations: mean). Bias, spread, p95: of the signed",
        "displacement of the surface. plane: its correlation at that distance within a slice. slices: that many slices",
        "of 2.5 mm above. Ends: shares of first and last slices, but for the scan's border. Fitted: bias, spread,",
        "correlations and ends; Dice and p95 were not.",
        "",
    ]
    if not options.tables_only:
        scans = sorted({pair.scan for pair in pairs})
        half = [pair for pair in pairs if pair.scan in scans[::2]]
        rest = [pair for pair in pairs if pair.scan not in scans[::2]]
        numbers = {g: fit(g, members, [people[id(p)] for p in members]) for g, members in by_group(half).items()}
        lines += [
            f"## Check: fitted on {len(scans[::2])} scans, shown on the {len(scans) - len(scans[::2])} others",
            "",
            *compared(rest, people, numbers),
            "",
        ]
        everywhere = [fit(g, members, [people[id(p)] for p in members]) for g, members in by_group(pairs).items()]
        write_table(everywhere)
    lines += ["## Shipped: fitted on all scans, shown on all", "", *compared(pairs, people, None)]
    OUT.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
