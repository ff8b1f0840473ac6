"""A metric in MONAI's manner that needs no ground truth: call it on every batch, aggregate at the end of an epoch.

    python examples/monai_metric.py

It is a plain class, so MONAI need not be installed. Where it is, the same calls fit a validation loop or a handler:
`metric(y_pred=..., images=...)`, `metric.aggregate()`, `metric.reset()`. MONAI's loaders hand out [b, 1, x, y, z] with
an affine on every MetaTensor, whatever the orientation that a transform chose: segae reads it, and nothing else need be
said. Images are in HU: call the metric on the image before ScaleIntensityRange and the like.
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
    affine : array [4, 4], or [b, 4, 4] one a case; optional
        Index (x, y, z) -> RAS mm, for images and predictions that carry none.
    engine : segae.Engine, optional
    """

    def __init__(self, structures: Mapping[int, str], affine: Any = None, engine: segae.Engine | None = None) -> None:
        self.structures, self.affine = structures, affine
        self.engine = engine or segae.Engine()
        self.reset()

    def reset(self) -> None:
        """Forget the batches seen."""
        self._scores: list[np.ndarray] = []

    def __call__(self, y_pred: Any, images: Any) -> Any:
        """Score labelmaps `y_pred` on `images` in HU, both [b, 1, x, y, z]; returns [b, structures].

        A prediction that lost its affine (a plain tensor) lies on its image's grid. Of a network's channels,
        `y_pred.argmax(1, keepdim=True)` makes a labelmap.
        """
        scores = self.engine.score_batch(images, y_pred, self.structures, affine=self.affine)
        self._scores.append(np.asarray(scores.cpu() if hasattr(scores, "cpu") else scores))
        return scores

    def aggregate(self) -> dict[str, float]:
        """Mean over the epoch, without the masks that were empty."""
        seen = np.concatenate(self._scores)
        return {
            name: float(np.nanmean(column)) if np.isfinite(column).any() else float("nan")
            for name, column in zip(self.structures.values(), seen.T, strict=True)
        }


def as_monai(volume: np.ndarray) -> np.ndarray:
    """Turn [z, y, x] in LPS, as segae's phantom lies, into [b, 1, x, y, z] in RAS, as MONAI's loaders hand it out."""
    return np.ascontiguousarray(volume[:, ::-1, ::-1].transpose(2, 1, 0))[None, None]


def main() -> None:
    image, masks = demo.phantom()
    structures = dict(enumerate(masks, start=1))
    z_mm, y_mm, x_mm = demo.SPACING_MM
    metric = PredictedDice(structures, affine=np.diag([x_mm, y_mm, z_mm, 1.0]))
    for epoch, kind in enumerate(("truncate", "none")):  # the model gets better
        labelmap = np.zeros(image.shape, np.uint8)
        for value, name in structures.items():
            mask = masks[name]
            if kind != "none":
                mask = segae.perturb(mask, kind, spacing=demo.SPACING_MM, target_dice=0.6, seed=1)
            labelmap[mask > 0] = value
        metric(as_monai(labelmap), as_monai(image))
        print(f"epoch {epoch}:", {name: round(dice, 2) for name, dice in metric.aggregate().items()})
        metric.reset()


if __name__ == "__main__":
    main()
