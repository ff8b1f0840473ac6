"""Chooses which slices of a mask a recipe wants and where they are cropped, and cuts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segae import _core
from segae.gaps import missing_slices
from segae.label_scan import LabelScan
from segae.recipe import ChannelSpec, MarginCrop, PaperCrop, Recipe

# The end of a mask: so many of its slices, or so many mm of them, whichever is more.
_LEAST_END_SLICES, _END_MM = 3, 15.0

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SlicePlan:
    """The slices of one mask that a model is to see.

    Attributes
    ----------
    index : int64 [n]
        Slice along z.
    crop : float64 [n, 4]
        First row, end row, first column, end column, in voxel edges; may leave the volume.
    area : int64 [n]
        Mask voxels of the slice; 0 beyond the mask's ends.
    share_mm : float64 [n]
        Length along z that the slice stands for: the slices nearest to it that hold the mask, or that a gap leaves out.
    filled_mm : float64 [n]
        That of the slices that hold the mask alone.
    missing : bool [slices along z]
        Empty slices within the mask that its structure must run through.
    """

    index: Int64
    crop: Float64
    area: Int64
    share_mm: Float64
    filled_mm: Float64
    missing: npt.NDArray[np.bool_]


def plan_slices(
    mask: Any,
    scan: LabelScan,
    recipe: Recipe,
    spacing_mm: tuple[float, float, float],
    threads: int,
    *,
    in_pieces: bool = False,
) -> SlicePlan:
    """Choose slices and crops for one label.

    Parameters
    ----------
    mask : ndarray or DeviceVolume [z, y, x]
        Mask or labelmap that holds the label.
    scan : LabelScan
        Of that label, which must not be empty.
    recipe : Recipe
    spacing_mm : (float, float, float)
        Along z, y, x.
    threads : int
    in_pieces : bool
        Whether the structure may come in several pieces, with nothing of it between them.
    """
    area = scan.areas[0]
    inside = _place(np.flatnonzero(area), recipe)
    window = np.array([scan.box[0, 1], scan.box[1, 1], scan.box[0, 2], scan.box[1, 2]])
    first, last = int(scan.box[0, 0]), int(scan.box[1, 0]) - 1
    beyond, anchor = _beyond(area, first, last, recipe.beyond_mm, spacing_mm[0])
    wanted = np.concatenate([inside, anchor]).astype(np.int64)
    if scan.slice_boxes is not None:
        boxes = scan.slice_boxes[wanted].astype(np.float64)
    else:
        labels, windows = np.full(len(wanted), scan.label), np.tile(window, (len(wanted), 1))
        boxes = _core.plane_boxes(mask, 0, wanted, labels, windows, threads).astype(np.float64)
    index = np.concatenate([inside, beyond]).astype(np.int64)
    order = np.argsort(index, kind="stable")
    crop = crop_boxes(boxes, recipe.crop, spacing_mm, mask.shape)
    outside = _beyond_shares(beyond, first, last)
    filled = np.concatenate([_shares(inside, area > 0), outside]) * spacing_mm[0]
    missing = missing_slices(mask, scan, in_pieces=in_pieces)
    share = filled
    if missing.any():
        share = np.concatenate([_shares(inside, (area > 0) | missing), outside]) * spacing_mm[0]
    areas = np.where(order < len(inside), area[index[order]], 0)
    return SlicePlan(index[order], crop[order], areas, share[order], filled[order], missing)


def _place(filled: Int64, recipe: Recipe) -> Int64:
    """Pick from the indices of the slices that hold any of the mask."""
    n = len(filled)
    if n <= recipe.slices:
        return filled
    if recipe.placement == "paper":
        return filled[[int(n / recipe.slices * i) for i in range(recipe.slices)]]
    return filled[((np.arange(recipe.slices) + 0.5) * n / recipe.slices).astype(np.int64)]


def _beyond(area: Int64, first: int, last: int, distances_mm: tuple[float, ...], step_mm: float) -> tuple[Int64, Int64]:
    """Slices beyond the two ends, within the volume, and the slice whose crop each takes.

    The crop is that of the largest of the slices at that end: the very last one may be a stray contour, around which
    nothing of the structure would be seen.
    """
    steps = sorted({max(1, round(distance / step_mm)) for distance in distances_mm})
    filled = np.flatnonzero(area)
    some = max(_LEAST_END_SLICES, round(_END_MM / step_mm))
    low, high = (int(end[np.argmax(area[end])]) for end in (filled[:some], filled[::-1][:some]))
    pairs = [(first - step, low) for step in steps if first - step >= 0]
    pairs += [(last + step, high) for step in steps if last + step < len(area)]
    return np.array([p[0] for p in pairs], np.int64), np.array([p[1] for p in pairs], np.int64)


def _shares(inside: Int64, counted: npt.NDArray[np.bool_]) -> Float64:
    """Counted slices that lie nearest to each slice looked at, in Voronoi cells of the positions along z."""
    cuts = np.concatenate([[-0.5], (inside[1:] + inside[:-1]) / 2.0, [len(counted) - 0.5]])
    edges = np.arange(len(counted) + 1) - 0.5
    return np.diff(np.interp(cuts, edges, np.concatenate([[0], np.cumsum(counted)])))


def _beyond_shares(beyond: Int64, first: int, last: int) -> Float64:
    """Voronoi cells of the slices beyond the ends; the outermost reach as far out as in."""
    shares = np.zeros(len(beyond))
    for side in (-1, 1):
        mine = np.flatnonzero(beyond < first) if side < 0 else np.flatnonzero(beyond > last)
        distance = np.abs(beyond[mine] - (first if side < 0 else last)).astype(np.float64)
        inner_cut = np.concatenate([[0.5], (distance[1:] + distance[:-1]) / 2.0])[: len(mine)]
        outer_cut = np.concatenate([inner_cut[1:], distance[-1:] + (distance[-1:] - inner_cut[-1:])])
        shares[mine] = outer_cut - inner_cut
    return shares


def crop_boxes(
    boxes: Float64,
    crop: MarginCrop | PaperCrop,
    spacing_mm: tuple[float, float, float],
    shape: tuple[int, ...],
) -> Float64:
    """Bounds of masks on their slices, [n, 4] -> crops [n, 4], in voxel edges."""
    if isinstance(crop, PaperCrop):
        return _paper_crop(boxes, crop.margin_px, shape[1], shape[2])
    step = np.array([spacing_mm[1], spacing_mm[2]])
    low, high = boxes[:, 0::2], boxes[:, 1::2]
    side_mm = ((high - low) * step).max(axis=1)
    side_mm = np.maximum(side_mm * (1 + 2 * crop.margin_fraction) + 2 * crop.margin_mm, crop.min_side_mm)
    middle, half = (low + high) / 2.0, side_mm[:, None] / step / 2.0
    return np.stack([middle - half, middle + half], axis=2).reshape(-1, 4)


def _paper_crop(boxes: Float64, margin: int, height: int, width: int) -> Float64:
    """Margins start from inclusive ends, which then serve as exclusive ones: one pixel less at the far side."""
    row0 = np.maximum(boxes[:, 0] - margin, 0)
    row1 = np.minimum(boxes[:, 1] - 1 + margin, height)
    column0 = np.maximum(boxes[:, 2] - margin, 0)
    column1 = np.minimum(boxes[:, 3] - 1 + margin, width)
    h, w = row1 - row0, column1 - column0
    wider = np.where(h > w, (h - w) // 2, 0)
    taller = np.where(w > h, (w - h) // 2, 0)
    return np.stack(
        [
            np.maximum(row0 - taller, 0),
            np.minimum(row1 + taller, height),
            np.maximum(column0 - wider, 0),
            np.minimum(column1 + wider, width),
        ],
        axis=1,
    )


def cut(
    image: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    recipe: Recipe,
    spacing_mm: tuple[float, float, float],
    index: Int64,
    crop: Float64,
    label: Int64,
    threads: int,
    *,
    slope: float = 1.0,
    intercept: float = 0.0,
    out: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """Cut slices as a model's recipe wants them.

    Parameters
    ----------
    image, mask : ndarray [z, y, x]
    recipe : Recipe
    spacing_mm : (float, float, float)
        Along z, y, x.
    index, crop, label : arrays [n], [n, 4], [n]
        As in `SlicePlan`, and the value of `mask` that is the slice's mask.
    threads : int
    slope, intercept : float
        Stored value -> HU.
    out : float32 [n, channels, h, w], C-contiguous, optional
        Where to write them; default: a new array.

    Returns
    -------
    float32 [n, channels, h, w]
    """
    views = [channel.view for channel in recipe.channels]
    if out is None:
        out = np.empty((len(index), len(views), *recipe.size_px), np.float32)
    for view in dict.fromkeys(views):
        mine = [i for i, other in enumerate(views) if other == view]
        channels = tuple(recipe.channels[i] for i in mine)
        spec = sample_spec(recipe, spacing_mm, channels, slope=slope, intercept=intercept, axis=int(view == "coronal"))
        step, planes, boxes = (1, 1, 1), index, crop
        if view != "crop":
            step, planes, boxes = _wide(recipe, spacing_mm, image.shape, index, crop, view)
        thin = tuple(slice(None, None, s) for s in step)
        _core.sample_into(out, mine, image[thin], mask[thin], spec, planes, boxes, label, threads)
    return out


def cut_on_device(
    pairs: Sequence[tuple[_core.DeviceArray, _core.DeviceArray]],
    recipe: Recipe,
    spacing_mm: Sequence[tuple[float, float, float]],
    pair: Int64,
    index: Int64,
    crop: Float64,
    label: Int64,
    rows: int,
) -> _core.DeviceSlices:
    """Cut slices of many volumes on a GPU, where they stay; volumes of one shape and spacing in one go.

    Parameters
    ----------
    pairs : sequence of (image, mask)
        On one device and stream; values are HU.
    recipe : Recipe
    spacing_mm : sequence of (float, float, float)
        Of each pair.
    pair, index, crop, label : arrays [n], [n], [n, 4], [n]
        The pair of each slice, and as in `cut`.
    rows : int
        Of the result, at least n; what is beyond n is not written.

    Returns
    -------
    DeviceSlices [rows, channels, h, w]
    """
    views = [channel.view for channel in recipe.channels]
    out = _core.empty_slices((rows, len(views), *recipe.size_px), pairs[0][0])
    images, masks = [image for image, _ in pairs], [mask for _, mask in pairs]
    like = [(images[p].shape, spacing_mm[p]) for p in pair]
    for shape, spacing in dict.fromkeys(like):
        here = np.array([i for i, other in enumerate(like) if other == (shape, spacing)], np.int64)
        for view in dict.fromkeys(views):
            mine = [i for i, other in enumerate(views) if other == view]
            channels = tuple(recipe.channels[i] for i in mine)
            spec = sample_spec(recipe, spacing, channels, axis=int(view == "coronal"))
            step, planes, boxes = (1, 1, 1), index[here], crop[here]
            if view != "crop":
                step, planes, boxes = _wide(recipe, spacing, shape, index[here], crop[here], view)
            thin_images, thin_masks = ([array.thin(step) for array in arrays] for arrays in (images, masks))
            _core.sample_batch(out, here, mine, thin_images, thin_masks, pair[here], spec, planes, boxes, label[here])
    return out


def _wide(
    recipe: Recipe,
    spacing_mm: tuple[float, float, float],
    shape: tuple[int, ...],
    index: Int64,
    crop: Float64,
    view: str,
) -> tuple[tuple[int, int, int], Int64, Float64]:
    """Where the wide views around the centres of crops lie: every how many voxels to read, planes, boxes [n, 4].

    Voxels much finer than the view's pixels are skipped, not averaged: it saves most of the time, and costs no more
    than some noise. The stride depends on the spacing alone, so that a slice looks the same in any company.
    """
    spacing = np.array(spacing_mm)
    crop_mm = np.maximum((crop[:, 1] - crop[:, 0]) * spacing[1], (crop[:, 3] - crop[:, 2]) * spacing[2])
    side_mm = np.clip(crop_mm * recipe.wide.factor, recipe.wide.min_side_mm, recipe.wide.max_side_mm)
    centre = np.stack([index + 0.5, (crop[:, 0] + crop[:, 1]) / 2, (crop[:, 2] + crop[:, 3]) / 2], axis=1)
    half = side_mm[:, None] / spacing / 2
    step = np.maximum(recipe.wide.min_side_mm / spacing / max(recipe.size_px), 1).astype(int)
    normal, rows, columns = (1, 0, 2) if view == "coronal" else (0, 1, 2)
    planes = np.clip(centre[:, normal].astype(np.int64), 0, shape[normal] - 1)
    step[normal] = 1
    # An edge u of the whole volume is the edge (u - 0.5) / step + 0.5 of its every step-th voxel.
    low, high = (((centre + sign * half) - 0.5) / step + 0.5 for sign in (-1, 1))
    boxes = np.stack([low[:, rows], high[:, rows], low[:, columns], high[:, columns]], axis=1)
    return (int(step[0]), int(step[1]), int(step[2])), planes, boxes


def sample_spec(
    recipe: Recipe,
    spacing_mm: tuple[float, float, float],
    channels: tuple[ChannelSpec, ...],
    *,
    slope: float = 1.0,
    intercept: float = 0.0,
    axis: int = 0,
) -> _core.SampleSpec:
    """Turn channels of a recipe into what ``_core.sample`` takes, for a volume of the given spacing and HU scale."""
    height, width = recipe.size_px
    told = []
    for channel in channels:
        steps = round(channel.offset_mm / spacing_mm[axis])
        if steps == 0 and channel.offset_mm != 0:
            steps = 1 if channel.offset_mm > 0 else -1
        told.append(
            _core.Channel(
                is_mask=channel.source == "mask",
                offset=steps,
                low=channel.window_hu[0],
                high=channel.window_hu[1],
                gain=channel.gain,
                bias=channel.bias,
            )
        )
    return _core.SampleSpec(
        axis=axis,
        height=height,
        width=width,
        slope=slope,
        intercept=intercept,
        stop_at_crop=isinstance(recipe.crop, PaperCrop),
        channels=told,
    )
