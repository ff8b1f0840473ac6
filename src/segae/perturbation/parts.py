"""Errors of whole parts: an end, slices or a lobe missing, holes, blobs elsewhere, leaks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from segae import _core
from segae.perturbation.damage import Damage, LevelDamage
from segae.perturbation.kind import Kind, Params, between, direction, noise_seed, short
from segae.perturbation.parameters import (
    grid_mm,
    indices,
    number,
    numbers,
    optional,
    place,
    places,
    seed,
    slice_axis,
    unit_vector,
)
from segae.perturbation.scene import Floats, Scene, Triple

_ANY = float(np.finfo(np.float32).max)


def pick(
    scene: Scene, box: _core.Box, field: Floats, low: float, high: float, rng: np.random.Generator
) -> Triple | None:
    """Place in mm of a voxel drawn evenly from those with low <= field <= high; None when there is none."""
    counts = _core.count_in_rows(box, field, low, high, scene.threads)
    total = int(counts.sum())
    if total == 0:
        return None
    rank = int(rng.integers(total))
    row = int(np.searchsorted(counts.cumsum(), rank, side="right"))
    before = int(counts[:row].sum())
    x = _core.find_in_row(box, field, row, low, high, rank - before)
    index = (row // box.shape[1], row % box.shape[1], x)
    z, y, x_mm = ((o + i) * s for o, i, s in zip(box.origin, index, box.spacing_mm, strict=True))
    return short(z), short(y), short(x_mm)


def place_inside(scene: Scene, rng: np.random.Generator, least_share: float, most_share: float) -> Triple:
    """A voxel of the mask whose depth is this share of the deepest's; the centroid's place when there is none."""
    box, squared = scene.squared(_core.Sides.INSIDE, 0.0)
    shallow, deep = least_share * scene.depth_mm, most_share * scene.depth_mm
    found = pick(scene, box, squared, -short(deep * deep) * (1 + 1e-6), -max(shallow * shallow, 1e-12), rng)
    return found or scene.centre_mm


def on_surface(scene: Scene, rng: np.random.Generator) -> Triple:
    """A voxel of the mask beside the background."""
    box, squared = scene.squared(_core.Sides.INSIDE, 0.0)
    nearest = 1.01 * max(scene.spacing_mm) ** 2
    return pick(scene, box, squared, -nearest, -1e-12, rng) or scene.centre_mm


def _levels(scene: Scene, box: _core.Box, rule: _core.LevelRule, most: float) -> LevelDamage:
    level = _core.levels(box, scene.mask_in(box), rule, threads=scene.threads)
    return LevelDamage(scene, box, level, most)


def span_along(scene: Scene, way: Sequence[float]) -> tuple[float, float]:
    """First and last place of the bounding box along a direction, in mm."""
    ends = [
        sorted((w * b * s, w * (e - 1) * s))
        for w, b, e, s in zip(way, scene.begin, scene.end, scene.spacing_mm, strict=True)
    ]
    return sum(end[0] for end in ends), sum(end[1] for end in ends)


def _draw_truncate(scene: Scene, rng: np.random.Generator) -> tuple[Params, float]:
    kind = rng.random()
    sign = 1.0 if rng.random() < 0.5 else -1.0
    oblique = direction(rng)
    if kind < 0.7:
        way: Triple = (sign, 0.0, 0.0)
    elif kind < 0.85:
        way = (0.0, sign, 0.0) if rng.random() < 0.5 else (0.0, 0.0, sign)
    else:
        way = oblique
    first, last = span_along(scene, way)
    if kind >= 0.85:  # the box's corner lies before the mask: start where the mask does
        box = scene.box()
        rule = _core.LevelRule(_core.Measure.PLANE, remove=True, most=last - first, normal=way, start_mm=first)
        level = _core.levels(box, scene.mask_in(box), rule, threads=scene.threads)
        first += float(_core.extremes(box, level, scene.threads)[0])
    # Slices lie at their centres: the first is lost once the cut is half a voxel behind it.
    start = first - sum(abs(w) * s for w, s in zip(way, scene.spacing_mm, strict=True)) / 2.0
    return {"normal": list(way), "start_mm": short(start)}, 0.95 * (last - start)


def tilted(scene: Scene, params: Params, rng: np.random.Generator) -> Params:
    """Across the mask the plane runs through one or two slices, so that the last is taken in part."""
    normal = np.array(params["normal"])
    along = int(np.abs(normal).argmax())
    tilt = np.array([between(rng, 0.3, 0.8) * (1 if rng.random() < 0.5 else -1) for _ in range(3)])
    tilt *= scene.spacing_mm[along] / max(scene.extent_mm)
    tilt[along] = normal[along]
    way = [short(t / np.sqrt((tilt * tilt).sum())) for t in tilt]
    middle = np.array(scene.centre_mm)
    # Turned about the mask's centroid, so that the start stays where it was.
    return params | {"normal": way, "start_mm": short(params["start_mm"] + float((np.array(way) - normal) @ middle))}


def _truncate(scene: Scene, params: Params, most: float) -> Damage:
    rule = _core.LevelRule(
        _core.Measure.PLANE, remove=True, most=most, normal=params["normal"], start_mm=params["start_mm"]
    )
    return _levels(scene, scene.box(), rule, most)


TRUNCATE = Kind(
    name="truncate",
    imitates="the missing end: a network's field of view, an annotator who stopped early, a wrong scan range",
    parameters={
        "normal": unit_vector(
            "unit vector z, y, x from the lost end into the mask; along an axis (85 %, z mostly) or oblique"
        ),
        "start_mm": number("where the mask begins along it", -1e5),
        "depth_mm": number("everything up to this far behind the start is lost; (0, 0.95 x extent]"),
    },
    strength="depth_mm",
    draw=_draw_truncate,
    build=_truncate,
    enough=lambda *_: math.inf,  # levels of all strengths cost as much as those of a weak one
    finer=tilted,
)


def _draw_drop_slices(scene: Scene, rng: np.random.Generator) -> tuple[Params, float]:
    """Runs of one to four slices in random order, as single slices and short gaps are forgotten."""
    runs, index = [], scene.begin[0]
    while index < scene.end[0]:
        length = int(rng.integers(1, 5))
        runs.append(list(range(index, min(index + length, scene.end[0]))))
        index += length
    order = [runs[i] for i in rng.permutation(len(runs))]
    slices = [int(index) for run in order for index in run]
    return {"axis": 0, "order": slices}, 0.8 * len(slices)


def _drop_slices(scene: Scene, params: Params, most: float) -> Damage:
    box, axis = scene.box(), params["axis"]
    level = np.full(box.shape[axis], np.inf, dtype=np.float32)
    for rank, index in enumerate(params["order"], start=1):
        if 0 <= index - box.origin[axis] < box.shape[axis]:
            level[index - box.origin[axis]] = rank
    rule = _core.LevelRule(_core.Measure.SLICES, remove=True, most=most, axis=axis, slices=level.tolist())
    return _levels(scene, box, rule, most)


DROP_SLICES = Kind(
    name="drop_slices",
    imitates="forgotten slices: annotation slice by slice, a failed save, a network that flickers",
    parameters={
        "axis": slice_axis(),
        "order": indices("indices of slices in the order in which they are lost, in runs of 1 to 4"),
        "count": number("how many are lost; (0, 0.8 x slices]"),
    },
    strength="count",
    draw=_draw_drop_slices,
    build=_drop_slices,
)


def _draw_drop_part(scene: Scene, rng: np.random.Generator) -> tuple[Params, float]:
    if rng.random() < 0.5:  # a lobe: all within a distance of a place on the surface
        place, way = on_surface(scene, rng), None
        reach = float(np.linalg.norm(scene.extent_mm))
    else:
        place, way = None, direction(rng)
        first, last = span_along(scene, way)
        reach = max(last - first, *scene.spacing_mm)  # one voxel has no extent between centres
    return {
        "centre_mm": None if place is None else list(place),
        "normal": None if way is None else list(way),
        "start_mm": None if way is None else short(first),
        "wobble": between(rng, 0.1, 0.3),
        "grid_mm": max(between(rng, 0.8, 1.6) * scene.depth_mm, 2.0 * max(scene.spacing_mm)),
        "seed": noise_seed(rng),
    }, 0.9 * reach


def _drop_part(scene: Scene, params: Params, most: float) -> Damage:
    grid = params["grid_mm"]
    if params.get("normal") is None:
        noise = [_core.Noise(params["seed"], [grid] * 3, params["wobble"])]
        balls = [(params["centre_mm"], 1.0)]
        rule = _core.LevelRule(_core.Measure.BALLS, remove=True, most=most, balls=balls, noise=noise)
    else:
        noise = [_core.Noise(params["seed"], [grid] * 3, params["wobble"] * grid)]
        rule = _core.LevelRule(
            _core.Measure.PLANE,
            remove=True,
            most=most,
            normal=params["normal"],
            start_mm=params["start_mm"],
            noise=noise,
        )
    return _levels(scene, scene.box(), rule, most)


def _lobe_or_side(params: Params) -> str | None:
    lobe = params.get("centre_mm") is not None
    side = [params.get(name) is not None for name in ("normal", "start_mm")]
    sound = (lobe and not any(side)) or (not lobe and all(side))
    return None if sound else "give centre_mm for a lobe, or normal and start_mm for a side, and None for the others."


def _one_weight_each(params: Params) -> str | None:
    centres, weights = len(params["centres_mm"]), len(params["weights"])
    return None if centres == weights else f"{centres} centres_mm need as many weights, got {weights}."


DROP_PART = Kind(
    name="drop_part",
    imitates="a lobe, horn or side missing along an uneven border: a network that did not recognise a part",
    parameters={
        "centre_mm": optional(
            place("lobe: place on the surface from which it is lost, z, y, x from the volume's first voxel in LPS")
        ),
        "normal": optional(unit_vector("side: unit vector z, y, x from the lost side inwards")),
        "start_mm": optional(number("side: where the mask's box begins along it", -1e5)),
        "wobble": number("unevenness of the border, a share of the distance; [0.1, 0.3]", high=1.0),
        "grid_mm": grid_mm("distance over which the border wobbles; [0.8, 1.6] x deepest point, at least two voxels"),
        "seed": seed("of the wobble"),
        "reach_mm": number("how far the lost part extends; (0, 0.9 x extent]"),
    },
    strength="reach_mm",
    draw=_draw_drop_part,
    build=_drop_part,
    consistent=_lobe_or_side,
)


def _blobs(scene: Scene, params: Params, most: float, *, add: bool) -> Damage:
    weights = params["weights"]
    centres = params["centres_mm"]
    noise = [_core.Noise(params["seed"], [params["grid_mm"]] * 3, params["wobble"])]
    balls = list(zip(centres, weights, strict=True))
    rule = _core.LevelRule(_core.Measure.BALLS, add=add, remove=not add, most=most, balls=balls, noise=noise)
    if not add:
        return _levels(scene, scene.box(), rule, most)
    reach = 2.0 * most * max(weights)  # the noise makes a blob at most twice as wide
    low = (np.min(centres, axis=0) - reach) / scene.spacing_mm
    high = (np.max(centres, axis=0) + reach) / scene.spacing_mm
    box = scene.clip(
        np.minimum(np.floor(low).astype(int), np.array(scene.begin) - 1),
        np.maximum(np.ceil(high).astype(int) + 1, np.array(scene.end) + 1),
    )
    return _levels(scene, box, rule, most)


def _draw_holes(scene: Scene, rng: np.random.Generator) -> tuple[Params, float]:
    count = int(rng.integers(1, 7))
    return {
        "centres_mm": [list(place_inside(scene, rng, 0.2, 1.0)) for _ in range(count)],
        "weights": [1.0] + [between(rng, 0.3, 1.0) for _ in range(count - 1)],
        "wobble": between(rng, 0.1, 0.3),
        "grid_mm": max(between(rng, 0.3, 0.7) * scene.depth_mm, 2.0 * max(scene.spacing_mm)),
        "seed": noise_seed(rng),
    }, 1.5 * scene.depth_mm


HOLES = Kind(
    name="holes",
    imitates="lesions, vessels, gas or calcifications left out: thresholding, networks unused to pathology",
    parameters={
        "centres_mm": places("places inside the mask, z, y, x from the volume's first voxel in LPS; 1 to 6"),
        "weights": numbers("radius of each hole as a share of the largest; [0.3, 1]", 1e-3, 1.0),
        "wobble": number("unevenness of the holes; [0.1, 0.3]", high=1.0),
        "grid_mm": grid_mm("distance over which they wobble; [0.3, 0.7] x deepest point, at least two voxels"),
        "seed": seed("of the wobble"),
        "radius_mm": number("of the largest hole; (0, 1.5 x deepest point]"),
    },
    strength="radius_mm",
    draw=_draw_holes,
    consistent=_one_weight_each,
    build=lambda scene, params, most: _blobs(scene, params, most, add=False),
)


def _draw_islands(scene: Scene, rng: np.random.Generator) -> tuple[Params, float]:
    count = int(rng.integers(1, 6))
    far = bool(rng.random() < 0.4)
    radius = scene.sphere_mm
    last = (np.array(scene.shape) - 1) * scene.spacing_mm
    centres = []
    for _ in range(count):
        away = between(rng, 1.5, 4.0) if far else between(rng, 0.4, 1.2)
        start, way = np.array(on_surface(scene, rng)), np.array(direction(rng))
        outwards = way if float(way @ (start - scene.centre_mm)) >= 0 else -way
        centres.append([short(c) for c in np.clip(start + away * radius * outwards, 0.0, last)])
    return {
        "centres_mm": centres,
        "weights": [1.0] + [between(rng, 0.2, 0.9) for _ in range(count - 1)],
        "wobble": between(rng, 0.1, 0.3),
        "grid_mm": max(between(rng, 0.3, 0.7) * radius, 2.0 * max(scene.spacing_mm)),
        "seed": noise_seed(rng),
    }, 1.2 * radius


ISLANDS = Kind(
    name="islands",
    imitates="false-positive blobs nearby or far: networks without a largest-component step",
    parameters={
        "centres_mm": places("places outside the mask, z, y, x from the volume's first voxel in LPS; 1 to 5"),
        "weights": numbers("radius of each island as a share of the largest; [0.2, 1]", 1e-3, 1.0),
        "wobble": number("unevenness of the islands; [0.1, 0.3]", high=1.0),
        "grid_mm": grid_mm(
            "distance over which they wobble; [0.3, 0.7] x radius of the equal ball, at least two voxels"
        ),
        "seed": seed("of the wobble"),
        "radius_mm": number("of the largest island; (0, 1.2 x radius of the equal ball]"),
    },
    strength="radius_mm",
    draw=_draw_islands,
    consistent=_one_weight_each,
    build=lambda scene, params, most: _blobs(scene, params, most, add=True),
)

_LEAK_STARTS = 6  # drawn; the leak takes the one that finds most tissue


def _draw_leak(scene: Scene, rng: np.random.Generator) -> tuple[Params, float]:
    box = scene.box()
    count, total, squares = _core.image_moments(box, scene.image_in(box), scene.mask_in(box), scene.threads)
    mean = total / count
    spread = float(np.sqrt(max(squares / count - mean * mean, 0.0)))
    params: Params = {
        "start_radius_mm": max(between(rng, 0.2, 0.6) * scene.depth_mm, 1.5 * max(scene.spacing_mm)),
        "centre_hu": short(mean),
        "width_hu": max(short(spread), 25.0),
    }
    trial = 0.6 * scene.sphere_mm
    best, most_found = params, -1
    for _ in range(_LEAK_STARTS):
        params = params | {"start_mm": list(on_surface(scene, rng))}
        error = _leak(scene, params, trial)
        found = error.apply(trial).counts[1]
        if found > most_found:
            best, most_found = params, found
    return best, 2.5 * scene.sphere_mm


def _leak(scene: Scene, params: Params, most: float) -> LevelDamage:
    start = np.array(params["start_mm"])
    reach = (params["start_radius_mm"] + most) / np.array(scene.spacing_mm)
    at = start / scene.spacing_mm
    inner = scene.box()
    # The front starts within the radius and no step costs less than its length.
    around = scene.clip(np.floor(at - reach).astype(int) - 1, np.ceil(at + reach).astype(int) + 2)
    begin = np.minimum(around.origin, inner.origin)
    end = np.maximum(np.add(around.origin, around.shape), np.add(inner.origin, inner.shape))
    box = scene.clip(begin, end)
    rule = _core.GrowRule(
        start_mm=params["start_mm"],
        start_radius_mm=params["start_radius_mm"],
        centre_hu=params["centre_hu"],
        width_hu=params["width_hu"],
        most_mm=most * (1 + 1e-5),
    )
    image = _core.blur(box, scene.image_in(box), min(scene.spacing_mm) * 1.5, scene.threads)
    level = _core.arrival(box, scene.mask_in(box), image, rule)
    return LevelDamage(scene, box, level, most)


LEAK = Kind(
    name="leak",
    imitates="leaking into a neighbour of similar density: region growing, networks at weak borders",
    parameters={
        "start_mm": place("place on the surface where it begins, z, y, x from the volume's first voxel in LPS"),
        "start_radius_mm": number("size of the gap; [0.2, 0.6] x deepest point, at least 1.5 voxels"),
        "centre_hu": number("tissue that is followed: the mask's mean", -1e6, 1e6),
        "width_hu": number(
            "a voxel this far off costs twice as much; the mask's standard deviation, at least 25", 1e-3, 1e6
        ),
        "cost_mm": number("how far the leak gets in its own tissue; (0, 2.5 x radius of the equal ball]"),
    },
    strength="cost_mm",
    draw=_draw_leak,
    build=_leak,
    needs="image",
)
