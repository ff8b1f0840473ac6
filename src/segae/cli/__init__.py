"""The command `segae`. Exit codes: 0 done, 1 the run failed, 2 wrong usage, 3 a gate not passed."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence

from segae.cli import audit, compare, convert, demo, doctor, labels, perturb, score, structures, train
from segae.errors import DeviceError, ParameterError, SegaeError, UnknownStructureError

_WRONG_USAGE = (DeviceError, ParameterError, UnknownStructureError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    logging.basicConfig(format="segae: %(message)s", level=logging.WARNING)
    options = build_parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except _WRONG_USAGE as error:
        print(f"segae: {error}", file=sys.stderr)
        return 2
    except (SegaeError, OSError) as error:
        print(f"segae: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("segae: interrupted", file=sys.stderr)
        return 1


def build_parser() -> argparse.ArgumentParser:
    """Declare all commands; the documentation site prints them from here."""
    from segae import __version__

    parser = argparse.ArgumentParser(
        prog="segae", description="Predict the quality of CT segmentation masks without ground truth."
    )
    parser.add_argument("--version", action="version", version=f"segae {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (score, labels, structures, convert, perturb, train, audit, compare, doctor, demo):
        command.add_parser(commands)
    return parser
