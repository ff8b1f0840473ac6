"""The command `segae perturb`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from segae.errors import ParameterError


def add_parser(commands: Any) -> None:
    """Add `segae perturb` to argparse's subparsers; its `run` takes the parsed options and returns the exit code."""
    from segae.perturbation.kinds import KINDS

    command = commands.add_parser("perturb", help="damage a mask as people and networks do, with known quality")
    command.add_argument("mask", metavar="MASK", help="mask, any format that nibabel reads")
    command.add_argument("--kind", default="random", help=f"random, {', '.join(KINDS)}; default: random")
    how = command.add_mutually_exclusive_group()
    how.add_argument("--severity", type=float, metavar="S", help="0 leaves the mask as it is, 1 is the strongest")
    how.add_argument("--target-dice", type=float, metavar="D", help="Dice that the result shall have")
    how.add_argument("--params", type=Path, metavar="JSON", help="do again what --params-out wrote")
    command.add_argument("--seed", type=int, default=0, help="of what is drawn; default: 0")
    command.add_argument("--label", type=int, help="value of the structure, if MASK holds others than 0 and 1")
    command.add_argument("--image", metavar="CT", help="CT in HU on the mask's grid; `leak` needs it")
    command.add_argument("--labelmap", metavar="LABELS", help="neighbours; `swap`, `merge` and `split` need it")
    command.add_argument("--structure", metavar="NAME", help="what the mask shows; `rater` knows ten structures")
    command.add_argument("-o", "--output", type=Path, metavar="OUT", help="the damaged mask (.nii.gz)")
    command.add_argument("--params-out", type=Path, metavar="JSON", help="what was done, to be done again")
    command.add_argument("--gallery", type=Path, metavar="PNG", help="picture of every kind at three severities")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Damage the mask and say how bad it is; or draw the gallery; or both."""
    if not options.output and not options.gallery:
        raise ParameterError("output: say where the damaged mask goes (-o OUT.nii.gz), or --gallery PNG.")
    if options.gallery:
        _gallery(options)
        print(options.gallery)
    if options.output:
        _perturb(options)
    return 0


def _gallery(options: argparse.Namespace) -> None:
    from segae.perturbation.gallery import draw_gallery
    from segae.perturbation.opened import open_scene

    opened = open_scene(
        options.mask, image=options.image, labelmap=options.labelmap, structure=options.structure, label=options.label
    )
    draw_gallery(opened.scene, options.gallery, options.seed)


def _perturb(options: argparse.Namespace) -> None:
    from segae.label_names import read_json
    from segae.perturbation import perturb_many
    from segae.perturbation.api import perturb_again
    from segae.readers import save_on_grid

    common = {name: getattr(options, name) for name in ("image", "labelmap", "structure", "label")}
    if options.params:
        made = perturb_again(options.mask, read_json(options.params, "params"), **common)
    else:
        made = perturb_many(
            options.mask,
            1,
            kinds=options.kind,
            severity=options.severity,
            target_dice=options.target_dice,
            seed=options.seed,
            **common,
        )[0]
    save_on_grid(np.asarray(made.mask), options.mask, options.output)
    if options.params_out:
        options.params_out.write_text(json.dumps(made.params, indent=2, allow_nan=False) + "\n")
    name = made.params["kind"]
    if name == "random":
        name = " then ".join(step["kind"] for step in made.params["steps"])
    print(
        f"{name}: Dice {made.dice:.3f}, precision {made.precision:.3f}, recall {made.recall:.3f}, "
        f"NSD at 2 mm {made.nsd:.3f}"
    )
