"""The command `segae doctor`."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(commands: Any) -> None:
    """Add `segae doctor` to argparse's subparsers; its `run` takes the parsed options and returns the exit code."""
    command = commands.add_parser("doctor", help="tell what is installed and what really works")
    command.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Print what is installed and what works."""
    from segae.doctor import examine

    findings = examine()
    for finding in findings:
        print(f"{'ok  ' if finding.good else 'BAD '} {finding.what}: {finding.detail}")
    return 0 if all(finding.good for finding in findings) else 1
