"""Images of SimpleITK and ITK -> `Given`, by their own methods, importing neither."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from segae.errors import VolumeError
from segae.frame import Array, Given

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class _Kept:
    """A view of an image's buffer that keeps the image alive."""

    def __init__(self, view: Array, image: object) -> None:
        self.__array_interface__ = view.__array_interface__
        self.image = image


def read_itk(image: Any, argument: str) -> Given:
    """SimpleITK's and ITK's images: a view of their buffer as [z, y, x], as their own functions give it."""
    module = sys.modules[type(image).__module__.partition(".")[0]]
    view = np.asarray(module.GetArrayViewFromImage(image))
    direction = image.GetDirection()
    turn = np.asarray(direction if isinstance(direction, tuple) else module.array_from_matrix(direction), np.float64)
    if view.ndim != 3 or turn.size != 9:
        raise VolumeError(
            f"{argument}: expected an image of 3 dimensions with one number a voxel, got shape {view.shape} in numpy's "
            f"order. Extract one volume or component first."
        )
    affine = np.eye(4)
    affine[:3, :3] = turn.reshape(3, 3) * [float(image.GetSpacing()[i]) for i in range(3)]
    affine[:3, 3] = [float(image.GetOrigin()[i]) for i in range(3)]
    affine = _LPS_TO_RAS @ affine
    return Given(np.asarray(_Kept(view, image)), affine[:, [2, 1, 0, 3]])
