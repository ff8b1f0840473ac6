"""`Geometry`: what a caller says of bare arrays, whose voxels lie somewhere only by that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segae.errors import VolumeError
from segae.frame import Array, Given, Triple, Volume, bare, placed

_BARE_AXES = ("zyx", "xyz")


@dataclass(frozen=True)
class Geometry:
    """How bare arrays lie; the public functions' keywords of these names.

    Attributes
    ----------
    affine : array [4, 4], optional
        Says that bare arrays are [x, y, z] and maps their index to RAS mm, as in nibabel.
    spacing : three numbers, optional
        Voxel size in mm of bare arrays, in the order of their axes. They are then LPS.
    axes : "zyx" or "xyz"
        Order of the axes of bare arrays that have no affine.
    """

    affine: npt.ArrayLike | None = None
    spacing: Sequence[float] | None = None
    axes: str = "zyx"

    def named(self) -> list[str]:
        """Which of affine and spacing were given."""
        return [name for name in ("affine", "spacing") if getattr(self, name) is not None]

    def place(self, given: Given, argument: str) -> Volume:
        """See an array in the geometry that it carries, or a bare one in this.

        Raises
        ------
        VolumeError
        """
        if self.axes not in _BARE_AXES:
            raise VolumeError(f"axes: expected one of {_BARE_AXES}, got {self.axes!r}.")
        if self.affine is not None and self.spacing is not None:
            raise VolumeError("affine, spacing: give one of the two; an affine implies the spacing.")
        if given.affine is None and self.affine is None:
            if self.spacing is None:
                raise VolumeError(
                    f"{argument}: a bare array of shape {given.array.shape} has no geometry. Pass spacing=(z, y, x) in "
                    f'mm (arrays are [z, y, x] in LPS unless axes="xyz"), or affine= for a nibabel array [x, y, z].'
                )
            return bare(given, _three_steps(self.spacing), self.axes, argument)
        matrix = given.affine if given.affine is not None else _matrix(self.affine)
        _check_affine(matrix, given, argument)
        return placed(given, matrix, argument)


# Of arrays that carry their own, or of which nothing is known.
UNTOLD = Geometry()


def _matrix(affine: npt.ArrayLike | None) -> Array:
    try:
        return np.asarray(affine, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise VolumeError(f"affine: expected a 4 x 4 matrix of numbers, got {affine!r}.") from error


def _check_affine(matrix: Array, given: Given, argument: str) -> None:
    if matrix.shape != (4, 4):
        raise VolumeError(f"affine: expected shape (4, 4), got {matrix.shape} for {argument}.")
    if np.isfinite(matrix).all() and abs(np.linalg.det(matrix[:3, :3])) >= 1e-12:
        return
    others = [form.name for form in given.forms if np.isfinite(form.affine).all() and np.linalg.det(form.affine) != 0]
    way_out = (
        f"Its {others[0]} is sound: image.set_sform(image.get_{others[0]}(), 1) in nibabel, if that is right"
        if others
        else "Repair the header, or pass the array with spacing="
    )
    raise VolumeError(
        f"affine: the matrix of {argument} is singular or not finite, so voxels have no size or direction:\n"
        f"{matrix}\n{way_out}."
    )


def _three_steps(spacing: Sequence[float]) -> Triple:
    try:
        steps = tuple(float(step) for step in spacing)
    except (TypeError, ValueError) as error:
        raise VolumeError(f"spacing: expected three numbers in mm, got {spacing!r}.") from error
    if len(steps) != 3 or not all(np.isfinite(step) and step > 0 for step in steps):
        raise VolumeError(f"spacing: expected three positive numbers in mm, got {spacing!r}.")
    return steps[0], steps[1], steps[2]
