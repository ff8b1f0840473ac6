"""Runs the network over the slices of many masks, which are cut and judged in chunks that masks share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from segae import _core
from segae.anatomy.table import load_table
from segae.assessment import SlicePredictions
from segae.device import DeviceVolume
from segae.errors import DeviceError
from segae.label_scan import LabelScan
from segae.session import Session
from segae.slices import Float64, Int64, SlicePlan, cut, cut_on_device, plan_slices
from segae.structures import Structure
from segae.threads import run_all
from segae.volume import Volume

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Task:
    """One structure of one mask or labelmap, ready to be looked at."""

    image: Volume
    mask: Volume
    structure: Structure
    scan: LabelScan
    plan: SlicePlan

    @property
    def pixel_mm2(self) -> float:
        """Area of a voxel in its slice."""
        return self.image.pixel_mm2


@dataclass(frozen=True)
class Verdict:
    """What the network said of the slices of one task.

    Attributes
    ----------
    slices : SlicePredictions
    raw : float64 [n]
        Dice per slice, unclipped.
    expected : float32 [n, 1, h, w] or None
        The mask that the model expects, where it was asked for.
    """

    slices: SlicePredictions
    raw: Float64
    expected: Float32 | None


@dataclass(frozen=True)
class _Wanted:
    """All slices of all tasks, one after the other."""

    task: Int64
    index: Int64
    crop: Float64
    label: Int64
    structure: Int64


def check_places(pairs: Sequence[tuple[Volume, Volume]], device: str) -> None:
    """Image and mask lie where the engine works: in host memory (for any engine) or on its GPU.

    Raises
    ------
    DeviceError
        Nothing is copied from one place to another in silence.
    """
    places = {_place(volume) for pair in pairs for volume in pair}
    if len(places) > 1:
        raise DeviceError(
            f"image, mask: they lie in {' and '.join(sorted(places))}. Bring them together: image.to(mask.device)."
        )
    if places and places.isdisjoint({"host memory", device}):
        raise DeviceError(
            f"image, mask: they lie on {places.pop()}, the engine works on {device}. "
            f'Pass image.cpu() and mask.cpu(), or open segae.Engine(device="cuda:N") where they lie.'
        )
    streams = {_lent(volume).stream for pair in pairs for volume in pair if isinstance(volume.array, DeviceVolume)}
    if len(streams) > 1:
        raise DeviceError(
            "image, mask: they come from libraries that work on different streams. Bring them into one library, "
            "or make its stream the other's current one."
        )


def _lent(volume: Volume) -> _core.DeviceArray:
    array: Any = volume.array
    return array.lent  # type: ignore[no-any-return]


def _place(volume: Volume) -> str:
    return volume.array.device if isinstance(volume.array, DeviceVolume) else "host memory"


def plan(image: Volume, mask: Volume, structure: Structure, scan: LabelScan, session: Session, threads: int) -> Task:
    """Choose the slices of one structure as the model's recipe says."""
    in_pieces = structure.name in load_table().in_pieces
    chosen = plan_slices(mask.array, scan, session.card.recipe, mask.spacing_mm, threads, in_pieces=in_pieces)
    return Task(image, mask, structure, scan, chosen)


def judge(tasks: Sequence[Task], session: Session, *, error_map: bool = False) -> list[Verdict]:
    """Run the network over the slices of all tasks.

    Slices of different masks fill a chunk together. On the CPU every thread cuts and judges chunks of its own, which
    scales better than threads within an operator of a small network: 14 slices on two threads take 0.63 of the time.
    """
    if not tasks:
        return []
    n = [len(task.plan.index) for task in tasks]
    wanted = _Wanted(
        task=np.repeat(np.arange(len(tasks)), n),
        index=np.concatenate([task.plan.index for task in tasks]),
        crop=np.concatenate([task.plan.crop for task in tasks]),
        label=np.repeat([task.scan.label for task in tasks], n),
        structure=np.repeat([session.structure_index(task.structure.name) for task in tasks], n),
    )
    roles = [role for role in session.card.outputs if error_map or role != "expected"]
    size = session.chunk_size(len(wanted.task))
    jobs = [
        partial(_judge_chunk, tasks, wanted, slice(begin, begin + size), session, roles)
        for begin in range(0, len(wanted.task), size)
    ]
    parts = run_all(jobs, session.workers)
    outputs = {role: np.concatenate([part[role] for part in parts]) for role in roles}
    ends = np.cumsum(n)
    return [
        _verdict(task, {role: values[end - count : end] for role, values in outputs.items()})
        for task, count, end in zip(tasks, n, ends, strict=True)
    ]


def _judge_chunk(
    tasks: Sequence[Task], wanted: _Wanted, chunk: slice, session: Session, roles: Sequence[str]
) -> dict[str, npt.NDArray[Any]]:
    if isinstance(tasks[0].image.array, DeviceVolume):
        slices: Float32 | _core.DeviceSlices = _cut_on_device(tasks, wanted, chunk, session)
    else:
        slices = _cut(tasks, wanted, chunk, session)
    return session.run(slices, wanted.structure[chunk], roles)


def _cut(tasks: Sequence[Task], wanted: _Wanted, chunk: slice, session: Session) -> Float32:
    here, index, crop, label = wanted.task[chunk], wanted.index[chunk], wanted.crop[chunk], wanted.label[chunk]
    # Labels of one labelmap are cut together.
    changes = [i for i in range(1, len(here)) if not _same_pair(tasks[here[i]], tasks[here[i - 1]])]
    recipe = session.card.recipe
    slices = np.empty((len(here), len(recipe.channels), *recipe.size_px), np.float32)
    for begin, end in zip([0, *changes], [*changes, len(here)], strict=True):
        image, mask = tasks[here[begin]].image, tasks[here[begin]].mask
        cut(
            image.array,
            mask.array,
            recipe,
            image.spacing_mm,
            index[begin:end],
            crop[begin:end],
            label[begin:end],
            session.threads // session.workers,
            slope=image.slope,
            intercept=image.intercept,
            out=slices[begin:end],
        )
    return slices


def _same_pair(a: Task, b: Task) -> bool:
    return a.mask is b.mask and a.image is b.image


def _cut_on_device(tasks: Sequence[Task], wanted: _Wanted, chunk: slice, session: Session) -> _core.DeviceSlices:
    first, last = wanted.task[chunk][0], wanted.task[chunk][-1] + 1
    here = tasks[first:last]
    index = wanted.index[chunk]
    return cut_on_device(
        [(_lent(task.image), _lent(task.mask)) for task in here],
        session.card.recipe,
        [task.image.spacing_mm for task in here],
        wanted.task[chunk] - first,
        index,
        wanted.crop[chunk],
        wanted.label[chunk],
        session.chunk_size(len(index)),
    )


def _verdict(task: Task, outputs: dict[str, npt.NDArray[Any]]) -> Verdict:
    plan = task.plan
    n = len(plan.index)
    columns = {
        role: values.reshape(n, -1)[:, 0].astype(np.float64) for role, values in outputs.items() if role != "expected"
    }
    if "dice" in columns:
        # A model that puts out Dice alone: equal precision and recall make the same Dice.
        precision = recall = raw = columns["dice"]
    else:
        precision, recall = columns["precision"], columns["recall"]
        total = precision + recall
        raw = np.divide(2 * precision * recall, total, out=np.zeros(n), where=total != 0)
    slices = SlicePredictions(
        area_mm2=plan.area.astype(np.float64) * task.pixel_mm2,
        share_mm=plan.share_mm,
        filled_mm=plan.filled_mm,
        crop_mm2=(plan.crop[:, 1] - plan.crop[:, 0]) * (plan.crop[:, 3] - plan.crop[:, 2]) * task.pixel_mm2,
        precision=np.clip(precision, 0, 1),
        recall=np.clip(recall, 0, 1),
        truth_fraction=columns.get("truth_fraction", np.full(n, np.nan)),
        whole_precision=columns.get("whole_precision"),
        whole_recall=columns.get("whole_recall"),
    )
    return Verdict(slices, raw, outputs.get("expected"))
