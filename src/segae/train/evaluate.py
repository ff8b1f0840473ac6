"""Judges spoiled masks of labelled scans, and writes how well the predictions follow the truth."""

from __future__ import annotations

import csv
import json
import multiprocessing
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import fields
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from segae import Engine
from segae.json_value import json_value
from segae.train import data, protocols
from segae.train.data import Case
from segae.train.judged import Row
from segae.train.scatter import draw_scatter
from segae.train.tables import markdown, tables_of


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
        said = engine.assess(scan.image, given.view(np.uint8), structure, spacing=scan.spacing_mm, reference=None)
        who = (case.name, structure, kind, number)
        flags = ";".join(flag.name for flag in said.flags)
        whole.append(_row(who, -1, given, truth, (said.dice, said.precision, said.recall), flags, said.dice_interval))
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
    interval: tuple[float, float] | None = None,
) -> Row:
    shared, a, t = (int(np.count_nonzero(m)) for m in (given & truth, given, truth))
    true = 2 * shared / (a + t), shared / a, shared / t if t else 0.0
    return Row(
        *who,
        where,
        shared,
        true[0],
        said[0],
        true[1],
        said[1],
        true[2],
        said[2],
        flags,
        *(interval or (np.nan, np.nan)),
    )


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
    some = list(cases)
    whole, slices = judge_cases(Engine(model, device, threads), some, workers=workers, predictions=predictions)
    tables = tables_of(whole, slices, {case.name: case.source for case in some})
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
