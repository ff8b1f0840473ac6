"""The judge against the paper's own recipe (reduced): as many samples of the same scans, the same test.

    python lab/benchmarks/rival.py --data $SEGAE_DATA --work DIR --samples 40000 --same-time 209000 --write

Trains both from scratch, one after the other, and the judge once more on as many samples as it learns from in the
rival's processor time. All judge the same spoiled masks of held-out training scans and of the dev scans. None is
calibrated, nothing is tuned. A run that is killed goes on where it stood: give the same
command again. The judge's ring of samples is refreshed while it learns; the rival sees each of its samples twice.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from segae.train import data
from segae.train.evaluate import evaluate
from segae.train.export import export
from segae.train.fit import Settings, fit
from segae_lab.sources import more_scans, usual_shares

BATCH = 64
TABLES = ("P1 slices", "P2 slices", "P3 slices", "P1 masks", "P2 masks", "P3 masks", "P4 masks", "P5 masks")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with data/cases.csv and anatomy/")
    parser.add_argument("--work", type=Path, required=True, help="folder for samples, checkpoints and figures")
    parser.add_argument("--samples", type=int, default=40_000)
    parser.add_argument("--same-time", type=int, help="samples of a judge that learns for as long as the rival")
    parser.add_argument("--atlas", type=Path, help="voxelised anatomy (default: in --work)")
    parser.add_argument("--workers", type=int, default=1, help="processes that judge")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/rival.md")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    models = {
        "the paper's recipe, reduced": train_rival(given),
        "the judge": train_judge(given, given.samples, "judge"),
    }
    if given.same_time:
        models["the judge, same time"] = train_judge(given, given.same_time, "judge_same_time")
    held_out = data.held_out(given.data)
    sets = {
        "held-out training scans": [case for case in data.cases(given.data, "train") if case.name in held_out],
        "dev scans": data.cases(given.data, "dev"),
    }
    lines = heading(given)
    for title, cases in sets.items():
        told = {name: judged(model, cases, given, title) for name, model in models.items()}
        lines += ["", f"## {title}", "", *table(told)]
    text = "\n".join([*lines, ""])
    print(text)
    if given.write:
        (Path(__file__).parents[2] / "benchmarks" / "results" / "rival.md").write_text(text)


def train_rival(given: argparse.Namespace) -> Path:
    out = given.work / "rival.onnx"
    if not out.exists():
        common = [
            "--data",
            given.data,
            "--work",
            given.work / "rival",
            "--atlas",
            given.atlas or given.work / "atlas.npz",
        ]
        command = [sys.executable, "-m", "segae_lab", "rival", *common, "--samples", given.samples, "--out", out]
        subprocess.run([*map(str, command)], check=True)
    return out


def train_judge(given: argparse.Namespace, samples: int, name: str) -> Path:
    out = given.work / f"{name}.onnx"
    if not out.exists():
        settings = Settings(
            steps=samples // BATCH,
            batch=BATCH,
            leave_out=data.held_out(given.data),
            shares=usual_shares(given.data),
        )
        more = more_scans(given.data, given.work, given.atlas)
        checkpoint = fit(given.data, given.work / name, settings, threads=1, more=more)
        export(checkpoint, out, name)
    return out


def judged(model: Path, cases: list[data.Case], given: argparse.Namespace, title: str) -> dict[str, Any]:
    """Figures of a model; those of an earlier run are taken as they are."""
    out = given.work / f"{model.stem} on {title}"
    if not (out / "figures.json").exists():
        evaluate(model, cases, out, threads=1, workers=given.workers)
    told: dict[str, Any] = json.loads((out / "figures.json").read_text())
    return told


def table(told: dict[str, dict[str, Any]]) -> list[str]:
    lines = ["| set | n | patients | " + " | ".join(f"{name}: LCC, MAE" for name in told) + " |"]
    lines.append("| --- | --- | --- |" + " --- |" * len(told))
    for key in TABLES:
        rows = [figures[key] for figures in told.values() if key in figures]
        if len(rows) == len(told):
            cells = [f"{lcc:.3f} ({low:.2f} to {high:.2f}), {row['mae'][0]:.3f}" for row in rows
                     for lcc, low, high in [row["lcc"]]]  # fmt: skip
            lines.append(f"| {key} | {rows[0]['n']} | {rows[0]['cases']} | " + " | ".join(cells) + " |")
    return lines


def heading(given: argparse.Namespace) -> list[str]:
    longer = (
        f' "Same time" is a judge on {given.same_time} slices, about as long for a core.' if given.same_time else ""
    )
    return [
        "# The judge against the paper's recipe on the same data",
        "",
        f"`python lab/benchmarks/rival.py --samples {given.samples}`, {datetime.date.today()}. Both learned from "
        f"{given.samples} slices (repeats counted) of the same scans and errors, from scratch.{longer} All were judged "
        "once on the same spoiled masks, in the slices that each looks at; 95 % intervals over patients. The paper's "
        "recipe is reduced: ResNet-18 at 128x128, a 384-d sentence embedding in CLIP's place; image in [-200, 200] HU "
        "and mask, 20 px of margin, its losses, its gated head, mean of slices. LCC, then mean absolute error; P1 mixed"
        " errors, P2 erosion, P3 dilation, P4 swap and wrong side, P5 truncation. Slices count where mask and truth "
        "share 20 pixels.",
    ]


if __name__ == "__main__":
    main()
