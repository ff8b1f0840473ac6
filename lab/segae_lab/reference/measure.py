"""How reliable the network is for each structure: Dice with held-out contours, as users' scans are segmented.

``python -m segae_lab.reference.measure MODEL.onnx DATA OUT.json``
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from segae.reference.builtin import BuiltInReference
from segae.reference.network import ReferenceNetwork
from segae.threads import available_threads
from segae.volume import Geometry, load
from segae_lab.reference.classes import CLASSES
from segae_lab.reference.scans import UNDECIDED, PartlyLabelled, load_scans

LEAST_DICE = 0.8
_LEAST_VOXELS = 200  # of a structure that a scan shows


def dice_of(scan: PartlyLabelled, network: ReferenceNetwork) -> dict[str, float]:
    """Dice of every class that a scan's labels know, over the slices that know it."""
    image = load(scan.hu, "image", Geometry(spacing=scan.spacing_mm))
    reference = BuiltInReference(image, network, available_threads())
    reference.whole()
    found = {}
    for index, name in enumerate(CLASSES):
        truth = (scan.labels == 1 + index) & scan.known[:, index, None, None]
        if np.count_nonzero(truth) < _LEAST_VOXELS:
            continue
        counted = scan.known[:, index, None, None] & (scan.labels != UNDECIDED)
        mine = reference.on_image_grid(name) & counted
        found[name] = float(2 * (mine & truth).sum() / (mine.sum() + truth.sum()))
    return found


def reliability(each: dict[str, dict[str, float]]) -> dict[str, float]:
    """Structure -> mean Dice over held-out scans, for those that the network may speak for."""
    means = {name: float(np.mean([d[name] for d in each.values() if name in d])) for name in CLASSES
             if any(name in d for d in each.values())}  # fmt: skip
    return {name: round(mean, 3) for name, mean in means.items() if mean >= LEAST_DICE}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    network = ReferenceNetwork(arguments.model, "cpu")
    each = {scan.case: dice_of(scan, network) for scan in load_scans(arguments.data, hold_out=True, teachers=False)}
    for name in CLASSES:
        print(f"{name:20}", " ".join(f"{case} {d[name]:.3f}" for case, d in each.items() if name in d))  # noqa: T201
    arguments.out.write_text(json.dumps(reliability(each), indent=1))


if __name__ == "__main__":
    main()
