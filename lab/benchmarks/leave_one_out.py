"""Leave one scan out: what the recipe reaches on each labelled scan of the trunk when it never saw it.

    python lab/benchmarks/leave_one_out.py --data $SEGAE_DATA --base base/checkpoint.pt --work DIR --steps 600

`--base` is a checkpoint that none of these scans was trained on (docs/training.md); every fold goes on from it with all
other training scans, and is calibrated on held-out head-neck scans. Folds that are done are not done again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from segae.train import data
from segae.train.evaluate import evaluate
from segae.train.fit import Settings, fit
from segae.train.ship import ship
from segae_lab.sources import more_scans, usual_shares

# Patients: the two small ones of TotalSegmentator together. ts_slab is held out of the shipped model anyway.
FOLDS = (("lidc0001",), ("ts3mm",), ("ts_aorta", "ts_pulm"))
SHOWN = ("P1 slices", "P1 masks", "P2 masks", "P3 masks", "P4 masks", "P5 masks", "P6 masks")


def run_fold(fold: tuple[str, ...], options: argparse.Namespace) -> dict[str, dict[str, object]]:
    """Figures of the scans that a fold leaves out."""
    work = options.work / fold[0]
    figures = work / "figures" / "figures.json"
    if not figures.exists():
        settings = Settings(
            steps=options.steps,
            rate=options.rate,
            leave_out=(*data.held_out(options.data), *fold),
            shares=usual_shares(options.data),
            ring=24,
        )
        more = more_scans(options.data, work, options.atlas)
        checkpoint = fit(options.data, work, settings, threads=1, initial=options.base, more=more)
        cases = data.cases(options.data, "train")
        head_neck = [c for c in cases if c.hold_out and c.source == "OpenKBP"]
        ship(checkpoint, work / "model.onnx", fold[0], head_neck)
        evaluate(work / "model.onnx", [c for c in cases if c.name in fold], work / "figures", workers=2, threads=1)
    told: dict[str, dict[str, object]] = json.loads(figures.read_text())
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "base", "work", "atlas"):
        parser.add_argument(f"--{name}", type=Path, required=name != "atlas")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--folds", nargs="+", default=[fold[0] for fold in FOLDS], help="first scans of those to run")
    options = parser.parse_args()
    print("| scans left out | set | n | LCC | MAE | AUROC |\n| --- | --- | --- | --- | --- | --- |")
    for fold in (fold for fold in FOLDS if fold[0] in options.folds):
        told = run_fold(fold, options)
        for key in SHOWN:
            if key in told:
                lcc, mae, auroc = (told[key][figure][0] for figure in ("lcc", "mae", "auroc"))
                print(f"| {', '.join(fold)} | {key} | {told[key]['n']} | {lcc:.3f} | {mae:.3f} | {auroc:.3f} |")


if __name__ == "__main__":
    main()
