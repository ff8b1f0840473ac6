"""The command `segae demo`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from segae.cli.engine import add_engine_options, open_engine
from segae.cli.printing import print_table


def add_parser(commands: Any) -> None:
    """Add `segae demo` to argparse's subparsers; its `run` takes the parsed options and returns the exit code."""
    command = commands.add_parser("demo", help="spoil masks of a synthetic CT and predict their Dice; needs no data")
    command.add_argument("-o", "--output", type=Path, default=Path("segae_demo.png"), help="the picture")
    add_engine_options(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the demo and print its table."""
    from segae.demo import demo

    rows, picture = demo(open_engine(options), options.output)
    print_table(("structure", "error", "true Dice", "predicted"), rows)
    print(picture)
    return 0
