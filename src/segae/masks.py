"""The one reader of masks: which labels a mask or labelmap holds, and which value is the structure."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from segae import _core
from segae.device import DeviceVolume
from segae.errors import ParameterError, VolumeError
from segae.frame import Array, Volume
from segae.label_scan import LabelScan
from segae.threads import run_all
from segae.whole_numbers import labels_of_numbers, mask_of_two

Labels = dict[int, LabelScan]

# More different values than any labelmap has; with negative ones, fewer tell an image.
_MANY, _MANY_SIGNED = 512, 64
_NO_MASK = "Was the image passed in its place? A mask is a volume of its own, on the image's grid and in its direction."


def read_mask(volume: Volume, argument: str, threads: int) -> tuple[Volume, Labels]:
    """Find what a mask of one structure holds.

    Values that are integers but for storage are taken as such, on the CPU: 0.9961 and 5.0006, and two values of
    which the larger is at most 1.

    Returns
    -------
    Volume
        The same, or one on the same grid with integers in place of such values.
    dict of int to LabelScan
        Every label but 0.

    Raises
    ------
    VolumeError
        When the values are no labels: fractions, NaN, or too many different ones.
    """
    return _read(volume, argument, threads, binary=True)


def read_labelmap(volume: Volume, argument: str, threads: int) -> tuple[Volume, Labels]:
    """Find what a labelmap holds; like `read_mask`, but two values in [0, 1] are no reason to take one for 1."""
    return _read(volume, argument, threads, binary=False)


def read_masks(
    volumes: Sequence[Volume], names: Sequence[str], threads: int, *, binary: bool
) -> list[tuple[Volume, Labels]]:
    """Read many masks, or labelmaps: on a GPU in one launch, on the CPU one a thread."""
    if volumes and isinstance(volumes[0].array, DeviceVolume):
        try:
            found = _core.scan_batch([_lent(volume) for volume in volumes])
        except ValueError as error:
            raise VolumeError(f"{names[0]} or another one: {error}; a mask or labelmap has few values.") from error
        return [
            (volume, _checked(scan, volume.array, name, binary))
            for volume, scan, name in zip(volumes, found, names, strict=True)
        ]
    # Few masks: the threads share each.
    inner = 1 if len(volumes) >= threads else threads
    jobs = [partial(_read, volume, name, inner, binary=binary) for volume, name in zip(volumes, names, strict=True)]
    return run_all(jobs, threads // inner)


def scan_labels(array: Array | DeviceVolume, argument: str, threads: int) -> Labels:
    """Find every label of an array [z, y, x] whose values are integers; `argument` is its name in errors."""
    return _checked(_scan(array, argument, threads), array, argument, binary=True)


def label_of_mask(labels: Labels, label: int | None, argument: str) -> int:
    """The value that stands for the structure: `label`, or 1 when the mask holds nothing but 0 and 1.

    Raises
    ------
    VolumeError
        When there are other values and no label was named.
    ParameterError
        When `label` is no integer, or the background.
    """
    if label is None:
        foreign = sorted(set(labels) - {1})
        if foreign:
            shown = ", ".join(map(str, foreign[:8])) + (", ..." if len(foreign) > 8 else "")
            way_out = f"Pass label={foreign[-1]} for one of them, or use assess_labels for all."
            if len(foreign) > (_MANY_SIGNED if foreign[0] < 0 else _MANY):
                way_out = _NO_MASK
            raise VolumeError(f"{argument}: holds the values {shown}; without label only 0 and 1 are a mask. {way_out}")
        return 1
    return checked_label(label)


def checked_label(label: object) -> int:
    """See `label_of_mask`."""
    try:
        value = operator.index(label)  # type: ignore[arg-type]
    except TypeError as error:
        raise ParameterError(f"label: expected an integer, got {label!r}.") from error
    if value == 0:
        raise ParameterError("label: 0 is the background; pass the value of the structure.")
    return value


def _read(volume: Volume, argument: str, threads: int, *, binary: bool) -> tuple[Volume, Labels]:
    found = _scan(volume.array, argument, threads)
    if found["fractional"] and not found["non_finite"] and not isinstance(volume.array, DeviceVolume):
        whole = mask_of_two(volume.array) if binary else None
        whole = labels_of_numbers(volume.array) if whole is None else whole
        if whole is not None:
            return replace(volume, array=whole), scan_labels(whole, argument, threads)
    return volume, _checked(found, volume.array, argument, binary)


def _scan(array: Array | DeviceVolume, argument: str, threads: int) -> Any:
    try:
        return _core.scan_batch([array.lent])[0] if isinstance(array, DeviceVolume) else _core.scan(array, threads)
    except ValueError as error:
        raise VolumeError(f"{argument}: {error}; a mask or labelmap has few. {_NO_MASK}") from error


def _checked(found: Any, array: Array | DeviceVolume, argument: str, binary: bool) -> Labels:
    """What ``_core.scan`` found, by label."""
    if found["non_finite"]:
        raise VolumeError(
            f"{argument}: {found['non_finite']} voxels are NaN or infinite: numpy.nan_to_num({argument})."
        )
    if found["fractional"]:
        seen = f"{argument}: {found['fractional']} voxels are no integers (one is {found['fractional_example']:.4g})."
        raise VolumeError(f"{seen} {_way_out(array, argument, binary)}")
    return {entry[0]: LabelScan.from_core(entry) for entry in found["labels"]}


def _way_out(array: Array | DeviceVolume, argument: str, binary: bool) -> str:
    if isinstance(array, DeviceVolume):
        cut = f"a soft mask: {argument} > 0.5; " if binary else ""
        return f"Values on a GPU are taken as they are; {cut}labels that are stored inexactly: {argument}.round()."
    low, high = float(array.min()), float(array.max())
    if binary and low >= 0 and high <= 1:
        return f"A soft mask must be cut first: {argument} > 0.5."
    if low >= 0 and high <= 1:
        return (
            "They look like probabilities of one structure; a labelmap holds an integer a structure "
            "(of a network's channels: argmax)."
        )
    what = "mask" if binary else "labelmap"
    return (
        f"Values between a {what}'s integers come from interpolation or from scaling: use the {what} as it was "
        f"before, or resample that one with nearest neighbour."
    )


def _lent(volume: Volume) -> _core.DeviceArray:
    array: Any = volume.array
    return array.lent  # type: ignore[no-any-return]
