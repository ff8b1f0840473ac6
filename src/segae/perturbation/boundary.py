"""Errors of the outline: too tight, too wide, too smooth, trembling."""

from __future__ import annotations

import math

import numpy as np

from segae import _core
from segae.perturbation.damage import Damage, LevelDamage, Outcome, RenderedDamage, dice_of
from segae.perturbation.kind import Kind, Params, between, noise_seed, short
from segae.perturbation.parameters import grid_mm, number, optional, seed, slice_axis
from segae.perturbation.scene import Bytes, Patch, Scene

_LARGEST_NOISE = 3.0  # standard deviations; what lies beyond is held there, so that the reach is known


# Voxels equally far from the border change sides together. This noise, in voxels, puts them in an order.
_UNEVEN = 0.02


def _moved_evenly(scene: Scene, params: Params, most: float, *, outside: bool) -> Damage:
    sides = _core.Sides.OUTSIDE if outside else _core.Sides.INSIDE
    box, squared = scene.squared(sides, most if outside else 0.0)
    uneven = params.get("seed") is not None
    noise = [_core.Noise(params["seed"], [params["grid_mm"]] * 3, params["uneven_mm"])] if uneven else []
    rule = _core.LevelRule(_core.Measure.DISTANCE, add=outside, remove=not outside, most=most, noise=noise)
    level = _core.levels(box, scene.mask_in(box), rule, squared=squared, threads=scene.threads)
    return LevelDamage(scene, box, level, most)


def _uneven(scene: Scene, params: Params, rng: np.random.Generator) -> Params:
    step = min(scene.spacing_mm)
    grid = max(scene.depth_mm, 2.0 * max(scene.spacing_mm))
    return params | {"uneven_mm": short(_UNEVEN * step), "grid_mm": short(grid), "seed": noise_seed(rng)}


def _even_or_whole(params: Params) -> str | None:
    given = [name for name in _UNEVEN_PARAMETERS if params.get(name) is not None]
    return None if len(given) in (0, 3) else f"{', '.join(_UNEVEN_PARAMETERS)} go together; only {given} came."


_UNEVEN_PARAMETERS = {
    "uneven_mm": optional(number("only where a target needs it: which voxels of the last layer go first; 0.02 voxels")),
    "grid_mm": optional(
        grid_mm("with uneven_mm: size of the patches that go together; deepest point, at least two voxels")
    ),
    "seed": optional(seed("with uneven_mm: of the noise")),
}


def _thickness_mm(scene: Scene) -> float:
    """Volume over surface, from the outermost layers of voxels; their centres lie half a voxel inside the boundary."""
    near = 2.0 * max(scene.spacing_mm)
    box, squared = scene.squared(_core.Sides.INSIDE, 0.0)
    rim = int(_core.count_in_rows(box, squared, -near * near * (1 + 1e-6), -1e-12, scene.threads).sum())
    return scene.voxels / max(rim, 1) * (near - min(scene.spacing_mm) / 2.0)


def _wide_enough(scene: Scene, _params: Params, target_dice: float) -> float:
    """Brunn and Minkowski: of all bodies of one volume the ball grows least. Mostly the surface says less."""
    target = max(target_dice - 0.02, 0.01)
    growth = (2.0 - target) / target
    ball: float = scene.sphere_mm * (growth ** (1.0 / 3.0) - 1.0) + 2.0 * max(scene.spacing_mm)
    return min(ball, 1.1 * _thickness_mm(scene) * (growth - 1.0) + max(scene.spacing_mm))


def _at_once(_scene: Scene, _params: Params, _target_dice: float) -> float:
    """Levels of all strengths cost as much as those of a weak one."""
    return math.inf


ERODE = Kind(
    name="erode",
    imitates="a mask drawn too tight: a cautious annotator, a network trained on partial-volume borders",
    parameters={"radius_mm": number("everything up to this far from the background is lost; (0, 0.95 x deepest point]")}
    | _UNEVEN_PARAMETERS,
    strength="radius_mm",
    draw=lambda scene, _rng: ({}, 0.95 * scene.depth_mm),
    build=lambda scene, params, most: _moved_evenly(scene, params, most, outside=False),
    enough=_at_once,
    finer=_uneven,
    consistent=_even_or_whole,
)

DILATE = Kind(
    name="dilate",
    imitates="a mask drawn too wide: a generous annotator, a network's blurred border, a lower threshold",
    parameters={"radius_mm": number("everything up to this far from the mask is added; (0, 2 x deepest point]")}
    | _UNEVEN_PARAMETERS,
    strength="radius_mm",
    draw=lambda scene, _rng: ({}, 2.0 * scene.depth_mm),
    build=lambda scene, params, most: _moved_evenly(scene, params, most, outside=True),
    enough=_wide_enough,
    finer=_uneven,
    consistent=_even_or_whole,
)


def _ball_moved(
    box: _core.Box, mask: Bytes, radius_mm: float, *, add: bool, threads: int, within: Bytes | None = None
) -> Bytes:
    """Erosion or dilation by a ball; `within` holds back what may be added, or keeps what may not be lost."""
    sides = _core.Sides.OUTSIDE if add else _core.Sides.INSIDE
    squared = _core.signed_squared_distance(mask, box, sides, threads)
    rule = _core.LevelRule(_core.Measure.DISTANCE, add=add, remove=not add, most=radius_mm)
    level = _core.levels(box, mask, rule, other=within, squared=squared, threads=threads)
    return _core.flip(box, mask, level, radius_mm, mask, threads)[0]


def _there_and_back(scene: Scene, most: float, *, outwards: bool) -> Damage:
    """Opening (inwards first) or closing (outwards first) by a ball."""
    step = int(np.clip((scene.voxels / 2e4) ** (1.0 / 3.0), 1, 4))

    def moved(at: _core.Box, mask: Bytes, radius_mm: float) -> Bytes:
        there = _ball_moved(at, mask, radius_mm, add=outwards, threads=scene.threads)
        return _ball_moved(at, there, radius_mm, add=not outwards, threads=scene.threads, within=mask)

    def render(radius_mm: float) -> Outcome:
        near = scene.box(radius_mm if outwards else 0.0)
        result = moved(near, scene.mask_in(near), radius_mm)
        both, voxels, _ = _core.compare(near, result, scene.truth_in(near), scene.threads)
        return Outcome(radius_mm, Patch(near, result), (both, voxels, scene.truth_voxels))

    def estimate(radius_mm: float) -> float:
        near = scene.box(radius_mm if outwards else 0.0)
        thin, mask = _core.subsample(near, scene.mask_in(near), [step] * 3, scene.threads)
        _, truth = _core.subsample(near, scene.truth_in(near), [step] * 3, scene.threads)
        return dice_of(_core.compare(thin, moved(thin, mask, radius_mm), truth, scene.threads))

    return RenderedDamage(scene, render, estimate, most)


OPEN = Kind(
    name="open",
    imitates="thin processes and vessels lost: coarse networks, clean-up scripts, drawing with a round brush",
    parameters={"radius_mm": number("parts into which no ball of this radius fits are lost; (0, deepest point]")},
    strength="radius_mm",
    draw=lambda scene, _rng: ({}, 0.95 * scene.depth_mm),
    build=lambda scene, _params, most: _there_and_back(scene, most, outwards=False),
)

CLOSE = Kind(
    name="close",
    imitates="hollows and gaps filled: outlines around concave or branching structures, canals drawn over",
    parameters={
        "radius_mm": number("background into which no ball of this radius fits is filled; (0, 1.5 x equal ball]")
    },
    strength="radius_mm",
    draw=lambda scene, _rng: ({}, 1.5 * scene.sphere_mm),
    build=lambda scene, _params, most: _there_and_back(scene, most, outwards=True),
)


def _smooth(scene: Scene, params: Params, most: float) -> Damage:
    sigma = params["sigma_mm"]
    box, squared = scene.squared(_core.Sides.BOTH, 3.0 * sigma)
    field = _core.roughness(box, squared, sigma, scene.threads)
    # The boundary moves by less than the blurred distance's range.
    rule = _core.LevelRule(_core.Measure.FIELD, add=True, remove=True, most=most, most_push_mm=6.0 * sigma)
    level = _core.levels(box, scene.mask_in(box), rule, squared=squared, field=field, threads=scene.threads)
    return LevelDamage(scene, box, level, most)


SMOOTH = Kind(
    name="smooth",
    imitates="rounded corners and lost detail: low-resolution networks, smoothing on export, contour splines",
    parameters={
        "sigma_mm": number("width of the Gaussian that smooths the signed distance; [0.2, 0.7] x deepest point", 0.01),
        "amount": number("share of the way from the given to the smoothed outline; (0, 1]", high=10.0),
    },
    strength="amount",
    draw=lambda scene, rng: ({"sigma_mm": between(rng, 0.2, 0.7) * scene.depth_mm}, 1.0),
    build=_smooth,
    enough=_at_once,
)


def noisy(scene: Scene, most: float, noise: list[_core.Noise], bias: float, spread: float) -> Damage:
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
    return LevelDamage(scene, box, level, most)


def _noisy_enough(scene: Scene, spread: float, target_dice: float) -> float:
    """Strength at which `noisy` without bias reaches a Dice."""
    # A normal displacement of spread s gains and loses 0.4 s from each mm2 of surface; fields of few waves may be weak
    # where the surface is.
    return 1.8 * (1.0 - target_dice) * _thickness_mm(scene) / (0.4 * spread)


def _draw_jitter(scene: Scene, rng: np.random.Generator) -> tuple[Params, float]:
    grid = max(between(rng, 0.6, 2.0) * scene.depth_mm, 2.0 * max(scene.spacing_mm))
    return {"grid_mm": grid, "seed": noise_seed(rng)}, 0.5 * grid


def _jitter(scene: Scene, params: Params, most: float) -> Damage:
    noise = [_core.Noise(params["seed"], [params["grid_mm"]] * 3, 1.0)]
    return noisy(scene, most, noise, 0.0, 1.0)


JITTER = Kind(
    name="jitter",
    imitates="an unsteady outline, too wide here and too tight there: quick contouring, uncertain borders",
    parameters={
        "grid_mm": grid_mm("distance over which the error changes; [0.6, 2] x deepest point, at least two voxels"),
        "seed": seed("of the noise field"),
        "amplitude_mm": number("standard deviation of the boundary's displacement; (0, grid_mm / 2]"),
    },
    strength="amplitude_mm",
    draw=_draw_jitter,
    build=_jitter,
    enough=lambda scene, _params, target_dice: _noisy_enough(scene, 1.0, target_dice),
)


_WORST_SLICE_MM = 8.0  # nobody contours a slice worse


def _draw_slicewise(scene: Scene, rng: np.random.Generator) -> tuple[Params, float]:
    wide = max(scene.extent_mm[1:])
    return {
        "axis": 0,
        "wide_mm": between(rng, 0.8, 1.6) * wide,
        "fine_mm": max(between(rng, 0.1, 0.25) * wide, 2.0 * max(scene.spacing_mm[1:])),
        "fine_share": between(rng, 0.1, 0.5),
        "seed": noise_seed(rng),
    }, min(0.5 * scene.depth_mm, _WORST_SLICE_MM)


def _slicewise(scene: Scene, params: Params, most: float) -> Damage:
    def grid(mm: float) -> list[float]:
        return [0.0 if axis == params["axis"] else mm for axis in range(3)]

    share = params["fine_share"]
    noise = [
        _core.Noise(params["seed"], grid(params["wide_mm"]), 1.0 - share),
        _core.Noise(params["seed"] + 1, grid(params["fine_mm"]), share),
    ]
    return noisy(scene, most, noise, 0.0, _slice_spread(share))


def _slice_spread(fine_share: float) -> float:
    wide_share = 1.0 - fine_share
    return math.sqrt(wide_share * wide_share + fine_share * fine_share)  # hypot is not the same everywhere


SLICEWISE = Kind(
    name="slicewise",
    imitates="slices contoured one by one in 2D: each a little shifted, wider or tighter than its neighbours",
    parameters={
        "axis": slice_axis(),
        "wide_mm": grid_mm("distance over which a slice's error changes as a whole; [0.8, 1.6] x extent in the plane"),
        "fine_mm": grid_mm("the same for its trembling; [0.1, 0.25] x extent in the plane"),
        "fine_share": number("of the trembling in the error; [0.1, 0.5]", high=1.0),
        "seed": seed("of the noise fields"),
        "amplitude_mm": number("of the boundary's displacement; (0, deepest point / 2], at most 8"),
    },
    strength="amplitude_mm",
    draw=_draw_slicewise,
    build=_slicewise,
    enough=lambda scene, params, target_dice: _noisy_enough(scene, _slice_spread(params["fine_share"]), target_dice),
)
