"""A strategy for MONAI Label: the annotator is given the scans whose masks segae trusts least.

    segae audit studies -o OUT

In your MONAI Label app:

    def init_strategies(self):
        return {"segae": WorstFirst("OUT"), **super().init_strategies()}

Ids are matched to the audit's cases by the name of the image file without its suffix, as MONAI Label's local datastore
gives them. A strategy is any object with a description and a call that takes request and datastore; with monailabel
installed, add `monailabel.interfaces.tasks.strategy.Strategy` as a base class.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from segae import audit


class WorstFirst:
    """Next image: of those without a final label, the one with the mask that comes first in the order of review."""

    description = "Scans with doubtful masks first, by the Dice that segae predicts"

    def __init__(self, out: str | os.PathLike[str], structures: tuple[str, ...] = ()) -> None:
        ranked = audit.rank(audit.load(out))
        worth = [entry for entry in ranked if entry.severity != "empty"]
        if structures:
            worth = [entry for entry in worth if entry.mask.structure in structures]
        # The first place that each image has.
        self.places = {image_id(entry.mask.image): entry for entry in reversed(worth)}

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any] | None:  # noqa: ARG002  MONAI Label's signature
        """Answer MONAI Label's question for the next sample; None when all are labelled."""
        known = [name for name in datastore.get_unlabeled_images() if name in self.places]
        if not known:
            return None
        best = min(known, key=lambda name: self.places[name].place)
        mask = self.places[best].mask
        return {"id": best, "why": f"{mask.structure}: predicted Dice {mask.dice:.2f}"}


def image_id(path: str) -> str:
    name = Path(path).name
    return name.removesuffix(".gz").removesuffix(".nii") if name.endswith((".nii", ".nii.gz")) else Path(path).stem
