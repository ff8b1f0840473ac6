"""The command `segae audit`."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segae.cli.reference import add_reference_options, reference_of
from segae.cli.train import require_torch
from segae.errors import ParameterError, SegaeError

if TYPE_CHECKING:
    from segae.audit import Summary
    from segae.audit.scoring.worker import Outcome
    from segae.datasets import Found

_SHOWN = 10
# Exit code of a gate that was not passed.
_GATE = 3
_MINUTES = {"s": 1 / 60, "m": 1.0, "h": 60.0}


def add_parser(commands: Any) -> None:
    """Add `segae audit` to argparse's subparsers; its `run` takes the parsed options and returns the exit code."""
    command = commands.add_parser(
        "audit", help="score every mask of a dataset, worst first", description="See docs/audit.md for the layouts."
    )
    command.add_argument("dataset", metavar="DATASET", nargs="?", help="folder, or .csv table of images and masks")
    command.add_argument("-o", "--output", type=Path, metavar="OUT", help="folder for results, tables and report")
    command.add_argument("--dry-run", action="store_true", help="say what is found and what is not, and stop")
    command.add_argument("--names", metavar="FILE", help="JSON {name there: structure} or {value: name}; or a scheme")
    command.add_argument("--workers", type=int, metavar="N", help="processes; default: one a CPU")
    command.add_argument("--budget", type=int, metavar="N", help="masks in the review list of the report")
    command.add_argument(
        "--fail-below", type=float, metavar="DICE", help="exit with 3 when a mask scores lower or could not be scored"
    )
    command.add_argument("--no-report", action="store_true", help="results and tables only")
    command.add_argument("--json-lines", action="store_true", help="print one JSON object a case on stdout")
    command.add_argument("--scheduler", metavar="ADDRESS", help="Dask scheduler whose workers do the work")
    command.add_argument("--decisions", type=Path, metavar="FILE", help="merge the decisions that the report exported")
    add_reference_options(command, "folder with masks")
    command.add_argument(
        "--verified", metavar="CASES", help="cases whose masks are right, by which the reference is measured: a file "
        "with one a line, or names with commas between them",
    )  # fmt: skip
    command.add_argument("--model", default="default", help="model file (default: the one in the package)")
    command.add_argument("--device", default="auto", help='"auto", "cpu", "cuda" or "cuda:N" (default: auto)')
    adapting = command.add_argument_group("adaptation", "needs segae[train]; see docs/adapt.md")
    adapting.add_argument("--adapt", action="store_true", help="fine-tune the model on the dataset, and judge it anew")
    adapting.add_argument("--folds", type=int, default=3, help="parts of the dataset, each judged unseen (default: 3)")
    adapting.add_argument(
        "--adapt-time", type=minutes, default=30.0, metavar="TIME", help="of learning: 90s, 30m or 2h (default: 30m)"
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Audit, or only look, or only merge decisions."""
    if options.dry_run:
        return _look(options)
    if options.output is None:
        raise ParameterError("output: say where the results go (-o OUT), or --dry-run to see what is found.")
    if options.dataset is None and options.decisions is None:
        raise ParameterError("dataset: name the folder or table to audit.")
    if options.dataset is not None:
        _audit(options)
    if options.decisions is not None:
        _merge(options)
    _report(options)
    # After all else, so that nothing that goes wrong in it can cost the audit.
    failed = _adapt(options) if options.adapt else 0
    if options.adapt and not failed:
        _report(options)
    return failed or (0 if options.fail_below is None else _gate(options))


def _report(options: argparse.Namespace) -> None:
    if options.no_report:
        return
    from segae.audit.report.page import write_report

    begun = time.monotonic()
    page = write_report(options.output, budget=options.budget, device=options.device)
    _say(options, f"report: {page}, drawn in {time.monotonic() - begun:.0f} s")


def _adapt(options: argparse.Namespace) -> int:
    """Adapt, bring the scores into the audit, tell the worst; 2 where that cannot be done: the audit stays as it is."""
    try:
        if options.dataset is None:
            raise ParameterError("adapt: name the dataset to learn from.")
        if options.names is not None:
            raise ParameterError("adapt: --names is not read by it; name files and structures as docs/audit.md says.")
        require_torch("adapt")
        from segae.audit.scoring.adapted import add_adapted
        from segae.session import card_of
        from segae.train.adapting import adapt

        found = adapt(
            options.dataset,
            options.output,
            options.model,
            folds=options.folds,
            minutes=options.adapt_time,
            device=options.device,
        )
        add_adapted(
            options.output,
            {(mask.case, mask.structure): mask.adapted for mask in found.masks if mask.by == "adapted"},
            card_of(options.model),
        )
    except (SegaeError, OSError, RuntimeError) as error:
        print(f"segae: not adapted: {error}\nThe audit in {options.output} stands.", file=sys.stderr)
        return 2
    for name, count in found.kept.items():
        _say(options, f"{name}: {count} masks look right, too few to learn from: the model as it is judged them")
    for case, reason in found.unread.items():
        _say(options, f"{case}: not read ({reason})")
    _say(options, "worst masks of the adapted models (before adaptation in brackets):")
    for mask in found.masks[:_SHOWN]:
        _say(options, f"  {mask.case}  {mask.structure}  {mask.score:.3f} ({mask.default:.3f})")
    _say(options, f"adapted: {options.output}/adapted.csv; model for later cases: {found.models[-1]}")
    return 0


def minutes(text: str) -> float:
    """Length of time in minutes, of "90s", "30m", "2h" or plain minutes."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _MINUTES else (text, "m")
    try:
        return float(number) * _MINUTES[unit]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a time such as 90s, 30m or 2h, got {text!r}") from None


def _gate(options: argparse.Namespace) -> int:
    """3 when a mask of the audit scores below what was asked, or has no score for an error; else 0."""
    from segae.audit import load, rank

    masks = [entry.mask for entry in rank(load(options.output))]
    below = [mask for mask in masks if mask.dice < options.fail_below]
    failed = [mask for mask in masks if mask.error is not None]
    for mask in below[:_SHOWN]:
        _say(options, f"  {mask.case_id}  {mask.structure}  {mask.dice:.3f}")
    _say(options, f"{len(below)} masks below {options.fail_below:g}, {len(failed)} could not be scored")
    return _GATE if below or failed else 0


def _look(options: argparse.Namespace) -> int:
    from segae.datasets import find_cases

    if options.dataset is None:
        raise ParameterError("dataset: name the folder or table to look at.")
    for line in find_cases(options.dataset, options.names).describe():
        print(line)
    return 0


def _audit(options: argparse.Namespace) -> None:
    from segae import audit

    def describe(found: Found) -> None:
        for line in found.describe():
            _say(options, line)

    def print_case(outcome: Outcome) -> None:
        print(json.dumps(_as_json(outcome), ensure_ascii=False, allow_nan=False), flush=True)

    summary = audit.run(
        options.dataset,
        options.output,
        names=options.names,
        workers=options.workers,
        model=options.model,
        device=options.device,
        scheduler=options.scheduler,
        reference=reference_of(options),
        reference_names=options.reference_names,
        reference_reliability=options.reference_reliability,
        resample_reference=options.resample_reference,
        verified=_verified(options.verified),
        on_found=describe,
        on_case=print_case if options.json_lines else None,
    )
    for line in _describe(summary):
        _say(options, line)


def _verified(told: str | None) -> list[str]:
    if not told:
        return []
    path = Path(told)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else told.split(",")
    return [line.strip() for line in lines if line.strip()]


def _describe(summary: Summary) -> list[str]:
    results = summary.results
    lines = [
        f"{summary.scored} cases scored in {summary.seconds:.0f} s, {summary.unchanged} unchanged since an earlier run"
        + (f", {summary.gone} gone from the dataset" if summary.gone else "")
    ]
    broken = [case for case in results.cases if case.error is not None]
    if broken:
        lines.append(f"{len(broken)} cases with errors:")
        lines += [f"  {case.case_id}: {case.error}" for case in broken[:_SHOWN]]
        if len(broken) > _SHOWN:
            lines.append(f"  ... and {len(broken) - _SHOWN} more, in the column error of scores.csv")
    lines.append(f"tables: {results.out}/scores.csv, matrix.csv, summary.csv, dataset.csv")
    return lines


def _merge(options: argparse.Namespace) -> None:
    from segae.audit.review import decisions

    merged = decisions.merge(options.output, options.decisions)
    _say(
        options,
        f"decisions: {merged.new} new, {merged.changed} changed, {merged.older} older than what was there, "
        f"{len(merged.unknown)} of masks that are not in the audit, {len(merged.outdated)} of files that changed since",
    )


def _say(options: argparse.Namespace, line: str) -> None:
    """Stdout belongs to the machine that reads JSON lines."""
    print(line, file=sys.stderr if options.json_lines else sys.stdout)


def _as_json(outcome: Outcome) -> dict[str, Any]:
    masks = [
        {
            "structure": mask.structure,
            "source": mask.source,
            "dice": _number(mask.dice),
            "judge_dice": _number(mask.judge_dice),
            "reference_dice": _number(mask.reference_dice),
            "precision": _number(mask.precision),
            "recall": _number(mask.recall),
            "volume_ml": _number(mask.volume_ml),
            "flags": [flag.name for flag in mask.flags],
            "error": mask.error,
        }
        for mask in outcome.masks
    ]
    return {"case": outcome.case.case_id, "state": outcome.case.state, "error": outcome.case.error, "masks": masks}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
