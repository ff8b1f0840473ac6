"""`Judge`: a model and its recipe. Reads what a mask holds, plans its slices, judges them and words the answer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from segae import flags
from segae.assembly import Probes, assembled, predicted_dice
from segae.assessment import Assessment
from segae.errors import ParameterError
from segae.judging import Task, judge, plan
from segae.label_scan import LabelScan
from segae.masks import label_of_mask, read_mask
from segae.reference import resolve
from segae.reference.opinion import SecondOpinion
from segae.reference.resolve import ReferenceRequest
from segae.session import Session, model_path
from segae.structures import Structure
from segae.volume import Volume


class Judge:
    """Owns the session and the recipe of a model; masks become tasks, tasks become predictions.

    Parameters
    ----------
    model, device, threads
        As those of `Session`.
    """

    def __init__(self, model: str | os.PathLike[str], device: str, threads: int) -> None:
        self.session = Session(model, device, threads)

    @property
    def threads(self) -> int:
        """CPU threads for reading masks, planning and cutting."""
        return self.session.threads

    @property
    def expects_masks(self) -> bool:
        """Whether the model can show the mask that it expects."""
        return "expected" in self.session.card.outputs

    def check_error_map(self, error_map: bool) -> None:
        """Raise ParameterError where expected masks are asked for that the model does not put out."""
        if error_map and not self.expects_masks:
            raise ParameterError("error_map: this model puts out no expected mask; use error_map=False.")

    def task(self, image: Volume, mask: Volume, structure: Structure, label: int | None) -> Task | None:
        """Read the one structure of a mask and plan its slices; None when it is empty."""
        mask, scans = read_mask(mask, "mask", self.threads)
        scan = scans.get(label_of_mask(scans, label, "mask"))
        return None if scan is None else self.plan(image, mask, structure, scan)

    def plan(
        self, image: Volume, mask: Volume, structure: Structure, scan: LabelScan, threads: int | None = None
    ) -> Task:
        """Choose the slices of one structure as the recipe says."""
        return plan(image, mask, structure, scan, self.session, threads or self.threads)

    def dices(self, tasks: Sequence[Task]) -> list[float]:
        """Predict the calibrated 3D Dice of every task; slices of all of them share network calls."""
        card = self.session.card
        return [
            predicted_dice(task, verdict, card) for task, verdict in zip(tasks, judge(tasks, self.session), strict=True)
        ]

    def assess(self, tasks: Sequence[Task], error_map: bool, probes: Probes) -> list[Assessment]:
        """Assess every task; `probes` knows the images that were looked at before."""
        verdicts = judge(tasks, self.session, error_map=error_map)
        card = self.session.card
        return [
            assembled(task, verdict, card, probes.of(task.image)) for task, verdict in zip(tasks, verdicts, strict=True)
        ]

    def opinion(
        self, request: ReferenceRequest, image: Volume, probes: Probes, named: Mapping[int, Structure]
    ) -> SecondOpinion | None:
        """What the reference asked for says of an image; `named` are the values of one that is a labelmap."""
        if not request.given:
            return self.built_in(request, image, probes.of(image))
        values = {value: known.name for value, known in named.items()}
        return resolve.of_labelmap(request, image, values, self.threads)

    def built_in(self, request: ReferenceRequest, image: Volume, probe: flags.ImageProbe) -> SecondOpinion | None:
        """What the network in the package says of an image, where that is asked for and can help."""
        return resolve.built_in(
            request,
            image,
            self.session.device,
            self.threads,
            packaged_judge=self.session.path == model_path("default"),
            is_ct=flags.is_ct(probe),
        )
