"""The error of a careful human annotator, fitted to pairs of experts who contoured the same scans.

Source: 20 head and neck scans with ten structures contoured by two experts each (Nikolov et al., arXiv:1809.04430).
`rater.csv` holds what benchmarks/rater_fit.py fitted to them, a row a structure; benchmarks/results/raters.md shows
how well. Where the structure is not one of the ten, the row of one of like size is taken.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.resources import files

import numpy as np

from segae import _core
from segae.perturbation.boundary import noisy
from segae.perturbation.damage import Damage, Outcome, RenderedDamage
from segae.perturbation.kind import Kind, Params, between, noise_seed, short
from segae.perturbation.parameters import grid_mm, number, numbers, optional, seed, slice_axis
from segae.perturbation.scene import Bytes, Patch, Scene

SLICE_MM = 2.5  # of the scans: experts disagree about an end by multiples of this
_STRONGEST = 3.0
_LARGEST_SPREAD = 0.3  # of the deepest point: beyond it a thin structure falls apart


@dataclass(frozen=True)
class Experts:
    """How two experts differ on one structure.

    Attributes
    ----------
    structures : tuple of str
        Canonical names.
    radius_mm : float
        Of the ball of the structure's volume.
    bias_mm : float
        Standard deviation over scans of the mean displacement of the surface.
    spread_low_mm, spread_high_mm : float
        Standard deviation of the displacement about its mean: from one scan to the other between these two.
    slice_share : float
        Share of that variance which each slice has for itself.
    smooth_grid_mm, slice_grid_mm : float
        Distances over which the common and the slice's own part change.
    same_end, one_slice, two_slices : float
        Probability that the first, or last, slice is the same, or one or two off; otherwise it is three off.
    """

    structures: tuple[str, ...]
    radius_mm: float
    bias_mm: float
    spread_low_mm: float
    spread_high_mm: float
    slice_share: float
    smooth_grid_mm: float
    slice_grid_mm: float
    same_end: float
    one_slice: float
    two_slices: float


@cache
def fitted() -> tuple[Experts, ...]:
    """Read the table."""
    numbers = [field.name for field in fields(Experts) if field.name != "structures"]
    with files("segae.perturbation").joinpath("rater.csv").open() as file:
        return tuple(
            Experts(tuple(row["structures"].split()), **{name: float(row[name]) for name in numbers})
            for row in csv.DictReader(file)
        )


def experts_on(scene: Scene, rng: np.random.Generator) -> Experts:
    """Experts on the mask's structure; where the table lacks it, on one drawn by its size."""
    draw = rng.random()  # in any case, so that the name changes nothing else
    for experts in fitted():
        if scene.structure in experts.structures:
            return experts
    ratios = [min(scene.sphere_mm, experts.radius_mm) / max(scene.sphere_mm, experts.radius_mm) for experts in fitted()]
    ends = np.cumsum([ratio * ratio * ratio * ratio for ratio in ratios])
    return fitted()[int(np.searchsorted(ends, draw * ends[-1], side="right"))]


def drawn_like(experts: Experts, scene: Scene, rng: np.random.Generator) -> Params:
    """Parameters of one annotator whose difference is of this kind."""
    spread = between(rng, experts.spread_low_mm, experts.spread_high_mm)
    bias = between(rng, -np.sqrt(3.0), np.sqrt(3.0)) * experts.bias_mm
    held = min(1.0, _LARGEST_SPREAD * scene.depth_mm / max(spread, abs(bias), 1e-9))
    return {
        "axis": 0,
        "bias_mm": short(held * bias),
        "smooth_mm": short(held * spread * np.sqrt(1.0 - experts.slice_share)),
        "smooth_grid_mm": experts.smooth_grid_mm,
        "slice_mm": short(held * spread * np.sqrt(experts.slice_share)),
        "slice_grid_mm": experts.slice_grid_mm,
        "ends_mm": [_draw_end(experts, rng), _draw_end(experts, rng)],
        "seed": noise_seed(rng),
    }


def _draw_end(experts: Experts, rng: np.random.Generator) -> float:
    up_to = np.cumsum([experts.same_end, experts.one_slice, experts.two_slices])
    slices = int(np.searchsorted(up_to, rng.random(), side="right"))
    return SLICE_MM * slices * (1.0 if rng.random() < 0.5 else -1.0)


def _rater(scene: Scene, params: Params, most: float) -> Damage:
    across = [0.0 if axis == params["axis"] else params["slice_grid_mm"] for axis in range(3)]
    noise = [
        _core.Noise(params["seed"], [params["smooth_grid_mm"]] * 3, params["smooth_mm"]),
        _core.Noise(params["seed"] + 1, across, params["slice_mm"]),
    ]
    variance = params["smooth_mm"] * params["smooth_mm"] + params["slice_mm"] * params["slice_mm"]

    def render(scale: float) -> Outcome:
        ends_mm = [scale * end for end in params.get("ends_mm", (0.0, 0.0))]
        moved = with_ends(scene, params["axis"], ends_mm)
        return noisy(moved, scale, noise, params["bias_mm"], float(np.sqrt(variance))).apply(scale)

    return RenderedDamage(scene, render, lambda scale: render(scale).dice, most)


def with_ends(scene: Scene, axis: int, ends_mm: Sequence[float]) -> Scene:
    """A scene whose mask ends earlier (negative) or later at its first and last slice; one slice is left at least."""
    step = scene.spacing_mm[axis]
    low, high = (int(np.floor(end / step + 0.5)) for end in ends_mm)
    slices = scene.end[axis] - scene.begin[axis]
    low = max(low, 1 - slices)
    high = max(high, 1 - slices - min(low, 0))
    if low == high == 0:
        return scene
    own = scene.box()
    reach = [float(a == axis) * max(low, high, 0) * step for a in range(3)]
    box = scene.box(reach)
    mask = _core.recut(own, scene.mask_in(own), box, scene.threads)
    first, last = scene.begin[axis], scene.end[axis] - 1
    for end, further, slices in ((first, -1, low), (last, 1, high)):
        if slices < 0:
            mask = _flipped_slices(scene, box, mask, axis, [end - further * k for k in range(-slices)])
        elif slices > 0:
            added = [end + further * k for k in range(1, slices + 1)]
            mask = _flipped_slices(scene, box, mask, axis, added, _tapered(scene, box, mask, axis, end, added))
    return replace(scene, mask=Patch(box, mask), truth=scene.truth or scene.mask, _cuts={})


def _tapered(scene: Scene, box: _core.Box, mask: Bytes, axis: int, end: int, added: Sequence[int]) -> Bytes:
    """The last slice, going on ever smaller; a slice twice as far as asked for would be the first empty one."""
    length = 2 * len(added) + 3
    origin, shape = list(box.origin), list(box.shape)
    origin[axis], shape[axis] = (end if added[0] > end else end - length + 1), length
    beyond = _core.Box(origin, shape, box.spacing_mm)
    from_end = _core.recut(box, mask, beyond, scene.threads)
    tapered = _core.interpolate_slices(beyond, from_end, axis, [0, length - 1], scene.threads)
    return _core.recut(beyond, tapered, box, scene.threads)


def _flipped_slices(
    scene: Scene, box: _core.Box, mask: Bytes, axis: int, slices: Sequence[int], other: Bytes | None = None
) -> Bytes:
    """The mask without these slices; with `other`, with what that holds in them."""
    gone = {index - box.origin[axis] for index in slices}
    rule = _core.LevelRule(
        _core.Measure.SLICES,
        add=other is not None,
        remove=other is None,
        most=1.0,
        axis=axis,
        slices=[0.0 if index in gone else 2.0 for index in range(box.shape[axis])],
    )
    level = _core.levels(box, mask, rule, other=other, threads=scene.threads)
    return _core.flip(box, mask, level, 1.0, mask, scene.threads)[0]


RATER = Kind(
    name="rater",
    imitates="a careful expert, as two of them differ",
    parameters={
        "axis": slice_axis(),
        "bias_mm": number("wider (positive) or tighter than the given mask as a whole", -1e5),
        "smooth_mm": number("standard deviation of the error that runs on from slice to slice"),
        "smooth_grid_mm": grid_mm("distance over which it changes"),
        "slice_mm": number("standard deviation of the error of each slice for itself"),
        "slice_grid_mm": grid_mm("distance in the plane over which it changes"),
        "ends_mm": optional(
            numbers(
                "how much further the first and the last slice lie; negative: slices lost; multiples of 2.5",
                -1e3,
                1e3,
                length=2,
            )
        ),
        "seed": seed("of the noise fields"),
        "scale": number("of all lengths but the grids; 1 is two experts' difference, (0, 3]"),
    },
    strength="scale",
    draw=lambda scene, rng: (drawn_like(experts_on(scene, rng), scene, rng), _STRONGEST),
    build=_rater,
)
