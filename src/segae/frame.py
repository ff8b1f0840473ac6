"""`Volume`: an array seen as [z, y, x] in LPS with its voxel size, and how an affine says which axes those are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segae.device import DeviceVolume
from segae.errors import VolumeError

Array = npt.NDArray[Any]
Triple = tuple[float, float, float]

# Voxels of a CT in mm. What lies beyond is given in another unit: 0.0007 are metres, 700 micrometres.
_LEAST_MM, _MOST_MM = 0.01, 100.0


@dataclass(frozen=True)
class Form:
    """One of the places that a header gives its voxels.

    Attributes
    ----------
    name : str
        "sform", "qform", or in words what a tool makes of a header without either.
    code : int or None
        What the header says of the form's space; 0 is "do not use". None for what is no form.
    affine : ndarray [4, 4]
        Index of the array as given -> RAS mm.
    """

    name: str
    code: int | None
    affine: Array


@dataclass(frozen=True)
class Given:
    """An array as the user's file or object holds it.

    Attributes
    ----------
    array : ndarray or DeviceVolume
    affine : ndarray [4, 4] or None
        Index -> RAS mm; None for a bare array.
    slope, intercept : float
        HU = stored value * slope + intercept.
    forms : tuple of Form
        All places that the header gives, for messages.
    oriented : bool
        False where the header does not say which way the axes run, and `affine` is an assumption.
    assumed : str
        One sentence that says what was assumed; empty where nothing was.
    note : str
        What else is odd about the file, for messages; mostly empty.
    """

    array: Any
    affine: Array | None
    slope: float = 1.0
    intercept: float = 0.0
    forms: tuple[Form, ...] = ()
    oriented: bool = True
    assumed: str = ""
    note: str = ""


@dataclass(frozen=True)
class Volume:
    """A 3D array seen in the frame that segae works in.

    Attributes
    ----------
    array : ndarray or DeviceVolume [z, y, x]
        View of the user's data, in host memory or on a GPU; z runs to the head, y to the back, x to the left (LPS).
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
    forms, oriented, assumed
        As in `Given`.
    """

    array: Array  # typed as what it nearly always is
    spacing_mm: Triple
    slope: float
    intercept: float
    affine: Array | None
    source_axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    forms: tuple[Form, ...] = ()
    oriented: bool = True
    assumed: str = ""

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres; axes need not be at right angles (a tilted gantry)."""
        return float(np.prod(self.spacing_mm)) / 1000.0 * self.upright

    @property
    def upright(self) -> float:
        """Volume of a voxel over the product of its sides: 1 for axes at right angles, less for sheared ones."""
        if self.affine is None:
            return 1.0
        return float(abs(np.linalg.det(self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0))))

    @property
    def pixel_mm2(self) -> float:
        """Area of one voxel in its axial slice."""
        if self.affine is None:
            return self.spacing_mm[1] * self.spacing_mm[2]
        return float(np.linalg.norm(np.cross(self.affine[:3, 1], self.affine[:3, 2])))

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

    @property
    def source_shape(self) -> tuple[int, ...]:
        """Shape of the array as given."""
        extents = dict(zip(self.source_axes, self.array.shape, strict=True))
        return tuple(extents[axis] for axis in range(3))

    @property
    def source_affine(self) -> Array | None:
        """The affine of the array as given."""
        if self.affine is None:
            return None
        given = np.eye(4)
        given[:3, 3] = self.affine[:3, 3]
        for axis, source in enumerate(self.source_axes):
            column = self.affine[:3, axis]
            given[:3, source] = -column if self.flipped[axis] else column
            if self.flipped[axis]:
                given[:3, 3] += column * (self.array.shape[axis] - 1)
        return given


def bare(given: Given, steps: Triple, axes: str, argument: str) -> Volume:
    """See an array without affine: [z, y, x] or [x, y, z] in LPS, `steps` in mm in the order of its axes."""
    order = (0, 1, 2) if axes == "zyx" else (2, 1, 0)
    spacing = (steps[order[0]], steps[order[1]], steps[order[2]])
    _check_voxel_size(spacing, argument)
    view = _turned(given.array, order, (False, False, False))
    return Volume(view, spacing, given.slope, given.intercept, None, order, (False, False, False))


def placed(given: Given, affine: Array, argument: str) -> Volume:
    """See an array [x, y, z] with an affine."""
    order, flipped, to_world = lps_frame(given.array.shape, affine)
    steps = np.linalg.norm(to_world[:3, :3], axis=0)
    spacing = (float(steps[0]), float(steps[1]), float(steps[2]))
    _check_voxel_size(spacing, argument)
    return Volume(
        _turned(given.array, order, flipped),
        spacing,
        given.slope,
        given.intercept,
        to_world,
        order,
        flipped,
        given.forms,
        given.oriented,
        given.assumed,
    )


def lps_frame(
    shape: tuple[int, ...], affine: Array
) -> tuple[tuple[int, int, int], tuple[bool, bool, bool], npt.NDArray[np.float64]]:
    """Find the array axis that became each of z, y, x, whether it runs the other way, and (z, y, x) index -> RAS mm."""
    order, flipped = lps_axes(affine)
    to_world = np.eye(4)
    to_world[:3, 3] = affine[:3, 3]
    for axis, (source, flip) in enumerate(zip(order, flipped, strict=True)):
        column = affine[:3, source]
        to_world[:3, axis] = -column if flip else column
        if flip:
            to_world[:3, 3] += column * (shape[source] - 1)
    return order, flipped, to_world


def lps_axes(affine: Array) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Which array axis runs nearest to S, P and L, and whether it runs the other way.

    Axes need not be at right angles: the nearest rotation decides, the most certain axis first.
    """
    left, _, right = np.linalg.svd(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    turn = left @ right  # [world, source]
    world_of: dict[int, int] = {}
    for source in np.argsort(-np.abs(turn).max(axis=0), kind="stable"):
        free = [world for world in range(3) if world not in world_of.values()]
        world_of[int(source)] = max(free, key=lambda world: abs(turn[world, source]))
    source_of = {world: source for source, world in world_of.items()}
    order = (source_of[2], source_of[1], source_of[0])
    wanted = (1.0, -1.0, -1.0)  # S, P, L in RAS
    z, y, x = (
        bool(np.sign(turn[world, source]) != sign) for world, source, sign in zip((2, 1, 0), order, wanted, strict=True)
    )
    return order, (z, y, x)


def axis_codes(affine: Array) -> str:
    """Where the array's axes run to, such as "LPS"."""
    order, flipped = lps_axes(affine)
    codes = {}
    for source, flip, ends in zip(order, flipped, ("SI", "PA", "LR"), strict=True):
        codes[source] = ends[int(flip)]
    return "".join(codes[axis] for axis in range(3))


def _turned(array: Any, order: tuple[int, int, int], flipped: tuple[bool, bool, bool]) -> Any:
    if isinstance(array, DeviceVolume):
        return array.turned(order, flipped)
    return array.transpose(order)[tuple(slice(None, None, -1 if flip else 1) for flip in flipped)]


def _check_voxel_size(spacing: Triple, argument: str) -> None:
    if min(spacing) < _LEAST_MM or max(spacing) > _MOST_MM:
        shown = " x ".join(f"{step:.4g}" for step in spacing)
        raise VolumeError(
            f"{argument}: its voxels measure {shown} mm along z, y, x; expected {_LEAST_MM} to {_MOST_MM:g} mm. "
            f"The unit is another one: bring spacing or affine to mm, or mend a file's unit "
            f"(nibabel: header.set_xyzt_units)."
        )
