"""``python -m segae_lab synth``: a sheet of generated slices beside real ones, or a folder of generated scans."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np

from segae.errors import ParameterError
from segae_lab.synthetic.anatomy import load_atlas
from segae_lab.synthetic.body import REGIONS
from segae_lab.synthetic.ct import generate
from segae_lab.synthetic.sheet import write_sheet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``synth``."""
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--sheet", type=Path, metavar="PNG", help="write generated slices beside real ones")
    task.add_argument("--count", type=int, metavar="N", help="write N scans to the folder -o")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder of the scans, one npz each")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first scan; the others follow (default 1)")
    parser.add_argument("--region", choices=list(REGIONS), help="part of the body (default: drawn)")
    parser.add_argument("--rows", type=int, default=6, help="rows of the sheet (default 6)")
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("SEGAE_DATA"),
        help="folder of anatomy/ and data/ (default: $SEGAE_DATA)",
    )
    parser.add_argument(
        "--cache", type=Path, default=Path("work/atlas.npz"), help="the voxelised atlas; built where missing (minutes)"
    )


def run(args: argparse.Namespace) -> int:
    """Do what was asked; returns the exit status."""
    if args.data is None:
        raise ParameterError("--data: not given and SEGAE_DATA is not set; name the folder that holds anatomy/")
    if args.count is not None and args.output is None:
        raise ParameterError("--count: -o is missing; name the folder that the scans go to")
    data = Path(args.data)
    atlas = load_atlas(args.cache, data / "anatomy")
    if args.sheet is not None:
        write_sheet(args.sheet, atlas, data, seed=args.seed, rows=args.rows)
        return 0
    args.output.mkdir(parents=True, exist_ok=True)
    for seed in range(args.seed, args.seed + args.count):
        made = generate(seed, atlas, region=args.region)
        np.savez_compressed(args.output / f"synth{seed:06d}.npz", ct=made.ct, labels=made.labels,
                            spacing_mm=np.array(made.spacing_mm), meta=np.array(json.dumps(made.meta)))  # fmt: skip
    return 0
