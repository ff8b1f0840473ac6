"""Command line of training: ``python -m segae.train fit | rival | export | evaluate | segment | synth | text``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m segae.train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_fit(commands.add_parser("fit", help="train the judge and write its model file"))
    _add_rival(commands.add_parser("rival", help="train the paper's recipe, reduced, on the same samples"))
    _add_export(commands.add_parser("export", help="write the model file of a checkpoint"))
    _add_evaluate(commands.add_parser("evaluate", help="figures of a model file on labelled scans"))
    _add_segment(commands.add_parser("segment", help="segmentation networks at several stages, and their predictions"))
    _add_synth(commands.add_parser("synth", help="synthetic scans: a sheet to look at, or files"))
    _add_text(commands.add_parser("text", help="how similar the names of structures look to the network"))
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
    checkpoint = fit(
        chosen.data, chosen.work, settings, threads=chosen.threads, initial=chosen.initial, atlas=chosen.atlas
    )
    if chosen.out is not None:
        _ship(checkpoint, chosen.out, chosen.data, settings.leave_out)
    return 0


def _add_rival(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder with cases.csv and the scans")
    parser.add_argument("--work", type=Path, required=True, help="folder for samples, checkpoint and log (3 GB)")
    parser.add_argument("--out", type=Path, required=True, help="model file to write")
    parser.add_argument("--samples", type=int, default=40_000, help="samples to learn from, repeats counted")
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--depth", type=int, choices=(18, 34, 50, 101, 152), default=18, help="of the ResNet")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--synthetic", type=float, default=0.5, help="share of samples from synthetic scans")
    parser.add_argument("--atlas", type=Path, help="voxelised anatomy (default: in --work, built where missing)")
    parser.add_argument("--leave-out", nargs="*", help="cases to keep out of training")
    parser.set_defaults(run=_rival)


def _rival(chosen: argparse.Namespace) -> int:
    from segae.train.data import HELD_OUT
    from segae.train.rival import Settings, export_rival, fit_rival

    settings = Settings(
        samples=chosen.samples,
        rate=chosen.rate,
        depth=chosen.depth,
        seed=chosen.seed,
        synthetic=chosen.synthetic,
        leave_out=HELD_OUT if chosen.leave_out is None else tuple(chosen.leave_out),
    )
    checkpoint = fit_rival(chosen.data, chosen.work, settings, threads=chosen.threads, atlas=chosen.atlas)
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

    settings = json.loads(torch.load(chosen.checkpoint, weights_only=True)["settings"])
    _ship(chosen.checkpoint, chosen.out, chosen.data, tuple(settings["leave_out"]))
    return 0


def _ship(checkpoint: Path, out: Path, folder: Path, leave_out: tuple[str, ...]) -> None:
    from segae.train import data
    from segae.train.ship import ship

    ship(checkpoint, out, out.stem, [case for case in data.cases(folder, "train") if case.name in leave_out])


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="model file, or default")
    parser.add_argument("--data", type=Path, required=True, help="folder with cases.csv")
    parser.add_argument("--use", default="dev", help="which cases: the column `use` (default: dev)")
    parser.add_argument("--cases", nargs="+", help="only these")
    parser.add_argument("--out", type=Path, required=True, help="folder for figures.md, .json and tables")
    parser.add_argument("--threads", type=int, help="of each worker")
    parser.add_argument("--failures", type=Path, metavar="PNG", help="draw the masks that were judged worst")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the cases")
    parser.set_defaults(run=_evaluate)


def _evaluate(chosen: argparse.Namespace) -> int:
    from segae.train import data
    from segae.train.evaluate import evaluate

    cases = [case for case in data.cases(chosen.data, chosen.use) if not chosen.cases or case.name in chosen.cases]
    whole = evaluate(chosen.model, cases, chosen.out, threads=chosen.threads, workers=chosen.workers)
    if chosen.failures is not None:
        from segae import Engine
        from segae.train.failures import draw_failures

        draw_failures(Engine(chosen.model), cases, whole, chosen.failures)
    sys.stdout.write((chosen.out / "figures.md").read_text())
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
