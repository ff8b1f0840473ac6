"""The commands `segae train` and `segae evaluate`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segae.errors import ParameterError
from segae.train.options import add_options, means_of, settings_of

if TYPE_CHECKING:
    from segae.train.sources import MoreScans


def add_parser(commands: Any) -> None:
    """Add both to argparse's subparsers; their `run` takes the parsed options and returns the exit code."""
    command = commands.add_parser("train", help="train a judge on your own scans, and write its model file")
    add_train_options(command)
    command.set_defaults(run=run_train)
    _add_evaluate(commands.add_parser("evaluate", help="how well a model's predictions follow the truth"))


def add_train_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `segae train`."""
    command.add_argument("data", metavar="DATA", type=Path, help="labelled scans, see docs/training.md")
    command.add_argument("-o", "--output", type=Path, required=True, help="model file to write (.onnx)")
    command.add_argument("--steps", type=int, default=8000, help="batches to learn from (default: 8000)")
    command.add_argument("--batch", type=int, default=64, help="slices a step (default: 64)")
    command.add_argument("--initial", type=Path, help="checkpoint or model file to start from, or default")
    command.add_argument(
        "--calibrated-by", type=Path, metavar="MODEL", help="takes its calibration where no case is held out"
    )
    command.add_argument("--swaps", type=float, help="share of masks that are a neighbour's (default: 0.14)")
    command.add_argument(
        "--passed-off", type=float, help="share of sound masks learned under a neighbour's name (default: 0.12)"
    )
    command.add_argument(
        "--workers", type=int, default=1, help="processes that cut samples (default: 1; beside a GPU, one a core)"
    )
    add_options(command, rate=1.5e-3, samples="8 GB")


def run_train(
    options: argparse.Namespace,
    shares: dict[str, float] | None = None,
    more: Mapping[str, MoreScans] | None = None,
) -> int:
    """Train as the options say, on further scans too, export, calibrate and measure.

    Parameters
    ----------
    options : Namespace
        Of `add_train_options`.
    shares : dict, optional
        Shares of the samples that come from the scans `more`, by name.
    more : mapping, optional
        Scans beside the labelled ones.
    """
    require_torch("train")
    from segae.train import data
    from segae.train.evaluate import evaluate
    from segae.train.feed import Ring
    from segae.train.fit import Settings, fit
    from segae.train.int8 import add_int8, samples_of
    from segae.train.ship import ship

    names = {"swaps": options.swaps, "passed_off": options.passed_off}
    told = {name: share for name, share in names.items() if share is not None}
    settings = Settings(steps=options.steps, batch=options.batch, shares=shares or {}, **told, **settings_of(options))
    checkpoint = fit(
        options.data,
        options.work,
        settings,
        initial=options.initial,
        more=more,
        workers=options.workers,
        **means_of(options),
    )
    cases = [case for case in data.cases(options.data, "train") if case.name in settings.leave_out]
    ship(checkpoint, options.output, options.output.stem, cases, options.calibrated_by)
    add_int8(options.output, samples_of(Ring(options.work / "ring", settings.ring)))
    print(f"{options.output}: written")
    if cases:
        evaluate(options.output, cases, options.work / "held_out", threads=options.threads)
        sys.stdout.write((options.work / "held_out" / "figures.md").read_text())
    return 0


def _add_evaluate(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL", help="model file, or default")
    command.add_argument("data", metavar="CASES", type=Path, help="labelled scans, see docs/training.md")
    command.add_argument("--use", default="dev", help="which cases: their column `use` (default: dev)")
    command.add_argument("--cases", nargs="+", metavar="CASE", help="only these")
    command.add_argument("-o", "--output", type=Path, required=True, help="folder for figures and tables")
    command.add_argument("--predictions", type=Path, help="folder of masks that networks made, CASE_pred_*.nii.gz")
    command.add_argument("--device", default="auto", help='"auto", "cpu", "cuda" or "cuda:N" (default: auto)')
    command.add_argument("--threads", type=int, help="of each worker")
    command.add_argument("--workers", type=int, default=1, help="processes that share the cases (default: 1)")
    command.add_argument("--failures", action="store_true", help="draw the masks that were judged worst")
    command.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    require_torch("evaluate")
    from segae.train import data
    from segae.train.evaluate import evaluate

    cases = [case for case in data.cases(options.data, options.use) if not options.cases or case.name in options.cases]
    if not cases:
        raise ParameterError(f"cases: {options.data} has none with use={options.use!r} among those asked for.")
    whole = evaluate(
        options.model,
        cases,
        options.output,
        threads=options.threads,
        workers=options.workers,
        device=options.device,
        predictions=options.predictions,
    )
    if options.failures:
        from segae import Engine
        from segae.train.failures import draw_failures

        draw_failures(Engine(options.model, options.device), cases, whole, options.output / "failures.png")
    sys.stdout.write((options.output / "figures.md").read_text())
    return 0


def require_torch(command: str) -> None:
    """Raise ParameterError, with the way out, where what training needs is not installed."""
    """Raise `ParameterError` that tells what to install where a command cannot train."""
    missing = [name for name in ("torch", "scipy", "tqdm") if find_spec(name) is None]
    if missing:
        raise ParameterError(f"{command} needs {', '.join(missing)}: pip install 'segae[train]'.")
