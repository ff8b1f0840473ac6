"""The laboratory's commands: ``python -m segae_lab train | rival | segment | redraw | masks | synth | study``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from segae.cli import train
from segae.errors import SegaeError
from segae.train.options import add_options, means_of, settings_of
from segae_lab import sources
from segae_lab.study import cli as study


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m segae_lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_train(commands.add_parser("train", help="as `segae train`, with synthetic scans and scans without labels"))
    _add_rival(commands.add_parser("rival", help="train the paper's recipe, reduced, on the same samples"))
    _add_segment(commands.add_parser("segment", help="segmentation networks at several stages, and their predictions"))
    _add_redraw(commands.add_parser("redraw", help="masks that a judge itself would draw, as errors to learn from"))
    _add_masks(commands.add_parser("masks", help="masks that the built-in reference draws, as errors to learn from"))
    _add_synth(commands.add_parser("synth", help="synthetic scans: a sheet to look at, or files"))
    study.add_parser(commands)
    chosen = parser.parse_args(arguments)
    try:
        return int(chosen.run(chosen))
    except SegaeError as error:
        sys.stderr.write(f"segae_lab: {error}\n")
        return 2


def _add_train(parser: argparse.ArgumentParser) -> None:
    train.add_train_options(parser)
    sources.add_options(parser)
    parser.set_defaults(run=_train)


def _train(chosen: argparse.Namespace) -> int:
    more = sources.more_scans(chosen.data, chosen.work, chosen.atlas)
    return train.run_train(chosen, sources.chosen_shares(chosen), more)


def _add_rival(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="labelled scans, see docs/training.md")
    parser.add_argument("--out", type=Path, required=True, help="model file to write")
    parser.add_argument("--samples", type=int, default=40_000, help="samples to learn from, repeats counted")
    parser.add_argument("--depth", type=int, choices=(18, 34, 50, 101, 152), default=18, help="of the ResNet")
    parser.add_argument("--side", type=int, default=128, help="pixels of its input (default: 128; published: 256)")
    add_options(parser, rate=5e-4, samples="3 GB")
    sources.add_options(parser)
    parser.set_defaults(run=_rival)


def _rival(chosen: argparse.Namespace) -> int:
    from segae_lab.rival import Settings, export_rival, fit_rival

    settings = Settings(
        samples=chosen.samples,
        depth=chosen.depth,
        side_px=chosen.side,
        shares=sources.chosen_shares(chosen),
        **settings_of(chosen),
    )
    more = sources.more_scans(chosen.data, chosen.work, chosen.atlas)
    checkpoint = fit_rival(chosen.data, chosen.work, settings, more=more, **means_of(chosen))
    export_rival(checkpoint, chosen.out)
    return 0


def _add_segment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder with cases.csv and the scans")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and predictions")
    parser.add_argument("--stages", type=int, nargs="+", help="steps after which the networks are kept; the last ends")
    parser.add_argument("--use", nargs="+", default=["train"], help="cases to predict (default: train)")
    parser.add_argument("--leave-out", nargs="*", help="training cases that neither network learns from")
    parser.add_argument("--threads", type=int, default=1)
    parser.set_defaults(run=_segment)


def _segment(chosen: argparse.Namespace) -> int:
    import torch

    from segae.train.data import held_out
    from segae_lab.segmenter import Plan, run

    torch.set_num_threads(chosen.threads)
    leave_out = held_out(chosen.data) if chosen.leave_out is None else tuple(chosen.leave_out)
    plan = Plan(stages=tuple(sorted(chosen.stages))) if chosen.stages else Plan()
    run(chosen.data, chosen.out, plan, leave_out, tuple(chosen.use))
    return 0


def _add_redraw(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="model file whose expected masks are put together")
    parser.add_argument("--data", type=Path, required=True, help="folder with cases.csv and the scans")
    parser.add_argument("--out", type=Path, required=True, help="folder for the predictions")
    parser.set_defaults(run=_redraw)


def _redraw(chosen: argparse.Namespace) -> int:
    from segae_lab.redraw import redraw_cases

    redraw_cases(chosen.model, chosen.data, chosen.out)
    return 0


def _add_masks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder with cases.csv and the scans")
    parser.add_argument("--out", type=Path, required=True, help="folder for the masks")
    parser.set_defaults(run=_masks)


def _masks(chosen: argparse.Namespace) -> int:
    from segae_lab.reference.masks import draw_masks

    draw_masks(chosen.data, chosen.out)
    return 0


def _add_synth(parser: argparse.ArgumentParser) -> None:
    from segae_lab.synthetic import cli

    cli.add_arguments(parser)
    parser.set_defaults(run=cli.run)


if __name__ == "__main__":
    sys.exit(main())
