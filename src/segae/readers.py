"""Files and nibabel images -> `Given`. The only user of nibabel.

Nothing is copied: the HU scale of a file stays beside the stored values, a plain file is mapped, and a compressed one
is opened and decompressed once, by isal where it is installed.
"""

from __future__ import annotations

import glob
import gzip
import io
import math
import os
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from segae import content
from segae.containers import kind_of, read_container
from segae.errors import VolumeError
from segae.frame import Array, Form, Given, axis_codes
from segae.whole_numbers import labels_of_stored

Allocate = Callable[[int], npt.NDArray[np.uint8]]

_COMPRESSED = (".gz", ".bz2", ".zst")
_MOST_INFLATED = 1032  # bytes that deflate can make of one (RFC 1951: 258 of 2 bits)
_PIECE = 1 << 20  # bytes that are decompressed at a time

# What a header's unit is in mm. Most headers say none and mean mm, as every tool takes it.
_UNIT_MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}


def read_file(path: Path, argument: str, scaled: bool, allocate: Allocate | None = None) -> Given:
    """Read an image file, whatever its suffix says.

    Parameters
    ----------
    path : Path
    argument : str
        What to call it in errors.
    scaled : bool
        Apply slope and intercept to the values (masks), instead of keeping them beside (images).
    allocate : callable, optional
        Takes a number of bytes, returns a uint8 array of as many for the voxels of a compressed file.

    Raises
    ------
    VolumeError
        When there is no such file, or it holds no image, or a damaged one.
    """
    kind = None if path.name.endswith((".nii.gz", ".nii")) and not path.is_dir() else kind_of(path)
    if kind is not None:
        return read_container(path, kind, argument)
    image, stream = _open(path, argument)
    try:
        given = read_nibabel(image, argument, scaled, allocate, str(path))
        return replace(given, note=_misnamed(path, stream))
    finally:
        if stream is not None:
            stream.close()


def _open(path: Path, argument: str) -> tuple[Any, BinaryIO | None]:
    """Let nibabel read the header; the stream, where there is one, then stands at the voxels and must be closed."""
    import nibabel as nib

    if not path.exists():
        if path.is_symlink():
            raise VolumeError(
                f"{argument}: {path} is a link to a file that is not there: {path.readlink()}. "
                f"Fetch it (git annex get, datalad get) or mend the link."
            )
        raise VolumeError(f"{argument}: no such file: {path}")
    if path.is_dir():
        raise VolumeError(
            f"{argument}: {path} is not an image that nibabel can read: it is a folder. Pass a file; "
            f"convert a DICOM series with dcm2niix."
        )
    stream: BinaryIO | None = None
    # The voxels of a pair are named by their header, and may begin with anything.
    of_pair = ".img" in path.suffixes[-2:] and any(path.parent.glob(glob.escape(path.name.split(".img")[0]) + ".hdr*"))
    try:
        with path.open("rb") as file:
            head = file.read(content.HEAD_BYTES)
        if head.startswith(content.GZIP):
            stream = open_gzip(path)
            inner: bytes = stream.peek(content.HEAD_BYTES)[: content.HEAD_BYTES]  # type: ignore[attr-defined]
            if content.nifti_class(inner) is None:
                what = None if of_pair else content.told(inner)
                if what is not None:
                    raise VolumeError(_no_image(path, argument, "inside the gzip, " + what[0], what[1]))
                stream.close()
                return nib.load(path), None
            return _nifti_from(stream, inner), stream
        if content.nifti_class(head) is not None and not path.name.endswith(".nii"):
            stream = path.open("rb")
            return _nifti_from(stream, head), stream
        what = None if of_pair else content.told(head)
        if what is not None:
            raise VolumeError(_no_image(path, argument, *what))
        return nib.load(path), None
    except VolumeError:
        if stream is not None:
            stream.close()
        raise
    except Exception as error:  # nibabel's and gzip's have no common base
        if stream is not None:
            stream.close()
        raise VolumeError(
            _no_image(path, argument, str(error), "NIfTI (.nii, .nii.gz) is best; convert DICOM with dcm2niix.")
        ) from error


def _misnamed(path: Path, stream: BinaryIO | None) -> str:
    """Say what else than its suffix a file is, for messages: other tools may fail on it."""
    if stream is not None and not isinstance(stream, io.BufferedReader) and not path.name.endswith(".gz"):
        return f"{path.name} is gzip-compressed; rename it to .nii.gz"
    if isinstance(stream, io.BufferedReader) and path.name.endswith(".gz"):
        return f"{path.name} is not compressed; rename it to .nii"
    return ""


def _no_image(path: Path, argument: str, what: str, way_out: str) -> str:
    return f"{argument}: {path} is not an image that nibabel can read: {what}. {way_out}"


def _nifti_from(stream: BinaryIO, head: bytes) -> Any:
    import nibabel as nib

    name = content.nifti_class(head)
    assert name is not None
    return getattr(nib, name).from_stream(stream)


def open_gzip(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a gzip file for reading: with isal, which is several times as fast, or else with the standard library."""
    try:
        from isal import igzip
    except ImportError:
        return gzip.open(path)  # type: ignore[return-value]
    file: BinaryIO = igzip.open(path)
    return file


def is_proxy(array: object) -> bool:
    """Whether it is nibabel's stand-in for voxels that are still in their file, with one scale for all."""
    return all(hasattr(array, name) for name in ("get_unscaled", "slope", "inter", "file_like"))


def read_nibabel(
    image: Any, argument: str, scaled: bool, allocate: Allocate | None = None, what: str = "the image's file"
) -> Given:
    """Read a nibabel image; `what` names it in errors, for the rest see `read_file`."""
    if image.affine is None:
        raise VolumeError(f"{argument}: the nibabel image has no affine: give it one, or pass its array and spacing.")
    try:
        voxels = read_proxy(image.dataobj, scaled, allocate)
    except Exception as error:  # zlib, gzip, mmap and format errors have no common base
        raise VolumeError(
            f"{argument}: {what} is truncated or damaged ({type(error).__name__}: {error}). "
            f"Copy or download it again; `gzip -t` checks a .gz file."
        ) from error
    affine = np.asarray(image.affine, dtype=np.float64)
    forms, oriented, assumed = _header_places(image, argument)
    unit_mm = _unit_mm(image)
    if unit_mm != 1.0:
        to_mm = np.diag([unit_mm, unit_mm, unit_mm, 1.0])
        affine, forms = to_mm @ affine, tuple(Form(f.name, f.code, to_mm @ f.affine) for f in forms)
    return Given(voxels.array, affine, voxels.slope, voxels.intercept, forms, oriented, assumed)


def read_proxy(proxy: Any, scaled: bool, allocate: Allocate | None = None) -> Given:
    """Read the voxels behind nibabel's ``dataobj``, without their place; see `read_file`."""
    if not is_proxy(proxy):  # an array, or a format with a scale for every slice
        return Given(np.asanyarray(proxy), None)
    slope, intercept = float(proxy.slope), float(proxy.inter)
    stored = _stored_values(proxy, allocate)
    if not scaled or (slope == 1.0 and intercept == 0.0):
        return Given(stored, None, slope, intercept)
    labels = labels_of_stored(stored, slope, intercept)
    return Given(np.asanyarray(proxy) if labels is None else labels, None)


def _header_places(image: Any, argument: str) -> tuple[tuple[Form, ...], bool, str]:
    """All places that a header gives its voxels, whether it says the orientation, and what was assumed."""
    header = image.header
    if hasattr(header, "get_sform"):
        return _nifti_places(header, argument)
    if hasattr(header, "default_x_flip"):  # Analyze and SPM: only a .mat file beside it says more
        best = np.asarray(header.get_best_affine())
        if np.allclose(best, image.affine):
            return (Form("header", None, best),), False, _no_orientation(argument, "Analyze holds none", best)
    elif "goodRASFlag" in getattr(header, "keys", list)() and int(header["goodRASFlag"]) != 1:
        return (), False, _no_orientation(argument, "goodRASFlag is not set", np.asarray(image.affine))
    return (), True, ""


def _nifti_places(header: Any, argument: str) -> tuple[tuple[Form, ...], bool, str]:
    from nibabel.spatialimages import HeaderDataError

    codes = {"sform": int(header["sform_code"]), "qform": int(header["qform_code"])}
    forms = []
    for name, code in codes.items():
        try:
            matrix = np.asarray(header.get_sform() if name == "sform" else header.get_qform())
        except (HeaderDataError, ValueError):
            continue  # quaternions that are none
        if code > 0 or (np.isfinite(matrix).all() and abs(np.linalg.det(matrix[:3, :3])) > 1e-12):
            forms.append(Form(name, code, matrix))
    if not any(codes.values()):
        best = np.asarray(header.get_best_affine())
        return tuple(forms), False, _no_orientation(argument, "sform_code = qform_code = 0", best)
    coded = [form for form in forms if form.code]
    if len(coded) == 2 and all(_is_place(form.affine) for form in coded):
        axes = [axis_codes(form.affine) for form in coded]
        if axes[0] != axes[1]:
            assumed = f"holds two orientations, sform ({axes[0]}) and qform ({axes[1]}); the sform was taken"
            return tuple(forms), True, f"The header of {argument} {assumed}, as nibabel does."
    return tuple(forms), True, ""


def _is_place(affine: Array) -> bool:
    return bool(np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-12)


def _no_orientation(argument: str, why: str, best: Array) -> str:
    axes = axis_codes(best) if _is_place(best) else "as nibabel does"
    return f"The header of {argument} gives no orientation ({why}); its axes were taken to run {axes}, as nibabel does."


def _unit_mm(image: Any) -> float:
    if not hasattr(image.header, "get_xyzt_units"):
        return 1.0
    try:
        return _UNIT_MM.get(image.header.get_xyzt_units()[0], 1.0)
    except KeyError:  # a code that NIfTI does not know
        return 1.0


def _stored_values(proxy: Any, allocate: Allocate | None) -> Array:
    """Map a plain file, decompress another piece by piece: nibabel would hold the volume twice on the way."""
    from nibabel.openers import ImageOpener

    source = proxy.file_like
    size = _claimed_bytes(proxy)
    if isinstance(source, (str, os.PathLike)) and not str(source).endswith(_COMPRESSED):
        mapped: Array = proxy.get_unscaled()
        return mapped
    values = np.empty(size, np.uint8) if allocate is None else allocate(size)
    try:
        with ImageOpener(source) as file:
            _fill(values, file, proxy.offset)
    except (gzip.BadGzipFile, EOFError) as error:
        path = Path(source if isinstance(source, (str, os.PathLike)) else source.name)
        if str(error).startswith("CRC"):
            raise
        _fill(values, _without_tail(path), proxy.offset)
    voxels: Array = values.view(proxy.dtype).reshape(proxy.shape, order=proxy.order)
    return voxels


def _claimed_bytes(proxy: Any) -> int:
    """Bytes of the voxels that a header claims; a file that cannot hold so many is refused before any memory is."""
    if min(proxy.shape, default=1) < 0:
        raise ValueError(f"the header claims the shape {tuple(proxy.shape)}")
    size = math.prod(map(int, proxy.shape)) * int(proxy.dtype.itemsize)
    source = proxy.file_like
    path = Path(source if isinstance(source, (str, os.PathLike)) else getattr(source, "name", None) or "")
    if path.is_file() and not path.name.endswith((".bz2", ".zst")):
        held = path.stat().st_size * (_MOST_INFLATED if _is_gzip(path) else 1)
        if int(proxy.offset) + size > held:
            raise EOFError(f"the header claims {size:,} bytes of voxels, of which the file holds {held:,} at most")
    return size


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(content.GZIP)) == content.GZIP


def _fill(values: npt.NDArray[np.uint8], file: Any, offset: int) -> None:
    file.seek(offset)
    missing = values.data
    while len(missing) > 0:
        done = file.readinto(missing[:_PIECE])
        if done == 0:
            raise EOFError(f"{len(missing)} bytes are missing")
        missing = missing[done:]
    file.read(1)  # past the end, where gzip compares its checksum


def _without_tail(path: Path) -> BinaryIO:
    """What a gzip file holds before bytes that are no part of it, such as the padding of tapes and downloads."""
    rest, members = path.read_bytes(), []
    if not rest.startswith(content.GZIP):
        raise EOFError("the file ends too early")
    while rest.startswith(content.GZIP):
        member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        members.append(member.decompress(rest))
        if not member.eof:
            raise EOFError("the gzip stream ends too early")
        rest = member.unused_data
    return io.BytesIO(b"".join(members))


def header_extensions(path: str) -> list[bytes]:
    """Contents of a NIfTI file's header extensions, in order; empty for formats that have none."""
    image, stream = _open(Path(path), "labelmap")
    if stream is not None:
        stream.close()
    found = []
    for extension in getattr(image.header, "extensions", ()):
        held = extension.get_content()
        found.append(held if isinstance(held, bytes) else str(held).encode())
    return found


def save_on_grid(array: Array, like: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Write `array` as NIfTI with the shape and affine of the image at `like`; nothing else of its header is kept.

    Raises
    ------
    VolumeError
        When `path` cannot be written.
    """
    grid, stream = _open(Path(like), "mask")
    if stream is not None:
        stream.close()
    save_nifti(array.reshape(grid.shape), grid.affine, path)


def save_nifti(array: Array, affine: Array, path: str | os.PathLike[str]) -> None:
    """Write an array [x, y, z] as NIfTI with an affine in nibabel's sense.

    Raises
    ------
    VolumeError
        When `path` cannot be written.
    """
    import nibabel as nib

    try:
        nib.save(nib.Nifti1Image(array, affine), path)
    except (nib.filebasedimages.ImageFileError, OSError) as error:
        raise VolumeError(f"output: {path} cannot be written ({error}). Name it .nii or .nii.gz.") from error
