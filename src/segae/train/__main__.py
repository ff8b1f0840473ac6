"""Command line of training: ``python -m segae.train fit | export | evaluate | synth | text``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m segae.train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_fit(commands.add_parser("fit", help="train the judge and write its model file"))
    chosen = parser.parse_args(arguments)
    return int(chosen.run(chosen))


def _add_fit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder with cases.csv and the scans")
    parser.add_argument("--work", type=Path, required=True, help="folder for samples, checkpoint and log (8 GB)")
    parser.add_argument("--out", type=Path, help="model file to write")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--initial", type=Path, help="checkpoint to start from")
    parser.add_argument("--synthetic", type=float, default=0.5, help="share of samples from synthetic scans")
    parser.add_argument("--atlas", type=Path, help="voxelised anatomy (default: in --work, built where missing)")
    parser.add_argument("--leave-out", nargs="*", help="cases to keep out of training")
    parser.set_defaults(run=_fit)


def _fit(chosen: argparse.Namespace) -> int:
    from segae.train.data import HELD_OUT
    from segae.train.fit import Settings, fit

    settings = Settings(
        steps=chosen.steps,
        batch=chosen.batch,
        rate=chosen.rate,
        seed=chosen.seed,
        synthetic=chosen.synthetic,
        leave_out=HELD_OUT if chosen.leave_out is None else tuple(chosen.leave_out),
    )
    fit(chosen.data, chosen.work, settings, threads=chosen.threads, initial=chosen.initial, atlas=chosen.atlas)
    return 0


if __name__ == "__main__":
    sys.exit(main())
