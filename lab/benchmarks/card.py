"""Writes the figures of the model card: ``python lab/benchmarks/card.py DEV HELD_OUT``.

DEV and HELD_OUT are folders that `segae evaluate` wrote. What stands between the marks ``<!-- dev -->`` and ``<!-- end
dev -->`` in the card (and ``held-out`` likewise) is replaced.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CARD = Path(__file__).parents[2] / "src/segae/models/CARD.md"
COLUMNS = ("lcc", "srocc", "kendall", "mae", "slope", "auroc")
DECISIONS = (
    "WSS@95, Dice < 0.8, 10 %", "WSS@95, Dice < 0.7, 5 %", "WSS@95, Dice < 0.7, 10 %", "WSS@95, Dice < 0.7, 30 %",
    "precision of the first 10 %, Dice < 0.7, 10 %", "pairs ranked", "swap AUROC", "swap mean", "truncation AUROC",
    "untouched mean", "truncated flag, recall", "truncated flag, untouched", "interval coverage", "interval width",
)  # fmt: skip

Tables = Mapping[str, Any]


def section(tables: Tables) -> str:
    """All tables of an evaluation as Markdown."""
    sources = [name.removeprefix("decisions source ") for name in tables if name.startswith("decisions source ")]
    lines: list[str] = []
    for source in sources:
        lines += [f"**{source}**", "", "| set | n | patients | LCC | SROCC | Kendall | MAE | slope | AUROC |"]
        lines += ["| --- " * 9 + "|"]
        for name, found in tables.items():
            if name.endswith(f" source {source}") and "lcc" in found:
                cells = " | ".join(_cell(found[key]) for key in COLUMNS)
                lines.append(
                    f"| {name.removesuffix(f' source {source}')} | {found['n']} | {found['cases']} | {cells} |"
                )
        lines.append("")
    lines += ["For reviewers (whole masks):", "", "| | " + " | ".join((*sources, "all")) + " |"]
    lines += ["| --- " * (len(sources) + 2) + "|"]
    for key in DECISIONS:
        values = [tables[name][key] for name in (*(f"decisions source {s}" for s in sources), "decisions")]
        lines.append(f"| {key} | " + " | ".join(_number(value) for value in values) + " |")
    for trait in ("kind", "structure", "case"):
        lines += ["", f"Mixed errors (P1) per mask, all sources, by {trait if trait != 'kind' else 'error'}:", ""]
        lines += [f"| {trait if trait != 'kind' else 'error'} | n | LCC | MAE |", "| --- | --- | --- | --- |"]
        start = f"P1 masks {trait} "
        for name, found in tables.items():
            if name.startswith(start):
                shown = _cell(found["lcc"]) if trait != "case" else _number(found["lcc"][0])
                lines.append(f"| {name.removeprefix(start)} | {found['n']} | {shown} | {found['mae'][0]:.3f} |")
    flag = "truncated flag, "
    kinds = [k for k in tables["decisions"] if k.startswith(flag) and not k.endswith(("precision", "recall"))]
    shares = [f"{key.removeprefix(flag)} {tables['decisions'][key]:.2f}" for key in kinds]
    lines += ["", *_wrapped("Share of masks with the flag `truncated`, by error: " + ", ".join(shares) + ".")]
    return "\n".join(lines)


def _cell(figure: list[float | None]) -> str:
    value, low, high = (math.nan if part is None else part for part in figure)
    if math.isnan(value):
        return "-"
    return f"{value:.3f}" + ("" if math.isnan(low) else f" ({low:.2f} to {high:.2f})")


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def _wrapped(text: str, width: int = 120) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def main() -> None:
    """Rewrite the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dev", type=Path)
    parser.add_argument("held_out", type=Path)
    options = parser.parse_args()
    card = CARD.read_text(encoding="utf-8")
    for mark, folder in (("dev", options.dev), ("held-out", options.held_out)):
        made = section(json.loads((folder / "figures.json").read_text(encoding="utf-8")))
        begin, end = f"<!-- {mark} -->", f"<!-- end {mark} -->"
        if begin not in card or end not in card:
            raise SystemExit(f"{CARD}: the marks {begin} and {end} are missing")
        before, after = card.split(begin)[0], card.split(end)[1]
        card = f"{before}{begin}\n{made}\n{end}{after}"
    CARD.write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
