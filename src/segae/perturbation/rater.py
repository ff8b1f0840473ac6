"""The error of a careful human annotator, fitted to pairs of experts who contoured the same scans.

Source: 20 head and neck scans with ten structures contoured by two experts each (Nikolov et al., arXiv:1809.04430), as
measured by benchmarks/rater_statistics.py. Experts agree well on two structures in three and poorly on soft ones of
low contrast; about half the variance of their difference belongs to each slice alone.
"""

from __future__ import annotations

import numpy as np

from segae import _core
from segae.perturbation.boundary import noisy
from segae.perturbation.error import Error
from segae.perturbation.kind import Kind, Params, between, noise_seed, short
from segae.perturbation.scene import Scene

_WELL_SEEN = 0.65  # of the structures


def _draw_rater(scene: Scene, rng: np.random.Generator) -> tuple[Params, float]:
    spread = between(rng, 0.55, 1.15) if rng.random() < _WELL_SEEN else between(rng, 1.5, 2.3)
    spread = min(spread, 0.3 * scene.depth_mm)
    of_slices = between(rng, 0.35, 0.7)  # share of the variance
    return {
        "axis": 0,
        "bias_mm": short(between(rng, -0.5, 0.5) * spread),
        "smooth_mm": short(spread * np.sqrt(1.0 - of_slices)),
        "smooth_grid_mm": between(rng, 6.0, 12.0),
        "slice_mm": short(spread * np.sqrt(of_slices)),
        "slice_grid_mm": between(rng, 6.0, 12.0),
        "seed": noise_seed(rng),
    }, 3.0


def _rater(scene: Scene, params: Params, most: float) -> Error:
    across = [0.0 if axis == params["axis"] else params["slice_grid_mm"] for axis in range(3)]
    noise = [
        _core.Noise(params["seed"], [params["smooth_grid_mm"]] * 3, params["smooth_mm"]),
        _core.Noise(params["seed"] + 1, across, params["slice_mm"]),
    ]
    return noisy(scene, most, noise, params["bias_mm"], float(np.hypot(params["smooth_mm"], params["slice_mm"])))


RATER = Kind(
    name="rater",
    imitates="a careful expert, as two of them differ",
    parameters={
        "axis": "slices lie across this axis of the volume in LPS [z, y, x]; 0",
        "bias_mm": "wider (positive) or tighter than the given mask as a whole",
        "smooth_mm": "standard deviation of the error that runs on from slice to slice",
        "smooth_grid_mm": "distance over which it changes",
        "slice_mm": "standard deviation of the error of each slice for itself",
        "slice_grid_mm": "distance in the plane over which it changes",
        "seed": "of the noise fields",
        "scale": "of all three; 1 is two experts' difference, (0, 3]",
    },
    strength="scale",
    draw=_draw_rater,
    build=_rater,
)
