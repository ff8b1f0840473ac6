"""Branching vessels inside lungs and liver, grown from their roots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segae_lab.synthetic.frame import Frame, Labels, Point

LUNG_LOBES = ("lung_upper_lobe_left", "lung_lower_lobe_left", "lung_upper_lobe_right", "lung_middle_lobe_right",
          "lung_lower_lobe_right")  # fmt: skip


def grow_vessels(frame: Frame) -> Labels:
    """Branching trees in the lungs' lobes and the liver, as filled fractions."""
    rng = np.random.default_rng(0)
    out = np.zeros(frame.labels.shape, np.float32)
    mm = frame.spacing
    roots: list[tuple[str, Point, int, float]] = [("liver", (1190.0, -140.0, -30.0), 260, 5.0)]
    for lobe in LUNG_LOBES:
        left = lobe.endswith("left")
        roots.append((lobe, (1350.0, -95.0, 42.0 if left else -42.0), 420 if "middle" not in lobe else 200, 5.5))
    for name, root, count, root_radius in roots:
        mask = frame.mask(name)
        if not mask.any():
            continue
        inside = np.argwhere(mask)
        points = inside[rng.choice(len(inside), count)] * mm + frame.low
        points = points[np.argsort(np.linalg.norm(points - root, axis=1))]
        nodes, parent, run = [np.array(root)], [-1], [0.0]
        for point in points:  # greedy tree: short twigs, but no detours from the root
            gaps = np.linalg.norm(np.array(nodes) - point, axis=1)
            best = int(np.argmin(gaps + 0.35 * np.array(run)))
            nodes.append(point)
            parent.append(best)
            run.append(run[best] + float(gaps[best]))
        leaves = np.ones(len(nodes))
        for node in range(len(nodes) - 1, 0, -1):
            leaves[parent[node]] += leaves[node]
        for node in range(1, len(nodes)):
            radius = max(0.45, root_radius * (leaves[node] / leaves[0]) ** 0.42)
            a, b = nodes[parent[node]], nodes[node]
            n = max(2, int(np.linalg.norm(b - a) / (0.5 * mm)))
            t = np.linspace(0, 1, n)[:, None]
            bend = rng.normal(0, 0.06, 3) * np.linalg.norm(b - a) * np.sin(np.pi * t)
            _stamp(out, (a + (b - a) * t + bend - frame.low) / mm, radius / mm)
    return (np.clip(out, 0, 1) * 255).astype(np.uint8)


def _stamp(out: NDArray[np.float32], line_vox: NDArray[np.float64], radius_vox: float) -> None:
    """Draw balls along a line; a vessel thinner than a voxel fills it in part."""
    reach = int(np.ceil(radius_vox + 0.5))
    offset = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    cell = np.round(line_vox).astype(int)
    spot = cell[:, None] + offset
    fill = np.clip(radius_vox + 0.5 - np.linalg.norm(spot - line_vox[:, None], axis=-1), 0, min(1.0, 2 * radius_vox))
    keep = ((spot >= 0) & (spot < out.shape)).all(-1) & (fill > 0)
    spot = spot[keep]
    np.maximum.at(out, (spot[:, 0], spot[:, 1], spot[:, 2]), fill[keep].astype(np.float32))
