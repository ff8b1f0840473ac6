"""The command `segae calibrate`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from segae.cli.train import require_torch


def add_parser(commands: Any) -> None:
    """Add `segae calibrate` to argparse's subparsers; its `run` takes the parsed options and returns the exit code."""
    command = commands.add_parser(
        "calibrate", help="fit a model's scores and intervals to cases that you have verified"
    )
    command.add_argument("model", metavar="MODEL", help="model file, or default")
    command.add_argument("cases", metavar="CASES", type=Path, help="dataset whose masks are right: three cases or more")
    command.add_argument("-o", "--output", type=Path, required=True, help="model file to write (.onnx)")
    command.add_argument("--workers", type=int, default=1, help="processes that share the cases (default: 1)")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Calibrate, and print how well the new curves fit cases that did not make them."""
    require_torch("calibrate")
    from segae.train import data
    from segae.train.recalibrate import recalibrate

    found = recalibrate(options.model, data.cases(options.cases, "train"), options.output, options.workers)
    own = ", ".join(found.structures) or "none"
    print(f"{options.output}: written; structures with a curve of their own: {own}")
    print(
        f"each case with the curves of the others ({found.masks} damaged masks): mean error {found.error_before:.3f} "
        f"before, {found.error_after:.3f} now; the 90 % interval holds {found.coverage:.0%}, {found.width:.2f} wide"
    )
    return 0
