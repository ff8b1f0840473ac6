"""The atlas read at warped places: labels with smooth borders, distance maps linearly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from segae_lab.synthetic.anatomy import Atlas

_SLAB = 16  # slices at a time: keeps the coordinates in the cache and the memory small


def sample(
    atlas: Atlas, lattice: torch.Tensor, shape: tuple[int, int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Labels and maps of a scan.

    A voxel takes the label with the largest trilinear weight among its eight neighbours in the atlas. Borders are thus
    those of linearly interpolated masks, without the steps of the nearest neighbour.

    Parameters
    ----------
    lattice
        [3, a, b, c] atlas mm, from `segae_lab.synthetic.body.warp_field`.
    shape
        Samples (z, y, x) that the lattice spans.

    Returns
    -------
    labels, maps
        uint8 [z, y, x]; float32 [3, z, y, x]: depth in mm, distance to the skin in mm, filled fraction of vessels.
    """
    labels = np.empty(shape, np.uint8)
    maps = np.empty((3, *shape), np.float32)
    stored = torch.from_numpy(np.stack([atlas.depth, atlas.skin, atlas.vessel]))
    corner_maps = stored.float()[None]
    uniform = _uniform(atlas.labels)
    for start, at in _coordinates(atlas, lattice, shape):
        stop = start + at.shape[1]
        labels[start:stop] = _vote(atlas.labels, uniform, at)
        size = torch.tensor(atlas.labels.shape, dtype=torch.float32)
        grid = (at.permute(1, 2, 3, 0) / (size - 1) * 2 - 1).flip(-1)[None]
        read = functional.grid_sample(corner_maps, grid, mode="bilinear", padding_mode="border", align_corners=True)[0]
        maps[:, start:stop] = read.numpy()
    maps[0] *= 0.1
    maps[1] = (maps[1] - 128) * 0.5
    maps[2] /= 255
    return labels, maps


def _coordinates(
    atlas: Atlas, lattice: torch.Tensor, shape: tuple[int, int, int]
) -> Iterator[tuple[int, torch.Tensor]]:
    """Places in atlas voxels [3, z, y, x], a slab at a time."""
    origin = torch.tensor(atlas.origin_mm)[:, None, None, None]
    vox = ((lattice - origin) / atlas.spacing_mm).float()
    planes = functional.interpolate(
        vox.permute(0, 2, 3, 1).reshape(1, -1, vox.shape[1]), shape[0], mode="linear", align_corners=True
    )
    planes = planes.reshape(3, vox.shape[2], vox.shape[3], shape[0]).permute(0, 3, 1, 2)
    for start in range(0, shape[0], _SLAB):
        yield (
            start,
            functional.interpolate(planes[:, start : start + _SLAB], shape[1:], mode="bilinear", align_corners=True),
        )


def _uniform(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Label of a cell whose eight corners agree, else 255."""
    core = labels[:-1, :-1, :-1]
    same = np.ones(core.shape, bool)
    for corner in range(1, 8):
        dz, dy, dx = corner >> 2, corner >> 1 & 1, corner & 1
        same &= labels[dz : dz + core.shape[0], dy : dy + core.shape[1], dx : dx + core.shape[2]] == core
    out = np.full(labels.shape, 255, np.uint8)
    out[:-1, :-1, :-1][same] = core[same]
    return out


def _vote(labels: NDArray[np.uint8], uniform: NDArray[np.uint8], at: torch.Tensor) -> NDArray[np.uint8]:
    """The heaviest label around each place."""
    top = torch.tensor(labels.shape)[:, None, None, None] - 2
    cell = torch.minimum(at.floor().long().clamp_(min=0), top)
    strides = np.array([labels.shape[1] * labels.shape[2], labels.shape[2], 1])
    flat = (cell[0] * int(strides[0]) + cell[1] * int(strides[1]) + cell[2]).reshape(-1)
    out = torch.from_numpy(uniform).reshape(-1)[flat]
    mixed = torch.nonzero(out == 255).squeeze(1)
    base = flat[mixed]
    part = (at - cell).clamp_(0, 1).reshape(3, -1)[:, mixed]
    source = torch.from_numpy(labels).reshape(-1)
    found, weights = [], []
    for corner in range(8):
        bits = (corner >> 2, corner >> 1 & 1, corner & 1)
        found.append(source[base + int(np.dot(bits, strides))])
        weights.append(torch.stack([part[a] if bits[a] else 1 - part[a] for a in range(3)]).prod(0))
    best, heaviest = found[0], torch.full_like(weights[0], -1)
    for candidate in found:
        total = sum(w * (f == candidate) for w, f in zip(weights, found, strict=True))
        assert isinstance(total, torch.Tensor)
        better = total > heaviest
        best = torch.where(better, candidate, best)
        heaviest = torch.where(better, total, heaviest)
    out[mixed] = best
    return out.reshape(at.shape[1:]).numpy()
