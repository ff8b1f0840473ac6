"""A metric in MONAI's manner that needs no ground truth: call it on every batch, aggregate at the end of an epoch.

    python examples/monai_metric.py

It is a plain class, so MONAI need not be installed. Where it is, the same calls fit a validation loop or a handler:
`metric(y_pred=..., images=...)`, `metric.aggregate()`, `metric.reset()`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import segae
from segae import demo


class PredictedDice:
    """Mean predicted Dice of the predictions of an epoch, per structure.

    Parameters
    ----------
    structures : dict
        Value of the labelmap -> name.
    spacing : three numbers
        Voxel size in mm along z, y, x.
    engine : segae.Engine, optional
    """

    def __init__(
        self, structures: Mapping[int, str], spacing: tuple[float, float, float], engine: segae.Engine | None = None
    ) -> None:
        self.structures, self.spacing = structures, spacing
        self.engine = engine or segae.Engine()
        self.reset()

    def reset(self) -> None:
        """Forget the batches seen."""
        self._scores: list[np.ndarray] = []

    def __call__(self, y_pred: Any, images: Any) -> Any:
        """Score labelmaps `y_pred` on `images` in HU, both [b, 1, z, y, x]; returns [b, structures]."""
        scores = self.engine.score_batch(images, y_pred, self.structures, spacing=self.spacing)
        self._scores.append(np.asarray(scores.cpu() if hasattr(scores, "cpu") else scores))
        return scores

    def aggregate(self) -> dict[str, float]:
        """Mean over the epoch, without the masks that were empty."""
        seen = np.concatenate(self._scores)
        return {
            name: float(np.nanmean(column)) if np.isfinite(column).any() else float("nan")
            for name, column in zip(self.structures.values(), seen.T, strict=True)
        }


def main() -> None:
    image, masks = demo.phantom()
    structures = dict(enumerate(masks, start=1))
    metric = PredictedDice(structures, demo.SPACING_MM)
    for epoch, kind in enumerate(("truncate", "none")):  # the model gets better
        labelmap = np.zeros(image.shape, np.uint8)
        for value, name in structures.items():
            mask = masks[name]
            if kind != "none":
                mask = segae.perturb(mask, kind, spacing=demo.SPACING_MM, target_dice=0.6, seed=1)
            labelmap[mask > 0] = value
        metric(labelmap[None, None], image[None, None])
        print(f"epoch {epoch}:", {name: round(dice, 2) for name, dice in metric.aggregate().items()})
        metric.reset()


if __name__ == "__main__":
    main()
