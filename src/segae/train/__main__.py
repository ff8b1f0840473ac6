"""What goes with `segae train`: ``python -m segae.train rival | export | segment | redraw | synth | text``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from segae.train.options import add_options, means_of, settings_of


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m segae.train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_rival(commands.add_parser("rival", help="train the paper's recipe, reduced, on the same samples"))
    _add_export(commands.add_parser("export", help="write the model file of a checkpoint"))
    _add_segment(commands.add_parser("segment", help="segmentation networks at several stages, and their predictions"))
    _add_redraw(commands.add_parser("redraw", help="masks that a judge itself would draw, as errors to learn from"))
    _add_synth(commands.add_parser("synth", help="synthetic scans: a sheet to look at, or files"))
    _add_text(commands.add_parser("text", help="how similar the names of structures look to the network"))
    chosen = parser.parse_args(arguments)
    return int(chosen.run(chosen))


def _add_rival(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="labelled scans, see docs/training.md")
    parser.add_argument("--out", type=Path, required=True, help="model file to write")
    parser.add_argument("--samples", type=int, default=40_000, help="samples to learn from, repeats counted")
    parser.add_argument("--depth", type=int, choices=(18, 34, 50, 101, 152), default=18, help="of the ResNet")
    parser.add_argument("--side", type=int, default=128, help="pixels of its input (default: 128; published: 256)")
    add_options(parser, rate=5e-4, samples="3 GB")
    parser.set_defaults(run=_rival)


def _rival(chosen: argparse.Namespace) -> int:
    from segae.train.rival import Settings, export_rival, fit_rival

    settings = Settings(samples=chosen.samples, depth=chosen.depth, side_px=chosen.side, **settings_of(chosen))
    checkpoint = fit_rival(chosen.data, chosen.work, settings, **means_of(chosen))
    export_rival(checkpoint, chosen.out)
    return 0


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

    settings = json.loads(torch.load(chosen.checkpoint, weights_only=True)["settings"])
    held_out = [case for case in data.cases(chosen.data, "train") if case.name in settings["leave_out"]]
    ship(chosen.checkpoint, chosen.out, chosen.out.stem, held_out)
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

    from segae.train.data import HELD_OUT
    from segae.train.segmenter import Plan, run

    torch.set_num_threads(chosen.threads)
    leave_out = HELD_OUT if chosen.leave_out is None else tuple(chosen.leave_out)
    plan = Plan(stages=tuple(sorted(chosen.stages))) if chosen.stages else Plan()
    run(chosen.data, chosen.out, plan, leave_out, tuple(chosen.use))
    return 0


def _add_redraw(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="model file whose expected masks are put together")
    parser.add_argument("--data", type=Path, required=True, help="folder with cases.csv and the scans")
    parser.add_argument("--out", type=Path, required=True, help="folder for the predictions")
    parser.set_defaults(run=_redraw)


def _redraw(chosen: argparse.Namespace) -> int:
    from segae.train.redraw import redraw_cases

    redraw_cases(chosen.model, chosen.data, chosen.out)
    return 0


def _add_synth(parser: argparse.ArgumentParser) -> None:
    from segae.train import synth_cli

    synth_cli.add_arguments(parser)
    parser.set_defaults(run=synth_cli.run)


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
