"""`segae perturb`: what it writes, prints and returns."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segae.cli import main


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    """Stored as RAS [x, y, z]."""
    voxels = np.zeros((30, 26, 12), np.uint8)
    voxels[6:20, 5:19, 2:10] = 1
    path = tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image(voxels, np.diag([0.9, 0.9, 2.0, 1.0])), path)
    return path


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def test_writes_a_mask_of_the_quality_asked_for_and_replays_it(
    mask: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, params, again = tmp_path / "out.nii.gz", tmp_path / "params.json", tmp_path / "again.nii.gz"
    arguments = ["perturb", str(mask), "--kind", "truncate", "--target-dice", "0.7", "--seed", "1"]
    assert main([*arguments, "-o", str(out), "--params-out", str(params)]) == 0
    assert capsys.readouterr().out.startswith("truncate: Dice 0.")
    damaged, truth = voxels(out), voxels(mask)
    assert 2 * (damaged & truth).sum() / (damaged.sum() + truth.sum()) == pytest.approx(0.7, abs=0.01)
    assert np.allclose(nib.load(out).affine, nib.load(mask).affine)
    assert main(["perturb", str(mask), "--params", str(params), "-o", str(again)]) == 0
    assert np.array_equal(voxels(again), damaged)


def test_gallery_is_a_picture(mask: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    assert main(["perturb", str(mask), "--gallery", str(tmp_path / "all.png")]) == 0
    with image.open(tmp_path / "all.png") as picture:
        assert picture.width > 500


def test_wrong_use_is_told(mask: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perturb", str(mask)]) == 2
    assert "-o OUT" in capsys.readouterr().err
    assert main(["perturb", str(mask), "--kind", "melt", "--severity", "1", "-o", str(tmp_path / "o.nii.gz")]) == 2
    assert "expected one of erode" in capsys.readouterr().err
