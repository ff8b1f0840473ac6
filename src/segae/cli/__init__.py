"""The command `segae`. Exit codes: 0 done, 1 the run failed, 2 wrong usage."""

from __future__ import annotations

import argparse
import csv
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from segae.cli import audit, compare, perturb, train
from segae.errors import DeviceError, ParameterError, SegaeError, UnknownStructureError

_WRONG_USAGE = (DeviceError, ParameterError, UnknownStructureError)

_COLUMNS = ("structure", "dice", "precision", "recall", "volume_ml", "flags")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    logging.basicConfig(format="segae: %(message)s", level=logging.WARNING)
    options = _parser().parse_args(arguments)
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


def _parser() -> argparse.ArgumentParser:
    from segae import __version__

    parser = argparse.ArgumentParser(
        prog="segae", description="Predict the quality of CT segmentation masks without ground truth."
    )
    parser.add_argument("--version", action="version", version=f"segae {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_score(commands)
    _add_labels(commands)
    _add_structures(commands)
    _add_convert(commands)
    perturb.add_parser(commands)
    train.add_parsers(commands)
    audit.add_parser(commands)
    compare.add_parser(commands)
    _add_doctor(commands)
    _add_demo(commands)
    return parser


_Commands = Any  # argparse's _SubParsersAction, which is private


def _add_score(commands: _Commands) -> None:
    command = commands.add_parser("score", help="predict the Dice of one mask")
    command.add_argument("image", metavar="CT", help="CT in HU, any format that nibabel reads")
    command.add_argument("mask", metavar="MASK", help="mask on the CT's grid")
    command.add_argument("-s", "--structure", required=True, help="what the mask shows; see `segae structures`")
    command.add_argument("--label", type=int, help="value of the structure, if MASK holds others than 0 and 1")
    command.add_argument("--json", action="store_true", help="print the whole assessment as JSON")
    _add_engine_options(command)
    command.set_defaults(run=_score)


def _score(options: argparse.Namespace) -> int:
    assessment = _engine(options).assess(options.image, options.mask, options.structure, label=options.label)
    if options.json:
        print(json.dumps(assessment.to_dict(), indent=2, allow_nan=False))
        return 0
    print(f"{assessment.structure}: predicted Dice {assessment.dice:.3f}")
    print(f"  precision {assessment.precision:.3f}, recall {assessment.recall:.3f}, {assessment.volume_ml:.1f} ml")
    for flag in assessment.flags:
        print(f"  {flag.name}: {flag.detail}")
    return 0


def _add_labels(commands: _Commands) -> None:
    command = commands.add_parser("labels", help="predict the Dice of every structure of a labelmap")
    command.add_argument("image", metavar="CT")
    command.add_argument("labelmap", metavar="LABELMAP")
    command.add_argument(
        "--names",
        required=True,
        help="what the values mean: totalsegmentator_v1, totalsegmentator_v2, dap, totalsegmentator (names in the "
        "file's header), or a JSON file: {value: name}, or nnU-Net's dataset.json",
    )
    command.add_argument("--csv", type=Path, help="write the table there instead of printing it")
    command.add_argument("--json", action="store_true", help="print the assessments as JSON")
    _add_engine_options(command)
    command.set_defaults(run=_labels)


def _labels(options: argparse.Namespace) -> int:
    from segae.label_names import read_label_names

    names = read_label_names(options.names, options.labelmap)
    found = _engine(options).assess_labels(options.image, options.labelmap, names)
    if options.json:
        print(json.dumps({name: entry.to_dict() for name, entry in found.items()}, indent=2, allow_nan=False))
        return 0
    rows = [
        (a.structure, f"{a.dice:.4f}", f"{a.precision:.4f}", f"{a.recall:.4f}", f"{a.volume_ml:.2f}",
         " ".join(flag.name for flag in a.flags))
        for a in sorted(found.values(), key=lambda a: a.dice)
    ]  # fmt: skip
    if options.csv:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([_COLUMNS, *rows])
        print(f"{len(rows)} structures written to {options.csv}, worst first")
    else:
        print_table(_COLUMNS, rows)
    return 0


def _add_structures(commands: _Commands) -> None:
    command = commands.add_parser("structures", help="list the structures, or search them")
    command.add_argument("query", metavar="QUERY", nargs="?", default="", help="part of a name, alias, side or group")
    command.set_defaults(run=_structures)


def _structures(options: argparse.Namespace) -> int:
    from segae import structures

    found = structures.search(options.query)
    if not found:
        near = ", ".join(structures.close_matches(options.query)) or "none"
        print(f"segae: no structure matches {options.query!r}; closest: {near}", file=sys.stderr)
        return 1
    print_table(("name", "group", "also"), [(s.name, s.group, ", ".join(s.spellings[1:6])) for s in found])
    return 0


def _add_convert(commands: _Commands) -> None:
    command = commands.add_parser("convert", help="turn the SegAE authors' checkpoint into a model file")
    command.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="their .pth, a plain state dict")
    command.add_argument("--embeddings", metavar="PICKLE", type=Path, required=True, help="their label_embedding.pkl")
    command.add_argument("-o", "--output", type=Path, required=True, help="ONNX file to write")
    command.set_defaults(run=_convert)


def _convert(options: argparse.Namespace) -> int:
    try:
        from segae.train.convert import convert
    except ImportError as error:
        raise ParameterError(f"convert needs {error.name}: pip install 'segae[train]'.") from error

    card = convert(options.checkpoint, options.embeddings, options.output)
    print(f"{options.output}: {card.name}, {len(card.structures)} classes")
    return 0


def _add_doctor(commands: _Commands) -> None:
    command = commands.add_parser("doctor", help="tell what is installed and what really works")
    command.set_defaults(run=_doctor)


def _doctor(_: argparse.Namespace) -> int:
    from segae.doctor import examine

    findings = examine()
    for finding in findings:
        print(f"{'ok  ' if finding.good else 'BAD '} {finding.what}: {finding.detail}")
    return 0 if all(finding.good for finding in findings) else 1


def _add_demo(commands: _Commands) -> None:
    command = commands.add_parser("demo", help="spoil masks of a synthetic CT and predict their Dice; needs no data")
    command.add_argument("-o", "--output", type=Path, default=Path("segae_demo.png"), help="the picture")
    _add_engine_options(command)
    command.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    from segae.demo import demo

    rows, picture = demo(_engine(options), options.output)
    print_table(("structure", "error", "true Dice", "predicted"), rows)
    print(picture)
    return 0


def _add_engine_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", default="default", help="model file (default: the one in the package)")
    command.add_argument("--device", default="auto", help='"auto", "cpu", "cuda" or "cuda:N" (default: auto)')
    command.add_argument("--threads", type=int, help="CPU threads (default: all)")


def _engine(options: argparse.Namespace) -> Any:
    from segae.engine import Engine

    return Engine(options.model, options.device, options.threads)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
