"""The command `segae score`."""

from __future__ import annotations

import argparse
import json
from typing import Any

from segae.cli.engine import add_engine_options, open_engine
from segae.errors import ParameterError


def add_parser(commands: Any) -> None:
    """Add `segae score` to argparse's subparsers; its `run` takes the parsed options and returns the exit code."""
    command = commands.add_parser("score", help="predict the Dice of one mask")
    command.add_argument("image", metavar="CT", help="CT in HU, any format that nibabel reads")
    command.add_argument("mask", metavar="MASK", help="mask on the CT's grid")
    command.add_argument("named", metavar="STRUCTURE", nargs="?", help="what the mask shows; see `segae structures`")
    command.add_argument("-s", "--structure", help="the same as an option")
    command.add_argument("--label", type=int, help="value of the structure, if MASK holds others than 0 and 1")
    command.add_argument("--json", action="store_true", help="print the whole assessment as JSON")
    add_engine_options(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Score one mask and print what was found."""
    structure = options.structure or options.named
    if structure is None or (options.named and options.structure):
        raise ParameterError("structure: say once what the mask shows, such as liver; `segae structures` lists them.")
    assessment = open_engine(options).assess(options.image, options.mask, structure, label=options.label)
    if options.json:
        print(json.dumps(assessment.to_dict(), indent=2, allow_nan=False))
        return 0
    print(f"{assessment.structure}: predicted Dice {assessment.dice:.3f}")
    print(f"  precision {assessment.precision:.3f}, recall {assessment.recall:.3f}, {assessment.volume_ml:.1f} ml")
    for flag in assessment.flags:
        print(f"  {flag.name}: {flag.detail}")
    return 0
