"""Objects of other libraries -> `Given`: by their own methods, importing none of them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from segae.containers.kinds import Kind, kind_of
from segae.containers.series import read_container
from segae.device import DeviceVolume, cuda_place, lend, plain, stream_of
from segae.errors import DeviceError, VolumeError
from segae.frame import Array, Given, Volume
from segae.itk_images import read_itk
from segae.readers import Allocate, is_proxy, read_file, read_nibabel, read_proxy

_DLPACK_CPU = (1, 3)  # kDLCPU, kDLCUDAHost
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Carried:
    """An array [x, y, z] with the affine that it, or the batch that it was taken from, carried."""

    array: Any
    affine: Array


def read(source: object, argument: str, scaled: bool, allocate: Allocate | None = None) -> Given:
    """Read an array and what its file or object says of it; see `segae.volume.load` for the parameters.

    Raises
    ------
    VolumeError, DeviceError
    """
    if isinstance(source, Volume):
        return Given(
            source.in_source_order(source.array), source.source_affine, source.slope, source.intercept,
            source.forms, source.oriented, source.assumed,
        )  # fmt: skip
    if isinstance(source, (str, os.PathLike)):
        given = read_file(Path(source), argument, scaled, allocate)
    elif isinstance(source, (list, tuple)) and kind_of(source) is Kind.SERIES:
        given = read_container(source, Kind.SERIES, argument)
    elif isinstance(source, Carried):
        given = _read_array(source.array, source.affine, argument)
    elif hasattr(source, "dataobj") and hasattr(source, "affine"):
        given = read_nibabel(source, argument, scaled)
    elif is_proxy(source):
        given = read_proxy(source, scaled, allocate)
    elif all(hasattr(source, name) for name in ("GetSpacing", "GetOrigin", "GetDirection")):
        given = read_itk(source, argument)
    elif hasattr(source, "spatial_shape") and hasattr(source, "data"):  # TorchIO's images: [channel, x, y, z]
        given = _read_array(source.data, affine_of(source, argument), argument)
    else:
        given = _read_array(source, affine_of(source, argument), argument)
    if isinstance(given.array, DeviceVolume):
        return given
    return replace(given, array=_native(_three_axes(given.array, argument), argument))


def affine_of(source: object, argument: str, batch: int | None = None) -> Array | None:
    """The affine that an array carries (MONAI's MetaTensor, TorchIO's images); None when it carries none.

    Parameters
    ----------
    source : object
    argument : str
        What to call it in errors.
    batch : int, optional
        Number of volumes, when the array is a batch: the result is then [batch, 4, 4].

    Raises
    ------
    VolumeError
        When `source` has an attribute of that name that is none: it is used or refused, never ignored.
    """
    affine = getattr(source, "affine", None)
    if affine is None or callable(affine):
        return None
    affine = plain(affine)
    affine = affine.detach().cpu() if hasattr(affine, "detach") else affine
    try:
        matrix = np.asarray(affine, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise VolumeError(_wrong_affine(argument, repr(affine), batch)) from error
    if batch is not None and matrix.shape in ((4, 4), (1, 4, 4), (batch, 4, 4)):
        return np.broadcast_to(matrix, (batch, 4, 4))
    if batch is None and matrix.shape in ((4, 4), (1, 4, 4)):
        return matrix.reshape(4, 4)
    raise VolumeError(_wrong_affine(argument, f"shape {matrix.shape}", batch))


def _wrong_affine(argument: str, came: str, batch: int | None) -> str:
    wanted = "(4, 4)" if batch is None else f"(4, 4) or ({batch}, 4, 4)"
    return (
        f"{argument}: it carries an attribute affine; expected index -> RAS mm of shape {wanted}, got {came}. "
        f"Pass the plain array with affine= or spacing=."
    )


def _read_array(source: Any, affine: Array | None, argument: str) -> Given:
    array = plain(source)
    if affine is not None and getattr(array, "ndim", 0) == 4 and array.shape[0] == 1:
        array = array[0]  # [channel, x, y, z]
    if isinstance(array, np.ndarray):
        if isinstance(array, np.ma.MaskedArray):
            raise VolumeError(
                f"{argument}: a masked array, whose masked voxels mean nothing here: pass {argument}.filled(value), "
                f"0 for a mask, -1024 for a CT."
            )
        return Given(np.asarray(array) if not isinstance(array, np.memmap) else array, affine)
    if isinstance(array, DeviceVolume):  # of a batch that was borrowed as a whole
        return Given(array, affine)
    if cuda_place(array) is not None:
        shape = tuple(getattr(array, "shape", ()))
        if len(shape) != 3:
            raise VolumeError(
                f"{argument}: expected 3 axes, got shape {shape}. "
                f"Pick one volume of a batch: {argument}[0], or use score_batch."
            )
        return Given(DeviceVolume(lend(array, argument, stream_of(array))), affine)
    if hasattr(array, "__dlpack__"):
        return Given(_from_dlpack(array, argument), affine)
    if hasattr(array, "__array__") and hasattr(array, "shape"):  # zarr, dask, h5py, xarray
        try:
            return Given(np.asarray(array), affine)
        except Exception as error:  # whatever its store or graph raises
            raise VolumeError(
                f"{argument}: this {type(array).__name__} gives numpy no array ({type(error).__name__}: {error})."
            ) from error
    raise VolumeError(
        f"{argument}: expected a path, an image of nibabel, SimpleITK, ITK or TorchIO, or an array "
        f"(numpy, __dlpack__, __array__), got {type(array).__name__}. Lists: numpy.asarray(...)."
    )


def _from_dlpack(source: Any, argument: str) -> Array:
    try:
        device = int(source.__dlpack_device__()[0]) if hasattr(source, "__dlpack_device__") else _DLPACK_CPU[0]
        if device in _DLPACK_CPU:
            return np.from_dlpack(source)
    except (TypeError, BufferError, RuntimeError, ValueError, NotImplementedError) as error:
        raise VolumeError(
            f"{argument}: numpy cannot view this {type(source).__name__} ({error}). "
            f"torch: pass tensor.detach(), and .float() for bfloat16; a tensor on the device meta has no values."
        ) from error
    raise DeviceError(
        f"{argument}: the array lies on a device (DLPack type {device}); segae reads host and CUDA memory. "
        f"Pass {argument}.cpu() or the like."
    )


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
    """The core reads native types only: foreign byte order and long doubles are converted whole."""
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
