"""What goes with `segae train`: ``python -m segae.train export | text``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m segae.train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_export(commands.add_parser("export", help="write the model file of a checkpoint"))
    _add_text(commands.add_parser("text", help="how similar the names of structures look to the network"))
    chosen = parser.parse_args(arguments)
    return int(chosen.run(chosen))


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder with cases.csv; left-out cases calibrate")
    parser.add_argument("--out", type=Path, required=True, help="model file to write")
    parser.set_defaults(run=_export)


def _export(chosen: argparse.Namespace) -> int:
    import json

    import torch

    from segae.train import data
    from segae.train.ship import ship

    settings = json.loads(torch.load(chosen.checkpoint, weights_only=True, map_location="cpu")["settings"])
    held_out = [case for case in data.cases(chosen.data, "train") if case.name in settings["leave_out"]]
    ship(chosen.checkpoint, chosen.out, chosen.out.stem, held_out)
    return 0


def _add_text(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=20, help="pairs of names to show")
    parser.set_defaults(run=_text)


def _text(chosen: argparse.Namespace) -> int:
    from segae import structures
    from segae.train.text import embeddings, nearest

    names = structures.names()
    for one, other, cosine in nearest(names, embeddings(names), chosen.count):
        sys.stdout.write(f"{cosine:.3f}  {one}  {other}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
