"""Score what nnU-Net predicted: a folder of predictions beside the images they were made from, worst first.

    python examples/nnunet_predictions.py imagesTs predictions dataset.json > scores.csv

`imagesTs` holds ID_0000.nii.gz and so on, `predictions` ID.nii.gz. Names and the channel that is CT come from the
dataset.json in nnU-Net's raw folder, which lies beside the predictions too, where nnUNetv2_predict put it. Names that
segae does not know are left out and told on stderr. The exit code is 1 when a case has no image.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import segae


def known_names(labels: dict[str, object]) -> dict[int, str]:
    """Value -> structure of plain labels; regions and what segae has no name for are left out."""
    found = {}
    for name, value in labels.items():
        if name == "background" or not isinstance(value, int):
            continue
        try:
            found[value] = segae.structures.get(name).name
        except segae.UnknownStructureError as error:
            print(f"left out: {error}", file=sys.stderr)
    return found


def main(images: Path, predictions: Path, dataset: Path) -> int:
    described = json.loads(dataset.read_text(encoding="utf-8"))
    channels = described.get("channel_names", {"0": "CT"})
    channel = next((int(number) for number, name in channels.items() if name.lower() == "ct"), 0)
    names = known_names(described["labels"])
    engine, rows, missing = segae.Engine(), [], 0
    for prediction in sorted(predictions.glob("*.nii.gz")):
        case = prediction.name.removesuffix(".nii.gz")
        image = images / f"{case}_{channel:04}.nii.gz"
        if not image.exists():
            print(f"no image {image}", file=sys.stderr)
            missing += 1
            continue
        for name, found in engine.assess_labels(image, prediction, names).items():
            flags = " ".join(flag.name for flag in found.flags)
            rows.append((case, name, round(found.dice, 4), round(found.precision, 4), round(found.recall, 4), flags))
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("case", "structure", "dice", "precision", "recall", "flags"))
    writer.writerows(sorted(rows, key=lambda row: row[2]))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:4])))
