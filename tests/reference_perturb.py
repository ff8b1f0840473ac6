"""Plain numpy/scipy twins of segae.perturbation: the whole volume, no boxes, no caches, no speed."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import ndimage

TIE = 1 + 1e-6


def reference(
    params: Mapping[str, Any],
    mask: np.ndarray,
    spacing: Sequence[float],
    image: np.ndarray | None = None,
    labelmap: np.ndarray | None = None,
) -> np.ndarray:
    """The mask [z, y, x] damaged as `params` say."""
    if params["kind"] == "random":
        result = mask
        for step in params["steps"]:
            result = reference(step, result, spacing, image, labelmap)
        return result
    twin = TWINS[params["kind"]]
    return twin(params, mask.astype(bool), np.asarray(spacing, float), image, labelmap).astype(np.uint8)


# --- the pieces -------------------------------------------------------------------------------------------------


def positions(shape: Sequence[int], spacing: np.ndarray) -> np.ndarray:
    """[3, z, y, x] in mm."""
    return np.stack(np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij"))


def distance_to(seeds: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """mm to the nearest seed; infinite when there is none."""
    if not seeds.any():
        return np.full(seeds.shape, np.inf)
    return ndimage.distance_transform_edt(~seeds, sampling=spacing)


def signed_distance(mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    return np.where(mask, -distance_to(~mask, spacing), distance_to(mask, spacing))


def _scramble(bits: np.ndarray) -> np.ndarray:
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def control_values(seed: int, component: int, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        bits = _scramble(np.array([seed + component], dtype=np.uint64))
        for axis in np.meshgrid(z, y, x, indexing="ij"):
            bits = _scramble(bits ^ axis.astype(np.int64).view(np.uint64))
    return (bits >> np.uint64(40)).astype(float) * 2.0**-23 - 1.0


def _spline_matrix(count: int, step: float, grid: float) -> tuple[np.ndarray, np.ndarray]:
    """Lattice coordinates, and the weights [voxels, lattice] of a cubic B-spline."""
    if grid == 0:
        return np.arange(count), np.eye(count)
    at = np.arange(count) * step / grid
    lattice = np.arange(int(np.floor(at[0])) - 1, int(np.floor(at[-1])) + 3)
    away = np.abs(at[:, None] - lattice[None])
    near = (4 - 6 * away**2 + 3 * away**3) / 6
    far = (2 - away) ** 3 / 6
    return lattice, np.where(away < 1, near, np.where(away < 2, far, 0))


def field(
    shape: Sequence[int], spacing: np.ndarray, seed: int, grid: Sequence[float], component: int = 0
) -> np.ndarray:
    """Control values blended over the volume."""
    lattices, weights = zip(
        *(_spline_matrix(n, s, g) for n, s, g in zip(shape, spacing, grid, strict=True)), strict=True
    )
    values = control_values(seed, component, *lattices)
    return np.einsum("abc,za,yb,xc->zyx", values, *weights, optimize=True)


def noise(shape: Sequence[int], spacing: np.ndarray, seed: int, grid: Sequence[float]) -> np.ndarray:
    """Of unit variance."""
    smooth_axes = sum(g > 0 for g in grid)
    return field(shape, spacing, seed, grid) / np.sqrt((151 / 315) ** smooth_axes / 3)


def blurred(values: np.ndarray, spacing: np.ndarray, sigma: float) -> np.ndarray:
    for axis in range(3):
        half = int(np.sqrt((sigma / spacing[axis]) ** 2 + 0.25))
        for _ in range(3):
            values = ndimage.uniform_filter1d(values, 2 * half + 1, axis=axis, mode="nearest")
    return values


def flipped(
    mask: np.ndarray, level: np.ndarray, strength: float, *, add: bool = False, remove: bool = False
) -> np.ndarray:
    hit = np.maximum(level, 0) <= strength * TIE
    return mask ^ (hit & ((mask & remove) | (~mask & add)))


def pushed(mask: np.ndarray, spacing: np.ndarray, push: np.ndarray, most: float, strength: float) -> np.ndarray:
    """The boundary moved outwards by strength x push."""
    push = np.clip(push, -most, most)
    distance = np.maximum(np.abs(signed_distance(mask, spacing)) - spacing.min() / 2, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.where(mask == (push < 0), distance / np.abs(push), np.inf)
    return flipped(mask, level, strength, add=True, remove=True)


def warped(mask: np.ndarray, spacing: np.ndarray, at_mm: np.ndarray) -> np.ndarray:
    at = at_mm / spacing[:, None, None, None]
    inside = ndimage.map_coordinates(np.pad(mask.astype(float), 2), at + 2, order=1, mode="constant", cval=0.0)
    return inside >= 0.5 - 1e-6


# --- the kinds --------------------------------------------------------------------------------------------------


def _layers(p, mask, spacing):
    """Which voxels of a layer go first, where the parameters say so."""
    return p["uneven_mm"] * noise(mask.shape, spacing, p["seed"], [p["grid_mm"]] * 3) if "seed" in p else 0.0


def erode(p, mask, spacing, *_):
    return mask & (distance_to(~mask, spacing) + _layers(p, mask, spacing) > p["radius_mm"] * TIE)


def dilate(p, mask, spacing, *_):
    return mask | (distance_to(mask, spacing) + _layers(p, mask, spacing) <= p["radius_mm"] * TIE)


def open_(p, mask, spacing, *_):
    core = erode(p, mask, spacing)
    return mask & (distance_to(core, spacing) <= p["radius_mm"] * TIE)


def close(p, mask, spacing, *_):
    # As if the volume went on: what lies beyond its border is neither mask nor background.
    return mask | erode(p, dilate(p, mask, spacing), spacing)


def smooth(p, mask, spacing, *_):
    sigma = p["sigma_mm"]
    distance = signed_distance(mask, spacing)
    held = np.clip(distance, -3 * sigma, 3 * sigma)
    push = np.clip(held - blurred(held, spacing, sigma), -6 * sigma, 6 * sigma)
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.where(mask == (push < 0), np.abs(distance) / np.abs(push), np.inf)
    return flipped(mask, level, p["amount"], add=True, remove=True)


def jitter(p, mask, spacing, *_):
    push = noise(mask.shape, spacing, p["seed"], [p["grid_mm"]] * 3)
    return pushed(mask, spacing, push, 3.0, p["amplitude_mm"])


def slicewise(p, mask, spacing, *_):
    share = p["fine_share"]
    push = (1 - share) * noise(mask.shape, spacing, p["seed"], [0, p["wide_mm"], p["wide_mm"]])
    push += share * noise(mask.shape, spacing, p["seed"] + 1, [0, p["fine_mm"], p["fine_mm"]])
    return pushed(mask, spacing, push, 3 * np.hypot(1 - share, share), p["amplitude_mm"])


def shift(p, mask, spacing, *_):
    by = p["distance_mm"] * np.array(p["direction"])
    return warped(mask, spacing, positions(mask.shape, spacing) - by[:, None, None, None])


def _turned(mask, spacing, centre, matrix):
    away = positions(mask.shape, spacing) - np.array(centre)[:, None, None, None]
    return warped(mask, spacing, np.einsum("ij,jzyx->izyx", matrix, away) + np.array(centre)[:, None, None, None])


def rotate(p, mask, spacing, *_):
    """Rodrigues' formula, backwards."""
    angle, (z, y, x) = -2 * np.arctan(p["half_tangent"]), p["axis"]
    cross = np.array([[0, -x, y], [x, 0, -z], [-y, z, 0]])
    matrix = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return _turned(mask, spacing, p["centre_mm"], matrix)


def scale(p, mask, spacing, *_):
    step = 1 / (1 + p["change"]) if p["grow"] else 1 + p["change"]
    return _turned(mask, spacing, p["centre_mm"], step * np.eye(3))


def elastic(p, mask, spacing, *_):
    grid = [p["grid_mm"]] * 3
    moved = np.stack([field(mask.shape, spacing, p["seed"], grid, axis) for axis in range(3)])
    return warped(mask, spacing, positions(mask.shape, spacing) + p["amplitude_mm"] * moved)


def staircase(p, mask, spacing, *_):
    at = positions(mask.shape, spacing)
    for axis in range(3):
        cell, start = p["cell_mm"] * p["axes"][axis], p["from_mm"][axis]
        if cell:
            at[axis] = (np.floor((at[axis] - start) / cell) + 0.5) * cell + start
    return warped(mask, spacing, at)


def truncate(p, mask, spacing, *_):
    level = np.tensordot(p["normal"], positions(mask.shape, spacing), 1) - p["start_mm"]
    return flipped(mask, level, p["depth_mm"], remove=True)


def drop_slices(p, mask, *_):
    result = mask.copy()
    result[p["order"][: int(p["count"])]] = False
    return result


def _from_balls(mask, spacing, centres, weights, wobble, grid, seed):
    at = positions(mask.shape, spacing)
    near = [
        np.linalg.norm(at - np.array(c)[:, None, None, None], axis=0) / w for c, w in zip(centres, weights, strict=True)
    ]
    swell = 1 + wobble * noise(mask.shape, spacing, seed, [grid] * 3)
    return np.min(near, axis=0) * np.maximum(swell, 0.5)


def drop_part(p, mask, spacing, *_):
    grid = p["grid_mm"]
    if p["normal"] is None:
        level = _from_balls(mask, spacing, [p["centre_mm"]], [1.0], p["wobble"], grid, p["seed"])
    else:
        level = np.tensordot(p["normal"], positions(mask.shape, spacing), 1) - p["start_mm"]
        level = level + p["wobble"] * grid * noise(mask.shape, spacing, p["seed"], [grid] * 3)
    return flipped(mask, level, p["reach_mm"], remove=True)


def holes(p, mask, spacing, *_):
    level = _from_balls(mask, spacing, p["centres_mm"], p["weights"], p["wobble"], p["grid_mm"], p["seed"])
    return flipped(mask, level, p["radius_mm"], remove=True)


def islands(p, mask, spacing, *_):
    level = _from_balls(mask, spacing, p["centres_mm"], p["weights"], p["wobble"], p["grid_mm"], p["seed"])
    return flipped(mask, level, p["radius_mm"], add=True)


def leak(p, mask, spacing, image, *_):
    """Dijkstra over face and edge neighbours outside the mask."""
    at = np.moveaxis(positions(mask.shape, spacing), 0, -1)
    hu = blurred(image.astype(float), spacing, 1.5 * spacing.min())
    dear = np.minimum(1 + ((hu - p["centre_hu"]) / p["width_hu"]) ** 2, 16)
    starts = mask & (np.linalg.norm(at - p["start_mm"], axis=-1) <= p["start_radius_mm"])
    cost = np.full(mask.shape, np.inf)
    front = [(0.0, tuple(index)) for index in np.argwhere(starts)]
    steps = [s for s in np.ndindex(3, 3, 3) if 0 < sum(abs(v - 1) for v in s) < 3]
    while front:
        reached, index = heapq.heappop(front)
        if reached > min(cost[index], p["cost_mm"]) and not starts[index]:
            continue
        for step in steps:
            move = np.array(step) - 1
            nearby = tuple(np.array(index) + move)
            if min(nearby) < 0 or any(n >= s for n, s in zip(nearby, mask.shape, strict=True)) or mask[nearby]:
                continue
            further = reached + np.linalg.norm(move * spacing) * dear[nearby]
            if further < cost[nearby] and further <= p["cost_mm"] * 1.001:
                cost[nearby] = further
                heapq.heappush(front, (further, nearby))
    return flipped(mask, cost, p["cost_mm"], add=True)


def interpolate(p, mask, spacing, *_):
    first, last = p["first"], p["last"]
    step = max(p["step_mm"] / spacing[0], 1.0)
    kept = {first, last} | {first + int(np.floor(k * step + 0.5)) for k in range(1, int((last - first) / step) + 1)}
    kept = sorted(k for k in kept if k <= last)
    result = np.zeros_like(mask)
    outline = {k: signed_distance(mask[k][None], np.array([1.0, *spacing[1:]]))[0] for k in kept}
    for k in kept:
        result[k] = mask[k]
    for a, b in pairwise(kept):
        for index in range(a + 1, b):
            w = (index - a) / (b - a)
            below = outline[a] if mask[a].any() else -outline[b].min()
            above = outline[b] if mask[b].any() else -outline[a].min()
            if mask[a].any() or mask[b].any():
                result[index] = (1 - w) * below + w * above <= 1e-4
    return result


def _swept(p, mask, spacing, other):
    level = np.tensordot(p["normal"], positions(mask.shape, spacing), 1) - p["start_mm"]
    gone = np.maximum(level, 0) <= p["depth_mm"] * TIE
    return np.where(gone, other, mask)


def mirror(p, mask, spacing, *_):
    at = positions(mask.shape, spacing)
    at[2] = 2 * p["middle_mm"] - at[2]
    return _swept(p, mask, spacing, warped(mask, spacing, at))


def swap(p, mask, spacing, image, labelmap):
    return _swept(p, mask, spacing, labelmap == p["other"])


def merge(p, mask, spacing, image, labelmap):
    return mask | ((labelmap == p["other"]) & (distance_to(mask, spacing) <= p["reach_mm"] * TIE))


def split(p, mask, spacing, image, labelmap):
    other = labelmap == p["other"]
    return mask & ((distance_to(other, spacing) > p["reach_mm"] * TIE) | other)


def _with_ends(p, mask, spacing):
    """The first and last slice lost, or going on ever smaller."""
    result = mask.copy()
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    for end, further, mm in zip(slices[[0, -1]], (-1, 1), p["ends_mm"], strict=True):
        count = int(np.floor(p["scale"] * mm / spacing[0] + 0.5))
        for k in range(-count):
            result[end - further * k] = False
        outline = signed_distance(mask[end][None], np.array([1.0, *spacing[1:]]))[0]
        for k in range(1, count + 1):
            w = k / (2 * count + 2)
            if 0 <= end + further * k < len(mask):
                result[end + further * k] = (1 - w) * outline - w * outline.min() <= 1e-4
    return result


def rater(p, mask, spacing, *_):
    mask = _with_ends(p, mask, spacing)
    across = [0.0, p["slice_grid_mm"], p["slice_grid_mm"]]
    push = p["bias_mm"] + p["smooth_mm"] * noise(mask.shape, spacing, p["seed"], [p["smooth_grid_mm"]] * 3)
    push = push + p["slice_mm"] * noise(mask.shape, spacing, p["seed"] + 1, across)
    most = abs(p["bias_mm"]) + 3 * np.hypot(p["smooth_mm"], p["slice_mm"])
    return pushed(mask, spacing, push, most, p["scale"])


TWINS = {
    "erode": erode, "dilate": dilate, "open": open_, "close": close, "smooth": smooth, "shift": shift,
    "rotate": rotate, "scale": scale, "elastic": elastic, "jitter": jitter, "truncate": truncate,
    "drop_slices": drop_slices, "drop_part": drop_part, "leak": leak, "holes": holes, "islands": islands,
    "staircase": staircase, "interpolate": interpolate, "mirror": mirror, "swap": swap, "merge": merge,
    "split": split, "slicewise": slicewise, "rater": rater,
}  # fmt: skip
