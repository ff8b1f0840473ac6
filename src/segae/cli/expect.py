"""The command `segae expect`."""

from __future__ import annotations

import argparse
from typing import Any

from segae.cli.printing import print_table


def add_parser(commands: Any) -> None:
    """Add `segae expect` to argparse's subparsers; its `run` takes the parsed options and returns the exit code."""
    command = commands.add_parser(
        "expect",
        help="write the masks that the built-in reference expects in a CT",
        description="For comparison with masks, as `segae labels` makes it; not to be used as labels.",
    )
    command.add_argument("image", metavar="CT", help="CT in HU, any format that nibabel reads")
    command.add_argument("-o", "--output", required=True, metavar="OUT", help="labelmap to write (.nii.gz)")
    command.add_argument("--device", default="auto", help='"auto", "cpu", "cuda" or "cuda:N" (default: auto)')
    command.add_argument("--threads", type=int, help="CPU threads (default: all)")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Segment, write and tell what was found."""
    from segae import structures
    from segae.readers import save_on_grid
    from segae.reference.expect import expect

    found = expect(options.image, device=options.device, threads=options.threads)
    save_on_grid(found.labelmap, options.image, options.output)
    rows = [
        (str(structures.get(name).id), name, f"{ml:.1f}", f"{found.reliability[name]:.2f}")
        for name, ml in found.volume_ml.items()
    ]
    print_table(("value", "structure", "ml", "usual Dice"), rows)
    if found.unsure:
        print(found.unsure)
    print(f"{options.output}: for comparison only; these are a small network's masks, not labels")
    return 0
