"""Options that every command has that trains a network on a mixture of scans."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from segae.train import data


def add_options(parser: argparse.ArgumentParser, *, rate: float, samples: str) -> None:
    """Add them; `rate` is the usual peak learning rate, `samples` the size of the folder `--work`."""
    parser.add_argument("--work", type=Path, required=True, help=f"folder for samples, checkpoint and log ({samples})")
    parser.add_argument("--rate", type=float, default=rate, help=f"peak learning rate (default: {rate:g})")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (default: 0)")
    parser.add_argument("--device", default="auto", help="where torch learns (default: a GPU if there is one)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the network (default: 1)")
    parser.add_argument("--predictions", type=Path, help="folder of masks that networks made, CASE_pred_*.nii.gz")
    parser.add_argument("--hold-out", nargs="*", metavar="CASE", help="cases that only calibrate and measure")


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """Pick the options that are settings of a run, with what they mean where they were not given."""
    return {
        "rate": options.rate,
        "seed": options.seed,
        "leave_out": data.held_out(options.data) if options.hold_out is None else tuple(options.hold_out),
    }


def means_of(options: argparse.Namespace) -> dict[str, Any]:
    """Pick the options that say with what and where a run works."""
    return {name: getattr(options, name) for name in ("threads", "predictions", "device")}
