"""Input that nobody means well with: sizes that are not there, numbers that are none, arguments of the C++ core."""

from __future__ import annotations

import gzip
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import segae
from segae import _core
from segae.datasets import find_cases

ROOT = Path(__file__).parents[1]
SHAPE = (24, 20, 12)
HUGE = (30_000, 30_000, 200)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "ct.nii.gz"
    voxels = np.random.default_rng(0).integers(-200, 300, SHAPE).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([-2.0, -2.0, 3.0, 1.0])), path)
    return path


def _claiming(shape: tuple[int, ...]) -> bytes:
    """A NIfTI file whose header claims a shape, with voxels for `SHAPE`."""
    image = nib.Nifti1Image(np.zeros(SHAPE, np.int16), np.diag([-2.0, -2.0, 3.0, 1.0]))
    image.header["dim"][1:4] = shape
    return image.header.binaryblock + bytes(4) + bytes(2 * int(np.prod(SHAPE)))


@pytest.mark.parametrize("name", ["mask.nii", "mask.nii.gz"])
@pytest.mark.parametrize("shape", [HUGE, (-5, 20, 12), (32767, 32767, 32767)])
def test_a_header_that_claims_more_than_the_file_can_hold(tmp_path, image, name, shape) -> None:
    path, data = tmp_path / name, _claiming(shape)
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    begun = time.monotonic()
    with pytest.raises(segae.VolumeError, match="mask: "):
        segae.score(image, path, "liver")
    assert time.monotonic() - begun < 5, "memory is not asked for before"


def test_a_small_gzip_of_many_zeros_is_no_bomb(tmp_path, image) -> None:
    """A file that holds what it claims is read; zeros compress to a thousandth."""
    path = tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((300, 300, 100), np.uint8), np.diag([-2.0, -2.0, 3.0, 1.0])), path)
    with pytest.raises(segae.VolumeError, match="shape"):
        segae.score(image, path, "liver")


@pytest.mark.parametrize("value", [1e30, -1e30, 2.0**63])
def test_labels_that_no_integer_holds(tmp_path, image, value) -> None:
    mask = np.zeros(SHAPE, np.float32)
    mask[5:9] = value
    path = tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image(mask, np.diag([-2.0, -2.0, 3.0, 1.0])), path)
    with pytest.raises(segae.SegaeError, match="mask"):
        segae.score(image, path, "liver")
    with pytest.raises(segae.SegaeError, match="labelmap"):
        segae.assess_labels(image, path, {5: "liver"})


def test_a_row_that_ends_early(tmp_path) -> None:
    table = tmp_path / "set.csv"
    table.write_text("structure,case,image,mask\nliver,a\nliver,b,ct.nii.gz,liver.nii.gz,more,cells\n", "utf-8")
    found = find_cases(table)
    assert any("line 2: no image or no mask" in problem for problem in found.problems)
    assert [case.id for case in found.cases] == ["b"]


BOX = _core.Box([0, 0, 0], [2, 3, 4], [1.0, 1.0, 1.0])
ONES = np.ones((2, 3, 4), np.uint8)


def test_levels_below_zero_flip_first() -> None:
    level = np.full((2, 3, 4), -5.0, np.float32)
    level[0, 0] = np.nan, -np.inf, 0.5, 9.0
    counts = _core.level_histogram(BOX, ONES, level, ONES, 8.0, 4, 1)
    assert counts[:, 1, 1].tolist() == [22, 0, 0, 0], "all but the one that is no number and the one above `most`"


@pytest.mark.parametrize(("most", "bins"), [(np.inf, 4), (8.0, 2**60), (8.0, 0), (np.nan, 4)])
def test_bins_that_no_memory_holds(most, bins) -> None:
    with pytest.raises(ValueError, match="bins"):
        _core.level_histogram(BOX, ONES, ONES.astype(np.float32), ONES, most, bins, 1)


@pytest.mark.parametrize("shape", [(2**62, 2, 2), (2**40, 2**40, 1), (0, 1, 1)])
def test_boxes_that_no_memory_holds(shape) -> None:
    with pytest.raises(ValueError, match="shape"):
        _core.Box([0, 0, 0], shape, [1.0, 1.0, 1.0])


def test_a_box_beyond_the_largest_integer() -> None:
    with pytest.raises(ValueError, match="origin"):
        _core.Box([2**63 - 1, 0, 0], [1, 1, 1], [1.0, 1.0, 1.0])
    with pytest.raises(IndexError, match="leaves"):
        _core.extract_mask(ONES, 1, _core.Box([2**39, 0, 0], [2, 3, 4], [1.0, 1.0, 1.0]), 1)


@pytest.mark.parametrize("sigma", [np.inf, np.nan, -1.0, 1e300])
def test_blurs_of_no_width(sigma) -> None:
    with pytest.raises(ValueError, match="sigma"):
        _core.blur(BOX, ONES.astype(np.float32), sigma, 1)
    with pytest.raises(ValueError, match="sigma"):
        _core.roughness(BOX, ONES.astype(np.float32), sigma, 1)


@pytest.mark.parametrize("offset", [1e300, -1e300, np.nan, np.inf])
def test_what_is_warped_from_nowhere_is_empty(offset) -> None:
    result, _ = _core.warp(BOX, ONES, BOX, _core.Map(offset_mm=[offset, 0, 0]), ONES, 1, 1)
    assert not result.any()


def test_values_that_are_no_numbers_are_no_hu() -> None:
    image = np.full((2, 3, 4), 7.0, np.float32)
    image[0, 0, :2] = np.nan
    assert list(_core.image_moments(BOX, image, ONES, 1)) == [22, 22 * 7, 22 * 49]


@pytest.mark.slow
@pytest.mark.parametrize("campaign", [["kernels.py", "--calls", "60"], ["readers.py", "--files", "60"]])
def test_campaigns_in_small(tmp_path, campaign) -> None:
    command = [sys.executable, str(ROOT / "tests" / "campaign" / campaign[0]), *campaign[1:], "--seed", "99"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
