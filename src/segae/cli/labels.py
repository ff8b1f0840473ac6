"""The command `segae labels`."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

from segae.cli.engine import add_engine_options, open_engine
from segae.cli.printing import print_table

_COLUMNS = ("structure", "dice", "precision", "recall", "volume_ml", "flags")


def add_parser(commands: Any) -> None:
    """Add `segae labels` to argparse's subparsers; its `run` takes the parsed options and returns the exit code."""
    command = commands.add_parser("labels", help="predict the Dice of every structure of a labelmap")
    command.add_argument("image", metavar="CT")
    command.add_argument("labelmap", metavar="LABELMAP")
    command.add_argument(
        "--names",
        required=True,
        help="what the values mean: totalsegmentator_v1, totalsegmentator_v2, dap, totalsegmentator (names in the "
        "file's header), or a JSON file: {value: name}, or nnU-Net's dataset.json",
    )
    command.add_argument("--csv", type=Path, help="write the table there instead of printing it")
    command.add_argument("--json", action="store_true", help="print the assessments as JSON")
    add_engine_options(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Score every structure of a labelmap and print or write the table."""
    from segae.label_names import read_label_names

    names = read_label_names(options.names, options.labelmap)
    found = open_engine(options).assess_labels(options.image, options.labelmap, names)
    if options.json:
        print(json.dumps({name: entry.to_dict() for name, entry in found.items()}, indent=2, allow_nan=False))
        return 0
    rows = [
        (a.structure, f"{a.dice:.4f}", f"{a.precision:.4f}", f"{a.recall:.4f}", f"{a.volume_ml:.2f}",
         " ".join(flag.name for flag in a.flags))
        for a in sorted(found.values(), key=lambda a: a.dice)
    ]  # fmt: skip
    if options.csv:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([_COLUMNS, *rows])
        print(f"{len(rows)} structures written to {options.csv}, worst first")
    else:
        print_table(_COLUMNS, rows)
    return 0
