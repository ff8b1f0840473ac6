"""After inference with TotalSegmentator or nnU-Net: which structures of the result should a person look at?

    python examples/check_prediction.py ct.nii.gz segmentation.nii.gz totalsegmentator_v2
    python examples/check_prediction.py ct.nii.gz prediction.nii.gz dataset.json       # nnU-Net's names
    python examples/check_prediction.py                                                # synthetic

Exits with 1 when a structure is predicted below the threshold, so that a pipeline can stop there. Names that segae does
not know are an error; leave them out of the JSON file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import segae
from segae import demo

THRESHOLD = 0.6


def names_of(argument: str) -> Mapping[int, str] | str:
    if not argument.endswith(".json"):
        return argument
    labels = json.loads(Path(argument).read_text(encoding="utf-8"))["labels"]
    return {int(value): name for name, value in labels.items() if name != "background"}


def main() -> int:
    engine = segae.Engine()
    if len(sys.argv) > 1:
        ct, labelmap, names = sys.argv[1:]
        found = engine.assess_labels(ct, labelmap, names_of(names))
    else:
        image, masks = demo.phantom()
        masks["spleen"] = segae.perturb(masks["spleen"], "shift", spacing=demo.SPACING_MM, target_dice=0.3, seed=1)
        prediction = np.zeros(image.shape, np.uint8)
        for value, mask in enumerate(masks.values(), start=1):
            prediction[mask > 0] = value
        found = engine.assess_labels(image, prediction, dict(enumerate(masks, start=1)), spacing=demo.SPACING_MM)
    doubtful = [name for name, entry in found.items() if entry.dice < THRESHOLD]
    for name, entry in sorted(found.items(), key=lambda item: item[1].dice):
        print(f"{entry.dice:.2f}  {name}  {'; '.join(flag.detail for flag in entry.flags)}")
    print(f"{len(doubtful)} of {len(found)} below {THRESHOLD}")
    return 1 if doubtful else 0


if __name__ == "__main__":
    sys.exit(main())
