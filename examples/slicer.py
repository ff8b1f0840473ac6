"""3D Slicer: take a doubtful mask of an audit into Slicer, and bring back what was corrected there as a decision.

    python examples/slicer.py export OUT 1 worst.seg.nrrd      # the mask of rank 1, with segae's error map
    python examples/slicer.py import OUT 1 corrected.nii.gz    # writes decisions.csv
    segae audit --decisions decisions.csv -o OUT

Three segments, on the slices that segae looked at: "agreed", "given only" (too much, says segae), "expected only"
(missing). Correct the mask in Slicer and export it as a labelmap on the CT's grid. A mask that was changed by more than
2 % of Dice counts as rejected, another one as accepted.
"""

from __future__ import annotations

import csv
import gzip
import sys
from pathlib import Path

import numpy as np

import segae
from segae import audit
from segae.volume import load_pair

SEGMENTS = (("given only", "0.9 0.62 0"), ("expected only", "0.34 0.71 0.91"), ("agreed", "0 0.62 0.45"))


def export(row: audit.MaskRow, path: Path) -> None:
    ct, volume = load_pair(row.image, row.mask)  # [z, y, x], LPS
    mask = np.isin(volume.array, row.labels or (1,))
    found = segae.assess(ct.array, mask, row.structure, spacing=ct.spacing_mm, error_map=True)
    labels = np.zeros(mask.shape, np.uint8)
    for score in found.slices:
        expected = score.expected.on_slice(mask.shape[1:]) > 0.5 if score.expected else np.zeros(mask.shape[1:], bool)
        labels[score.index] = mask[score.index] + 2 * expected  # 1 given only, 2 expected only, 3 both
    to_lps = np.diag([-1, -1, 1]) @ ct.affine[:3, [2, 1, 0, 3]]  # columns: steps along x, y, z, then the first voxel
    vectors = ["(" + ",".join(f"{value:.9g}" for value in column) + ")" for column in to_lps.T]
    header = (
        f"NRRD0004\ntype: uint8\ndimension: 3\nencoding: gzip\nspace: left-posterior-superior\n"
        f"sizes: {' '.join(map(str, mask.shape[::-1]))}\nspace directions: {' '.join(vectors[:3])}\n"
        f"kinds: domain domain domain\nspace origin: {vectors[3]}\n"
    )
    for number, (name, color) in enumerate(SEGMENTS):
        facts = {"ID": f"Segment_{number + 1}", "Name": name, "Color": color, "LabelValue": number + 1, "Layer": 0}
        header += "".join(f"Segment{number}_{key}:={value}\n" for key, value in facts.items())
    path.write_bytes(f"{header}\n".encode() + gzip.compress(labels.tobytes()))


def decide(row: audit.MaskRow, corrected: Path) -> None:
    before = np.isin(load_pair(row.image, row.mask)[1].array, row.labels or (1,))
    ct, after = load_pair(row.image, corrected)
    alike = segae.measure(before, after.array > 0, spacing=ct.spacing_mm).dice >= 0.98
    with Path("decisions.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(("case", "structure", "source", "decision", "note"))
        csv.writer(file).writerow((row.case_id, row.structure, row.source, "accept" if alike else "reject", corrected))


if __name__ == "__main__":
    task, out, place, path = sys.argv[1:]
    (export if task == "export" else decide)(audit.rank(audit.load(out))[int(place) - 1].mask, Path(path))
