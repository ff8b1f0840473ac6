"""Errors of place and grid: moved, turned, scaled, bent; drawn on coarse, thick or few slices."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from segae import _core
from segae.perturbation.damage import Counts, Damage, Outcome, RenderedDamage, dice_of
from segae.perturbation.kind import Kind, Params, between, direction, noise_seed, short
from segae.perturbation.parameters import flag, flags, grid_mm, index, number, place, seed, slice_axis, unit_vector
from segae.perturbation.scene import Bytes, Patch, Scene

_FARTHEST_TURN = 0.41421356  # tan(45 degrees / 2)
_THICKEST_SLICE_MM, _WIDEST_STEP_MM = 30.0, 40.0  # nobody annotates a long structure more coarsely


def warped(
    scene: Scene,
    map_at: Callable[[float], _core.Map],
    reach_mm: Callable[[float], float | Sequence[float]],
    most: float,
    *,
    rough: bool = False,
) -> Damage:
    """An error that shows the mask through the map of its strength."""
    source_box = scene.box()
    rows = source_box.shape[0] * source_box.shape[1]
    stride = int(np.clip(np.sqrt(rows / 2000.0), 1, 6))

    def warp(strength: float, stride: int) -> tuple[_core.Box, Bytes, Counts]:
        box = scene.box(reach_mm(strength))
        source, truth = scene.mask_in(source_box), scene.truth_in(box)
        return box, *_core.warp(source_box, source, box, map_at(strength), truth, stride, scene.threads)

    def render(strength: float) -> Outcome:
        box, result, counts = warp(strength, 1)
        return Outcome(strength, Patch(box, result), (counts[0], counts[1], scene.truth_voxels))

    return RenderedDamage(scene, render, lambda strength: dice_of(warp(strength, stride)[2]), most, rough=rough)


def _about(centre: npt.NDArray[np.float64], matrix: npt.NDArray[np.float64]) -> _core.Map:
    """The map p -> centre + matrix (p - centre)."""
    # Summed one by one: a library's product may round otherwise on another machine.
    offset = [
        float(c - (a * centre[0] + b * centre[1] + d * centre[2])) for c, (a, b, d) in zip(centre, matrix, strict=True)
    ]
    return _core.Map(matrix=matrix.ravel().tolist(), offset_mm=offset)


def _draw_shift(scene: Scene, rng: np.random.Generator) -> tuple[Params, float]:
    way = direction(rng)
    along = sum(abs(w) * e for w, e in zip(way, scene.extent_mm, strict=True))
    return {"direction": list(way)}, 0.45 * float(along)


def _shift(scene: Scene, params: Params, most: float) -> Damage:
    way = np.array(params["direction"])
    return warped(
        scene,
        lambda distance: _core.Map(offset_mm=(-distance * way).tolist()),
        lambda distance: np.abs(distance * way).tolist(),
        most,
    )


SHIFT = Kind(
    name="shift",
    imitates="the right shape in the wrong place: motion between scans, a wrong origin, half-voxel conventions",
    parameters={
        "direction": unit_vector("unit vector z, y, x in which the mask moves"),
        "distance_mm": number("how far; (0, 0.45 x extent along the direction]"),
    },
    strength="distance_mm",
    draw=_draw_shift,
    build=_shift,
)


def _rotation(axis: Sequence[float], half_tangent: float) -> npt.NDArray[np.float64]:
    """Rotation matrix of the quaternion (1, t axis): rational in t, so that every machine computes the same."""
    z, y, x = (half_tangent * a for a in axis)
    length = 1.0 + z * z + y * y + x * x
    return (
        np.array(
            [
                [1.0 + z * z - y * y - x * x, 2.0 * (z * y - x), 2.0 * (z * x + y)],
                [2.0 * (z * y + x), 1.0 - z * z + y * y - x * x, 2.0 * (y * x - z)],
                [2.0 * (z * x - y), 2.0 * (y * x + z), 1.0 - z * z - y * y + x * x],
            ]
        )
        / length
    )


def _rotate(scene: Scene, params: Params, most: float) -> Damage:
    centre, axis = np.array(params["centre_mm"]), params["axis"]
    corners = [np.array(c) * s for c, s in ((scene.begin, scene.spacing_mm), (scene.end, scene.spacing_mm))]
    radius = float(np.linalg.norm(np.maximum(np.abs(corners[0] - centre), np.abs(corners[1] - centre))))
    return warped(
        scene,
        # The map leads from the result back to the mask: the inverse turn.
        lambda tangent: _about(centre, _rotation(axis, -tangent)),
        lambda tangent: min(2.0 * tangent, 1.0) * radius,
        most,
    )


ROTATE = Kind(
    name="rotate",
    imitates="a turned mask: propagated from an atlas or another scan without a good registration",
    parameters={
        "centre_mm": place("of the turn, z, y, x from the volume's first voxel in LPS: the mask's centroid"),
        "axis": unit_vector("unit vector z, y, x"),
        "half_tangent": number("tan(angle / 2); (0, 0.414] is up to 45 degrees", high=10.0),
    },
    strength="half_tangent",
    draw=lambda scene, rng: (
        {"centre_mm": [short(c) for c in scene.centre_mm], "axis": list(direction(rng))},
        _FARTHEST_TURN,
    ),
    build=_rotate,
)


def _scale(scene: Scene, params: Params, most: float) -> Damage:
    centre, grow = np.array(params["centre_mm"]), params["grow"]

    def map_at(change: float) -> _core.Map:
        step = 1.0 / (1.0 + change) if grow else 1.0 + change
        return _about(centre, step * np.eye(3))

    low, high = np.array(scene.begin) * scene.spacing_mm, np.array(scene.end) * scene.spacing_mm
    arms = np.maximum(np.abs(low - centre), np.abs(high - centre))
    return warped(scene, map_at, lambda change: (arms * change).tolist() if grow else 0.0, most)


SCALE = Kind(
    name="scale",
    imitates="a wrong size with the right shape: an atlas of another patient, a wrong spacing",
    parameters={
        "centre_mm": place("fixed point, z, y, x from the volume's first voxel in LPS: the mask's centroid"),
        "grow": flag("true: larger; false: smaller"),
        "change": number("lengths are multiplied, or divided, by 1 + change; (0, 1]", high=100.0),
    },
    strength="change",
    draw=lambda scene, rng: (
        {"centre_mm": [short(c) for c in scene.centre_mm], "grow": bool(rng.random() < 0.5)},
        1.0,
    ),
    build=_scale,
)


def _draw_elastic(scene: Scene, rng: np.random.Generator) -> tuple[Params, float]:
    grid = max(between(rng, 0.8, 3.0) * scene.sphere_mm, 2.0 * max(scene.spacing_mm))
    return {"grid_mm": grid, "seed": noise_seed(rng)}, _core.FOLDING_FREE * grid


def _elastic(scene: Scene, params: Params, most: float) -> Damage:
    grid = [params["grid_mm"]] * 3
    return warped(
        scene,
        lambda amplitude: _core.Map(bend=_core.Noise(params["seed"], grid, amplitude)),
        lambda amplitude: amplitude,
        most,
    )


ELASTIC = Kind(
    name="elastic",
    imitates="a bent shape: deformable registration, atlas labels, breathing, a network unsure of the outline",
    parameters={
        "grid_mm": grid_mm("distance of the control points; [0.8, 3] x radius of the equal ball, at least two voxels"),
        "seed": seed("of the control displacements"),
        "amplitude_mm": number(
            "largest displacement of a control point along each axis; (0, 0.4 grid_mm]: free of folds"
        ),
    },
    strength="amplitude_mm",
    draw=_draw_elastic,
    build=_elastic,
)


def _draw_staircase(scene: Scene, rng: np.random.Generator) -> tuple[Params, float]:
    thick = bool(rng.random() < 0.5)
    low = [b * s for b, s in zip(scene.begin, scene.spacing_mm, strict=True)]
    return {
        "axes": [True, False, False] if thick else [True, True, True],
        "from_mm": [short(a - rng.random() * e) for a, e in zip(low, scene.extent_mm, strict=True)],
    }, min(0.8 * scene.extent_mm[0], _THICKEST_SLICE_MM) if thick else 2.0 * scene.depth_mm


def _staircase(scene: Scene, params: Params, most: float) -> Damage:
    axes = np.array(params["axes"], dtype=float)
    return warped(
        scene,
        lambda cell: _core.Map(cell_mm=(cell * axes).tolist(), cell_from_mm=params["from_mm"]),
        lambda cell: (cell * axes / 2.0).tolist(),
        most,
        rough=True,
    )


STAIRCASE = Kind(
    name="staircase",
    imitates="annotated on thick slices or at low resolution and brought back by nearest neighbour",
    parameters={
        "axes": flags("which axes z, y, x are coarse: the first (thick slices) or all (low resolution)"),
        "from_mm": place("where the cells begin, z, y, x from the volume's first voxel in LPS"),
        "cell_mm": number(
            "size of a cell; (0, 0.8 x extent], at most 30, for thick slices, (0, 2 x deepest point] otherwise"
        ),
    },
    strength="cell_mm",
    draw=_draw_staircase,
    build=_staircase,
)


def _kept_slices(params: Params, box: _core.Box, step_mm: float) -> list[int]:
    axis, first, last = params["axis"], params["first"], params["last"]
    step = max(step_mm / box.spacing_mm[axis], 1.0)
    count = int((last - first) / step)
    kept = {first, last} | {first + int(np.floor(k * step + 0.5)) for k in range(1, count + 1)}
    return sorted(index - box.origin[axis] for index in kept if index <= last)


def _interpolate(scene: Scene, params: Params, most: float) -> Damage:
    box, axis = scene.box(), params["axis"]
    across = max(min(box.shape[(axis + 1) % 3], box.shape[(axis + 2) % 3]) // 32, 1)
    stride = [1 if a == axis else across for a in range(3)]
    thin_box, thin_mask = _core.subsample(box, scene.mask_in(box), stride, scene.threads)
    _, thin_truth = _core.subsample(box, scene.truth_in(box), stride, scene.threads)

    def render(step_mm: float) -> Outcome:
        kept = _kept_slices(params, box, step_mm)
        result = _core.interpolate_slices(box, scene.mask_in(box), axis, kept, scene.threads)
        both, voxels, _ = _core.compare(box, result, scene.truth_in(box), scene.threads)
        return Outcome(step_mm, Patch(box, result), (both, voxels, scene.truth_voxels))

    def estimate(step_mm: float) -> float:
        kept = _kept_slices(params, box, step_mm)
        result = _core.interpolate_slices(thin_box, thin_mask, axis, kept, scene.threads)
        return dice_of(_core.compare(thin_box, result, thin_truth, scene.threads))

    return RenderedDamage(scene, render, estimate, most, rough=True)


INTERPOLATE = Kind(
    name="interpolate",
    imitates="every n-th slice annotated and the ones between interpolated",
    parameters={
        "axis": slice_axis(),
        "first": index("first annotated slice, its index in the volume in LPS: the mask's first"),
        "last": index("last annotated slice: the mask's last"),
        "step_mm": number("distance of annotated slices, rounded to slices one by one; (0, extent / 2], at most 40"),
    },
    strength="step_mm",
    draw=lambda scene, _rng: (
        {"axis": 0, "first": int(scene.begin[0]), "last": int(scene.end[0]) - 1},
        max(min(scene.extent_mm[0] / 2.0, _WIDEST_STEP_MM), 2.0 * scene.spacing_mm[0]),
    ),
    build=_interpolate,
    consistent=lambda params: None if params["first"] <= params["last"] else "first lies behind last.",
)
