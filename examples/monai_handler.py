"""A handler for MONAI's and ignite's engines: the predicted Dice of each iteration's predictions, without ground truth.

    pip install monai pytorch-ignite

    PredictedDiceHandler({1: "liver", 2: "spleen"}, spacing=(1.5, 1.5, 1.5)).attach(evaluator)
    evaluator.run(loader)
    evaluator.state.metrics["predicted_dice_liver"]

The engine's output holds what MONAI's evaluators put there: `image` in HU (score before you normalise; name another key
with `image_key`) and `pred`, one-hot or logits over channels, both [b, c, z, y, x] in segae's order; `axes="xyz"` says
otherwise. Decollated batches (lists) are taken too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

import segae


class PredictedDiceHandler:
    """Mean predicted Dice of an epoch, per structure, in `engine.state.metrics`."""

    def __init__(
        self, structures: Mapping[int, str], spacing: Sequence[float], *, image_key: str = "image", axes: str = "zyx"
    ) -> None:
        self.structures, self.spacing, self.image_key, self.axes = dict(structures), spacing, image_key, axes
        self.judge = segae.Engine()
        self._scores: list[np.ndarray] = []

    def attach(self, engine: Engine) -> None:
        """Listen to the engine's epochs and iterations."""
        engine.add_event_handler(Events.EPOCH_STARTED, lambda _: self._scores.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._score)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._report)

    def _score(self, engine: Engine) -> None:
        output = engine.state.output
        cases = output if isinstance(output, list) else [output]
        for case in cases:
            images, predictions = case[self.image_key], case["pred"]
            if predictions.ndim == 4:  # decollated: one case without its batch axis
                images, predictions = images[None], predictions[None]
            labelmaps = predictions.argmax(1, keepdim=True) if predictions.shape[1] > 1 else predictions
            found = self.judge.score_batch(images, labelmaps, self.structures, spacing=self.spacing, axes=self.axes)
            self._scores.append(found.cpu().numpy())

    def _report(self, engine: Engine) -> Any:
        columns = np.concatenate(self._scores).T
        for name, column in zip(self.structures.values(), columns, strict=True):
            scored = column[np.isfinite(column)]  # an empty prediction has no score
            engine.state.metrics[f"predicted_dice_{name}"] = float(scored.mean()) if scored.size else float("nan")
