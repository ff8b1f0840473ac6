"""The command `segae structures`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from segae.cli.printing import print_table

if TYPE_CHECKING:
    from segae.recipe import ModelCard


def add_parser(commands: Any) -> None:
    """Add `segae structures` to argparse's subparsers; its `run` takes the parsed options and returns the exit code."""
    command = commands.add_parser("structures", help="list the structures, or search them")
    command.add_argument("query", metavar="QUERY", nargs="?", default="", help="part of a name, alias, side or group")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the structures that match."""
    from segae import structures
    from segae.session import card_of

    found = structures.search(options.query)
    if not found:
        near = ", ".join(structures.close_matches(options.query)) or "none"
        print(f"segae: no structure matches {options.query!r}; closest: {near}", file=sys.stderr)
        return 1
    card = card_of("default")
    columns = ("name", "group", "default model saw", "also")
    print_table(columns, [(s.name, s.group, _seen(s.name, card), ", ".join(s.spellings[1:6])) for s in found])
    return 0


def _seen(name: str, card: ModelCard) -> str:
    if name in card.synthetic:
        return "synthetic scans"
    return "real scans" if name in card.trained else "nothing"
