"""Whatever the user gave -> `Volume`: a view in [z, y, x] LPS order with its spacing.

Nothing is copied: orientation is a transposed and flipped view, and the HU scale of a file stays beside the stored
values. Exceptions: foreign byte order and long doubles, which the core does not read, and masks of other values than
integers.
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from segae.containers import Layer, is_layered, only_layer
from segae.errors import GridMismatchError, VolumeError
from segae.foreign import read
from segae.frame import Given, Volume
from segae.geometry import UNTOLD, Geometry
from segae.grids import TOLERANCE_VOX, check_same_grid
from segae.readers import Allocate

__all__ = ["Geometry", "Given", "Volume", "load", "load_masks", "load_pair", "pair", "read"]


def load(
    source: object,
    argument: str,
    geometry: Geometry = UNTOLD,
    *,
    scaled: bool = False,
    allocate: Allocate | None = None,
) -> Volume:
    """Read one volume.

    Parameters
    ----------
    source : path, image, array or Volume
        See `load_pair`.
    argument : str
        What to call it in errors.
    geometry : Geometry
        Of a bare array.
    scaled : bool
        Apply a file's slope and intercept to the values (masks), instead of keeping them beside (images).
    allocate : callable, optional
        Takes a number of bytes, returns a uint8 array of as many for the voxels of a compressed file: a reader of many
        files may give the same memory again, since fresh memory costs as much as decompressing a mask.

    Raises
    ------
    VolumeError, DeviceError
    """
    if isinstance(source, Volume):
        return source
    given = read(source, argument, scaled, allocate)
    if given.affine is not None:
        for name in geometry.named():
            raise VolumeError(
                f"{name}: {argument} carries its own grid, and {name} is for bare arrays. "
                f"Drop it, or pass the plain array."
            )
    return geometry.place(given, argument)


def load_pair(
    image: object,
    mask: object,
    geometry: Geometry = UNTOLD,
    *,
    image_argument: str = "image",
    mask_argument: str = "mask",
) -> tuple[Volume, Volume]:
    """Read an image and the mask or labelmap on its grid.

    Parameters
    ----------
    image, mask : path, os.PathLike, image of nibabel, SimpleITK, ITK or TorchIO, array or Volume
        Arrays: numpy, or anything with ``__dlpack__`` or ``__array__``. Three axes; further axes must have extent 1.
        An ``affine`` that an array carries (MONAI's MetaTensor) is used.
    geometry : Geometry
        Of bare arrays.
    image_argument, mask_argument : str
        What to call them in errors.

    Raises
    ------
    VolumeError, DeviceError
        When either cannot be read or has no geometry.
    GridMismatchError
        When the two do not share a grid (corners differ by more than 0.1 voxel).
    """
    if isinstance(image, Volume) and isinstance(mask, Volume) and image.oriented == mask.oriented:
        check_same_grid(image, mask, image_argument, mask_argument)
        return image, mask
    layer = mask if isinstance(mask, Layer) else None
    if isinstance(mask, (str, os.PathLike)) and is_layered(mask):
        layer = only_layer(mask)
    if layer is not None:
        placed = load(image, image_argument, geometry)
        return placed, layer.on(placed)
    given_image = read(image, image_argument, scaled=False)
    given_mask = read(mask, mask_argument, scaled=True)
    placed_image, placed_mask = pair(
        given_image,
        given_mask,
        geometry,
        image_argument=image_argument,
        mask_argument=mask_argument,
    )
    # An image that was read before stays the object that it is: masks on it are told by that.
    kept = isinstance(image, Volume) and _same_view(image, placed_image)
    return (image if kept else placed_image), placed_mask  # type: ignore[return-value]


def load_masks(
    other: object,
    mask: object,
    geometry: Geometry = UNTOLD,
    *,
    other_argument: str = "truth",
) -> tuple[Volume, Volume]:
    """Read two masks, or a labelmap and a mask, on one grid; see `load_pair`."""
    given = read(other, other_argument, scaled=True), read(mask, "mask", scaled=True)
    return pair(*given, geometry, image_argument=other_argument)


def _same_view(known: Volume, made: Volume) -> bool:
    return (known.spacing_mm, known.source_axes, known.flipped) == (made.spacing_mm, made.source_axes, made.flipped)


def pair(
    given_image: Given,
    given_mask: Given,
    geometry: Geometry,
    *,
    image_argument: str = "image",
    mask_argument: str = "mask",
) -> tuple[Volume, Volume]:
    """Give an image and a mask that were read their common grid; see `load_pair`."""
    told = geometry.named()
    if given_image.affine is not None and given_mask.affine is not None:
        for name in told:
            raise VolumeError(
                f"{name}: {image_argument} and {mask_argument} carry their own grids, and {name} is for bare arrays. "
                f"Drop it."
            )
    # A bare array beside a file lies on the file's grid, when it has its shape, and so does a file without orientation.
    if given_image.affine is None and given_mask.affine is not None and not told:
        given_image = _borrow_grid(given_image, given_mask, image_argument, mask_argument)
    elif given_mask.affine is None and given_image.affine is not None and not told:
        given_mask = _borrow_grid(given_mask, given_image, mask_argument, image_argument)
    elif not given_image.oriented and given_mask.oriented:
        given_image = _borrow_orientation(given_image, given_mask, mask_argument)
    elif not given_mask.oriented and given_image.oriented:
        given_mask = _borrow_orientation(given_mask, given_image, image_argument)
    image = geometry.place(given_image, image_argument)
    mask = geometry.place(given_mask, mask_argument)
    check_same_grid(image, mask, image_argument, mask_argument)
    return image, mask


def _borrow_grid(bare_array: Given, other: Given, name: str, other_name: str) -> Given:
    if bare_array.array.shape != other.array.shape:
        hint = (
            f" The shapes are each other's reverse: SimpleITK and torch give [z, y, x], nibabel [x, y, z]; "
            f"pass {name}.transpose()."
            if bare_array.array.shape == other.array.shape[::-1]
            else ""
        )
        raise GridMismatchError(
            f"{name}: an array beside a file must have the file's shape; {name} has {bare_array.array.shape}, "
            f"{other_name} has {other.array.shape}.{hint}{f' ({other.note}.)' if other.note else ''}"
        )
    return replace(bare_array, affine=other.affine, oriented=other.oriented)


def _borrow_orientation(unoriented: Given, other: Given, other_name: str) -> Given:
    """Take the grid of the other one, where shape and voxel size agree; else leave what was assumed."""
    if other.affine is None or unoriented.affine is None or unoriented.array.shape != other.array.shape:
        return unoriented
    steps, known = (np.linalg.norm(matrix[:3, :3], axis=0) for matrix in (unoriented.affine, other.affine))
    extents = np.array(other.array.shape)
    agree = (np.abs(steps - known) * (extents - 1) <= TOLERANCE_VOX * known).all()
    if not agree and not np.allclose(steps, 1.0):  # 1 mm each is what headers say that say nothing
        return unoriented
    why = unoriented.assumed.partition(";")[0]
    return replace(
        unoriented, affine=other.affine, assumed=f"{why}; its voxels were taken to lie as those of {other_name}."
    )
