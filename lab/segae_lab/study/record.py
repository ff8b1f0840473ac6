"""Finished runs of a study, a JSON line each: a study that is killed goes on where it stood."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Run = dict[str, Any]


class Record:
    """The runs in one file; those are the same that agree in all of `keys`."""

    def __init__(self, file: Path, keys: Sequence[str]) -> None:
        self.file = file
        self.keys = tuple(keys)
        self._runs: dict[tuple[Any, ...], Run] = {}
        if file.exists():
            whole, _, torn = file.read_text(encoding="utf-8").rpartition("\n")
            for line in whole.splitlines():
                run = json.loads(line)
                self._runs[self._key(run)] = run
            if torn:  # killed while it wrote
                file.write_text(whole + "\n" if whole else "", encoding="utf-8")

    def _key(self, run: Run) -> tuple[Any, ...]:
        return tuple(run[key] for key in self.keys)

    def get(self, **wanted: Any) -> Run | None:
        """Find a finished run."""
        return self._runs.get(self._key(wanted))

    def add(self, run: Run) -> Run:
        """Keep a run that is finished."""
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(run) + "\n")
        self._runs[self._key(run)] = run
        return run

    def all(self) -> list[Run]:
        """Every run that is kept."""
        return list(self._runs.values())


def spread_table(runs: list[Run], rows: str, columns: str, figures: Sequence[str], order: Sequence[Any]) -> list[str]:
    """Lines of a Markdown table of mean and standard deviation over seeds.

    Parameters
    ----------
    runs : list of dict
    rows, columns : str
        Keys whose values make up the rows and the columns.
    figures : sequence of str
        Keys of the figures that stand in a cell.
    order : sequence
        Values of `rows` in the order wanted.
    """
    heads = sorted({run[columns] for run in runs})
    lines = [
        f"| {rows} | " + " | ".join(f"{columns} {head}: {', '.join(figures)}" for head in heads) + " |",
        "| --- |" + " --- |" * len(heads),
    ]
    for value in order:
        cells = []
        for head in heads:
            some = [run for run in runs if run[rows] == value and run[columns] == head]
            cells.append(", ".join(_spread([run[figure] for run in some]) for figure in figures))
        lines.append(f"| {value} | " + " | ".join(cells) + " |")
    return lines


def _spread(values: list[float]) -> str:
    known = [value for value in values if np.isfinite(value)]
    return f"{np.mean(known):.3f} ± {np.std(known):.3f}" if known else "-"
