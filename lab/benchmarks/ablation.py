"""What a choice of the recipe is worth: short trainings from one checkpoint on the same samples, one thing changed.

    python lab/benchmarks/ablation.py --data $SEGAE_DATA --base base/checkpoint.pt --ring DIR --work DIR --steps 600

`--ring` is the folder of samples of a training run (`fit` leaves it behind). Figures: Pearson's r of predicted and true
Dice of slices (where mask and truth share 20 pixels) on held-out training scans, spoiled by the cheap kinds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from segae.train import data, feed, fit, losses
from segae.train.fit import JudgeRun, Settings, correlation, held_out_samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "base", "ring", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--leave-out", nargs="*", help="as the run that made the ring")
    options = parser.parse_args()
    torch.set_num_threads(1)
    leave_out = data.held_out(options.data) if options.leave_out is None else tuple(options.leave_out)
    plain = Settings(steps=options.steps, rate=8e-4, leave_out=leave_out)
    variants: dict[str, tuple[Settings, Callable[[], None]]] = {
        "as shipped": (plain, lambda: None),
        "the paper's losses for the slices' Dice": (replace(plain, paper_losses=True), lambda: None),
        "no word on the whole mask": (plain, lambda: setattr(losses, "WHOLE_WEIGHT", 0.0)),
        "no expected mask": (plain, lambda: setattr(losses, "MASK_WEIGHT", 0.0)),
    }
    usual = losses.WHOLE_WEIGHT, losses.MASK_WEIGHT
    ring = feed.Ring(options.ring, len(list(options.ring.glob("shard_*.npz"))))
    checks = held_out_samples(options.data, plain.leave_out)
    options.work.mkdir(parents=True, exist_ok=True)
    print("| variant | " + " | ".join(checks) + " |\n| --- |" + " --- |" * len(checks), flush=True)
    for name, (settings, change) in variants.items():
        torch.manual_seed(0)
        losses.WHOLE_WEIGHT, losses.MASK_WEIGHT = usual
        change()
        run = JudgeRun(settings, set(), torch.device("cpu"))
        run.begin_with_file(options.base, ring)
        run.train(ring, options.work / fit.CHECKPOINT, every=10 * options.steps)
        told = [f"{correlation(run.average.module, held):.3f}" for held in checks.values()]
        print(f"| {name} | " + " | ".join(told) + " |", flush=True)


if __name__ == "__main__":
    main()
