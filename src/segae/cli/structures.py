"""The command `segae structures`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from segae.cli.printing import print_table


def add_parser(commands: Any) -> None:
    """Add `segae structures` to argparse's subparsers; its `run` takes the parsed options and returns the exit code."""
    command = commands.add_parser("structures", help="list the structures, or search them")
    command.add_argument("query", metavar="QUERY", nargs="?", default="", help="part of a name, alias, side or group")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the structures that match."""
    from segae import structures

    found = structures.search(options.query)
    if not found:
        near = ", ".join(structures.close_matches(options.query)) or "none"
        print(f"segae: no structure matches {options.query!r}; closest: {near}", file=sys.stderr)
        return 1
    print_table(("name", "group", "also"), [(s.name, s.group, ", ".join(s.spellings[1:6])) for s in found])
    return 0
