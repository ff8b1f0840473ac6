"""Does the mask that a judge expects stay with the structure that was named, when a neighbour's mask is given for it?

``python lab/benchmarks/named_structure.py DATA MODEL [MODEL ...]`` takes the held-out training scans (``--use dev``:
the dev scans). Every structure is given the mask of each of its three nearest neighbours. Counted are slices in which
the crop shows at least a quarter of a cm2 of both: how well the expected mask agrees with the true one of the
structure that was named (Dice, wanted: high), and with the mask that was given (wanted: low).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segae import Engine
from segae.train import data
from segae.train.data import LabelledScan
from segae.train.synthesis import structure_boxes

NEIGHBOURS = 3
LEAST_MM2 = 25.0

Bool = npt.NDArray[np.bool_]


def pairs(scan: LabelledScan) -> Iterator[tuple[str, str]]:
    """Structures and those nearest to them that share no voxel with them, as (named, given)."""
    boxes = structure_boxes(scan)
    middles = {name: box.mean(axis=0) * scan.spacing_mm for name, box in boxes.items()}
    for named in boxes:
        others = [o for o in boxes if not set(scan.parts[o]) & set(scan.parts[named])]
        others.sort(key=lambda o: float(np.linalg.norm(middles[o] - middles[named])))
        for given in others[:NEIGHBOURS]:
            yield named, given


def agreement(engine: Engine, scan: LabelledScan, named: str, given: str) -> Iterator[tuple[float, float]]:
    """Dice of the expected mask with the named structure and with the given mask, slice by slice, within the crop."""
    masks = {name: scan.mask(name) for name in (named, given)}
    said = engine.assess(
        scan.image, masks[given].view(np.uint8), named, spacing=scan.spacing_mm, error_map=True, reference=None
    )
    pixel_mm2 = scan.spacing_mm[1] * scan.spacing_mm[2]
    for score in said.slices:
        if score.area_mm2 == 0 or score.expected is None:
            continue
        window = tuple(
            slice(max(0, round(begin)), min(n, round(end)))
            for (begin, end), n in zip(score.expected.box, scan.image.shape[1:], strict=True)
        )
        expected = score.expected.on_slice(scan.image.shape[1:])[window] > 0.5
        true, wrong = (masks[name][score.index][window] for name in (named, given))
        if min(true.sum(), wrong.sum()) * pixel_mm2 >= LEAST_MM2:
            yield dice(expected, true), dice(expected, wrong)


def dice(one: Bool, other: Bool) -> float:
    """Dice of two masks, the second of which is not empty."""
    return float(2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other)))


def main() -> None:
    """Print a row a model and source."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--use", choices=("train", "dev"), default="train")
    options = parser.parse_args()
    chosen = [case for case in data.cases(options.data, options.use) if case.hold_out or options.use == "dev"]
    print("| model | source | slices | Dice with the named | Dice with the given | nearer to the named |")
    print("| --- | --- | --- | --- | --- | --- |")
    for model in options.models:
        engine = Engine(model)
        found: dict[str, list[tuple[float, float]]] = {}
        for case in chosen:
            scan = data.load(case)
            for named, given in pairs(scan):
                found.setdefault(case.source, []).extend(agreement(engine, scan, named, given))
        for source, rows in found.items():
            named_dice, given_dice = np.array(rows).T
            nearer = np.mean(named_dice > given_dice)
            print(f"| {Path(model).name} | {source} | {len(rows)} | {named_dice.mean():.2f} | {given_dice.mean():.2f}"
                  f" | {nearer:.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
