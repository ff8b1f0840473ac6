"""A picture of the masks that a model judged worst, with what it expected instead."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np

from segae import Engine
from segae.picture import EXPECTED, GIVEN, TRUE, Panel, draw_sheet
from segae.train import data, protocols
from segae.train.data import Case
from segae.train.judged import Row


def draw_failures(engine: Engine, cases: Iterable[Case], rows: list[Row], out: Path, count: int = 8) -> None:
    """Draw the masks with the largest error, at most one of a case: given (orange), expected (blue), true (white dots).

    Parameters
    ----------
    engine : Engine
    cases : iterable of Case
        Where the rows come from, and whose scans may be shown.
    rows : list of Row
        Of whole masks, as `judge_cases` gives them with seed 0.
    out : Path
        Picture to write.
    count : int
        Panels, four in a row.
    """
    known = {case.name: case for case in cases}
    worst: dict[str, Row] = {}
    for row in sorted(rows, key=lambda r: -abs(r.true - r.said)):
        if row.case in known and row.case not in worst and len(worst) < count:
            worst[row.case] = row
    panels = [_panel(engine, known[name], row) for name, row in worst.items()]
    draw_sheet([panels[i : i + 4] for i in range(0, len(panels), 4)], out)


def _panel(engine: Engine, case: Case, row: Row) -> Panel:
    scan = data.load(case, case.image.parent)
    rng = np.random.default_rng([0, *case.name.encode()])
    wanted = (row.structure, row.kind, row.number)
    judged = chain(protocols.masks(scan, rng), protocols.predictions(scan))
    given, truth = next((g, t) for *what, g, t in judged if tuple(what) == wanted)
    said = engine.assess(scan.image, given.view(np.uint8), row.structure, spacing=scan.spacing_mm, error_map=True)
    score = max(said.slices, key=lambda s: s.area_mm2)
    z = score.index
    shape = (scan.image.shape[1], scan.image.shape[2])
    expected = score.expected.on_slice(shape) > 0.5 if score.expected else np.zeros(shape, bool)
    shown = np.argwhere(given[z] | truth[z] | expected)
    low, high = np.maximum(shown.min(axis=0) - 10, 0), shown.max(axis=0) + 11
    part = (slice(low[0], high[0]), slice(low[1], high[1]))
    return Panel(
        hu=scan.image[z][part],
        spacing_mm=(scan.spacing_mm[1], scan.spacing_mm[2]),
        outlines=[(given[z][part], GIVEN), (expected[part], EXPECTED), (truth[z][part], TRUE)],
        caption=f"{row.structure} ({row.kind})\nDice {row.true:.2f}, said {row.said:.2f}",
    )
