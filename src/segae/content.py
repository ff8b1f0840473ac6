"""What a file is, by its first bytes: a suffix is but a name, and what lies in a dataset is not always the file."""

from __future__ import annotations

import string

HEAD_BYTES = 512

GZIP = b"\x1f\x8b"
# The first number of a NIfTI header is its size, which tells the version; the magic says whether voxels follow.
_NIFTI = {348: (344, b"n+1\0", "Nifti1Image"), 540: (4, b"n+2\0", "Nifti2Image")}

_AGAIN = "Copy or download it again."
_CONVERT = "Convert it to NIfTI."
_STARTS = (
    (b"version https://git-lfs", "it is a git-lfs pointer, not the file that it stands for", "Fetch it: git lfs pull."),
    (b"/annex/objects/", "it is a git-annex pointer, not the file that it stands for", "Fetch it: git annex get."),
    (b"outs:", "it is a DVC pointer, not the file that it stands for", "Fetch it: dvc pull."),
    (b"\x93NUMPY", "it is a numpy array (.npy)", "Pass numpy.load(path) with spacing= or affine=."),
    (b"PK\x03\x04", "it is a zip archive", "Unpack it; of .npz pass numpy.load(path)[name] with spacing= or affine=."),
    (b"NRRD000", "it is an NRRD file", _CONVERT),
    (b"ObjectType", "it is a MetaImage (.mha, .mhd)", _CONVERT),
    (b"\x89HDF", "it is an HDF5 file", "Pass the array that it holds, with spacing= or affine=."),
    (b"\x89PNG", "it is a PNG picture", "Pass a volume, not a picture of it."),
    (b"\xff\xd8\xff", "it is a JPEG picture", "Pass a volume, not a picture of it."),
    (b"%PDF", "it is a PDF document", _AGAIN),
    (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive", "Unpack it."),
    (b"\xfd7zXZ", "it is xz-compressed", "Unpack it, or compress it with gzip."),
    (b"BZh", "it is bzip2-compressed", "Name it .nii.bz2, or unpack it."),
    (b"\x28\xb5\x2f\xfd", "it is zstd-compressed", "Name it .nii.zst, or unpack it."),
)
_PAGES = (
    (b"<!doctype html", "HTML"), (b"<html", "HTML"), (b"<head", "HTML"), (b"<?xml", "XML"), (b"<error", "XML"),
    (b"{", "JSON"), (b"[", "JSON"),
)  # fmt: skip
_TEXT = frozenset(string.printable.encode())


def nifti_class(head: bytes) -> str | None:
    """Name of nibabel's class for a NIfTI file whose voxels follow its header; None for anything else."""
    for size in (int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")):
        if size in _NIFTI:
            place, magic, name = _NIFTI[size]
            return name if head[place : place + 4] == magic else None
    return None


def told(head: bytes) -> tuple[str, str] | None:
    """What a file is that is no image, and the way out: a clause and a sentence; None for what may be one.

    Parameters
    ----------
    head : bytes
        The first `HEAD_BYTES` of the file, fewer when it ends before.
    """
    if not head:
        return "it is empty (0 bytes)", _AGAIN
    if not any(head):
        return f"its first {len(head)} bytes are zeros: a placeholder of a cloud drive, or a broken download", _AGAIN
    if head[:2] == GZIP:
        return "it is gzip-compressed twice", "Unpack it once: gunzip."
    for start, what, way_out in _STARTS:
        if head.startswith(start):
            return what, way_out
    if head[128:132] == b"DICM":
        return "it is a DICOM file", "Convert the series: dcm2niix."
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, what in _PAGES:
        if text.startswith(start):
            page = "a page of" if what in ("HTML", "XML") else "a text in"
            return f"it is {page} {what}, such as servers send in a file's place", _AGAIN
    if all(byte in _TEXT for byte in head):
        return "it is plain text", _AGAIN
    return None
