"""The command ``python -m segae_lab study``."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from segae.errors import ParameterError


def add_parser(commands: Any) -> None:
    """Add ``study`` to argparse's subparsers; its `run` takes the parsed options and returns the exit code."""
    command = commands.add_parser("study", help="the paper's studies in small: cost, active learning, pseudo-labels")
    command.add_argument("study", choices=("cost", "active", "semi"))
    command.add_argument("--work", type=Path, required=True, help="folder for scans and finished runs; goes on there")
    command.add_argument("--data", type=Path, default=os.environ.get("SEGAE_DATA"),
                         help="folder of anatomy/ and data/ (default: $SEGAE_DATA); not for cost")  # fmt: skip
    command.add_argument("--atlas", type=Path, help="voxelised anatomy (default: in --work, built where missing)")
    command.add_argument("--size", choices=("small", "large"), default="small", help="large wants a GPU")
    command.add_argument("--model", default="default", help="model file (default: the one in the package)")
    command.add_argument("--device", default="cpu", help='torch device of the segmentation network (default: "cpu")')
    command.add_argument("--seeds", type=int, nargs="+", help="only these; processes can share a study so")
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--out", type=Path, help="write the table there too (Markdown)")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run one study and print its table."""
    import torch

    from segae_lab.study.sizes import SIZES

    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    size = SIZES[options.size]
    if options.seeds is not None:
        size = replace(size, seeds=tuple(options.seeds))
    if options.study == "cost":
        from segae_lab.study.cost import run_cost

        table = run_cost(options.model, options.size, options.device, options.threads)
    else:
        table = _learning(options, size)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(table, encoding="utf-8")
    sys.stdout.write(table + "\n")
    return 0


def _learning(options: argparse.Namespace, size: Any) -> str:
    from segae import Engine
    from segae_lab.study.active import run_active
    from segae_lab.study.scans import study_scans
    from segae_lab.study.semi import run_semi

    if options.data is None:
        raise ParameterError("data: not given and SEGAE_DATA is not set; name the folder that holds data/cases.csv.")
    folder = Path(options.data)
    atlas = options.atlas or options.work / "atlas.npz"
    scans = study_scans(folder, atlas, options.work / "scans", size)
    engine = Engine(options.model, threads=options.threads)
    chosen = run_active if options.study == "active" else run_semi
    return chosen(scans, size, engine, options.work, options.device)
