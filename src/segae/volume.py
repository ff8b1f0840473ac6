"""Whatever the user gave -> `Volume`: a view in [z, y, x] LPS order with its spacing. The only user of nibabel.

Nothing is copied: orientation is a transposed and flipped numpy view, the HU scale of a file stays beside the stored
values, and a compressed file is opened and decompressed once, by isal where it is installed. Two exceptions, since the
core reads native types only: arrays in foreign byte order and long doubles are converted whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from segae.errors import DeviceError, GridMismatchError, VolumeError

Array = npt.NDArray[Any]
Allocate = Callable[[int], npt.NDArray[np.uint8]]

# Two grids agree when no corner of one is further than this from the same corner of the other.
GRID_TOLERANCE_VOX = 0.1

_COMPRESSED = (".gz", ".bz2", ".zst")
_PIECE = 1 << 20  # bytes that are decompressed at a time

# The first number of a NIfTI header is its size, which tells the version.
_NIFTI_SIZES = {348: "Nifti1Image", 540: "Nifti2Image"}

_DLPACK_CPU = (1, 3)  # kDLCPU, kDLCUDAHost
_BARE_AXES = ("zyx", "xyz")


@dataclass(frozen=True)
class Volume:
    """A 3D array seen in the frame that segae works in.

    Attributes
    ----------
    array : ndarray [z, y, x]
        View of the user's data; z runs to the head, y to the back, x to the left (LPS).
    spacing_mm : (float, float, float)
        Voxel size along z, y, x.
    slope, intercept : float
        HU = stored value * slope + intercept.
    affine : ndarray [4, 4] or None
        (z, y, x) index of `array` -> RAS mm; None for a bare array, whose place in the world is unknown.
    source_axes : (int, int, int)
        Axis of the array as given that became z, y, x.
    flipped : (bool, bool, bool)
        Whether z, y, x run against the array as given.
    """

    array: Array
    spacing_mm: tuple[float, float, float]
    slope: float
    intercept: float
    affine: Array | None
    source_axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    def source_index(self, axis: int, index: int) -> int:
        """Index along `axis` of `array` -> index along the same axis of the array as given."""
        return self.array.shape[axis] - 1 - index if self.flipped[axis] else index

    def source_box(self, box: npt.ArrayLike) -> tuple[tuple[int, int], ...]:
        """Half-open box [2, 3] (z, y, x) of `array` -> (begin, end) per axis of the array as given."""
        low, high = np.asarray(box, dtype=np.int64)
        given: list[tuple[int, int]] = [(0, 0)] * 3
        for axis, source in enumerate(self.source_axes):
            begin, end = int(low[axis]), int(high[axis])
            if self.flipped[axis]:
                begin, end = self.array.shape[axis] - end, self.array.shape[axis] - begin
            given[source] = (begin, end)
        return tuple(given)

    def in_source_order(self, array: Array) -> Array:
        """Undo the change of axes: an array [z, y, x] on this grid, seen in the axes of the array as given."""
        step = tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)
        given: Array = array[step].transpose(np.argsort(self.source_axes))
        return given


@dataclass(frozen=True)
class _Given:
    """An array as the user's file or object holds it."""

    array: Array
    affine: Array | None
    slope: float = 1.0
    intercept: float = 0.0


def load(
    source: object,
    argument: str,
    *,
    affine: npt.ArrayLike | None = None,
    spacing: Sequence[float] | None = None,
    axes: str = "zyx",
    scaled: bool = False,
    allocate: Allocate | None = None,
) -> Volume:
    """Read one volume.

    Parameters
    ----------
    source : path, nibabel image, array, DLPack object or Volume
        See `load_pair`.
    argument : str
        What to call it in errors.
    affine, spacing, axes
        Geometry of a bare array; see `load_pair`.
    scaled : bool
        Apply a file's slope and intercept to the values (masks), instead of keeping them beside (images).
    allocate : callable, optional
        Takes a number of bytes, returns a uint8 array of as many for the voxels of a compressed file: a reader of many
        files may give the same memory again, since fresh memory costs as much as decompressing a mask.
    """
    given = _read(source, argument, scaled, allocate)
    return _orient(_place(given, argument, affine, spacing, axes), argument, spacing, axes)


def load_pair(
    image: object,
    mask: object,
    *,
    affine: npt.ArrayLike | None = None,
    spacing: Sequence[float] | None = None,
    axes: str = "zyx",
    mask_argument: str = "mask",
) -> tuple[Volume, Volume]:
    """Read an image and the mask or labelmap on its grid.

    Parameters
    ----------
    image, mask : path, os.PathLike, nibabel image, numpy array, object with ``__dlpack__`` or Volume
        Three axes; further axes must have extent 1.
    affine : array [4, 4], optional
        Says that bare arrays are [x, y, z] and maps their index to RAS mm, as in nibabel.
    spacing : three numbers, optional
        Voxel size in mm of bare arrays, in the order of their axes. They are then LPS.
    axes : "zyx" or "xyz"
        Order of the axes of bare arrays that have no affine.
    mask_argument : str
        What to call the mask in errors.

    Raises
    ------
    VolumeError
        When either cannot be read or has no geometry.
    GridMismatchError
        When the two do not share a grid (corners differ by more than 0.1 voxel).
    """
    given_image = _read(image, "image", scaled=False)
    given_mask = _read(mask, mask_argument, scaled=True)
    for name, geometry in (("affine", affine), ("spacing", spacing)):
        if geometry is not None and given_image.affine is not None and given_mask.affine is not None:
            raise VolumeError(
                f"{name}: image and {mask_argument} carry their own grids, and {name} is for bare arrays. Drop it."
            )
    # A bare array beside a file lies on the file's grid, when it has its shape.
    if given_image.affine is None and given_mask.affine is not None and affine is None and spacing is None:
        given_image = _borrow_grid(given_image, given_mask, "image", mask_argument)
    elif given_mask.affine is None and given_image.affine is not None and affine is None and spacing is None:
        given_mask = _borrow_grid(given_mask, given_image, mask_argument, "image")
    volumes = [
        _orient(_place(given, name, affine, spacing, axes), name, spacing, axes)
        for given, name in ((given_image, "image"), (given_mask, mask_argument))
    ]
    _check_same_grid(volumes[0], volumes[1], mask_argument)
    return volumes[0], volumes[1]


def _read(source: object, argument: str, scaled: bool, allocate: Allocate | None = None) -> _Given:
    if isinstance(source, Volume):
        return _Given(source.in_source_order(source.array), _source_affine(source), source.slope, source.intercept)
    if isinstance(source, (str, os.PathLike)):
        given = _read_file(Path(source), argument, scaled, allocate)
    elif isinstance(source, np.ndarray):
        given = _Given(source, None)
    elif hasattr(source, "dataobj") and hasattr(source, "affine"):
        given = _read_nibabel(source, argument, scaled)
    elif hasattr(source, "__dlpack__"):
        given = _Given(_from_dlpack(source, argument), None)
    else:
        raise VolumeError(
            f"{argument}: expected a path, a nibabel image, a numpy array or an object with __dlpack__, "
            f"got {type(source).__name__}. Lists: numpy.asarray(...). SimpleITK images: "
            f"sitk.GetArrayViewFromImage(...) with spacing=image.GetSpacing()[::-1]."
        )
    array = _three_axes(given.array, argument)
    return _Given(_native(array, argument), given.affine, given.slope, given.intercept)


def _read_file(path: Path, argument: str, scaled: bool, allocate: Allocate | None) -> _Given:
    import nibabel as nib

    if not path.exists():
        raise VolumeError(f"{argument}: no such file: {path}")
    stream: BinaryIO | None = None
    try:
        if path.name.endswith(".nii.gz"):
            stream = open_gzip(path)
            image = _open_nifti(stream)
        else:
            image = nib.load(path)
    except (
        nib.filebasedimages.ImageFileError,
        nib.wrapstruct.WrapStructError,
        OSError,
        EOFError,
        ValueError,
        TypeError,
    ) as error:
        if stream is not None:
            stream.close()
        raise VolumeError(
            f"{argument}: {path} is not an image that nibabel can read ({error}). "
            f"NIfTI (.nii, .nii.gz) is best; convert DICOM with dcm2niix."
        ) from error
    try:
        return _read_nibabel(image, argument, scaled, allocate)
    except VolumeError:
        raise
    except Exception as error:  # zlib, gzip, mmap and format errors have no common base
        raise VolumeError(
            f"{argument}: {path} is truncated or damaged ({type(error).__name__}: {error}). "
            f"Copy or download it again; `gzip -t` checks a .gz file."
        ) from error
    finally:
        if stream is not None:
            stream.close()


def open_gzip(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a gzip file for reading: with isal, which is several times as fast, or else with the standard library."""
    try:
        from isal import igzip
    except ImportError:
        import gzip

        return gzip.open(path)  # type: ignore[return-value]
    file: BinaryIO = igzip.open(path)
    return file


def _open_nifti(stream: BinaryIO) -> Any:
    """Let nibabel read the header from a decompressed stream, which then stands at the voxels."""
    import nibabel as nib

    start: bytes = stream.peek(4)[:4]  # type: ignore[attr-defined]
    sizes = {int.from_bytes(start, "little"), int.from_bytes(start, "big")} & _NIFTI_SIZES.keys()
    if len(start) < 4 or not sizes:
        raise nib.filebasedimages.ImageFileError("it does not start as NIfTI does")
    return getattr(nib, _NIFTI_SIZES[sizes.pop()]).from_stream(stream)


def _read_nibabel(image: Any, argument: str, scaled: bool, allocate: Allocate | None = None) -> _Given:
    from nibabel.arrayproxy import ArrayProxy

    affine = np.asarray(image.affine, dtype=np.float64) if image.affine is not None else None
    if affine is None:
        raise VolumeError(f"{argument}: the nibabel image has no affine: give it one, or pass its array and spacing.")
    proxy = image.dataobj
    slope, intercept = 1.0, 0.0
    if not isinstance(proxy, ArrayProxy):  # an array, or a format with a scale for every slice
        return _Given(np.asanyarray(proxy), affine)
    slope, intercept = float(proxy.slope), float(proxy.inter)
    if not scaled or (slope == 1.0 and intercept == 0.0):
        return _Given(_stored_values(proxy, allocate), affine, slope, intercept)
    return _Given(_undo_rounding(np.asanyarray(proxy)), affine)


def _stored_values(proxy: Any, allocate: Allocate | None) -> Array:
    """Map a plain file, decompress another piece by piece: nibabel would hold the volume twice on the way."""
    from nibabel.openers import ImageOpener

    source = proxy.file_like
    if isinstance(source, (str, os.PathLike)) and not str(source).endswith(_COMPRESSED):
        mapped: Array = proxy.get_unscaled()
        return mapped
    size = int(np.prod(proxy.shape)) * proxy.dtype.itemsize
    values = np.empty(size, np.uint8) if allocate is None else allocate(size)
    missing = values.data
    with ImageOpener(source) as file:
        file.seek(proxy.offset)
        while len(missing) > 0:
            done = file.readinto(missing[:_PIECE])
            if done == 0:
                raise EOFError(f"{len(missing)} bytes are missing")
            missing = missing[done:]
        file.read(1)  # past the end, where gzip compares its checksum
    voxels: Array = values.view(proxy.dtype).reshape(proxy.shape, order=proxy.order)
    return voxels


def _undo_rounding(labels: Array) -> Array:
    """Labels that a file stores as multiples of a float32 slope, such as 255 * (1 / 255), made whole again."""
    whole = np.rint(labels)
    return whole if np.allclose(labels, whole, rtol=1e-6, atol=1e-6) else labels


def _from_dlpack(source: Any, argument: str) -> Array:
    device = int(source.__dlpack_device__()[0]) if hasattr(source, "__dlpack_device__") else _DLPACK_CPU[0]
    if device not in _DLPACK_CPU:
        raise DeviceError(
            f"{argument}: the array lies on a device (DLPack type {device}); this version reads host memory. "
            f"Pass {argument}.cpu() or the like."
        )
    try:
        return np.from_dlpack(source)
    except (TypeError, BufferError, RuntimeError, ValueError) as error:
        raise VolumeError(
            f"{argument}: numpy cannot view this {type(source).__name__} ({error}). "
            f"torch: pass tensor.detach(), and .float() for bfloat16."
        ) from error


def _three_axes(array: Array, argument: str) -> Array:
    if array.dtype.names is not None:
        raise VolumeError(f"{argument}: RGB or other compound voxels ({array.dtype}); expected one number a voxel.")
    if array.ndim > 3 and all(extent == 1 for extent in array.shape[3:]):
        array = array.squeeze(axis=tuple(range(3, array.ndim)))
    if array.ndim != 3:
        raise VolumeError(
            f"{argument}: expected 3 axes, got shape {array.shape}. "
            f"Pick one volume of a series or channel of a batch: array[..., 0] or array[0]."
        )
    if array.size == 0:
        raise VolumeError(f"{argument}: the array is empty, shape {array.shape}.")
    return array


def _native(array: Array, argument: str) -> Array:
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind not in "biuf":
        raise VolumeError(
            f"{argument}: expected bool, integer or float voxels, got {array.dtype}. "
            f"Complex data: pass the magnitude, numpy.abs(...)."
        )
    if kind == "f" and size > 8:
        return array.astype(np.float64)
    if not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array


def _borrow_grid(bare: _Given, other: _Given, name: str, other_name: str) -> _Given:
    if bare.array.shape != other.array.shape:
        hint = (
            f" The shapes are each other's reverse: SimpleITK and torch give [z, y, x], nibabel [x, y, z]; "
            f"pass {name}.transpose()."
            if bare.array.shape == other.array.shape[::-1]
            else ""
        )
        raise GridMismatchError(
            f"{name}: an array beside a file must have the file's shape; {name} has {bare.array.shape}, "
            f"{other_name} has {other.array.shape}.{hint}"
        )
    return _Given(bare.array, other.affine, bare.slope, bare.intercept)


def _place(
    given: _Given, argument: str, affine: npt.ArrayLike | None, spacing: Sequence[float] | None, axes: str
) -> _Given:
    """Give a bare array the geometry that the caller named."""
    if axes not in _BARE_AXES:
        raise VolumeError(f"axes: expected one of {_BARE_AXES}, got {axes!r}.")
    if affine is not None and spacing is not None:
        raise VolumeError("affine, spacing: give one of the two; an affine implies the spacing.")
    if given.affine is not None:
        matrix = given.affine
    elif affine is not None:
        try:
            matrix = np.asarray(affine, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise VolumeError(f"affine: expected a 4 x 4 matrix of numbers, got {affine!r}.") from error
    elif spacing is None:
        raise VolumeError(
            f"{argument}: a bare array of shape {given.array.shape} has no geometry. Pass spacing=(z, y, x) in mm "
            f'(arrays are [z, y, x] in LPS unless axes="xyz"), or affine= for a nibabel array [x, y, z].'
        )
    else:
        return given
    if matrix.shape != (4, 4):
        raise VolumeError(f"affine: expected shape (4, 4), got {matrix.shape} for {argument}.")
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-12:
        raise VolumeError(
            f"affine: the matrix of {argument} is singular or not finite, so voxels have no size or direction:\n"
            f"{matrix}\nRepair the header, or pass the array with spacing=."
        )
    return _Given(given.array, matrix, given.slope, given.intercept)


def _orient(given: _Given, argument: str, spacing: Sequence[float] | None, axes: str) -> Volume:
    if given.affine is None:
        assert spacing is not None  # _place refused the rest
        order = (0, 1, 2) if axes == "zyx" else (2, 1, 0)
        steps = _check_spacing(spacing)
        return Volume(
            given.array.transpose(order),
            (steps[order[0]], steps[order[1]], steps[order[2]]),
            given.slope,
            given.intercept,
            None,
            order,
            (False, False, False),
        )
    order, flipped = _lps_axes(given.affine, argument)
    view = given.array.transpose(order)[tuple(slice(None, None, -1 if flip else 1) for flip in flipped)]
    to_world = np.eye(4)
    to_world[:3, 3] = given.affine[:3, 3]
    for axis, (source, flip) in enumerate(zip(order, flipped, strict=True)):
        column = given.affine[:3, source]
        to_world[:3, axis] = -column if flip else column
        if flip:
            to_world[:3, 3] += column * (given.array.shape[source] - 1)
    steps = np.linalg.norm(to_world[:3, :3], axis=0)
    return Volume(
        view,
        (float(steps[0]), float(steps[1]), float(steps[2])),
        given.slope,
        given.intercept,
        to_world,
        order,
        flipped,
    )


def _lps_axes(affine: Array, argument: str) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Which array axis runs nearest to S, P and L, and whether it runs the other way."""
    from nibabel.orientations import io_orientation

    orientation = io_orientation(affine)
    if np.isnan(orientation).any():
        raise VolumeError(f"affine: the axes of {argument} cannot be told apart:\n{affine}")
    order, flipped = [], []
    for world, wanted in ((2, 1.0), (1, -1.0), (0, -1.0)):  # S, P, L in RAS
        source = int(np.flatnonzero(orientation[:, 0] == world)[0])
        order.append(source)
        flipped.append(bool(orientation[source, 1] != wanted))
    return (order[0], order[1], order[2]), (flipped[0], flipped[1], flipped[2])


def _check_spacing(spacing: Sequence[float]) -> tuple[float, float, float]:
    try:
        steps = tuple(float(step) for step in spacing)
    except (TypeError, ValueError) as error:
        raise VolumeError(f"spacing: expected three numbers in mm, got {spacing!r}.") from error
    if len(steps) != 3 or not all(np.isfinite(step) and step > 0 for step in steps):
        raise VolumeError(f"spacing: expected three positive numbers in mm, got {spacing!r}.")
    return steps[0], steps[1], steps[2]


def _check_same_grid(image: Volume, mask: Volume, mask_argument: str) -> None:
    reason = ""
    extents = np.array(image.array.shape)
    steps, mask_steps = np.array(image.spacing_mm), np.array(mask.spacing_mm)
    if image.array.shape != mask.array.shape:
        reason = "their shapes differ"
    elif (np.abs(mask_steps - steps) * (extents - 1) > GRID_TOLERANCE_VOX * steps).any():
        reason = "their voxels differ in size"
    elif image.affine is not None and mask.affine is not None:
        corners = np.stack(np.meshgrid(*((0, extent - 1) for extent in image.array.shape)), -1).reshape(-1, 3)
        homogeneous = np.c_[corners, np.ones(len(corners))].T
        apart_mm = ((image.affine - mask.affine) @ homogeneous)[:3]
        apart_vox = float(np.abs(np.linalg.solve(image.affine[:3, :3], apart_mm)).max())
        if apart_vox > GRID_TOLERANCE_VOX:
            reason = f"their corners lie up to {apart_vox:.2f} voxels apart"
    if reason:
        raise GridMismatchError(
            f"{mask_argument}: not on the image's grid: {reason}.\n"
            f"image: shape {_given_shape(image)}, affine\n{_given_affine(image)}\n"
            f"{mask_argument}: shape {_given_shape(mask)}, affine\n{_given_affine(mask)}\n"
            f"Resample the mask, nearest neighbour: "
            f"nibabel.processing.resample_from_to({mask_argument}, image, order=0)."
        )


def _given_shape(volume: Volume) -> tuple[int, ...]:
    return volume.in_source_order(volume.array).shape


def _given_affine(volume: Volume) -> Array | str:
    affine = _source_affine(volume)
    if affine is None:
        return f"none (spacing {volume.spacing_mm} mm along z, y, x)"
    rounded: Array = np.round(affine, 4)
    return rounded


def _source_affine(volume: Volume) -> Array | None:
    """Undo `_orient`: the affine of the array as given."""
    if volume.affine is None:
        return None
    given = np.eye(4)
    given[:3, 3] = volume.affine[:3, 3]
    for axis, source in enumerate(volume.source_axes):
        column = volume.affine[:3, axis]
        given[:3, source] = -column if volume.flipped[axis] else column
        if volume.flipped[axis]:
            given[:3, 3] += column * (volume.array.shape[axis] - 1)
    return given


def header_extensions(path: str) -> list[bytes]:
    """Contents of a NIfTI file's header extensions, in order; empty for formats that have none."""
    import nibabel as nib

    try:
        header = nib.load(path).header
    except (nib.filebasedimages.ImageFileError, OSError) as error:
        raise VolumeError(f"labelmap: {path} is not an image that nibabel can read ({error}).") from error
    found = []
    for extension in getattr(header, "extensions", ()):
        content = extension.get_content()
        found.append(content if isinstance(content, bytes) else str(content).encode())
    return found


def save_on_grid(array: Array, like: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Write `array` as NIfTI with the shape and affine of the image at `like`; nothing else of its header is kept.

    Raises
    ------
    VolumeError
        When `path` cannot be written.
    """
    import nibabel as nib

    grid: Any = nib.load(like)
    try:
        nib.save(nib.Nifti1Image(array.reshape(grid.shape), grid.affine), path)
    except (nib.filebasedimages.ImageFileError, OSError) as error:
        raise VolumeError(f"output: {path} cannot be written ({error}). Name it .nii or .nii.gz.") from error
