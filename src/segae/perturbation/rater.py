"""The error of a careful human annotator, fitted to pairs of experts who contoured the same scans."""

from __future__ import annotations

import numpy as np

from segae import _core
from segae.perturbation.boundary import noisy
from segae.perturbation.error import Error
from segae.perturbation.kind import Kind, Params, between, noise_seed
from segae.perturbation.scene import Scene


def _draw_rater(_scene: Scene, rng: np.random.Generator) -> tuple[Params, float]:
    return {
        "axis": 0,
        "bias_mm": between(rng, -0.5, 0.5),
        "smooth_mm": between(rng, 0.4, 0.9),
        "smooth_grid_mm": between(rng, 6.0, 12.0),
        "slice_mm": between(rng, 0.3, 0.7),
        "slice_grid_mm": between(rng, 5.0, 10.0),
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
