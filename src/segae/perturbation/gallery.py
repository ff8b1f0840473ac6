"""One picture of every kind at three severities on a case of your own."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segae.errors import ParameterError
from segae.perturbation.draw import with_severity
from segae.perturbation.kinds import KINDS
from segae.perturbation.scene import Scene
from segae.picture import AFTER, BEFORE, Panel, draw_sheet, require_pillow

SEVERITIES = (0.15, 0.4, 0.8)
_MARGIN_MM = 25.0
_KINDS_A_ROW = 3
_PANEL_PX = 190
# Errors of whole axial slices: seen from the front or the side.
_BY_SLICE = {"truncate", "drop_slices", "staircase", "interpolate", "slicewise", "swap"}


def draw_gallery(scene: Scene, path: Path, seed: int) -> None:
    """Write the picture; kinds whose image or labelmap is missing are left out.

    Each kind is shown in the plane where the strongest changes most.
    """
    require_pillow()
    panels = [row for row in (_panels(scene, name, seed) for name in KINDS) if row]
    rows = [list(chain.from_iterable(panels[i : i + _KINDS_A_ROW])) for i in range(0, len(panels), _KINDS_A_ROW)]
    draw_sheet(rows, path, _PANEL_PX)


def _panels(scene: Scene, name: str, seed: int) -> list[Panel]:
    window = scene.box(_MARGIN_MM)
    truth = np.asarray(scene.mask_in(window))
    results = []
    for severity in SEVERITIES:
        try:
            # One seed for the three: the same error, growing.
            outcome, _ = with_severity(scene, KINDS[name], severity, np.random.default_rng(seed))
        except ParameterError:
            return []
        results.append((severity, outcome.dice, np.asarray(scene.cut(outcome.patch, window))))
    axis, index = _most_changed(truth, results[-1][2], (1, 2) if name in _BY_SLICE else (0, 1, 2))
    hu = np.asarray(scene.image_in(window)) if scene.image is not None else np.zeros(truth.shape, np.float32)
    spacing = [step for a, step in enumerate(scene.spacing_mm) if a != axis]
    return [
        Panel(
            _plane(hu, axis, index),
            (spacing[0], spacing[1]),
            [(_plane(truth, axis, index), BEFORE), (_plane(result, axis, index), AFTER)],
            f"{name} {severity:g}\nDice {dice:.2f}",
        )
        for severity, dice, result in results
    ]


def _most_changed(
    truth: npt.NDArray[np.uint8], result: npt.NDArray[np.uint8], axes: tuple[int, ...]
) -> tuple[int, int]:
    """Return the axis across which the largest share changes, and the slice where most does."""
    changed = truth != result
    axis = max(axes, key=lambda a: changed.any(axis=a).mean() / max(truth.any(axis=a).mean(), 1e-9))
    rest = tuple(a for a in range(3) if a != axis)
    areas = np.minimum(changed.sum(axis=rest), truth.sum(axis=rest))  # where there is something to compare with
    return axis, int(areas.argmax()) if areas.any() else truth.shape[axis] // 2


def _plane(array: npt.NDArray[Any], axis: int, index: int) -> npt.NDArray[Any]:
    """A slice with the head up."""
    plane: npt.NDArray[Any] = np.take(array, index, axis=axis)
    return plane if axis == 0 else plane[::-1]
