"""The command `segae`.

Exit codes: 0 done, 1 the run failed, 2 wrong usage, 3 a gate not passed, 141 nobody reads its output.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Callable, Sequence

from segae.cli import (
    audit,
    calibrate,
    compare,
    convert,
    demo,
    doctor,
    expect,
    labels,
    perturb,
    score,
    structures,
    train,
)
from segae.cli.words import in_command_words, words_of
from segae.errors import DeviceError, ParameterError, SegaeError, UnknownStructureError

# As a shell says of a program that SIGPIPE ended.
_CLOSED_PIPE = 141
_WRONG_USAGE = (DeviceError, ParameterError, UnknownStructureError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    logging.basicConfig(format="segae: %(message)s", level=logging.WARNING)
    parser = build_parser()
    options = parser.parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        code = run(options)
        sys.stdout.flush()  # here, where a pipe that is closed already can still be told from a failure
        return code
    except _WRONG_USAGE as error:
        print(f"segae: {in_command_words(str(error), words_of(parser, options.command))}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `segae structures | head`: nobody reads on
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _CLOSED_PIPE
    except (SegaeError, OSError) as error:
        print(f"segae: {in_command_words(str(error), words_of(parser, options.command))}", file=sys.stderr)
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
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    # In the order in which people need them; `segae --help` lists them so.
    for command in (
        score,
        labels,
        audit,
        compare,
        expect,
        structures,
        demo,
        doctor,
        perturb,
        train,
        calibrate,
        convert,
    ):
        command.add_parser(commands)
    return parser
