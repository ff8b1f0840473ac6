"""Where training samples come from: scans as data sets lay them out, and what networks made of them."""

from __future__ import annotations

import dataclasses

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from segae import _core, structures
from segae.train import data, sources, synthesis

SPACING_MM = (3.0, 2.0, 2.0)
LIVER, SPLEEN = (structures.get(name).id for name in ("liver", "spleen"))


def _scan() -> data.LabelledScan:
    labels = np.zeros((24, 48, 48), np.uint8)
    labels[4:20, 10:30, 8:24] = LIVER
    labels[6:16, 14:26, 30:42] = SPLEEN
    image = np.where(labels > 0, 60, -100).astype(np.int16)
    return data.LabelledScan("made_up", image, labels, {"liver": (LIVER,), "spleen": (SPLEEN,)}, SPACING_MM)


def test_predictions_are_warped_with_the_scan():
    scan = _scan()
    scan = dataclasses.replace(scan, predictions=(scan.labelmap.copy(),))
    changed = sources.augmenting([scan])(np.random.default_rng(3))
    assert np.array_equal(changed.predictions[0], changed.labelmap)
    assert _core.scan(changed.labelmap, 1)["labels"]


def test_a_totalsegmentator_folder_can_be_trained_on(tmp_path):
    """Masks that overlap keep all their voxels; left and right lobes make up the lungs."""
    shape, affine = (20, 16, 12), np.diag([-2.0, -2.0, 3.0, 1.0])
    folder = tmp_path / "s001" / "segmentations"
    folder.mkdir(parents=True)
    nib.save(nib.Nifti1Image(np.full(shape, 40, np.int16), affine), folder.parent / "ct.nii.gz")
    masks = {name: np.zeros(shape, np.uint8) for name in ("liver", "spleen", "heart")}
    masks["liver"][2:10, 2:10, 2:8] = 1
    masks["spleen"][8:16, 4:12, 2:8] = 1
    masks["heart"][4:9, 4:9, 1:4] = 1
    for name, mask in masks.items():
        nib.save(nib.Nifti1Image(mask, affine), folder / f"{name}.nii.gz")
    (case,) = data.cases(tmp_path, "train")
    scan = data.load(case)
    for name, mask in masks.items():
        assert np.array_equal(scan.mask(name), mask.transpose(2, 1, 0) > 0)
    assert len(synthesis.Visit(scan, np.random.default_rng(0)).draw(5)) == 5
