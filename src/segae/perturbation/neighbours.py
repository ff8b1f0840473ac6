"""Errors of identity: another structure, the other side, a border with a neighbour in the wrong place."""

from __future__ import annotations

import numpy as np

from segae import _core
from segae.errors import ParameterError
from segae.perturbation.damage import Damage, LevelDamage
from segae.perturbation.kind import Kind, Params, short
from segae.perturbation.parameters import label, number, unit_vector
from segae.perturbation.parts import span_along, tilted
from segae.perturbation.scene import Bytes, Scene

_NEAR_MM = 10.0  # merge and split look for neighbours within
_SWAP_MM = 80.0  # and swaps within


def _neighbours(scene: Scene, reach_mm: float) -> dict[int, int]:
    """Voxels of every other structure of the labelmap within reach."""
    if scene.labelmap is None:
        raise ParameterError("labelmap: this kind of error needs the neighbouring structures; pass labelmap=.")
    box = scene.box(reach_mm)
    counts = _core.label_counts(scene.labelmap, box, scene.mask_in(box), scene.threads)
    # The mask's own structure overlaps it; so may a part or a whole of it.
    return {
        int(label): int(counts[label, 0])
        for label in np.flatnonzero(counts[:, 0])
        if label != 0 and counts[label, 1] <= 0.1 * min(counts[label, 0], scene.voxels)
    }


def _draw_neighbour(scene: Scene, rng: np.random.Generator) -> int:
    """Any structure nearby, those of like size more often: an aorta runs into a vein rather than into the liver."""
    found = _neighbours(scene, _NEAR_MM)
    if not found:
        raise ParameterError(f"labelmap: no other structure lies within {_NEAR_MM:g} mm of the mask.")
    labels = sorted(found)
    weights = np.cumsum([min(found[label], scene.voxels) / max(found[label], scene.voxels) for label in labels])
    return labels[int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))]


def _draw_lookalike(scene: Scene, rng: np.random.Generator) -> int:
    """One of the three structures within reach whose volume is nearest to the mask's."""
    found = _neighbours(scene, _SWAP_MM)
    if not found:
        raise ParameterError(f"labelmap: no other structure lies within {_SWAP_MM:g} mm of the mask.")
    ranked = sorted(found, key=lambda label: (max(found[label], scene.voxels) / min(found[label], scene.voxels), label))
    return ranked[int(rng.integers(min(3, len(ranked))))]


def _label_box(scene: Scene, label: int) -> _core.Box:
    """Box of the mask and another structure together."""
    voxels, begin, end, _ = _core.summarise(scene.labelmap, label, scene.threads)
    if voxels == 0:
        raise ParameterError(f"other: the labelmap has no voxel of {label}.")
    own = scene.box()
    return scene.clip(np.minimum(own.origin, begin), np.maximum(np.add(own.origin, own.shape), np.asarray(end)))


def _draw_sweep(rng: np.random.Generator, low: float, high: float) -> tuple[Params, float]:
    """Draw where along z, from one end to the other, the structure's identity changes."""
    up = bool(rng.random() < 0.5)
    start = low if up else -high
    return {"normal": [1.0 if up else -1.0, 0.0, 0.0], "start_mm": short(start)}, high - low


def _sweep(scene: Scene, box: _core.Box, other: Bytes, params: Params, most: float) -> Damage:
    rule = _core.LevelRule(
        _core.Measure.PLANE,
        add=True,
        remove=True,
        most=most,
        normal=params["normal"],
        start_mm=params["start_mm"],
    )
    level = _core.levels(box, scene.mask_in(box), rule, other=other, threads=scene.threads)
    return LevelDamage(scene, box, level, most)


def _draw_swap(scene: Scene, rng: np.random.Generator) -> tuple[Params, float]:
    label = _draw_lookalike(scene, rng)
    box, step = _label_box(scene, label), scene.spacing_mm[0]
    low, high = box.position(0, 0) - step, box.position(0, box.shape[0] - 1) + step
    sweep, most = _draw_sweep(rng, low, high)
    return {"other": label} | sweep, most


def _swap(scene: Scene, params: Params, most: float) -> Damage:
    box = _label_box_or_fail(scene, params["other"])
    return _sweep(scene, box, scene.label_in(params["other"], box), params, most)


def _label_box_or_fail(scene: Scene, label: int) -> _core.Box:
    if scene.labelmap is None:
        raise ParameterError("labelmap: this kind of error needs the neighbouring structures; pass labelmap=.")
    return _label_box(scene, label)


SWAP = Kind(
    name="swap",
    imitates="the wrong structure: the next vertebra or rib, the other kidney, from one place on or wholly",
    parameters={
        "other": label("label of the structure that takes its place, one of the three most alike in volume"),
        "normal": unit_vector("unit vector z, y, x from the end that is swapped first"),
        "start_mm": number("where that end lies along it", -1e5),
        "depth_mm": number("how far from there the two are swapped; the whole extent of both at severity 1"),
    },
    strength="depth_mm",
    draw=_draw_swap,
    build=_swap,
    finer=tilted,
    needs="labelmap",
)


def _body_middle_mm(scene: Scene) -> float:
    """Middle of the body from left to right in the mask's middle slice; of the volume without an image."""
    middle = (scene.shape[2] - 1) * scene.spacing_mm[2] / 2.0
    if scene.image is None:
        return short(middle)
    z = (scene.begin[0] + scene.end[0]) // 2
    columns = scene.columns_above(z, -300.0)
    if not columns.any():
        return short(middle)
    return short(float((columns * np.arange(len(columns))).sum() / columns.sum()) * scene.spacing_mm[2])


def _draw_mirror(scene: Scene, rng: np.random.Generator) -> tuple[Params, float]:
    step = scene.spacing_mm[0]
    low, high = span_along(scene, (1.0, 0.0, 0.0))
    sweep, most = _draw_sweep(rng, low - step, high + step)
    return {"middle_mm": _body_middle_mm(scene)} | sweep, most


def _mirror(scene: Scene, params: Params, most: float) -> Damage:
    own, middle, step = scene.box(), params["middle_mm"], scene.spacing_mm[2]
    ends = [(2.0 * middle - own.position(2, x)) / step for x in (0, own.shape[2] - 1)]
    box = scene.clip(
        (own.origin[0], own.origin[1], min(own.origin[2], int(np.floor(min(ends))))),
        (
            own.origin[0] + own.shape[0],
            own.origin[1] + own.shape[1],
            max(own.origin[2] + own.shape[2], int(np.ceil(max(ends))) + 1),
        ),
    )
    flip = _core.Map(matrix=[1, 0, 0, 0, 1, 0, 0, 0, -1], offset_mm=[0.0, 0.0, 2.0 * middle])
    other, _ = _core.warp(own, scene.mask_in(own), box, flip, scene.truth_in(box), 1, scene.threads)
    return _sweep(scene, box, other, params, most)


MIRROR = Kind(
    name="mirror",
    imitates="the contralateral side: left taken for right, by a flipped header or a flipping augmentation",
    parameters={
        "middle_mm": number(
            "mirror plane along x from the volume's first voxel in LPS: the middle of the body or volume", -1e5
        ),
        "normal": unit_vector("unit vector z, y, x from the end that is mirrored first"),
        "start_mm": number("where that end lies along it", -1e5),
        "depth_mm": number("how far from there the mask is mirrored; the whole extent at severity 1"),
    },
    strength="depth_mm",
    draw=_draw_mirror,
    build=_mirror,
    finer=tilted,
)


def _merge(scene: Scene, params: Params, most: float) -> LevelDamage:
    box = _label_box_or_fail(scene, params["other"])
    mask = scene.mask_in(box)
    squared = _core.signed_squared_distance(mask, box, _core.Sides.OUTSIDE, scene.threads)
    rule = _core.LevelRule(_core.Measure.DISTANCE, add=True, most=most)
    other = scene.label_in(params["other"], box)
    level = _core.levels(box, mask, rule, other=other, squared=squared, threads=scene.threads)
    return LevelDamage(scene, box, level, most)


def _draw_merge(scene: Scene, rng: np.random.Generator) -> tuple[Params, float]:
    params = {"other": _draw_neighbour(scene, rng)}
    box = _label_box(scene, params["other"])
    return params, _merge(scene, params, float(np.linalg.norm(np.multiply(box.shape, box.spacing_mm)))).largest_level()


MERGE = Kind(
    name="merge",
    imitates="a neighbour taken in, in part or whole: vertebrae, vessels and bowel loops run together",
    parameters={
        "other": label("label of a structure within 10 mm"),
        "reach_mm": number("its voxels up to this far from the mask are added; all of it at severity 1"),
    },
    strength="reach_mm",
    draw=_draw_merge,
    build=_merge,
    needs="labelmap",
)


def _split(scene: Scene, params: Params, most: float) -> LevelDamage:
    box = _label_box_or_fail(scene, params["other"])
    other = scene.label_in(params["other"], box)
    squared = _core.signed_squared_distance(other, box, _core.Sides.OUTSIDE, scene.threads)
    rule = _core.LevelRule(_core.Measure.DISTANCE, remove=True, most=most)
    level = _core.levels(box, scene.mask_in(box), rule, squared=squared, threads=scene.threads)
    return LevelDamage(scene, box, level, most)


def _draw_split(scene: Scene, rng: np.random.Generator) -> tuple[Params, float]:
    params = {"other": _draw_neighbour(scene, rng)}
    farthest = float(np.linalg.norm(np.add(scene.extent_mm, 2.0 * _NEAR_MM)))
    return params, 0.8 * _split(scene, params, farthest).largest_level()


SPLIT = Kind(
    name="split",
    imitates="a part given to the neighbour: the border between two lobes, vertebrae or vessels drawn too early",
    parameters={
        "other": label("label of a structure within 10 mm"),
        "reach_mm": number("the mask's voxels up to this far from it are lost; (0, 0.8 x its farthest voxel]"),
    },
    strength="reach_mm",
    draw=_draw_split,
    build=_split,
    needs="labelmap",
)
