"""Score what TotalSegmentator wrote: a folder with one file a structure, or one multilabel file (`--ml`).

    TotalSegmentator -i ct.nii.gz -o segmentations
    python examples/totalsegmentator_output.py ct.nii.gz segmentations
    python examples/totalsegmentator_output.py ct.nii.gz segmentation.nii.gz    # TotalSegmentator --ml, version 2

Prints the structures with the lowest predicted Dice first. Structures that the scan does not show are empty files; they
are counted, not judged. Names that segae does not know are left out and told.
"""

from __future__ import annotations

import sys
from pathlib import Path

import segae


def assess(engine: segae.Engine, ct: Path, segmentation: Path) -> list[segae.Assessment]:
    """Every structure of a folder or of a multilabel file."""
    if not segmentation.is_dir():
        return list(engine.assess_labels(ct, segmentation, "totalsegmentator_v2").values())
    masks = {}
    for path in sorted(segmentation.glob("*.nii.gz")):
        try:
            masks[segae.structures.get(path.name.removesuffix(".nii.gz")).name] = path
        except segae.UnknownStructureError:
            print(f"left out: {path.name}")
    found = engine.assess_masks(ct, masks, on_error="return")
    for path, entry in zip(masks.values(), found, strict=True):
        if isinstance(entry, segae.SegaeError):
            print(f"{path.name}: {entry}")
    return [entry for entry in found if isinstance(entry, segae.Assessment)]


def main(ct: Path, segmentation: Path) -> None:
    found = assess(segae.Engine(), ct, segmentation)
    shown = [entry for entry in found if entry.dice == entry.dice]  # nan: empty
    for entry in sorted(shown, key=lambda entry: entry.dice):
        print(f"{entry.dice:.2f}  {entry.structure}  {' '.join(flag.name for flag in entry.flags)}".rstrip())
    print(f"{len(shown)} structures, {len(found) - len(shown)} empty")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
