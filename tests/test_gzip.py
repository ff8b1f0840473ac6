"""Compressed NIfTI through isal or the standard library: what nibabel reads, once through the file."""

from __future__ import annotations

import contextlib
import gzip
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segae.errors import VolumeError
from segae.readers import open_gzip
from segae.volume import Volume, load, load_pair

AFFINE = np.array([[-2.0, 0, 0, 10], [0, 3, 0, 20], [0, 0, -4, 30], [0, 0, 0, 1]])


@pytest.fixture(params=["isal", "gzip"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "isal":
        pytest.importorskip("isal")
    else:
        monkeypatch.setitem(sys.modules, "isal", None)
    return str(request.param)


@pytest.fixture
def values(rng: np.random.Generator) -> Any:
    return rng.integers(-1000, 2000, (5, 6, 7))


def test_which_library(library: str, tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"text"))
    with open_gzip(tmp_path / "a.gz") as file:
        assert type(file).__module__.partition(".")[0] == library
        assert file.read() == b"text"


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", ">f8", "u1"])
def test_as_nibabel(library: str, kind: Any, dtype: str, values: Any, tmp_path: Path) -> None:
    values = (values % 256 if dtype == "u1" else values).astype(dtype)
    image = kind(values, AFFINE)
    image.header.set_data_dtype(dtype)
    if dtype.startswith(">"):
        header = image.header.as_byteswapped(">")
        image = kind(values, AFFINE, header)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"between header and voxels"))
    path = tmp_path / "a.nii.gz"
    nib.save(image, path)
    volume = load(path, "image")
    known = nib.load(path)
    np.testing.assert_array_equal(volume.in_source_order(volume.array), np.asarray(known.dataobj))
    assert volume.spacing_mm == (4, 3, 2)
    assert (volume.slope, volume.intercept) == (1, 0)
    assert volume.array.dtype.isnative


def test_scale(library: str, values: Any, tmp_path: Path) -> None:
    image = nib.Nifti1Image(values.astype(np.int16), AFFINE)
    image.header.set_slope_inter(2, -1024)
    path = tmp_path / "a.nii.gz"
    nib.save(image, path)
    kept, applied = load(path, "image"), load(path, "mask", scaled=True)
    assert (kept.slope, kept.intercept) == (2, -1024)
    assert (applied.slope, applied.intercept) == (1, 0)
    np.testing.assert_allclose(applied.in_source_order(applied.array), nib.load(path).get_fdata())
    np.testing.assert_allclose(kept.array * 2.0 - 1024, applied.array)


def test_memory_that_is_used_again(library: str, values: Any, tmp_path: Path) -> None:
    memory = np.zeros(10_000, np.uint8)
    asked: list[int] = []

    def allocate(size: int) -> Any:
        asked.append(size)
        return memory[:size]

    for number in range(2):
        nib.save(nib.Nifti1Image((values + number).astype(np.int16), AFFINE), tmp_path / f"{number}.nii.gz")
    first = load(tmp_path / "0.nii.gz", "image", allocate=allocate)
    np.testing.assert_array_equal(first.in_source_order(first.array), values)
    load(tmp_path / "1.nii.gz", "image", allocate=allocate)
    np.testing.assert_array_equal(first.in_source_order(first.array), values + 1)
    assert asked == [values.size * 2] * 2


def spoiled(content: bytes, kind: str) -> bytes:
    if kind == "truncated":
        return content[:-20]
    if kind == "checksum":
        return content[:-8] + bytes([content[-8] ^ 1]) + content[-7:]
    if kind == "short":
        return gzip.compress(gzip.decompress(content)[:-10])
    if kind == "empty":
        return b""
    if kind == "empty gzip":
        return gzip.compress(b"")
    return {"text": gzip.compress(b"no image, but long enough to be one" * 20), "no gzip": b"plain text" * 50}[kind]


@pytest.mark.parametrize("kind", ["truncated", "checksum", "short", "empty", "empty gzip", "text", "no gzip"])
def test_damaged(library: str, kind: str, values: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(values.astype(np.int16), AFFINE), path)
    path.write_bytes(spoiled(path.read_bytes(), kind))
    with pytest.raises(VolumeError, match=r"image: .*a\.nii\.gz is (truncated or damaged|not an image)"):
        load(path, "image")


@settings(max_examples=300)
@given(place=st.integers(0, 351), value=st.integers(0, 255))
def test_any_damage_to_the_header_is_told(place: int, value: int) -> None:
    """Or does not matter; nothing else is raised."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.nii.gz"
        content = bytearray(nib.Nifti1Image(np.zeros((5, 6, 7), np.int16), AFFINE).to_bytes())
        content[place] = value
        path.write_bytes(gzip.compress(bytes(content), 1))
        with warnings.catch_warnings(), contextlib.suppress(VolumeError):
            warnings.simplefilter("ignore")  # numpy's, of scales that overflow
            load(path, "image")


def test_a_volume_is_taken_as_it_is(values: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(values.astype(np.int16), AFFINE), path)
    volume = load(path, "image")
    assert load(volume, "image") is volume
    mask = np.zeros(values.shape, np.uint8)  # [x, y, z], as in the file
    mask[0, 1, 2] = 1
    image, beside = load_pair(volume, mask)
    np.testing.assert_array_equal(image.array, volume.array)
    np.testing.assert_array_equal(image.affine, volume.affine)
    assert isinstance(beside, Volume)
    np.testing.assert_array_equal(beside.in_source_order(beside.array), mask)
    assert load_pair(volume, beside) == (volume, beside)
