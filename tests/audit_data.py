"""Small datasets on disk, made of the phantom."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import nibabel as nib
import numpy as np
import phantom

AFFINE = np.diag([-5.0, -5.0, 5.0, 1.0])
NAMES = tuple(phantom.LABELS.values())


def save(array: phantom.Array, path: Path) -> Path:
    """Write an array [z, y, x]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array.transpose(), AFFINE), path)
    return path


def image(seed: int = 0) -> phantom.Array:
    return phantom.image(np.random.default_rng(seed))


def mask(name: str) -> phantom.Array:
    label = {known: label for label, known in phantom.LABELS.items()}[name]
    return (phantom.labelmap() == label).astype(np.uint8)


def write_case(folder: Path, names: Iterable[str] = NAMES, seed: int = 0) -> Path:
    """CASE/ct.nii.gz and CASE/segmentations/NAME.nii.gz."""
    save(image(seed), folder / "ct.nii.gz")
    for name in names:
        save(mask(name), folder / "segmentations" / f"{name}.nii.gz")
    return folder


def write_nnunet(root: Path, ids: Iterable[str] = ("a", "b")) -> Path:
    """Two channels, of which the second is the CT; a region of two organs."""
    for seed, case in enumerate(ids):
        save(image(seed) * 0, root / "imagesTr" / f"{case}_0000.nii.gz")
        save(image(seed), root / "imagesTr" / f"{case}_0001.nii.gz")
        save(phantom.labelmap(), root / "labelsTr" / f"{case}.nii.gz")
    labels = {"background": 0, "Leber": 1, "spleen": 2, "left kidney": 3, "right kidney": 4, "L1 vertebra": [1, 2]}
    told = {"channel_names": {"0": "PET", "1": "CT"}, "labels": labels, "file_ending": ".nii.gz", "numTraining": 2}
    (root / "dataset.json").write_text(json.dumps(told))
    return root
