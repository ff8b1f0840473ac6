"""Judged masks and slices -> tables: every protocol, by source of the scans, kind of error, structure and case.

A slice counts where mask and truth share 20 pixels or more; its Dice is that of the whole slice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from segae.train.decisions import decisions
from segae.train.figures import figures
from segae.train.judged import Row
from segae.train.protocols import PROTOCOLS, Protocol

LEAST_SHARED_PX = 20
_LEAST_ROWS = 10


def chosen(rows: Sequence[Row], protocol: Protocol) -> list[Row]:
    """Rows that a protocol takes."""
    return [r for r in rows if r.kind in protocol.kinds and not (protocol.first_only and r.number > 0)]


def tables_of(whole: Sequence[Row], slices: Sequence[Row], sources: Mapping[str, str]) -> dict[str, Any]:
    """Return all tables of an evaluation.

    Parameters
    ----------
    whole, slices : sequence of Row
        Of masks, and of their slices.
    sources : mapping
        Case -> group that its scan belongs to, "" for none.

    Returns
    -------
    dict
        "P1 masks" and the like -> figures; with " source S", " kind K", " structure N" or " case C" behind it for a
        part of the masks; "decisions", with or without a source, -> `segae.train.decisions.decisions`.
    """
    counted = [r for r in slices if r.shared >= LEAST_SHARED_PX]
    names = sorted({source for source in sources.values() if source})
    tables: dict[str, Any] = {}
    for level, rows in (("slices", counted), ("masks", whole)):
        tables |= _protocols(rows, level)
        for name in names:
            tables |= _protocols([r for r in rows if sources[r.case] == name], level, f" source {name}")
        mixed = chosen(rows, PROTOCOLS["P1"])
        for trait in ("kind", "structure", "case"):
            for value in sorted({getattr(r, trait) for r in mixed}):
                some = [r for r in mixed if getattr(r, trait) == value]
                if len(some) >= _LEAST_ROWS:
                    tables[f"P1 {level} {trait} {value}"] = asdict(figures(some, draws=100))
    tables["decisions"] = decisions(whole)
    for name in names:
        mine = [r for r in whole if sources[r.case] == name]
        if mine:
            tables[f"decisions source {name}"] = decisions(mine)
    return tables


def _protocols(rows: Sequence[Row], level: str, whose: str = "") -> dict[str, Any]:
    tables = {}
    for key, protocol in PROTOCOLS.items():
        mine = chosen(rows, protocol)
        if mine:
            spoiled = np.array([r.kind != "untouched" for r in mine]) if protocol.finds_spoiled else None
            tables[f"{key} {level}{whose}"] = asdict(figures(mine, spoiled))
    return tables


def markdown(tables: Mapping[str, Any]) -> str:
    """Figures and decisions as Markdown tables."""
    lines = [
        "| set | n | cases | LCC | SROCC | Kendall | MAE | slope | AUROC |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in tables.items():
        if "lcc" in found:
            cells = [_cell(found[key]) for key in ("lcc", "srocc", "kendall", "mae", "slope", "auroc")]
            lines.append(f"| {name} | {found['n']} | {found['cases']} | " + " | ".join(cells) + " |")
    for name, found in tables.items():
        if name.startswith("decisions"):
            lines += ["", f"| {name} | |", "| --- | --- |"]
            lines += [f"| {key} | {value:.3f} |" for key, value in found.items()]
    return "\n".join(lines) + "\n"


def _cell(figure: tuple[float, float, float]) -> str:
    value, low, high = figure
    return "-" if np.isnan(value) else f"{value:.3f} ({low:.2f}-{high:.2f})"
