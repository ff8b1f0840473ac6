"""Active learning: which masks should an expert look at next?

    python examples/next_to_annotate.py liver scan1_ct.nii.gz scan1_liver.nii.gz scan2_ct.nii.gz scan2_liver.nii.gz ...
    python examples/next_to_annotate.py            # synthetic

Prints the masks with the lowest predicted Dice first, and where in them to look.
"""

from __future__ import annotations

import sys

import numpy as np

import segae
from segae import demo


def rank(
    engine: segae.Engine, cases: dict[str, tuple[object, object]], structure: str, **geometry: object
) -> list[tuple[str, segae.Assessment]]:
    """Worst first; masks that are empty lead, since they may be missing altogether."""
    found = {name: engine.assess(image, mask, structure, **geometry) for name, (image, mask) in cases.items()}
    return sorted(found.items(), key=lambda entry: -1.0 if np.isnan(entry[1].dice) else entry[1].dice)


def synthetic() -> dict[str, tuple[object, object]]:
    image, masks = demo.phantom()
    liver = masks["liver"]
    made = {
        "good": liver,
        "shifted": segae.perturb(liver, "shift", spacing=demo.SPACING_MM, target_dice=0.6, seed=1),
        "truncated": segae.perturb(liver, "truncate", spacing=demo.SPACING_MM, target_dice=0.7, seed=1),
        "missing": np.zeros_like(liver),
    }
    return {name: (image, mask) for name, mask in made.items()}


def main() -> None:
    engine = segae.Engine()
    if len(sys.argv) > 1:
        structure, *paths = sys.argv[1:]
        ranked = rank(engine, {mask: (ct, mask) for ct, mask in zip(paths[::2], paths[1::2], strict=True)}, structure)
    else:
        ranked = rank(engine, synthetic(), "liver", spacing=demo.SPACING_MM)
    for name, found in ranked:
        worst = min((s for s in found.slices if s.area_mm2 > 0), key=lambda s: s.dice, default=None)
        where = "" if worst is None else f", worst slice {worst.index}"
        print(f"{found.dice:.2f}  {name}{where}  {', '.join(flag.name for flag in found.flags)}")


if __name__ == "__main__":
    main()
