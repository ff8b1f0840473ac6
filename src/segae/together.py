"""Masks of one image, of a labelmap or one by one: judged in groups, compared with each other and a reference."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from segae import anatomy, structures
from segae.assembly import Probes, empty, only_box
from segae.assessment import Assessment, Assessments
from segae.device import DeviceVolume
from segae.errors import SegaeError
from segae.judge import Judge
from segae.judging import Task, check_places
from segae.masks import read_labelmap
from segae.reference.opinion import Looked, SecondOpinion
from segae.reference.resolve import ReferenceRequest
from segae.structures import Structure
from segae.volume import Volume

_log = logging.getLogger("segae")

# Slices that wait for the network together; bounds memory whatever the number of masks.
_TOGETHER = 128


class MasksOfImage:
    """Collects the masks of one image; of each that waits, only the box around its structure is kept.

    Attributes
    ----------
    probes : Probes
        Looks at the image.
    opinion : SecondOpinion or None
        A reference, to be set before the first mask.
    """

    def __init__(self, judge: Judge, error_map: bool) -> None:
        self.probes = Probes()
        self.opinion: SecondOpinion | None = None
        self._judge, self._error_map = judge, error_map
        self._results: list[Assessment | SegaeError] = []
        self._waiting: list[tuple[int, Task]] = []
        self._scene = anatomy.MaskCollector()
        self._looked: dict[int, Looked] = {}

    def refuse(self, error: SegaeError) -> None:
        """Put an error in the place of a mask that cannot be assessed."""
        self._results.append(error)

    def add(self, name: str, image: Volume, mask: Volume) -> None:
        """Take the next mask, on the grid of `image`.

        Raises
        ------
        UnknownStructureError, VolumeError, DeviceError
            Nothing is taken then.
        """
        structure = structures.get(name)
        check_places([(image, mask)], self._judge.session.device)
        task = self._judge.task(image, mask, structure, None)
        self._results.append(empty(structure, 1))
        if task is not None:
            if not isinstance(task.mask.array, DeviceVolume):
                self._scene.add(task.mask, structure.name, task.scan, self._judge.threads)
            kept = replace(task, mask=only_box(task.mask, task.scan))
            self._waiting.append((len(self._results) - 1, kept))
        if sum(len(task.plan.index) for _, task in self._waiting) >= _TOGETHER:
            self._assess_waiting()

    def conclude(self) -> list[Assessment | SegaeError]:
        """Judge what still waits, weigh the reference, compare the masks; results in the order of `add`."""
        self._assess_waiting()
        if self.opinion is not None:
            pairs = [(cast("Assessment", self._results[place]), seen) for place, seen in self._looked.items()]
            for place, entry in zip(self._looked, self.opinion.conclude(pairs), strict=True):
                self._results[place] = entry
        findings = anatomy.check(self._scene.scene(self._judge.threads))
        return [
            anatomy.add_findings([entry], findings)[0] if isinstance(entry, Assessment) else entry
            for entry in self._results
        ]

    def _assess_waiting(self) -> None:
        found = self._judge.assess([task for _, task in self._waiting], self._error_map, self.probes)
        for (place, task), assessment in zip(self._waiting, found, strict=True):
            self._results[place] = assessment
            if self.opinion is not None:
                self._looked[place] = self.opinion.look(task.mask, task.scan, task.structure.name)
        self._waiting.clear()


def labels_of_image(
    judge: Judge,
    image: Volume,
    labelmap: Volume,
    named: Mapping[int, Structure],
    request: ReferenceRequest,
    reference_names: Mapping[int, Structure],
    error_map: bool,
) -> Assessments:
    """Assess every value of a labelmap that has a name, each by itself, beside a reference and against the others."""
    labelmap, scans = read_labelmap(labelmap, "labelmap", judge.threads)
    tasks = [judge.plan(image, labelmap, named[label], scan) for label, scan in scans.items() if label in named]
    unnamed = {label: scan.voxels for label, scan in scans.items() if label not in named}
    if unnamed:
        _log.info("labelmap: values without a name were left out: %s", sorted(unnamed))
    probes = Probes()
    opinion = judge.opinion(request, image, probes, reference_names)
    found = weighed(opinion, tasks, judge.assess(tasks, error_map, probes))
    if not isinstance(labelmap.array, DeviceVolume):
        names = {task.scan.label: task.structure.name for task in tasks}
        scene = anatomy.Scene.of_labelmap(labelmap, names, judge.threads)
        found = anatomy.add_findings(found, anatomy.check(scene))
    result = Assessments.of(found)
    result.unnamed = unnamed
    return result


def weighed(opinion: SecondOpinion | None, tasks: Sequence[Task], found: list[Assessment]) -> list[Assessment]:
    """Weigh what a reference says of masks that are all at hand."""
    if opinion is None:
        return found
    looked = [opinion.look(task.mask, task.scan, task.structure.name) for task in tasks]
    return opinion.conclude(list(zip(found, looked, strict=True)))
