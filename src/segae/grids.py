"""Whether two volumes lie on one grid, and when not: why, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from segae.errors import GridMismatchError
from segae.frame import Array, Form, Volume, lps_frame

# Two grids agree when no corner of one is further than this from the same corner of the other.
TOLERANCE_VOX = 0.1

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def check_same_grid(image: Volume, mask: Volume, image_argument: str, mask_argument: str) -> None:
    """Compare two volumes.

    Raises
    ------
    GridMismatchError
        That shows both grids, and says what would make them agree: nothing but what is right for these two.
    """
    reason = _difference(image, mask)
    if reason:
        raise GridMismatchError(
            f"{mask_argument}: not on the image's grid: {reason}.\n"
            f"{image_argument}: shape {image.source_shape}, affine\n{_shown(image)}\n"
            f"{mask_argument}: shape {mask.source_shape}, affine\n{_shown(mask)}\n"
            f"{_advice(image, mask, image_argument, mask_argument)}"
        )


def _difference(image: Volume, mask: Volume) -> str:
    extents = np.array(image.array.shape)
    steps, mask_steps = np.array(image.spacing_mm), np.array(mask.spacing_mm)
    if image.array.shape != mask.array.shape:
        return "their shapes differ"
    if (np.abs(mask_steps - steps) * (extents - 1) > TOLERANCE_VOX * steps).any():
        return "their voxels differ in size"
    if image.affine is not None and mask.affine is not None:
        apart = _apart_vox(image.array.shape, image.affine, mask.affine)
        if apart > TOLERANCE_VOX:
            return f"their corners lie up to {apart:.2f} voxels apart"
    return ""


def _apart_vox(shape: tuple[int, ...], affine: Array, other: Array) -> float:
    """How far the corners of one grid lie from those of another, in voxels of the first."""
    homogeneous = np.c_[_corners(shape), np.ones(8)].T
    apart_mm = ((affine - other) @ homogeneous)[:3]
    return float(np.abs(np.linalg.solve(affine[:3, :3], apart_mm)).max())


def _corners(shape: tuple[int, ...]) -> Array:
    return np.stack(np.meshgrid(*((0, extent - 1) for extent in shape)), -1).reshape(8, 3)


def _shown(volume: Volume) -> Array | str:
    affine = volume.source_affine
    if affine is None:
        return f"none (spacing {volume.spacing_mm} mm along z, y, x)"
    rounded: Array = np.round(affine, 4)
    return rounded


def _advice(image: Volume, mask: Volume, image_argument: str, mask_argument: str) -> str:
    if image.affine is None or mask.affine is None:
        return f"Pass a {mask_argument} that was made on this {image_argument}, with the spacing= of both."
    fitting = "".join(_fitting_forms(image, mask, image_argument, mask_argument))
    if fitting:
        return fitting
    for volume in (image, mask):
        if not volume.oriented:
            return (
                f"{volume.assumed} Write into it where it lies: image.set_sform(affine, 1) in nibabel, "
                f"with the affine of the scan that it was made from."
            )
    if image.source_shape == mask.source_shape:
        return _same_shape(image, mask, image_argument, mask_argument)
    if sorted(image.source_shape) == sorted(mask.source_shape):
        return (
            f"The shapes are each other's in another order, so the header of {mask_argument} does not fit its voxels: "
            f"save its array in the image's order, with the image's affine."
        )
    if not _overlap(image, mask):
        return "The two do not overlap in space: are they of one scan? If they are, one header lost its place."
    return _resample(image_argument, mask_argument)


def _same_shape(image: Volume, mask: Volume, image_argument: str, mask_argument: str) -> str:
    ours, theirs = image.source_affine, mask.source_affine
    assert ours is not None
    assert theirs is not None
    keep = (
        f"If its voxels are the image's, one by one, only its header is wrong: give it the image's, "
        f"nibabel.Nifti1Image({mask_argument}.dataobj, {image_argument}.affine)."
    )
    if _apart_vox(image.source_shape, ours, _LPS_TO_RAS @ theirs) <= TOLERANCE_VOX:
        return f"The x and y of its affine have the opposite sign: a place in LPS was written as RAS. {keep}"
    if not _overlap(image, mask):
        return f"The two do not overlap in space. {keep}"
    return f"{keep} If it truly lies elsewhere: {_resample(image_argument, mask_argument)}"


def _resample(image_argument: str, mask_argument: str) -> str:
    return (
        f"Resample the mask, nearest neighbour: "
        f"nibabel.processing.resample_from_to({mask_argument}, {image_argument}, order=0)."
    )


def _fitting_forms(image: Volume, mask: Volume, image_argument: str, mask_argument: str) -> Iterator[str]:
    """Say of each pair of places in the two headers that agrees, other than those taken, which they are."""
    for ours in _places(image):
        for theirs in _places(mask):
            if not _agree(image, ours.affine, mask, theirs.affine):
                continue
            yield (
                f"The {_named(theirs)} of {mask_argument} fits the {_named(ours)} of {image_argument}; segae reads "
                f"the sform where its code is not 0, else the qform, as nibabel does. Decide which of the two is right "
                f"and write it into both forms, with nibabel: image.set_sform(affine, 1); image.set_qform(affine, 1). "
            )
            return


def _places(volume: Volume) -> tuple[Form, ...]:
    taken = volume.source_affine
    assert taken is not None
    others = tuple(form for form in volume.forms if not np.allclose(form.affine, taken, atol=1e-4))
    same = [form for form in volume.forms if np.allclose(form.affine, taken, atol=1e-4)]
    return (same[0] if same else Form("affine", None, taken), *others)


def _named(form: Form) -> str:
    return form.name if form.code is None else f"{form.name} (code {form.code})"


def _agree(image: Volume, ours: Array, mask: Volume, theirs: Array) -> bool:
    if not all(np.isfinite(a).all() and abs(np.linalg.det(a[:3, :3])) > 1e-12 for a in (ours, theirs)):
        return False
    (order, _, frame), (mask_order, _, mask_frame) = (
        lps_frame(volume.source_shape, affine) for volume, affine in ((image, ours), (mask, theirs))
    )
    shape = tuple(image.source_shape[axis] for axis in order)
    return (
        shape == tuple(mask.source_shape[axis] for axis in mask_order)
        and _apart_vox(shape, frame, mask_frame) <= TOLERANCE_VOX
    )


def _overlap(image: Volume, mask: Volume) -> bool:
    """Whether the boxes around the two meet in the world."""
    boxes = []
    for volume in (image, mask):
        assert volume.affine is not None
        corners = np.c_[_corners(volume.array.shape), np.ones(8)] @ volume.affine.T
        boxes.append((corners[:, :3].min(axis=0), corners[:, :3].max(axis=0)))
    (low, high), (mask_low, mask_high) = boxes
    return bool((np.minimum(high, mask_high) > np.maximum(low, mask_low)).all())
