"""Options of commands that take a reference."""

from __future__ import annotations

import argparse
from typing import Any


def add_reference_options(command: Any, what: str) -> None:
    """Add --reference, --reference-names, --reference-reliability and --resample-reference."""
    command.add_argument(
        "--reference",
        default="auto",
        metavar="PATH",
        help=f'{what} of another origin to weigh beside the judge; "auto" (default): those of the built-in network '
        'where it can help; "built-in": the same with any --model; "none"',
    )
    command.add_argument("--reference-names", metavar="NAMES", help="what its values mean (default: as --names)")
    command.add_argument(
        "--reference-reliability", type=float, metavar="DICE", help="Dice that it reaches as a rule (default: 0.85)"
    )
    command.add_argument("--resample-reference", action="store_true", help="bring it onto the CT's grid if need be")


def reference_of(options: argparse.Namespace) -> str | None:
    """The reference as the API takes it."""
    reference: str = options.reference
    return None if reference == "none" else reference
