"""Files whose suffix, end or content is not what it seems.

Seen in public reports: nipy/nibabel#898, nipy/nibabel#966, bids legacy-validator#44, kits19#5, TotalSegmentator#92.
"""

from __future__ import annotations

import bz2
import gzip
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segae.errors import VolumeError
from segae.readers import header_extensions
from segae.volume import load, load_pair

AFFINE = np.array([[-2.0, 0, 0, 10], [0, 3, 0, 20], [0, 0, -4, 30], [0, 0, 0, 1]])


@pytest.fixture(params=["isal", "gzip"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "isal":
        pytest.importorskip("isal")
    else:
        monkeypatch.setitem(sys.modules, "isal", None)
    return str(request.param)


@pytest.fixture
def image(rng: np.random.Generator) -> nib.Nifti1Image:
    return nib.Nifti1Image(rng.integers(-1000, 2000, (25, 36, 47)).astype(np.int16), AFFINE)


def check(path: Path, image: nib.Nifti1Image) -> None:
    volume = load(path, "image")
    np.testing.assert_array_equal(volume.in_source_order(volume.array), np.asarray(image.dataobj))
    assert volume.spacing_mm == (4, 3, 2)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.NII.GZ", "a", "a.img.part", "a.nii.gz.1", "a.mgz"])
@pytest.mark.parametrize("compressed", [True, False])
def test_content_decides(
    library: str, kind: type, name: str, compressed: bool, image: nib.Nifti1Image, tmp_path: Path
) -> None:
    content = kind(np.asarray(image.dataobj), AFFINE).to_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if compressed else content)
    check(tmp_path / name, image)
    assert header_extensions(str(tmp_path / name)) == []


@pytest.mark.parametrize("tail", [b"x" * 300, b"\0" * 512, b"\n", b"<html>", b"PK\x03\x04" * 2000])
def test_bytes_after_the_gzip_stream(library: str, tail: bytes, image: nib.Nifti1Image, tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(image.to_bytes()) + tail)
    check(path, image)
    np.testing.assert_array_equal(load(nib.load(path), "image").array, load(path, "image").array)


def test_several_gzip_members(library: str, image: nib.Nifti1Image, tmp_path: Path) -> None:
    content = image.to_bytes()
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(content[:9000]) + gzip.compress(content[9000:]) + b"tail")
    check(path, image)
    path.write_bytes((gzip.compress(content[:9000]) + gzip.compress(content[9000:]))[:-40])
    with pytest.raises(VolumeError, match="truncated or damaged"):
        load(path, "image")


def test_a_damaged_file_behind_a_nibabel_image(image: nib.Nifti1Image, tmp_path: Path) -> None:
    nib.save(image, tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").write_bytes((tmp_path / "a.nii.gz").read_bytes()[:-2000])
    with pytest.raises(VolumeError, match=r"image: the image's file is truncated or damaged"):
        load(nib.load(tmp_path / "a.nii.gz"), "image")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a"])
@pytest.mark.parametrize(("content", "says"), [
    (b"", "it is empty"),
    (bytes(5000), "zeros: a placeholder"),
    (LFS, "git-lfs pointer.*git lfs pull"),
    (b"/annex/objects/SHA256E-s9--00.nii.gz\n", "git-annex pointer.*git annex get"),
    (b"outs:\n- md5: 00\n  path: a.nii.gz\n", "DVC pointer.*dvc pull"),
    (b"<!DOCTYPE html><html></html>", "a page of HTML"),
    (b"\n\n <HTML><head>Sign in</head></HTML>", "a page of HTML"),
    (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a page of XML"),
    (b'{"message": "Not Found"}', "a text in JSON"),
    (b"\x93NUMPY\x01\x00", r"numpy array \(\.npy\)"),
    (b"PK\x03\x04" + bytes(range(200)), "a zip archive"),
    (b"404: Not Found", "plain text"),
    (gzip.compress(b""), "inside the gzip, it is empty"),
    (gzip.compress(LFS), "inside the gzip, it is a git-lfs pointer"),
    (gzip.compress(gzip.compress(bytes(range(256)) * 9)), "gzip-compressed twice"),
    (bz2.compress(b"NIfTI"), "bzip2"),
])  # fmt: skip
def test_what_lies_in_the_files_place(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VolumeError, match=rf"mask: .*{name} is not an image .*{says}"):
        load(tmp_path / name, "mask")


def test_links_and_folders(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").symlink_to(tmp_path / ".git" / "annex" / "objects" / "a")
    with pytest.raises(VolumeError, match=r"mask: .* is a link to a file that is not there.*git annex get"):
        load(tmp_path / "a.nii.gz", "mask")
    (tmp_path / "b.nii.gz").mkdir()
    with pytest.raises(VolumeError, match="it is a folder"):
        load(tmp_path / "b.nii.gz", "mask")


def test_the_wrong_name_is_told_where_something_else_fails(image: nib.Nifti1Image, tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(image.to_bytes())
    (tmp_path / "b.nii").write_bytes(gzip.compress(image.to_bytes()))
    with pytest.raises(VolumeError, match=r"a\.nii\.gz is not compressed; rename it to \.nii"):
        load_pair(np.zeros((3, 4, 5)), tmp_path / "a.nii.gz")
    with pytest.raises(VolumeError, match=r"b\.nii is gzip-compressed; rename it to \.nii\.gz"):
        load_pair(np.zeros((3, 4, 5)), tmp_path / "b.nii")
