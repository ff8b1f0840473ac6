"""The command `segae demo`."""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path
from typing import Any

from segae.cli.engine import add_engine_options, open_engine
from segae.cli.printing import print_table
from segae.errors import ParameterError

_HEADER = ("structure", "mask", "true Dice", "predicted", "precision", "recall", "says", "flags")


def add_parser(commands: Any) -> None:
    """Add `segae demo` to argparse's subparsers; its `run` takes the parsed options and returns the exit code."""
    command = commands.add_parser("demo", help="score six masks of a synthetic patient; needs no data")
    command.add_argument(
        "-o", "--output", type=Path, default=Path("segae_demo.png"), help="the picture (default: segae_demo.png)"
    )
    command.add_argument(
        "--report", metavar="DIR", type=Path, help="audit ten such patients into DIR and open the report in a browser"
    )
    add_engine_options(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the demo and print its table; or audit ten patients and open the report."""
    if options.report is not None:
        return _report(options)
    from segae.demo import demo, verdict

    shown, picture = demo(open_engine(options), options.output)
    rows = [
        (
            entry.fault.structure,
            entry.fault.words,
            f"{entry.true_dice:.2f}",
            f"{entry.found.dice:.2f}",
            f"{entry.found.precision:.2f}",
            f"{entry.found.recall:.2f}",
            verdict(entry.found),
            " ".join(dict.fromkeys(flag.name for flag in entry.found.flags)),
        )
        for entry in shown
    ]
    print_table(_HEADER, rows)
    print(picture)
    return 0


def _report(options: argparse.Namespace) -> int:
    from segae import audit
    from segae.demo.cohort import write_cohort

    try:
        from segae.audit.report.page import write_report
    except ImportError as error:
        raise ParameterError(f"--report needs {error.name}: pip install 'segae[audit]'.") from error
    dataset = options.report / "dataset"
    write_cohort(dataset)
    # One process a worker would load the model ten times for ten small scans; one is enough.
    audit.run(dataset, options.report, workers=1, model=options.model, device=options.device)
    page = write_report(options.report, device=options.device)
    print(f"report: {page}")
    webbrowser.open(page.resolve().as_uri())
    return 0
