"""Errors of the outline: too tight, too wide, too smooth, trembling."""

from __future__ import annotations

from functools import partial

import numpy as np

from segae import _core
from segae.perturb.error import Error, LevelError, Outcome, RenderedError
from segae.perturb.kind import Kind, Params, between, noise_seed
from segae.perturb.scene import Patch, Scene

_LARGEST_NOISE = 3.0  # standard deviations; what lies beyond is held there, so that the reach is known


def _distance_error(scene: Scene, params: Params, most: float, *, outside: bool) -> Error:
    sides = _core.Sides.OUTSIDE if outside else _core.Sides.INSIDE
    box, squared = scene.squared(sides, most if outside else 0.0)
    rule = _core.LevelRule(_core.Measure.DISTANCE, add=outside, remove=not outside, most=most)
    level = _core.levels(box, scene.mask_in(box), rule, squared=squared, threads=scene.threads)
    return LevelError(scene, box, level, most)


def _wide_enough(scene: Scene, target_dice: float) -> float:
    """Brunn and Minkowski: of all bodies of one volume the ball grows least."""
    target = max(target_dice - 0.02, 0.01)
    return scene.sphere_mm * (((2.0 - target) / target) ** (1.0 / 3.0) - 1.0) + 2.0 * max(scene.spacing_mm)


ERODE = Kind(
    name="erode",
    imitates="a mask drawn too tight: a cautious annotator, a network trained on partial-volume borders",
    parameters={"radius_mm": "everything up to this far from the background is lost; (0, deepest point]"},
    strength="radius_mm",
    draw=lambda scene, rng: ({}, 0.95 * scene.depth_mm),
    build=partial(_distance_error, outside=False),
)

DILATE = Kind(
    name="dilate",
    imitates="a mask drawn too wide: a generous annotator, a network's blurred border, a lower threshold",
    parameters={"radius_mm": "everything up to this far from the mask is added; (0, 1.5 x radius of the equal ball]"},
    strength="radius_mm",
    draw=lambda scene, rng: ({}, 1.5 * scene.sphere_mm),
    build=partial(_distance_error, outside=True),
    enough=_wide_enough,
)


def _opened(scene: Scene, most: float, radius_mm: float) -> Outcome:
    box, depth = scene.squared(_core.Sides.INSIDE, 0.0)
    mask = scene.mask_in(box)
    core, _ = _flipped(scene, box, mask, depth, radius_mm, add=False)
    back = _core.signed_squared_distance(core, box, _core.Sides.OUTSIDE, scene.threads)
    grown, _ = _flipped(scene, box, core, back, radius_mm, add=True, other=mask)
    return _outcome(scene, box, grown, radius_mm)


def _closed(scene: Scene, most: float, radius_mm: float) -> Outcome:
    box, away = scene.squared(_core.Sides.OUTSIDE, most)
    mask = scene.mask_in(box)
    wide, _ = _flipped(scene, box, mask, away, radius_mm, add=True)
    depth = _core.signed_squared_distance(wide, box, _core.Sides.INSIDE, scene.threads)
    shrunk, _ = _flipped(scene, box, wide, depth, radius_mm, add=False, other=mask)
    return _outcome(scene, box, shrunk, radius_mm)


def _flipped(scene, box, mask, squared, radius_mm, *, add, other=None):  # type: ignore[no-untyped-def]
    rule = _core.LevelRule(_core.Measure.DISTANCE, add=add, remove=not add, most=radius_mm)
    level = _core.levels(box, mask, rule, other=other, squared=squared, threads=scene.threads)
    return _core.flip(box, mask, level, radius_mm, mask, scene.threads)


def _outcome(scene: Scene, box: _core.Box, result: np.ndarray, strength: float) -> Outcome:
    both, voxels, _ = _core.compare(box, result, scene.truth_in(box), scene.threads)
    return Outcome(strength, Patch(box, result), (both, voxels, scene.truth_voxels))


OPEN = Kind(
    name="open",
    imitates="thin processes and vessels lost: coarse networks, clean-up scripts, drawing with a round brush",
    parameters={"radius_mm": "parts into which no ball of this radius fits are lost; (0, deepest point]"},
    strength="radius_mm",
    draw=lambda scene, rng: ({}, 0.95 * scene.depth_mm),
    build=lambda scene, params, most: RenderedError(scene, lambda r, _: _opened(scene, most, r), most),
)

CLOSE = Kind(
    name="close",
    imitates="hollows and gaps filled: outlines around concave or branching structures, canals drawn over",
    parameters={"radius_mm": "background into which no ball of this radius fits is filled; (0, 1.5 x equal ball]"},
    strength="radius_mm",
    draw=lambda scene, rng: ({}, 1.5 * scene.sphere_mm),
    build=lambda scene, params, most: RenderedError(scene, lambda r, _: _closed(scene, most, r), most),
)


def _smooth(scene: Scene, params: Params, most: float) -> Error:
    sigma = params["sigma_mm"]
    box, squared = scene.squared(_core.Sides.BOTH, 3.0 * sigma)
    field = _core.roughness(box, squared, sigma, scene.threads)
    # The boundary moves by less than the blurred distance's range.
    rule = _core.LevelRule(_core.Measure.FIELD, add=True, remove=True, most=most, most_push_mm=6.0 * sigma)
    level = _core.levels(box, scene.mask_in(box), rule, squared=squared, field=field, threads=scene.threads)
    return LevelError(scene, box, level, most)


SMOOTH = Kind(
    name="smooth",
    imitates="rounded corners and lost detail: low-resolution networks, smoothing on export, contour splines",
    parameters={
        "sigma_mm": "width of the Gaussian that smooths the signed distance; [0.5, 1.2] x deepest point",
        "amount": "share of the way from the given to the smoothed outline; (0, 1]",
    },
    strength="amount",
    draw=lambda scene, rng: ({"sigma_mm": between(rng, 0.5, 1.2) * scene.depth_mm}, 1.0),
    build=_smooth,
)


def noisy(scene: Scene, most: float, noise: list[_core.Noise], bias: float, spread: float) -> Error:
    """The boundary moves by strength x (bias + noise), `noise` having the standard deviation `spread`."""
    push = abs(bias) + _LARGEST_NOISE * spread
    inset = min(scene.spacing_mm) / 2.0
    box, squared = scene.squared(_core.Sides.BOTH, most * push + inset)
    rule = _core.LevelRule(
        _core.Measure.FIELD,
        add=True,
        remove=True,
        most=most,
        bias=bias,
        most_push_mm=push,
        inset_mm=inset,
        noise=noise,
    )
    level = _core.levels(box, scene.mask_in(box), rule, squared=squared, threads=scene.threads)
    return LevelError(scene, box, level, most)


def _draw_jitter(scene: Scene, rng: np.random.Generator) -> tuple[Params, float]:
    grid = max(between(rng, 0.6, 2.0) * scene.depth_mm, 2.0 * max(scene.spacing_mm))
    return {"grid_mm": grid, "seed": noise_seed(rng)}, 0.5 * grid


def _jitter(scene: Scene, params: Params, most: float) -> Error:
    noise = [_core.Noise(params["seed"], [params["grid_mm"]] * 3, 1.0)]
    return noisy(scene, most, noise, 0.0, 1.0)


JITTER = Kind(
    name="jitter",
    imitates="an unsteady outline, too wide here and too tight there: quick contouring, uncertain borders",
    parameters={
        "grid_mm": "distance over which the error changes; [0.6, 2] x deepest point, at least two voxels",
        "seed": "of the noise field",
        "amplitude_mm": "standard deviation of the boundary's displacement; (0, grid_mm / 2]",
    },
    strength="amplitude_mm",
    draw=_draw_jitter,
    build=_jitter,
)


def _draw_slicewise(scene: Scene, rng: np.random.Generator) -> tuple[Params, float]:
    wide = max(scene.extent_mm[1:])
    return {
        "axis": 0,
        "wide_mm": between(rng, 0.8, 1.6) * wide,
        "fine_mm": max(between(rng, 0.1, 0.25) * wide, 2.0 * max(scene.spacing_mm[1:])),
        "fine_share": between(rng, 0.1, 0.5),
        "seed": noise_seed(rng),
    }, 0.5 * scene.depth_mm


def _slicewise(scene: Scene, params: Params, most: float) -> Error:
    def grid(mm: float) -> list[float]:
        return [0.0 if axis == params["axis"] else mm for axis in range(3)]

    share = params["fine_share"]
    noise = [
        _core.Noise(params["seed"], grid(params["wide_mm"]), 1.0 - share),
        _core.Noise(params["seed"] + 1, grid(params["fine_mm"]), share),
    ]
    return noisy(scene, most, noise, 0.0, float(np.hypot(1.0 - share, share)))


SLICEWISE = Kind(
    name="slicewise",
    imitates="slices contoured one by one in 2D: each a little shifted, wider or tighter than its neighbours",
    parameters={
        "axis": "slices lie across this axis of the volume in LPS [z, y, x]; 0",
        "wide_mm": "distance over which a slice's error changes as a whole; [0.8, 1.6] x extent in the plane",
        "fine_mm": "the same for its trembling; [0.1, 0.25] x extent in the plane",
        "fine_share": "of the trembling in the error; [0.1, 0.5]",
        "seed": "of the noise fields",
        "amplitude_mm": "of the boundary's displacement; (0, deepest point / 2]",
    },
    strength="amplitude_mm",
    draw=_draw_slicewise,
    build=_slicewise,
)
