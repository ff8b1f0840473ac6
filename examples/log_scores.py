"""Log predicted Dice during a training, to TensorBoard, Weights & Biases or whatever takes a name, a number and a step.

from torch.utils.tensorboard import SummaryWriter
log = ScoreLog({1: "liver", 2: "spleen"}, spacing, SummaryWriter("runs/1").add_scalar)

log = ScoreLog({1: "liver", 2: "spleen"}, spacing, lambda name, value, step: wandb.log({name: value}, step=step))

log(images_hu, logits.argmax(1))           # in the validation loop, every batch
log.flush(step)                            # at its end
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import segae


class ScoreLog:
    """Means over a validation round, one curve a structure, and the share of predictions below a floor."""

    def __init__(
        self,
        structures: Mapping[int, str],
        spacing: Sequence[float],
        write: Callable[[str, float, int], Any],
        floor: float = 0.5,
    ) -> None:
        self.structures, self.spacing, self.write, self.floor = dict(structures), spacing, write, floor
        self.engine = segae.Engine()
        self._scores: list[np.ndarray] = []

    def __call__(self, images_hu: Any, labelmaps: Any) -> Any:
        """Score a batch; returns the scores [b, structures], in the library of the labelmaps."""
        scores = self.engine.score_batch(images_hu, labelmaps, self.structures, spacing=self.spacing)
        self._scores.append(np.asarray(scores.cpu() if hasattr(scores, "cpu") else scores))
        return scores

    def flush(self, step: int) -> None:
        """Write the means of what was seen since the last call."""
        seen = np.concatenate(self._scores)
        self._scores.clear()
        for name, column in zip(self.structures.values(), seen.T, strict=True):
            scored = column[np.isfinite(column)]  # an empty prediction has no score
            self.write(f"predicted_dice/{name}", float(scored.mean()) if scored.size else float("nan"), step)
        self.write(f"predicted_dice/below_{self.floor:g}", float(np.mean(seen < self.floor)), step)
