"""The same values in every memory layout that a user's array may have."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

DTYPES = (
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64",
)  # fmt: skip
LAYOUTS = ("c", "fortran", "permuted", "reversed", "strided", "unaligned", "read_only", "memmap")
THREADS = (1, 2, 7)
SPACINGS = ((1.0, 1.0, 1.0), (5.0, 0.7, 0.7), (0.5, 2.0, 1.25))


def lay_out(array: Array, layout: str) -> Array:
    """Return an array equal to `array` whose memory is laid out as named."""
    other = _LAYOUTS[layout](array)
    assert other.shape == array.shape
    assert other.dtype == array.dtype
    return other


def _permuted(array: Array) -> Array:
    return np.ascontiguousarray(array.transpose(1, 2, 0)).transpose(2, 0, 1)


def _reversed(array: Array) -> Array:
    return np.ascontiguousarray(array[::-1, ::-1, ::-1])[::-1, ::-1, ::-1]


def _strided(array: Array) -> Array:
    """Every second, third and second voxel of a larger array that holds something else in between."""
    depth, height, width = array.shape
    larger = np.ones((2 * depth, 3 * height, 2 * width), array.dtype)
    larger[::2, 1::3, 1::2] = array
    return larger[::2, 1::3, 1::2]


def _unaligned(array: Array) -> Array:
    """A field of packed records: neither the start nor the strides are multiples of the item size."""
    packed = np.zeros(array.shape, np.dtype([("pad", "u1"), ("value", array.dtype)]))
    packed["value"] = array
    return packed["value"]


def _read_only(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _memmap(array: Array) -> Array:
    with tempfile.TemporaryFile() as file:
        mapped = np.memmap(file, array.dtype, "w+", shape=array.shape)
    mapped[...] = array
    return mapped


_LAYOUTS = {
    "c": np.ascontiguousarray,
    "fortran": np.asfortranarray,
    "permuted": _permuted,
    "reversed": _reversed,
    "strided": _strided,
    "unaligned": _unaligned,
    "read_only": _read_only,
    "memmap": _memmap,
}
