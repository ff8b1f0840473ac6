"""How well a model's predictions follow the truth: correlations, errors and detection, each with an interval.

A slice counts where mask and truth share 20 pixels or more; its Dice is that of the whole slice. Intervals are
percentiles over bootstrap draws of patients, since slices and masks of one patient are not independent.
"""

from __future__ import annotations

import csv
import json
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from segae import Engine
from segae.json_value import json_value
from segae.train import data, protocols
from segae.train.data import Case
from segae.train.protocols import PROTOCOLS, Protocol
from segae.train.scatter import draw_scatter

Float64 = npt.NDArray[np.float64]

LEAST_SHARED_PX = 20
BAD_DICE = 0.7
DRAWS = 400


@dataclass(frozen=True)
class Row:
    """One judged mask, or one slice of it. `shared` counts voxels; `slice` is -1 for a whole mask, which has flags."""

    case: str
    structure: str
    kind: str
    number: int
    slice: int
    shared: int
    true: float
    said: float
    true_precision: float
    said_precision: float
    true_recall: float
    said_recall: float
    flags: str = ""


def judge_cases(
    engine: Engine, cases: Iterable[Case], seed: int = 0, workers: int = 1, predictions: Path | None = None
) -> tuple[list[Row], list[Row]]:
    """Let the engine judge spoiled masks of all labelled structures; returns rows of masks and of slices.

    With more than one worker, cases are shared among processes; rows come in the order of the cases all the same.
    `predictions` is a folder with what networks made of the scans, ``CASE_pred_*.nii.gz`` (default: the cases' own).
    """
    some = list(cases)
    whole: list[Row] = []
    slices: list[Row] = []
    with ExitStack() as stack:
        judged: Iterable[tuple[list[Row], list[Row]]] = (judge_case(engine, case, seed, predictions) for case in some)
        if workers > 1:
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(workers, mp_context=context))
            judged = pool.map(partial(judge_case, engine, seed=seed, predictions=predictions), some)
        for mine, mine_slices in tqdm(judged, total=len(some), desc="evaluate", unit="case"):
            whole += mine
            slices += mine_slices
    return whole, slices


def judge_case(engine: Engine, case: Case, seed: int, predictions: Path | None = None) -> tuple[list[Row], list[Row]]:
    """Rows of one case."""
    whole: list[Row] = []
    slices: list[Row] = []
    scan = data.load(case, predictions or case.image.parent)
    rng = np.random.default_rng([seed, *case.name.encode()])
    judged = chain(protocols.masks(scan, rng), protocols.predictions(scan))
    for structure, kind, number, given, truth in judged:
        said = engine.assess(scan.image, given.view(np.uint8), structure, spacing=scan.spacing_mm)
        who = (case.name, structure, kind, number)
        flags = ";".join(flag.name for flag in said.flags)
        whole.append(_row(who, -1, given, truth, (said.dice, said.precision, said.recall), flags))
        for score in said.slices:
            if score.area_mm2 > 0:
                z = score.index
                slices.append(_row(who, z, given[z], truth[z], (score.dice, score.precision, score.recall)))
    return whole, slices


def _row(
    who: tuple[str, str, str, int],
    where: int,
    given: npt.NDArray[np.bool_],
    truth: npt.NDArray[np.bool_],
    said: tuple[float, float, float],
    flags: str = "",
) -> Row:
    shared, a, t = (int(np.count_nonzero(m)) for m in (given & truth, given, truth))
    true = 2 * shared / (a + t), shared / a, shared / t if t else 0.0
    return Row(*who, where, shared, true[0], said[0], true[1], said[1], true[2], said[2], flags)


@dataclass(frozen=True)
class Figures:
    """What is told of a set of predictions; each figure as (value, low, high) of a 95 % interval over cases."""

    n: int
    cases: int
    lcc: tuple[float, float, float]
    srocc: tuple[float, float, float]
    kendall: tuple[float, float, float]
    mae: tuple[float, float, float]
    slope: tuple[float, float, float]
    auroc: tuple[float, float, float]


def figures(rows: list[Row], bad: npt.NDArray[np.bool_] | None = None, draws: int = DRAWS) -> Figures:
    """Figures of some rows; `bad` says which the AUROC should find (default: true Dice below 0.7)."""
    true, said = np.array([r.true for r in rows]), np.array([r.said for r in rows])
    wrong = true < BAD_DICE if bad is None else bad
    case = np.array([r.case for r in rows])
    members = [np.flatnonzero(case == name) for name in sorted(set(case))]
    rng = np.random.default_rng(0)
    picks = [np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))]) for _ in range(draws)]

    def told(measure: Callable[..., float], sets: list[npt.NDArray[np.int64]]) -> tuple[float, float, float]:
        drawn = [measure(true[p], said[p], wrong[p]) for p in sets]
        low, high = np.nanpercentile(drawn, [2.5, 97.5]) if np.isfinite(drawn).any() else (np.nan, np.nan)
        return measure(true, said, wrong), float(low), float(high)

    few = picks[: max(draws // 8, 1)]
    return Figures(
        len(rows), len(members), told(_lcc, picks), told(_srocc, picks), told(_kendall, few), told(_mae, picks),
        told(_slope, picks), told(_auroc, picks),
    )  # fmt: skip


def _lcc(true: Float64, said: Float64, _: npt.NDArray[np.bool_]) -> float:
    if len(true) < 3 or true.std() == 0 or said.std() == 0:
        return float("nan")
    return float(np.corrcoef(true, said)[0, 1])


def _srocc(true: Float64, said: Float64, bad: npt.NDArray[np.bool_]) -> float:
    from scipy.stats import rankdata

    return _lcc(rankdata(true), rankdata(said), bad)


def _kendall(true: Float64, said: Float64, _: npt.NDArray[np.bool_]) -> float:
    from scipy.stats import kendalltau

    return float(kendalltau(true, said).statistic)


def _mae(true: Float64, said: Float64, _: npt.NDArray[np.bool_]) -> float:
    return float(np.abs(true - said).mean())


def _slope(true: Float64, said: Float64, _: npt.NDArray[np.bool_]) -> float:
    """Of true over predicted Dice: 1 when predictions neither exaggerate nor flatten."""
    spread = said.var()
    return float(((said - said.mean()) * (true - true.mean())).mean() / spread) if spread > 0 else float("nan")


def _auroc(_: Float64, said: Float64, bad: npt.NDArray[np.bool_]) -> float:
    from scipy.stats import rankdata

    positive, negative = int(bad.sum()), int((~bad).sum())
    if not positive or not negative:
        return float("nan")
    rank = rankdata(-said)[bad].sum()
    return float((rank - positive * (positive + 1) / 2) / (positive * negative))


def chosen(rows: list[Row], protocol: Protocol) -> list[Row]:
    """Rows that a protocol takes."""
    return [r for r in rows if r.kind in protocol.kinds and not (protocol.first_only and r.number > 0)]


def report(whole: list[Row], slices: list[Row]) -> dict[str, Any]:
    """All protocols, slice-wise and per mask, and P1 per kind, structure and case."""
    counted = [r for r in slices if r.shared >= LEAST_SHARED_PX]
    tables: dict[str, Any] = {}
    for level, rows in (("slices", counted), ("masks", whole)):
        for key, protocol in PROTOCOLS.items():
            mine = chosen(rows, protocol)
            if mine:
                spoiled = np.array([r.kind != "untouched" for r in mine]) if protocol.finds_spoiled else None
                tables[f"{key} {level}"] = asdict(figures(mine, spoiled))
        mixed = chosen(rows, PROTOCOLS["P1"])
        for trait in ("kind", "structure", "case"):
            for value in sorted({getattr(r, trait) for r in mixed}):
                some = [r for r in mixed if getattr(r, trait) == value]
                if len(some) >= 10:
                    tables[f"P1 {level} {trait} {value}"] = asdict(figures(some, draws=100))
    tables["truncated flag"] = flag_rates(whole, "truncated")
    return tables


def flag_rates(whole: list[Row], name: str) -> dict[str, float]:
    """Share of the masks of each kind that carry a flag."""
    return {
        kind: float(np.mean([name in r.flags.split(";") for r in whole if r.kind == kind]))
        for kind in sorted({r.kind for r in whole})
    }


def evaluate(
    model: Path | str,
    cases: Iterable[Case],
    out: Path,
    *,
    threads: int | None = None,
    workers: int = 1,
    device: str = "auto",
    predictions: Path | None = None,
) -> list[Row]:
    """Judge, measure and write ``masks.csv``, ``slices.csv``, ``figures.json``, ``figures.md`` and ``scatter.png``.

    Returns the rows of whole masks.
    """
    whole, slices = judge_cases(Engine(model, device, threads), cases, workers=workers, predictions=predictions)
    tables = report(whole, slices)
    out.mkdir(parents=True, exist_ok=True)
    draw_scatter(whole, out / "scatter.png")
    for name, rows in (("masks", whole), ("slices", slices)):
        _write_csv(rows, out / f"{name}.csv")
    (out / "figures.json").write_text(json.dumps(json_value(tables), indent=1, allow_nan=False))
    (out / "figures.md").write_text(markdown(tables))
    return whole


def _write_csv(rows: list[Row], file: Path) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([f.name for f in fields(Row)])
        writer.writerows([getattr(r, f.name) for f in fields(Row)] for r in rows)


def markdown(tables: dict[str, Any]) -> str:
    """Figures as a table."""
    lines = [
        "| set | n | cases | LCC | SROCC | Kendall | MAE | slope | AUROC |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, told in tables.items():
        if "lcc" not in told:
            continue
        cells = [_cell(told[key]) for key in ("lcc", "srocc", "kendall", "mae", "slope", "auroc")]
        lines.append(f"| {name} | {told['n']} | {told['cases']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(figure: tuple[float, float, float]) -> str:
    value, low, high = figure
    return "-" if np.isnan(value) else f"{value:.3f} ({low:.2f}-{high:.2f})"
