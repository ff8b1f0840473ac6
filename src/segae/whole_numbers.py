"""Values that are integers but for storage: a file's scale, a float type, a division on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# More different values than this are no labels (kMaxLabels of the core).
MOST_VALUES = 4096
# What is larger is no label, and no 64-bit integer.
_MOST = 2.0**62
# How far a stored integer may lie off. Near 0 less, so that no small value vanishes: 1 / 255 is no 0.
_OFF, _OFF_AT_ZERO = 0.01, 0.001
# Top values of the integer types that floats are scaled into when they are saved.
_TOPS = (127, 255, 32767, 65535)


def labels_of_stored(stored: Array, slope: float, intercept: float) -> Array | None:
    """Labels that a file holds as ``stored * slope + intercept``, which hits integers only within half a slope.

    Returns
    -------
    array of integers, or None
        None where some value lies further from every integer than the file's own steps explain.
    """
    if stored.dtype.kind not in "iu":
        return None
    values = distinct(stored)
    if values is None:
        return None
    scaled = values * slope + intercept
    whole = np.rint(scaled)
    # Steps above 1 leave several integers open; what lies on one is one all the same.
    step = abs(slope) if abs(slope) <= 1 else 0.0
    rounding = step / 2 * (1 + 1e-4) + 1e-6 * np.abs(scaled)
    if np.any(np.abs(scaled - whole) > rounding) or not whole.any() or np.abs(whole).max() >= _MOST:
        return None
    return _mapped(stored, values, whole)


def labels_of_numbers(array: Array) -> Array | None:
    """Labels of a float array whose values all lie next to integers, or on the grid of a lost integer type.

    Returns
    -------
    array of integers, or None
        None where there are other values, or too many.
    """
    values = distinct(array)
    if values is None or values.size == 0 or np.abs(values).max() >= _MOST:
        return None
    whole = np.rint(values)
    off = np.abs(values - whole)
    close = off <= np.where(whole == 0, _OFF_AT_ZERO, _OFF)
    if (close.all() or np.all(off <= _lost_step(values) / 2)) and whole.any():
        return _mapped(array, values, whole)
    return None


def mask_of_two(array: Array) -> Array | None:
    """A mask, uint8, of an array of two values in [0, 1], however it was scaled: the larger one is the structure.

    Returns
    -------
    uint8 array, or None
        None where there are more or other values.
    """
    values = distinct(array)
    if values is None or len(values) != 2 or values[0] < 0 or values[1] > 1:
        return None
    larger: Array = (array == array.dtype.type(values[1])).astype(np.uint8)
    return larger


def distinct(array: Array) -> npt.NDArray[np.float64] | None:
    """Different values of an array, ascending; None when there are more than `MOST_VALUES`."""
    seen = np.empty(0, array.dtype)
    # Slices along the axis of the largest stride, so that memory is read in order.
    for piece in np.moveaxis(array, int(np.argmax(np.abs(array.strides))), 0):
        flat = piece.ravel(order="K")
        starts = np.concatenate([flat[:1], flat[1:][flat[1:] != flat[:-1]]])  # of runs of equal values
        seen = np.unique(np.concatenate([seen, starts]))
        if len(seen) > MOST_VALUES:
            return None
    return seen.astype(np.float64)


def _lost_step(values: npt.NDArray[np.float64]) -> float:
    """Step of the integer type that values were once scaled into; 0 where they lie on no such grid."""
    span = values[-1] - min(values[0], 0.0)
    for top in _TOPS:
        step = span / top
        places = (values - min(values[0], 0.0)) / step if step > 0 else np.full(1, 0.5)
        if step <= 1 and np.all(np.abs(places - np.rint(places)) < 1e-3):
            return float(step)
    return 0.0


def _mapped(array: Array, values: npt.NDArray[np.float64], whole: npt.NDArray[np.float64]) -> Array:
    """Each value's integer in its place, in the smallest type that holds them."""
    ranges = ((np.dtype(name), np.iinfo(name)) for name in ("uint8", "int16", "int32", "int64"))
    dtype = next(kind for kind, info in ranges if info.min <= whole.min() and whole.max() <= info.max)
    labels = np.empty_like(array, dtype=dtype)
    axis = int(np.argmax(np.abs(array.strides)))
    known = values.astype(array.dtype)
    for source, target in zip(np.moveaxis(array, axis, 0), np.moveaxis(labels, axis, 0), strict=True):
        target[...] = whole[np.searchsorted(known, source)]
    return labels
